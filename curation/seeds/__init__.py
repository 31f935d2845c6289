"""Seed files: what other people's questions become before a run starts from them."""
