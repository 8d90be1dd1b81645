"""mupd: complete a patient cohort with holes in it, and mark honestly what was generated."""

__version__ = "0.2.0"
