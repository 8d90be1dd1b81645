"""Broken and odd inputs of every format, each with the status that it must get; made when a test asks for them."""
