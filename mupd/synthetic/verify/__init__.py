"""Recognises synthetic data in any file: ``mupd verify``, and the door of intake."""
