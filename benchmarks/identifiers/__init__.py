"""Recall of masking on identifiers that were made independently of the rules, by locale, and masks in real reports."""
