"""Browsing a run's dataset: its records by position, by what was said, by ending, rounds and mark; histograms."""
