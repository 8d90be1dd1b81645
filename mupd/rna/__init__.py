"""RNA profiles: reading, checking, and the scale of the model."""
