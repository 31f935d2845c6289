"""A room of parts, not a service: an OpenAI-compatible gateway in front of one vLLM engine.

`services.simulator` and `services.respondent` are made of it.
"""
