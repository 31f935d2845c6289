"""Talks between a person and a model, or between the two models, streamed; and those that were saved."""
