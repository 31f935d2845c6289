"""What a worker counts. Hot code calls plain methods, whose series were looked up once, at the start."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from enum import StrEnum

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from platolm.conversation import TerminationReason
from platolm.endings import FinishReason
from platolm.errors import BudgetSpentError, MisconfiguredError, SpeakerError
from platolm.simulators.guardrails import Fault
from platolm.utterances import Utterance
from services.orchestrator.metrics.chat_apis import ChatApiMetrics
from services.orchestrator.metrics.replicas import ReplicaCollector, ReplicaReading
from services.orchestrator.queue.reports import SideTotals

SIDES = ("simulator", "respondent")
UTTERANCE_BUCKETS_S = (
    0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 40.0, 60.0, 120.0, 300.0, 600.0,
)  # fmt: skip
"""From a few tokens of a small model to a long answer behind a full queue."""


class RetryCause(StrEnum):
    """Why an utterance was asked for and not taken."""

    NO_ANSWER = "no_answer"
    """The connection failed, the answer did not come in time or was cut off, or the engine hangs."""
    BUSY = "busy"
    """The engine wants to be asked later: 408, 429, 503."""
    SERVER_ERROR = "server_error"
    """Any other 5xx."""
    REFUSED = "refused"
    """Any other status."""
    MISCONFIGURED = "misconfigured"
    """The model, the path or the key is not what the engine has."""
    BUDGET = "budget"
    """The run may not spend what it would cost on a chat API."""
    REGENERATED = "regenerated"
    """It had a fault, or would have ended the conversation too early."""

    @classmethod
    def of(cls, error: SpeakerError) -> RetryCause:
        """What an engine's failure is counted under."""
        if isinstance(error, MisconfiguredError):
            return cls.MISCONFIGURED
        if isinstance(error, BudgetSpentError):
            return cls.BUDGET
        if error.status is None:
            return cls.NO_ANSWER
        if error.status in (408, 429, 503):
            return cls.BUSY
        return cls.SERVER_ERROR if error.status >= 500 else cls.REFUSED


class _Side:
    """One side's series, and the totals among them as plain numbers, for this worker's reports."""

    def __init__(self, side: str, families: _Families) -> None:
        self.utterances: dict[FinishReason, Counter] = {
            reason: families.utterances.labels(side, reason.value)
            for reason in FinishReason
            if reason is not FinishReason.SEED
        }
        self.seconds = families.seconds.labels(side)
        self.generated = families.generated.labels(side)
        self.prompt = families.prompt.labels(side)
        self.cached = families.cached.labels(side)
        self.attained = families.attained.labels(side)
        self.attainable = families.attainable.labels(side)
        self.totals = SideTotals()


class _Families:
    """What is counted by side, before the side is known."""

    def __init__(self, registry: CollectorRegistry) -> None:
        def counter(name: str, meaning: str, *labels: str) -> Counter:
            return Counter(name, meaning, ["side", *labels], registry=registry)

        self.utterances = counter("platolm_utterances", "Utterances generated", "finish_reason")
        self.retries = counter("platolm_utterance_retries", "Utterances asked for and not taken", "cause")
        self.faults = counter("platolm_utterance_faults", "Faults found in utterances", "fault")
        self.generated = counter("platolm_generated_tokens", "Tokens generated, end tokens aside")
        self.prompt = counter("platolm_prompt_tokens", "Tokens of the prompts")
        self.cached = counter("platolm_cached_prompt_tokens", "Prompt tokens that engines had in their prefix cache")
        self.attained = counter(
            "platolm_attained_cached_tokens", "Those of them that the conversation itself left there"
        )
        self.attainable = counter("platolm_attainable_cached_tokens", "The most that it can have left there")
        self.seconds = Histogram(
            "platolm_utterance_seconds",
            "Time from asking an engine to its whole answer",
            ["side"],
            registry=registry,
            buckets=UTTERANCE_BUCKETS_S,
        )


class WorkerMetrics:
    """All metrics of one worker; a `side` is `simulator` or `respondent`."""

    def __init__(self, registry: CollectorRegistry) -> None:
        def counter(name: str, meaning: str) -> Counter:
            return Counter(name, meaning, registry=registry)

        self._registry = registry
        self.chat_apis = ChatApiMetrics(registry)
        self._families = _Families(registry)
        self._sides = {side: _Side(side, self._families) for side in SIDES}
        ended = Counter("platolm_conversations_ended", "Conversations ended", ["reason"], registry=registry)
        self._ended: dict[str, Counter] = {reason: ended.labels(reason.value) for reason in TerminationReason}
        self._failed = counter("platolm_attempts_failed", "Failed attempts at conversations")
        self._dead = counter("platolm_conversations_dead", "Conversations that this worker's last attempt left dead")
        self._claims = counter("platolm_claims", "Conversations that this worker was handed")
        self._claims_lost = counter("platolm_claims_lost", "Conversations that others own before this worker was done")
        self._reclaims = counter("platolm_reclaims", "Conversations of dead workers that this worker freed")
        self._redis_away = counter("platolm_redis_away", "Times that Redis did not answer")
        self._in_flight = Gauge(
            "platolm_worker_conversations_in_flight", "Conversations that this worker owns", registry=registry
        )

    def spoken(self, side: str, utterance: Utterance, attainable: int) -> None:
        """An utterance came. `attainable` is the most prompt tokens that the conversation's own past can have cached.

        An engine that does not tell what it had cached counts on neither side of the hit ratio.
        """
        series = self._sides[side]
        series.utterances[utterance.finish_reason].inc()
        series.seconds.observe(utterance.duration_s)
        series.generated.inc(utterance.num_tokens)
        series.prompt.inc(utterance.num_prompt_tokens)
        totals = series.totals
        totals.utterances += 1
        totals.generated_tokens += utterance.num_tokens
        totals.prompt_tokens += utterance.num_prompt_tokens
        cached = utterance.num_cached_tokens
        if cached is not None:
            series.cached.inc(cached)
            series.attained.inc(min(cached, attainable))
            series.attainable.inc(attainable)
            totals.attained_cached_tokens += min(cached, attainable)
            totals.attainable_cached_tokens += attainable

    def totals(self) -> Mapping[str, SideTotals]:
        """What has been spoken since the start, by side; later utterances do not change it."""
        return {name: replace(side.totals) for name, side in self._sides.items()}

    def retried(self, side: str, cause: RetryCause) -> None:
        """An utterance was asked for and not taken."""
        self._families.retries.labels(side, cause.value).inc()

    def faulty(self, side: str, fault: Fault) -> None:
        """An utterance had a fault, whatever was done with it."""
        self._families.faults.labels(side, fault.value).inc()

    def ended(self, reason: str) -> None:
        """A conversation ended, for a `TerminationReason`."""
        self._ended[reason].inc()

    def failed(self, *, dead: bool) -> None:
        """An attempt at a conversation failed, perhaps its last."""
        self._failed.inc()
        if dead:
            self._dead.inc()

    def claimed(self, count: int) -> None:
        self._claims.inc(count)

    def claims_lost(self, count: int = 1) -> None:
        self._claims_lost.inc(count)

    def reclaimed(self, count: int) -> None:
        self._reclaims.inc(count)

    def redis_away(self) -> None:
        self._redis_away.inc()

    def watch_in_flight(self, num_in_flight: Callable[[], int]) -> None:
        """Ask this for the conversations in flight whenever the metrics are read."""
        self._in_flight.set_function(num_in_flight)

    def watch_replicas(self, readings: Callable[[], Iterable[ReplicaReading]]) -> None:
        """Ask this for the engines whenever the metrics are read; call it once."""
        self._registry.register(ReplicaCollector(readings))
