"""What places of generation cannot do, as errors of speakers."""

from __future__ import annotations

from platolm.errors import SpeakerError


class NoReplicaError(SpeakerError):
    """No engine, or chat API, of this pool is known or willing."""


class HungEngineError(SpeakerError):
    """The engine answers its health check and makes no progress."""
