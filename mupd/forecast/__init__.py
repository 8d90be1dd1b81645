"""``mupd forecast``: what a run will take, from speeds measured with its model; beside it what it took."""
