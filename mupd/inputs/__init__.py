"""Inputs of a case, read and checked, in worker processes that a bad file cannot take down with it."""
