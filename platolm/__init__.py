"""PlatoLM Stack: user simulators and respondents, and the dialogues between them."""

__version__ = "0.1.0"
