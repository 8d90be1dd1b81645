"""Readers of the forms that reports come in."""
