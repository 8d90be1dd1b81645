"""``python -m mupd``."""

from mupd.cli import main

main()
