"""Runs of every simulator profile over real engines: one stand-in for their models, the demo pair's respondent."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from platolm.conversation import USER
from platolm.dataset import read_records
from platolm.dyadic import Turn
from platolm.simulators import PROFILES
from platolm.spec import RunSpec, Seed, sampling_seed, seed_position, told_of
from platolm.tokenizer import HubTokenizer, load_tokenizer
from tests.integration.gateway.chain_model import CONTEXT, END_MARK, GOODBYE_AFTER_THANKS
from tests.integration.gateway.conftest import REPOSITORY, Service, StartService
from tests.integration.orchestrator.processes import Api, Process, api_of, api_process, worker_process, writer_process
from tests.recording_proxy import Exchange, RecordingProxy
from tests.redis_server import RedisServer
from tests.unit.simulators.tokenizers import END_CONVERSATION

pytestmark = [pytest.mark.vllm, pytest.mark.slow, pytest.mark.timeout(900)]

CONVERSATIONS = 8
SEEDS: list[dict[str, Any]] = [
    {
        "intent": "You want to know how a bicycle stays upright.",
        "goal": "Learn why bikes do not fall over.",
        "persona": "A child of nine who asks a lot.",
        "profile": "You are nine years old and take machines apart.",
    },
    {
        "question": "my basil <|eot_id|> died again, why",
        "intent": "You want to keep a basil plant alive.",
        "persona": "A cook without a garden.",
        "profile": "You cook a lot and forget to water plants.",
    },
]
ENDINGS: dict[str, Any] = {"max_turns": 6, "repetition": False, "context_tokens": CONTEXT}
Record = dict[str, Any]
Asked = Mapping[int, Exchange]


@dataclass
class Stage:
    """An orchestrator of its own before the engines; `simulator` keeps what was asked of the stand-in."""

    api: Api
    worker: Process
    simulator: RecordingProxy
    stand_in_url: str
    data_dir: Path

    def run(
        self, profile: str, *, seeds: Sequence[Mapping[str, Any]] = SEEDS, **fields: Any
    ) -> tuple[RunSpec, list[Record]]:
        """A run that completes without a dead conversation; its spec and records by index."""
        given: dict[str, Any] = {
            "conversations": CONVERSATIONS,
            "seed_mode": "intent" if seeds else "free",
            "simulator": {"profile": profile, "sampling": {"max_tokens": 64}},
            "respondent": {"profile": "platolm", "sampling": {"max_tokens": 24}},
            "endings": ENDINGS,
            **fields,
        }
        response = self.api.submit({"spec": given, "seeds": list(seeds)})
        assert response.status_code == 201, response.text
        progress = self.api.wait_completed(response.json()["id"], log=self.worker.log)
        count = given["conversations"]
        assert (progress["finished"], progress["dead"], progress["warnings"]) == (count, 0, [])
        records = sorted(read_records(self.data_dir / "runs" / progress["id"]), key=lambda record: int(record["index"]))
        assert [record["index"] for record in records] == list(range(count))
        return RunSpec.model_validate(progress["spec"]), records

    def faults(self) -> dict[str, float]:
        """The worker's count of the simulator's faults, by kind."""
        text = httpx.get(self.worker.ready_url.replace("/readyz", "/metrics"), trust_env=False).text
        found = re.findall(r"^platolm_utterance_faults_total\{(.*)\} (\S+)$", text, re.MULTILINE)
        by_labels = {tuple(sorted(re.findall(r'(\w+)="(\w+)"', labels))): float(value) for labels, value in found}
        return {labels[0][1]: value for labels, value in by_labels.items() if labels[1][1] == "simulator"}


@pytest.fixture(scope="module")
def stage(
    launch: StartService, simulators: dict[str, Service], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Stage]:
    folder = tmp_path_factory.mktemp("runs")
    respondent = launch("respondent", model=REPOSITORY / "models" / "demo" / "platolm")
    stand_in_url = f"http://127.0.0.1:{simulators['userlm'].engine_port}/v1"
    proxy = RecordingProxy(stand_in_url)
    redis = RedisServer(folder / "redis")
    redis.start()
    respondent.wait_ready()
    with proxy.running():
        api = api_process(folder, redis.url, allowed_endpoints=stand_in_url).start()
        writer = writer_process(folder, redis.url, segment_age_s=0.1, poll_interval_s=0.05).start()
        respondent_url = f"http://127.0.0.1:{respondent.engine_port}/v1"
        worker = worker_process(folder, redis.url, proxy.url, respondent_url, poll_interval_s=0.05).start()
        yield Stage(api_of(api), worker, proxy, stand_in_url, folder / "data")
        for process in (worker, writer, api):
            process.end()
    redis.stop()


@pytest.fixture(scope="module")
def tokenizer(stand_in: Path) -> HubTokenizer:
    return load_tokenizer(stand_in)


def asked_in(stage: Stage, spec: RunSpec) -> dict[tuple[int, int, int], Exchange]:
    """What the stand-in was asked in a run, by conversation, turn and try."""
    by_seed = {exchange.seed: exchange for exchange in stage.simulator.exchanges}
    most = spec.retries.regenerations + 1
    places = ((i, turn, made) for i in range(spec.conversations) for turn in range(20) for made in range(most))
    return {place: by_seed[seed] for place in places if (seed := sampling_seed(spec.seed, *place)) in by_seed}


def turns_of(record: Record) -> list[Turn]:
    """As the simulator's prompts see them: its own utterances by their ids where these are kept."""
    said = zip(record["conversations"], record["turns"], strict=True)
    return [Turn(how["role"], text["value"], how["token_ids"] if how["role"] == USER else None) for text, how in said]


@pytest.mark.parametrize("number", range(len(PROFILES)), ids=list(PROFILES))
def test_a_run_of_each_profile(number: int, stage: Stage, tokenizer: HubTokenizer) -> None:
    """Every prompt, word, end and fault of it is what the profile makes of what the engine was asked and said."""
    name, profile = list(PROFILES.items())[number]
    spec, records = stage.run(name, seed=1000 * number)
    asked = asked_in(stage, spec)
    prompts = profile.prompts(tokenizer)
    num_checked = 0
    for record in records:
        seed = Seed.model_validate(SEEDS[seed_position(record["index"], spec, len(SEEDS))])
        assert (record["simulator"]["profile"], record["simulator"]["sampling"]) == (
            name,
            profile.sampling(spec.simulator.sampling).model_dump(),
        )
        turns, told = turns_of(record), told_of(spec.simulator, seed, spec.seed_mode)
        if seed.question is not None:
            assert (turns[0].content, record["turns"][0]["finish_reason"]) == (seed.question, "seed")
        for position, how in enumerate(record["turns"]):
            if how["role"] != USER or how["finish_reason"] == "seed":
                continue
            tries = [asked[place] for made in range(4) if (place := (record["index"], position, made)) in asked]
            expected = prompts.ids(turns[:position], told)
            assert all(exchange.prompt_token_ids == expected for exchange in tries)
            assert how["num_prompt_tokens"] == len(expected)
            said = [profile.clean(tokenizer.decode(profile.spoken_ids(e.token_ids, prompts))) for e in tries]
            faults = [profile.fault_of(one, turns[:position], told) for one in said]
            assert Counter(fault for fault in faults if fault) == Counter(how["faults"] or [])
            assert all(faults[:-1])
            assert faults[-1] is None or len(tries) == spec.retries.regenerations + 1
            assert (said[-1].content, said[-1].end) == (turns[position].content, how["end"])
            assert how["token_ids"] is None or said[-1].intact
            num_checked += 1
    assert num_checked >= CONVERSATIONS
    for exchange in asked.values():
        check_stopped(exchange, name, tokenizer)


def check_stopped(exchange: Exchange, profile: str, tokenizer: HubTokenizer) -> None:
    """The engine stops at the profile's goodbye, whether it is one token or several, and says it in the ids."""
    if profile == "userlm":
        assert END_CONVERSATION not in exchange.token_ids[:-1]
    if profile == "roleplay":
        assert END_MARK not in tokenizer.decode(exchange.token_ids[:-1])
    assert tokenizer.eos_id not in exchange.token_ids[:-1]


def test_goodbyes_end_conversations(stage: Stage, tokenizer: HubTokenizer) -> None:
    """One of one token and one of several; one that comes too early is made again, while a try is left."""
    for profile, seed in (("userlm", 70), ("roleplay", 71)):
        before = stage.faults()
        endings = {**ENDINGS, "max_turns": 12, "min_turns": 5}
        spec, records = stage.run(profile, seed=seed, conversations=24, endings=endings)
        asked = asked_in(stage, spec)
        ended = [record for record in records if record["termination_reason"] == "user_ended"]
        assert len(ended) >= 2
        places = [(record["index"], record["goodbye_at"]) for record in ended]
        assert all(turn >= 4 or (index, turn, spec.retries.regenerations) in asked for index, turn in places)
        said = [tokenizer.decode(exchange.token_ids) for exchange in asked.values()]
        marker = PROFILES[profile].end_markers[0]
        assert any(text.endswith(marker) for text in said)
        assert all(text.count(marker) == text.endswith(marker) for text in said)
        assert not any(marker in turn["value"] for record in records for turn in record["conversations"])
        assert stage.faults()["early_end"] > before.get("early_end", 0)


def thanks(text: str) -> int:
    """How many places an utterance has where the stand-in may say goodbye."""
    return text.split().count("thanks")


def test_how_likely_each_goodbye_was(stage: Stage) -> None:
    _, records = stage.run("userlm", seed=81, endings={**ENDINGS, "user_ended": False, "goodbye_threshold": 1})
    told = []
    for record in records:
        for text, how in zip(record["conversations"], record["turns"], strict=True):
            if how["role"] == USER and how["finish_reason"] != "seed":
                expected = 1 - (1 - GOODBYE_AFTER_THANKS) ** thanks(text["value"])
                assert how["goodbye_probability"] == pytest.approx(expected, abs=2e-6)
                told.append(how["goodbye_probability"])
            else:
                assert how["goodbye_probability"] is None
    assert min(told) == 0 < max(told)


def test_a_likely_goodbye_is_one(stage: Stage) -> None:
    endings = {**ENDINGS, "max_turns": 12, "goodbye_threshold": 0.5, "extra_turns": 2}
    _, records = stage.run("userlm", seed=91, endings=endings)
    ends = set()
    for record in records:
        goodbye = record["goodbye_at"]
        if record["termination_reason"] != "user_ended":
            continue
        assert len(record["turns"]) == goodbye + 2, "of the two after it, a question that hangs is left out"
        assert (record["turns"][goodbye]["end"], thanks(record["conversations"][goodbye]["value"]) > 0) == (
            record["goodbye_end"],
            True,
        )
        ends.add(record["goodbye_end"])
        earlier = [turn for turn in record["turns"][:goodbye] if turn["role"] == USER]
        assert not any((turn["goodbye_probability"] or 0) >= 0.5 for turn in earlier)
    assert ends == {"marker", "likely"}


def test_goodbyes_in_turns_are_a_loop(stage: Stage) -> None:
    """Both sides are the stand-in here, the respondent in its own chat format; greedy, it says `Bye!` alone."""
    greedy = {"temperature": 0, "max_tokens": 16}
    respondent = {"profile": "chat", "sampling": greedy, "endpoints": [stage.stand_in_url]}
    simulator = {"profile": "socratic", "sampling": greedy}
    _, records = stage.run("socratic", seeds=[], seed=95, simulator=simulator, respondent=respondent)
    for record in records:
        assert record["termination_reason"] == "goodbye_loop"
        assert [turn["value"] for turn in record["conversations"]] == ["Bye!", "Bye!"]
        assert record["respondent"]["profile"] == "chat"
