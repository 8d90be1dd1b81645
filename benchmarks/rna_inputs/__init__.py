"""Pace and memory of reading and checking RNA inputs."""
