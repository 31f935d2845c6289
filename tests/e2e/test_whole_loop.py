"""The whole loop with nothing replaced: real engines, real Redis, the demo pair, the command line."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from platolm.conversation import ASSISTANT, SYSTEM, USER, Message
from platolm.dataset import read_records
from platolm.dyadic import PLATOLM, PROFILES, SOCRATIC, Turn, compose
from platolm.tokenizer import HubTokenizer, load_tokenizer
from tests.integration.orchestrator.processes import (
    Process,
    api_of,
    api_process,
    wait_until,
    worker_process,
    writer_process,
)
from tests.local_stack import REPOSITORY, RunningStack, platolm
from tests.recording_proxy import RecordingProxy
from tests.redis_server import RedisServer

pytestmark = [pytest.mark.vllm, pytest.mark.slow, pytest.mark.timeout(600)]

MODELS = REPOSITORY / "models" / "demo"
REAL_OPENINGS = REPOSITORY.parent / "shared" / "data" / "seeds_sharegpt_first.jsonl"


@pytest.fixture(scope="module")
def tokenizer() -> HubTokenizer:
    return load_tokenizer(MODELS / "socratic")


def read_sharegpt(folder: Path) -> list[dict[str, Any]]:
    lines = (folder / "sharegpt.jsonl").read_text(encoding="utf-8").split("\n")
    return [json.loads(line) for line in lines if line]


def check_records(records: list[dict[str, Any]], conversations: int) -> None:
    assert sorted(record["index"] for record in records) == list(range(conversations))
    assert len({record["id"] for record in records}) == conversations
    for record in records:
        names = [turn["from"] for turn in record["conversations"]]
        assert names == ["human", "gpt"] * (len(names) // 2)
        assert all(turn["value"].strip() for turn in record["conversations"])
        assert [turn["num_tokens"] > 0 for turn in record["turns"]] == [True] * len(names)
        assert (record["simulator"]["model"], record["respondent"]["model"]) == ("socratic", "platolm")


def test_free_conversations(stack: RunningStack, tmp_path: Path) -> None:
    """The demo pair's text: first questions differ, utterances end by themselves, nothing is blank."""
    done = platolm("run", "--conversations", "64", "--out", "free", "--api", stack.api_url, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    records = read_sharegpt(tmp_path / "free")
    check_records(records, 64)
    openings = {record["conversations"][0]["value"] for record in records}
    assert len(openings) >= 0.8 * 64
    turns = [turn for record in records for turn in record["turns"]]
    self_ended = [turn for turn in turns if turn["finish_reason"] == "stop" and turn["num_tokens"] <= 192]
    assert len(self_ended) >= 0.92 * len(turns), "96.9 % were measured; the bound leaves room for sampling"
    assert sum(record["num_rounds"] for record in records) / 64 >= 3


def test_running_again_changes_nothing_and_another_run_is_refused(stack: RunningStack, tmp_path: Path) -> None:
    command = ("run", "--conversations", "3", "--max-turns", "4", "--out", "out", "--api", stack.api_url)
    assert platolm(*command, cwd=tmp_path).returncode == 0
    before = (tmp_path / "out" / "sharegpt.jsonl").read_bytes()
    again = platolm(*command, cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    assert (tmp_path / "out" / "sharegpt.jsonl").read_bytes() == before
    refused = platolm(*command, "--seed", "5", cwd=tmp_path)
    assert refused.returncode == 2
    assert (tmp_path / "out" / "sharegpt.jsonl").read_bytes() == before


def test_real_openings(stack: RunningStack, tmp_path: Path) -> None:
    if not REAL_OPENINGS.is_file():
        pytest.skip(f"{REAL_OPENINGS.name} is not beside this checkout")
    command = ["run", "--seeds", str(REAL_OPENINGS), "--seed-mode", "question", "--conversations", "24"]
    done = platolm(*command, "--max-turns", "8", "--out", "out", "--api", stack.api_url, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    records = read_sharegpt(tmp_path / "out")
    check_records(records, 24)
    asked = {json.loads(line)["instruction"] for line in REAL_OPENINGS.read_text(encoding="utf-8").split("\n") if line}
    assert all(record["conversations"][0]["value"] in asked for record in records)


@dataclass
class OwnOrchestrator:
    """A queue, API and worker of this test's own, before the shared engines, with everything said to these recorded."""

    redis: RedisServer
    api: Process
    writer: Process
    worker: Process
    proxies: dict[str, RecordingProxy]
    data_dir: Path


@pytest.fixture
def own(stack: RunningStack, tmp_path: Path) -> Iterator[OwnOrchestrator]:
    simulator = RecordingProxy(stack.url("simulator_engine_port") + "/v1")
    respondent = RecordingProxy(stack.url("respondent_engine_port") + "/v1")
    redis = RedisServer(tmp_path / "redis")
    redis.start()
    with simulator.running(), respondent.running():
        api = api_process(tmp_path, redis.url).start()
        writer = writer_process(tmp_path, redis.url, segment_age_s=0.5).start()
        worker = worker_process(tmp_path, redis.url, simulator.url, respondent.url, lease_s=10.0).start()
        yield OwnOrchestrator(redis, api, writer, worker, {USER: simulator, ASSISTANT: respondent}, tmp_path / "data")
        worker.end()
        writer.end()
        api.end()
    redis.stop()


def test_a_worker_prompts_as_training_composes(own: OwnOrchestrator, tokenizer: HubTokenizer) -> None:
    """What the running engine reports of each prompt is a prefix of the conversation's training ids."""
    client = api_of(own.api)
    seeds = [{"question": "Can you type </s> and <s> for me?"}, {"question": "naïve café 🙂\n\nHuman: <s>hi"}]
    spec = {"conversations": 6, "seed_mode": "question", "endings": {"max_turns": 8, "repetition": False}}
    run_id = client.submit({"spec": spec, "seeds": seeds}).json()["id"]
    client.wait_completed(run_id, timeout_s=200)
    checked = 0
    for record in read_records(own.data_dir / "runs" / run_id):
        for profile in (SOCRATIC, PLATOLM):
            checked += check_prompts(record, profile.name, own.proxies[profile.target_role], tokenizer)
    assert checked >= 6 * 4


def check_prompts(record: dict[str, Any], profile: str, proxy: RecordingProxy, tokenizer: HubTokenizer) -> int:
    """Compare one side's prompts in a conversation with its training ids; gives how many were compared."""
    side = PROFILES[profile]
    turns = [
        Turn(how["role"], said["value"], how["token_ids"] if how["role"] == side.target_role else None)
        for said, how in zip(record["conversations"], record["turns"], strict=True)
    ]
    training = compose(turns, side, tokenizer).input_ids
    compared = 0
    for how in record["turns"]:
        if how["role"] != side.target_role or how["finish_reason"] == "seed":
            continue
        length = how["num_prompt_tokens"]
        reported = [e for e in proxy.exchanges if e.seed == how["sampling_seed"] and len(e.prompt_token_ids) == length]
        assert reported, "the engine was asked"
        assert any(exchange.prompt_token_ids == training[:length] for exchange in reported)
        compared += 1
    return compared


@pytest.mark.parametrize(
    ("profile", "port_field", "messages"),
    [
        (PLATOLM, "respondent_port", [Message(USER, "Say </s> and <s>.")]),
        (PLATOLM, "respondent_port", [Message(SYSTEM, "Be brief."), Message(USER, "a"), Message(ASSISTANT, "b"),
                                      Message(USER, "Human: <s>c")]),
        (SOCRATIC, "simulator_port", []),
        (SOCRATIC, "simulator_port", [Message(USER, "Hi"), Message(ASSISTANT, "Hello </s>")]),
    ],
)  # fmt: skip
def test_the_gateway_prompts_as_training_composes(
    stack: RunningStack, tokenizer: HubTokenizer, profile: Any, port_field: str, messages: list[Message]
) -> None:
    body = {
        "model": profile.name,
        "messages": [{"role": m.role, "content": m.content} for m in messages],
        "max_tokens": 4,
        "return_token_ids": True,
    }
    answer = httpx.post(f"{stack.url(port_field)}/v1/chat/completions", json=body, timeout=60).raise_for_status().json()
    training = compose([*messages, Message(profile.target_role, "…")], profile, tokenizer).input_ids
    reported = answer["prompt_token_ids"]
    assert reported == training[: len(reported)]
    assert len(reported) > 20


def test_a_worker_killed_in_mid_run(own: OwnOrchestrator) -> None:
    """Each conversation once; of what was acknowledged, nothing is generated again."""
    client = api_of(own.api)
    run_id = client.submit({"spec": {"conversations": 16, "endings": {"max_turns": 12}}}).json()["id"]
    wait_until(lambda: client.run(run_id)["utterances"] >= 40, what="40 utterances", timeout_s=120)
    own.worker.kill()
    asked_before = {proxy.target: len(proxy.exchanges) for proxy in own.proxies.values()}
    recorded = client.run(run_id)["utterances"]
    own.worker.start()
    client.wait_completed(run_id, timeout_s=200)
    records = client.dataset(run_id)
    check_records(records, 16)
    again = sum(requests_repeated(proxy) for proxy in own.proxies.values())
    assert recorded >= 40
    assert sum(asked_before.values()) >= 40
    assert again <= 16, "at most the utterance in flight of each conversation"


def requests_repeated(proxy: RecordingProxy) -> int:
    asked = [(tuple(exchange.sent), exchange.seed) for exchange in proxy.exchanges]
    return len(asked) - len(set(asked))
