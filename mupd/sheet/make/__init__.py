"""Sample sheets made from what is on disk: `mupd cases from-gdc`, `mupd cases from-folder`."""
