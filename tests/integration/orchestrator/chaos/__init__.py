"""Kills at every point of a run, and what must be true afterwards."""
