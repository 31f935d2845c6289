"""Simulator profiles."""
