"""The trunk on a CPU, once its weights stand: what the plain layers give, up to rounding, in half of the time."""
