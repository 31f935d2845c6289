"""Cleaning, masks, recipes and runs: everything that makes a model."""
