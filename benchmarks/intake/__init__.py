"""Pace and memory of intake on large cohorts, and its verdicts on the real inputs."""
