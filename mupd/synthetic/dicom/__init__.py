"""Marked DICOM objects: slides, structured reports, parametric maps."""
