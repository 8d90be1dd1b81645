"""How far H&E generated from the text of an organ and a diagnosis is from the real one."""
