"""``mupd status``: what each case has and what a run would do."""
