"""Verdicts of intake on real H&E, on other pictures and on deliberately spoilt H&E, and their cost."""
