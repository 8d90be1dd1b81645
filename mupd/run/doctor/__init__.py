"""``mupd doctor``: is this machine, this configuration and this cluster ready for a run; if not, what mends it."""
