"""Marks in AnnData and MuData."""
