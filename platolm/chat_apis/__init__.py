"""Speakers behind any OpenAI-compatible chat API: their limits, prices, budget, keys and accounts."""
