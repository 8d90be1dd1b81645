"""Training of the parts of a MuPD model on paired data; run by ``mupd train``."""
