"""Readers and checks of the three modalities, used by every stage: H&E slides, RNA profiles, clinical text."""
