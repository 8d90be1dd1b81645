"""Marks in records written as JSON and plain text."""
