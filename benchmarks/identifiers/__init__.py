"""How many identifiers that nobody wrote beside the rules are masked, by locale; and what is masked in real reports."""
