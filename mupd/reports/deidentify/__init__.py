"""Identifiers of persons, masked before anything else reads a report."""
