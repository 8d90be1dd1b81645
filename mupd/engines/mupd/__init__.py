"""MuPD as an engine: conditions of a case in, draws out."""
