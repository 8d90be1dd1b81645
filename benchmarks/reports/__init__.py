"""Accuracy of the rules that read the synoptic record of a report, against labels made by reading."""
