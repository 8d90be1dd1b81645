"""Real cases with modalities withheld, completed by the whole workflow and compared with the truth."""
