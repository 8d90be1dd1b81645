"""The synoptic record of a pathology report."""
