"""The trunk on a CPU once its weights stand: the velocities of the plain layers, up to rounding, in half of the time."""
