"""A conversation, its engines and its queue, which do what the test says."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, cast

from prometheus_client import CollectorRegistry

from platolm.completions import Completion
from platolm.conversation import ASSISTANT, USER
from platolm.endings import FinishReason
from platolm.errors import EngineAwayError, EngineLostError, SpeakerError
from platolm.sampling import Sampling
from platolm.speakers import TokenSpeaker
from platolm.spec import Endings, RunSpec, Seed, speaker_profile
from platolm.tokenizer import HubTokenizer
from platolm.utterances import Speaker
from services.orchestrator.conversations.lease import Lease
from services.orchestrator.conversations.runner import ConversationRunner, Surroundings
from services.orchestrator.conversations.state import RecordedTurn
from services.orchestrator.conversations.watching import Watching
from services.orchestrator.engines.replicas import Pools
from services.orchestrator.metrics.worker import WorkerMetrics
from services.orchestrator.queue import Claim, Queue
from services.tracing import NO_TRACING
from tests.unit.orchestrator.stub_engines import Never, StubEngines
from tests.unit.orchestrator.stub_queue import StubQueue

SIMULATOR, RESPONDENT, OTHER = (f"http://10.0.0.{i}:8000/v1" for i in (1, 2, 3))
AWAY = EngineAwayError("did not answer", retryable=True)
LOST = EngineLostError("was reset", retryable=True)
LATE = SpeakerError("did not answer in time", retryable=True)
UNREADABLE = SpeakerError("gave an answer that is not JSON", retryable=True)
BUSY = SpeakerError("busy", status=429, retryable=True)
BROKEN = SpeakerError("broken", status=500, retryable=True)


def fresh_lease() -> Lease:
    """One that lasts longer than any test."""
    lease = Lease(1000.0)
    lease.renewed(lease.sending())
    return lease


@dataclass
class Stage:
    """A conversation with its engines and its queue. `spec` and the claim's fields may be changed before `run`.

    `speakers` are by role, instead of those before engines.
    """

    tokenizer: HubTokenizer
    engines: StubEngines
    pools: Pools
    queue: StubQueue = field(default_factory=StubQueue)
    registry: CollectorRegistry = field(default_factory=CollectorRegistry)
    stopping: asyncio.Event = field(default_factory=asyncio.Event)
    seed: Seed = field(default_factory=Seed)
    profiles: tuple[str, str] = ("socratic", "platolm")
    tells_goodbye: bool = False
    context_tokens: int = 4096
    max_tokens: int = 64
    lost_engines: int = 0
    speakers: dict[str, Speaker] = field(default_factory=dict)
    lease: Lease = field(default_factory=fresh_lease)

    def said(self, text: str, *, ends: bool = True) -> Completion:
        """What an engine answers; the eos comes with it where it ended by itself."""
        ids = self.tokenizer.encode(text)
        return Completion([*ids, self.tokenizer.eos_id] if ends else ids, "stop" if ends else "length", None)

    def answers(self, url: str, *answers: str | Completion | Exception | Never) -> None:
        """What an engine answers next, in order."""
        given = [self.said(answer) if isinstance(answer, str) else answer for answer in answers]
        self.engines.completions.setdefault(url, []).extend(given)

    def runner(self, **fields: Any) -> ConversationRunner:
        spec = RunSpec(conversations=8, **{"endings": Endings(max_turns=4), **fields})
        claim = Claim(
            "run-a-00000007",
            "run-a",
            7,
            self.seed.model_dump_json(),
            "token",
            list(self.queue.turns),
            {USER: SIMULATOR, ASSISTANT: RESPONDENT},
            self.lost_engines,
        )
        sides: dict[str, Speaker] = {
            profile.role: TokenSpeaker(
                profile,
                self.tokenizer,
                profile.name,
                Sampling(max_tokens=self.max_tokens),
                self.context_tokens,
                self.tells_goodbye,
            )
            for profile in map(speaker_profile, self.profiles)
        }
        sides |= self.speakers
        around = Surroundings(
            cast("Queue", self.queue),
            self.pools,
            WorkerMetrics(self.registry),
            NO_TRACING,
            self.watching,
            self.stopping,
            self.lease,
        )
        return ConversationRunner(claim, spec, sides=sides, surroundings=around)

    @cached_property
    def watching(self) -> Watching:
        return Watching(cast("Queue", self.queue))

    async def run(self, **fields: Any) -> None:
        await asyncio.wait_for(self.runner(**fields).run(), 20)

    def asked(self) -> list[tuple[str, int]]:
        """Every request's engine and sampling seed."""
        return [(url, body["seed"]) for url, body in self.engines.asked]

    def counted(self, name: str, **labels: str) -> float:
        return self.registry.get_sample_value(f"platolm_{name}", labels) or 0.0


def turn(role: str, content: str, ids: list[int] | None = None) -> str:
    return RecordedTurn(role, content, FinishReason.STOP, len(content), 10, token_ids=ids).to_json()


async def until(condition: Callable[[], bool]) -> None:
    """Let the loop run until something has happened."""
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0)
