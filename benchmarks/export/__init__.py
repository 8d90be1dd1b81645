"""Pace and memory of writing a slide, beside the bare codec and beside wsidicomizer."""
