"""One conversation from where the queue has it to its end: with engines and a queue that do what the test says."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import aiohttp
import pytest
from prometheus_client import CollectorRegistry
from redis.exceptions import ConnectionError as RedisConnectionError

from platolm.conversation import ASSISTANT, USER, TerminationReason
from platolm.dyadic import PLATOLM, PROFILES, SOCRATIC, Turn, prompt_ids
from platolm.endings import FinishReason
from platolm.errors import EngineAwayError, EngineLostError, MisconfiguredError, SpeakerError
from platolm.runs import PausedBy, RunState
from platolm.speakers import Completion, TokenSpeaker
from platolm.spec import Endings, Retries, RunSpec, Sampling, Seed, SeedMode, sampling_seed
from platolm.tokenizer import HubTokenizer, load_tokenizer
from services.orchestrator.conversations.runner import ConversationRunner, Surroundings
from services.orchestrator.conversations.state import RecordedTurn
from services.orchestrator.engines.replicas import Pools, Replicas
from services.orchestrator.metrics.worker import WorkerMetrics
from services.orchestrator.queue import Claim, Outcome, Queue
from services.tracing import NO_TRACING
from tests.unit.orchestrator.stopped_clock import StoppedClock
from tests.unit.orchestrator.stub_engines import NEVER, Never, StubEngines
from tests.unit.orchestrator.stub_queue import StubQueue

SIMULATOR, RESPONDENT, OTHER = (f"http://10.0.0.{i}:8000/v1" for i in (1, 2, 3))
AWAY = EngineAwayError("did not answer", retryable=True)
LOST = EngineLostError("was reset", retryable=True)
LATE = SpeakerError("did not answer in time", retryable=True)
UNREADABLE = SpeakerError("gave an answer that is not JSON", retryable=True)
BUSY = SpeakerError("busy", status=429, retryable=True)
BROKEN = SpeakerError("broken", status=500, retryable=True)


@pytest.fixture(scope="module")
def tokenizer(byte_tokenizer_folder: Path) -> HubTokenizer:
    return load_tokenizer(byte_tokenizer_folder)


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.orchestrator.conversations.retries.FIRST_RETRY_S", 0.0)
    monkeypatch.setattr("services.orchestrator.queue.connection._FIRST_RETRY_S", 0.0)


@dataclass
class Stage:
    """A conversation with its engines and its queue. `spec` and the claim's fields may be changed before `run`."""

    tokenizer: HubTokenizer
    engines: StubEngines
    pools: Pools
    queue: StubQueue = field(default_factory=StubQueue)
    registry: CollectorRegistry = field(default_factory=CollectorRegistry)
    stopping: asyncio.Event = field(default_factory=asyncio.Event)
    seed: Seed = field(default_factory=Seed)
    context_tokens: int = 4096
    max_tokens: int = 64
    lost_engines: int = 0

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
        sides = {
            profile.target_role: TokenSpeaker(
                profile, self.tokenizer, profile.name, Sampling(max_tokens=self.max_tokens), self.context_tokens
            )
            for profile in PROFILES.values()
        }
        around = Surroundings(
            cast("Queue", self.queue), self.pools, WorkerMetrics(self.registry), NO_TRACING, self.stopping
        )
        return ConversationRunner(claim, spec, sides=sides, surroundings=around)

    async def run(self, **fields: Any) -> None:
        await asyncio.wait_for(self.runner(**fields).run(), 20)

    def asked(self) -> list[tuple[str, int]]:
        """Every request's engine and sampling seed."""
        return [(url, body["seed"]) for url, body in self.engines.asked]

    def counted(self, name: str, **labels: str) -> float:
        return self.registry.get_sample_value(f"platolm_{name}", labels) or 0.0


@pytest.fixture
async def stage(tokenizer: HubTokenizer, monkeypatch: pytest.MonkeyPatch) -> Stage:
    engines = StubEngines().installed(monkeypatch)
    replicas = Replicas(cast("aiohttp.ClientSession", None), hang_after_s=60)
    pools = Pools(replicas, {USER: [SIMULATOR], ASSISTANT: [RESPONDENT, OTHER]})
    await pools.refresh()
    return Stage(tokenizer, engines, pools)


def turn(role: str, content: str, ids: list[int] | None = None) -> str:
    return RecordedTurn(role, content, FinishReason.STOP, len(content), 10, token_ids=ids).to_json()


# From beginning to end


async def test_a_conversation_from_its_first_word_to_its_last(stage: Stage, tokenizer: HubTokenizer) -> None:
    stage.answers(SIMULATOR, "Q", "R")
    stage.answers(RESPONDENT, "A", "B")
    await stage.run(seed=5)
    assert stage.queue.done == ["append 0", "append 1", "append 2", "append 3", "finish 4"]
    assert stage.queue.contents() == ["Q", "A", "R", "B"]
    assert stage.queue.generated_tokens == [1, 1, 1, 1]
    assert stage.asked() == [
        (url, sampling_seed(5, 7, i)) for i, url in enumerate([SIMULATOR, RESPONDENT, SIMULATOR, RESPONDENT])
    ]
    spoken = [Turn(USER, "Q"), Turn(ASSISTANT, "A"), Turn(USER, "R")]
    profiles = [SOCRATIC, PLATOLM, SOCRATIC, PLATOLM]
    assert [body["prompt"] for _, body in stage.engines.asked] == [
        prompt_ids(spoken[:i], profile, tokenizer) for i, profile in enumerate(profiles)
    ]
    finished = stage.queue.finished
    assert finished is not None
    assert finished.reason is TerminationReason.TURN_LIMIT
    assert finished.record["conversations"] == [
        {"from": "human", "value": "Q"},
        {"from": "gpt", "value": "A"},
        {"from": "human", "value": "R"},
        {"from": "gpt", "value": "B"},
    ]
    assert stage.counted("conversations_ended_total", reason="turn_limit") == 1
    assert stage.counted("utterances_total", side="simulator", finish_reason="stop") == 2


async def test_it_goes_on_where_the_queue_has_it(stage: Stage, tokenizer: HubTokenizer) -> None:
    """Utterances that are recorded are asked for no more, and seen with the ids as they were generated."""
    strange = [tokenizer.encode(letter)[0] for letter in "QQ"]
    stage.queue.turns = [turn(USER, "Q", strange), turn(ASSISTANT, "A", [50])]
    stage.answers(SIMULATOR, "R")
    stage.answers(RESPONDENT, "B")
    await stage.run()
    assert stage.queue.done == ["append 2", "append 3", "finish 4"]
    assert stage.asked() == [(SIMULATOR, sampling_seed(0, 7, 2)), (RESPONDENT, sampling_seed(0, 7, 3))]
    own = prompt_ids([Turn(USER, "Q", strange), Turn(ASSISTANT, "A")], SOCRATIC, tokenizer)
    assert stage.engines.asked[0][1]["prompt"] == own


async def test_one_that_had_ended_is_only_finished(stage: Stage) -> None:
    stage.queue.turns = [turn(USER, "Q"), turn(ASSISTANT, "A"), turn(USER, "R"), turn(ASSISTANT, "B")]
    await stage.run()
    assert stage.queue.done == ["finish 4"]
    assert stage.engines.asked == []


@pytest.mark.parametrize("recorded", [0, 1, 2])
async def test_what_the_seed_gives_is_recorded_first(stage: Stage, recorded: int) -> None:
    given = [
        RecordedTurn(USER, "Q", FinishReason.SEED, 1).to_json(),
        RecordedTurn(ASSISTANT, "A", FinishReason.SEED, 1).to_json(),
    ]
    stage.seed = Seed(question="Q", answer="A")
    stage.queue.turns = given[:recorded]
    stage.answers(SIMULATOR, "R")
    stage.answers(RESPONDENT, "B")
    await stage.run(seed_mode=SeedMode.EXCHANGE)
    assert stage.queue.contents() == ["Q", "A", "R", "B"]
    assert stage.queue.generated_tokens == [*[0] * (2 - recorded), 1, 1]
    assert stage.asked() == [(SIMULATOR, sampling_seed(0, 7, 2)), (RESPONDENT, sampling_seed(0, 7, 3))]


async def test_a_full_context_is_asked_nothing(stage: Stage) -> None:
    stage.seed = Seed(question="x" * 200)
    stage.context_tokens = 300
    await stage.run(seed_mode=SeedMode.QUESTION)
    assert stage.queue.done == ["append 0", "finish 1"]
    assert stage.queue.finished is not None
    assert stage.queue.finished.reason is TerminationReason.CONTEXT_FULL
    assert stage.queue.finished.record["num_rounds"] == 0


# Utterances that end it too early


async def test_too_early_an_end_is_made_again_with_another_seed(stage: Stage) -> None:
    stage.answers(SIMULATOR, "<e>", "Q <e>", "Q")
    stage.answers(RESPONDENT, "A")
    await stage.run(endings=Endings(min_turns=2, max_turns=2))
    assert stage.queue.contents() == ["Q", "A"]
    assert stage.asked() == [
        *[(SIMULATOR, sampling_seed(0, 7, 0, again)) for again in (0, 1, 2)],
        (RESPONDENT, sampling_seed(0, 7, 1)),
    ]
    assert stage.queue.finished is not None
    assert stage.queue.finished.record["turns"][0]["sampling_seed"] == sampling_seed(0, 7, 0, 2)
    assert stage.counted("utterance_retries_total", side="simulator", cause="regenerated") == 2


async def test_what_stays_too_early_ends_it(stage: Stage) -> None:
    stage.answers(SIMULATOR, "", "  ", "\n")
    await stage.run(endings=Endings(empty=False), retries=Retries(regenerations=2))
    assert stage.queue.contents() == ["\n"]
    assert stage.queue.finished is not None
    assert stage.queue.finished.reason is TerminationReason.EMPTY
    assert stage.queue.finished.record["conversations"] == []


# Engines that fail


async def test_an_engine_that_fails_in_passing_is_asked_again_with_the_same_seed(stage: Stage) -> None:
    stage.answers(SIMULATOR, BROKEN, BUSY, "Q", "R")
    stage.answers(RESPONDENT, AWAY, "A", "B")
    await stage.run()
    assert stage.queue.contents() == ["Q", "A", "R", "B"]
    assert stage.asked()[:3] == [(SIMULATOR, sampling_seed(0, 7, 0))] * 3
    assert stage.asked()[3:5] == [(RESPONDENT, sampling_seed(0, 7, 1))] * 2
    causes = {
        (side, cause): stage.counted("utterance_retries_total", side=side, cause=cause)
        for side, cause in [("simulator", "server_error"), ("simulator", "busy"), ("respondent", "no_answer")]
    }
    assert set(causes.values()) == {1.0}


@pytest.mark.parametrize(
    ("failures", "is_passed_over"),
    [
        ([AWAY, AWAY], True),
        ([BUSY, AWAY], True),
        ([BROKEN, BROKEN, BROKEN], False),
        ([LATE, UNREADABLE, BROKEN], False),
    ],
)
async def test_it_leaves_a_replica_that_stays_bad_and_keeps_to_the_next(
    stage: Stage, failures: list[Exception], is_passed_over: bool
) -> None:
    stage.answers(SIMULATOR, "Q", "R")
    stage.answers(RESPONDENT, *failures)
    stage.answers(OTHER, "A", "B")
    stage.queue.places = [OTHER]
    await stage.run()
    assert stage.queue.contents() == ["Q", "A", "R", "B"]
    assert stage.queue.place_calls == [(ASSISTANT, [OTHER])]
    assert [url for url, _ in stage.asked() if url != SIMULATOR] == [RESPONDENT] * len(failures) + [OTHER, OTHER]
    passed_over = {replica.url for replica in stage.pools.replicas if not replica.is_usable(time.monotonic())}
    assert passed_over == ({RESPONDENT} if is_passed_over else set())


async def test_it_leaves_an_engine_that_hangs_at_once(stage: Stage) -> None:
    stage.answers(SIMULATOR, "Q", "R")
    stage.answers(RESPONDENT, NEVER)
    stage.answers(OTHER, "A", "B")
    stage.queue.losses, stage.queue.places = [1], [OTHER]
    running = asyncio.create_task(stage.run())
    replica = stage.pools.replicas.get(RESPONDENT)
    await until(lambda: bool(replica.speaking))
    replica.abandon()
    await running
    assert stage.queue.contents() == ["Q", "A", "R", "B"]
    assert [url for url, _ in stage.asked()] == [SIMULATOR, RESPONDENT, OTHER, SIMULATOR, OTHER]


async def test_with_no_other_replica_it_waits_in_the_queue(stage: Stage) -> None:
    stage.answers(SIMULATOR, AWAY, AWAY)
    await stage.run()
    assert stage.queue.done == ["release"]


# What may end engines


@pytest.fixture
def suspense(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """How long waits for being suspect may have been; none is waited for."""
    bounds: list[float] = []

    def uniform(low: float, high: float) -> float:
        bounds.append(high)
        return 0.0

    monkeypatch.setattr("services.orchestrator.conversations.retries.random.uniform", uniform)
    return bounds


@pytest.mark.parametrize("failures", [[LOST, AWAY], [LOST, LOST], [AWAY, LOST], [BROKEN, AWAY]])
async def test_an_engine_that_goes_away_with_its_request_is_counted(
    stage: Stage, suspense: list[float], failures: list[Exception]
) -> None:
    stage.answers(SIMULATOR, "Q")
    stage.answers(RESPONDENT, *failures)
    stage.answers(OTHER, "A")
    stage.queue.losses, stage.queue.places = [3], [OTHER]
    await stage.run(endings=Endings(max_turns=2))
    assert stage.queue.done == ["append 0", "lose_engine", "place", "append 1", "finish 2"]
    assert 2.0**2 in suspense


async def test_one_that_was_not_there_is_not_counted(stage: Stage) -> None:
    stage.answers(SIMULATOR, AWAY, AWAY)
    await stage.run()
    assert stage.queue.done == ["release"]


async def test_one_that_was_at_many_lost_engines_waits_first(stage: Stage, suspense: list[float]) -> None:
    stage.lost_engines = 4
    stage.answers(SIMULATOR, "Q")
    stage.answers(RESPONDENT, "A")
    await stage.run(endings=Endings(max_turns=2))
    assert suspense == [2.0**3]


@pytest.mark.parametrize(("outcome", "dead"), [(Outcome.DEAD, 1), (Outcome.STALE, 0)])
async def test_too_many_lost_engines_end_it(stage: Stage, suspense: list[float], outcome: Outcome, dead: int) -> None:
    stage.answers(SIMULATOR, LOST, LOST)
    stage.queue.losses = [outcome]
    await stage.run()
    assert (stage.queue.done, stage.queue.error) == (["lose_engine"], "was reset")
    assert stage.counted("conversations_dead_total") == dead


async def test_a_busy_engine_keeps_it(stage: Stage) -> None:
    stage.answers(SIMULATOR, "Q", "R")
    stage.answers(RESPONDENT, *[BUSY] * 20, "A", "B")
    await stage.run()
    assert stage.queue.contents() == ["Q", "A", "R", "B"]
    assert stage.queue.place_calls == []


FAILING = pytest.mark.parametrize("failure", [BROKEN, UNREADABLE, LATE], ids=["500", "not JSON", "late"])


@pytest.fixture
def clock(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> StoppedClock:
    """Each answer takes a second, and nothing else any time."""
    stage.engines.clock = stopped = StoppedClock()
    stopped.now = 1000.0
    monkeypatch.setattr("services.orchestrator.conversations.runner.time", stopped)
    return stopped


@FAILING
async def test_an_engine_that_answers_and_only_fails_costs_an_attempt(
    stage: Stage, clock: StoppedClock, failure: SpeakerError
) -> None:
    """Back in the queue, it would be handed out for the same engine for ever: its metrics answer."""
    stage.engines.always[SIMULATOR] = failure
    await stage.run(retries=Retries(utterance_for_s=60))
    assert stage.queue.done == ["fail"]
    assert stage.queue.error == str(failure)
    assert clock.now == 1000.0 + 60 + 1
    assert stage.asked() == [(SIMULATOR, sampling_seed(0, 7, 0))] * 61
    assert stage.pools.replicas.get(SIMULATOR).is_usable(time.monotonic())
    assert stage.counted("attempts_failed_total") == 1


@FAILING
async def test_two_engines_that_only_fail_cost_an_attempt_and_stay_for_others(
    stage: Stage, clock: StoppedClock, failure: SpeakerError
) -> None:
    """It may be this conversation that they fail at."""
    stage.answers(SIMULATOR, "Q")
    stage.engines.always = {RESPONDENT: failure, OTHER: failure}
    stage.queue.places = [OTHER, RESPONDENT] * 3
    await stage.run(retries=Retries(utterance_for_s=20))
    assert stage.queue.done == ["append 0", *["place"] * 6, "fail"]
    assert stage.queue.error == str(failure)
    asked = [url for url, _ in stage.asked()[1:]]
    assert asked == [*[RESPONDENT] * 3, *[OTHER] * 3] * 3 + [*[RESPONDENT] * 3]
    assert [one.url for one in stage.pools.get(ASSISTANT, "").usable()] == [RESPONDENT, OTHER]
    assert clock.now == 1000.0 + 1 + 21


@pytest.mark.parametrize("failures", [[AWAY, AWAY], [BROKEN, BROKEN, BROKEN]], ids=["away", "500"])
async def test_a_move_under_a_lost_claim_writes_nothing(stage: Stage, failures: list[Exception]) -> None:
    stage.answers(SIMULATOR, "Q")
    stage.answers(RESPONDENT, *failures)
    stage.queue.places = [None]
    await stage.run()
    assert stage.queue.done == ["append 0", "place"]


async def test_a_refusal_counts_as_a_failure(stage: Stage) -> None:
    stage.answers(SIMULATOR, "Q")
    stage.answers(RESPONDENT, SpeakerError("answered 400: too long", status=400))
    await stage.run()
    assert stage.queue.done == ["append 0", "fail"]
    assert stage.queue.error == "answered 400: too long"
    assert stage.counted("attempts_failed_total") == 1


async def test_an_engine_that_fails_for_too_long_counts_as_a_failure(stage: Stage) -> None:
    stage.answers(SIMULATOR, BUSY)
    await stage.run(retries=Retries(utterance_for_s=0))
    assert stage.queue.done == ["fail"]
    assert stage.queue.error == "busy"


async def test_what_the_server_asks_for_is_not_waited_for_beyond_the_limit(stage: Stage) -> None:
    stage.answers(SIMULATOR, SpeakerError("busy", status=429, retryable=True, retry_after_s=601.0))
    await stage.run(retries=Retries(utterance_for_s=600))
    assert stage.queue.done == ["fail"]


async def test_another_model_pauses_the_run_and_costs_no_attempt(stage: Stage) -> None:
    stage.answers(SIMULATOR, MisconfiguredError("answered 404: no such model", status=404))
    await stage.run()
    assert stage.queue.done == ["pause run-a", "release"]
    assert stage.queue.pause_reason == (PausedBy.WORKER, "answered 404: no such model")


async def test_a_defect_of_our_own_counts_as_a_failure(stage: Stage) -> None:
    stage.answers(SIMULATOR, ZeroDivisionError("what"))
    await stage.run()
    assert stage.queue.done == ["fail"]
    assert stage.queue.error == "ZeroDivisionError: what"


async def test_turns_that_cannot_be_read_count_as_a_failure(stage: Stage) -> None:
    stage.queue.turns = ["{"]
    await stage.run()
    assert stage.queue.done == ["fail"]
    assert stage.queue.error is not None
    assert stage.queue.error.startswith("JSONDecodeError: ")


# What the queue says


def lose_claim(queue: StubQueue) -> None:
    queue.token = "other"


def be(state: RunState) -> Callable[[StubQueue], None]:
    def happen(queue: StubQueue) -> None:
        queue.state = state

    return happen


def forget(num_turns: int) -> Callable[[StubQueue], None]:
    """Redis comes back a moment older."""

    def happen(queue: StubQueue) -> None:
        del queue.turns[-num_turns:]

    return happen


async def test_a_lost_claim_stops_it_and_writes_nothing_more(stage: Stage) -> None:
    stage.answers(SIMULATOR, "Q")
    stage.answers(RESPONDENT, "A")
    stage.queue.script = [None, lose_claim]
    await stage.run()
    assert stage.queue.done == ["append 0", "append 1"]
    assert stage.queue.contents() == ["Q"]


@pytest.mark.parametrize(
    ("script", "done"),
    [
        # Utterances that Redis lost are recorded again from memory, those that it has are not.
        ([None, None, forget(1)], ["append 0", "append 1", "append 2", "append 1", "append 2", "append 3", "finish 4"]),
        (
            [None, None, forget(2)],
            ["append 0", "append 1", "append 2", "append 0", "append 1", "append 2", "append 3", "finish 4"],
        ),
        ([None] * 4 + [forget(1)], [*(f"append {i}" for i in range(4)), "finish 4", "append 3", "finish 4"]),
        (
            [None] * 4 + [forget(4)],
            [*(f"append {i}" for i in range(4)), "finish 4", *(f"append {i}" for i in range(4)), "finish 4"],
        ),
        # Once more while it is being repaired.
        (
            [None] * 4 + [forget(1), None, forget(1)],
            [*(f"append {i}" for i in range(4)), "finish 4", "append 3", "finish 4", "append 3", "finish 4"],
        ),
    ],
)
async def test_what_redis_lost_is_recorded_again(stage: Stage, script: list[Any], done: list[str]) -> None:
    stage.answers(SIMULATOR, "Q", "R")
    stage.answers(RESPONDENT, "A", "B")
    stage.queue.script = script
    await stage.run()
    assert stage.queue.done == done
    assert stage.queue.contents() == ["Q", "A", "R", "B"]
    assert stage.queue.finished is not None
    assert len(stage.engines.asked) == 4, "nothing is generated twice"


async def test_a_claim_that_is_lost_while_it_repairs_stops_it(stage: Stage) -> None:
    stage.answers(SIMULATOR, "Q", "R")
    stage.answers(RESPONDENT, "A")
    stage.queue.script = [None, None, forget(1), lose_claim]
    await stage.run()
    assert stage.queue.done == ["append 0", "append 1", "append 2", "append 1"]


@pytest.mark.parametrize("error", [RedisConnectionError("away"), ConnectionResetError("reset")])
async def test_redis_may_be_away_at_any_call(stage: Stage, error: Exception) -> None:
    stage.answers(SIMULATOR, "Q", "R")
    stage.answers(RESPONDENT, "A", "B")
    stage.queue.script = [error, error, None, None, error, None, None, error]
    await stage.run()
    assert stage.queue.contents() == ["Q", "A", "R", "B"]
    assert stage.queue.finished is not None
    assert len(stage.engines.asked) == 4


async def test_a_cancelled_run_is_left(stage: Stage) -> None:
    stage.answers(SIMULATOR, "Q")
    stage.queue.script = [be(RunState.CANCELLING)]
    await stage.run()
    assert stage.queue.done == ["append 0"]


async def test_a_paused_run_gets_its_conversation_back_after_the_utterance(stage: Stage) -> None:
    stage.answers(SIMULATOR, "Q")
    stage.queue.script = [be(RunState.PAUSED)]
    await stage.run()
    assert stage.queue.done == ["append 0", "release"]
    assert stage.queue.contents() == ["Q"]


async def test_one_that_has_ended_is_finished_though_its_run_is_paused(stage: Stage) -> None:
    stage.answers(SIMULATOR, "Q")
    stage.answers(RESPONDENT, "A")
    stage.queue.script = [None, be(RunState.PAUSED)]
    await stage.run(endings=Endings(max_turns=2))
    assert stage.queue.done == ["append 0", "append 1", "finish 2"]


# The worker stops


async def until(condition: Callable[[], bool]) -> None:
    """Let the loop run until something has happened."""
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0)


async def test_the_utterance_in_flight_is_recorded_before_it_is_given_back(stage: Stage) -> None:
    stage.answers(SIMULATOR, "Q")
    stage.queue.script = [lambda _: stage.stopping.set()]
    await stage.run()
    assert stage.queue.done == ["append 0", "release"]
    assert stage.queue.contents() == ["Q"]


async def test_one_that_ends_with_the_worker_is_finished(stage: Stage) -> None:
    stage.answers(SIMULATOR, "Q")
    stage.answers(RESPONDENT, "A")
    stage.queue.script = [None, lambda _: stage.stopping.set()]
    await stage.run(endings=Endings(max_turns=2))
    assert stage.queue.done == ["append 0", "append 1", "finish 2"]


async def test_a_worker_that_stops_does_not_sit_out_a_pause(stage: Stage) -> None:
    stage.answers(SIMULATOR, SpeakerError("busy", status=429, retryable=True, retry_after_s=500.0))
    running = asyncio.create_task(stage.run())
    await until(lambda: stage.counted("utterance_retries_total", side="simulator", cause="busy") == 1)
    stage.stopping.set()
    await running
    assert stage.queue.done == ["release"]


async def test_a_cancellation_writes_nothing(stage: Stage) -> None:
    stage.answers(SIMULATOR, NEVER)
    running = asyncio.create_task(stage.runner().run())
    replica = stage.pools.replicas.get(SIMULATOR)
    await until(lambda: bool(replica.speaking))
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert stage.queue.done == []
    assert replica.speaking == set()


@pytest.mark.parametrize("over", [0, 1])
@pytest.mark.parametrize("ends", [True, False], ids=["stop", "length"])
async def test_what_an_engine_found_in_its_cache_is_held_against_what_it_can_have(
    stage: Stage, tokenizer: HubTokenizer, ends: bool, over: int
) -> None:
    """`over` is how many tokens it saw beyond those whose last makes a block full: the last one is not computed."""
    stage.engines.metrics[SIMULATOR] = 'vllm:cache_config_info{block_size="16",num_gpu_blocks="100"} 1'
    await stage.pools.refresh()
    opening = len(prompt_ids([], SOCRATIC, tokenizer))
    blocks = opening // 16 + 2
    text = "abcdefghijklmnopqrstuvwxyz0123456789"[: 16 * blocks + over - opening - ends]
    first, second = stage.said(text, ends=ends), stage.said("R")
    stage.answers(SIMULATOR, replace(first, num_cached_tokens=32), replace(second, num_cached_tokens=10**6))
    stage.answers(RESPONDENT, "A", "B")
    await stage.run()
    attainable = 16 * (blocks if over else blocks - 1)
    counted = {
        name: stage.counted(f"{name}_cached_tokens_total", side="simulator") for name in ("attained", "attainable")
    }
    assert counted == {"attained": attainable, "attainable": attainable}
    assert stage.counted("cached_prompt_tokens_total", side="simulator") == 32 + 10**6
