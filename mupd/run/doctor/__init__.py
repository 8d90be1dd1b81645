"""``mupd doctor``: checks machine, configuration and cluster before a run, and says how to fix each problem."""
