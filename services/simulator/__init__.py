"""The simulator's server: a model that writes the *user's* turns, behind OpenAI's API."""
