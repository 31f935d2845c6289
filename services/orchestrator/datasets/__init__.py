"""A run's files: its seeds, segments and manifest, where they lie and how they are read back."""
