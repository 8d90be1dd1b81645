"""How right the rules are that read the synoptic record of a report: against labels made by reading."""
