"""Ground floor: files, ids, progress, and what every page shares. Knows nothing of patients or models."""
