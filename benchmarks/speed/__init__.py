"""Pace of the sampler against a plain loop over the same trunk."""
