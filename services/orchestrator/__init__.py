"""The orchestrator: an API and any number of workers, over Redis Streams."""
