"""The stages of a run. They meet only in files; no stage imports another."""
