"""Marks in pictures: PNG text, OME-XML, the watermark in the pixels."""
