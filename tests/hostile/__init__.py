"""Broken and odd inputs of every format, each with the status that it must get. Tests make them when needed."""
