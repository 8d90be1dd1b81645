"""Clinical text: reading, de-identification, the synoptic record, checks."""
