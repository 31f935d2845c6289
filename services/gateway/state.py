"""What the server knows about itself: is the engine ready, are we draining, how many requests are in flight."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from services.gateway.client import EngineModel
from services.gateway.errors import RequestError, unavailable


@dataclass
class ServerState:
    """Shared by the routes, the engine's watch and the process that drains at SIGTERM."""

    engine: EngineModel | None = None
    """Set once a real generation has succeeded."""
    not_ready_reason: str | None = "the engine is starting"
    draining: bool = False
    num_in_flight: int = 0
    startup_failure: asyncio.Future[str] | None = None
    _idle: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self._idle.set()

    @property
    def reason(self) -> str | None:
        """Why requests would be refused now; None when they are served."""
        return "shutting down" if self.draining else self.not_ready_reason

    def ready_engine(self) -> EngineModel:
        """The engine to ask.

        Raises:
            RequestError: 503, it has not come up yet or does not answer.
        """
        if self.engine is None or self.not_ready_reason is not None:
            raise not_ready(self.not_ready_reason or "the engine is starting")
        return self.engine

    def enter(self) -> None:
        self.num_in_flight += 1
        self._idle.clear()

    def leave(self) -> None:
        self.num_in_flight -= 1
        if self.num_in_flight == 0:
            self._idle.set()

    async def wait_idle(self) -> None:
        """Wait until no request is in flight."""
        await self._idle.wait()


def not_ready(reason: str) -> RequestError:
    return unavailable(f"this server is not ready: {reason}", code="not_ready")
