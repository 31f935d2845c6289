"""Speakers of sides that chat APIs are behind: their context, models, budget and accounts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, cast

import aiohttp
import pytest
from prometheus_client import CollectorRegistry

from platolm.chat_apis.accounting import SideAccount
from platolm.chat_apis.budget import LocalBudget
from platolm.chat_apis.pace import RateLimits
from platolm.chat_apis.pacing import LocalPacer, Pacer
from platolm.chat_apis.prices import Prices, Usage
from platolm.chat_apis.speaker import ChatSpeaker
from platolm.conversation import ASSISTANT, USER
from platolm.engine_client import EngineModel
from platolm.errors import MisconfiguredError, SpecError
from platolm.speakers import TokenSpeaker
from platolm.spec import Endings, Limits, RunSpec, SideSpec
from services.orchestrator.engines.chat_apis import ChatApis
from services.orchestrator.engines.chat_sides import ChatSides, open_chat_apis
from services.orchestrator.engines.replicas import Pools, Replicas
from services.orchestrator.engines.sides import Sides
from services.orchestrator.metrics.worker import WorkerMetrics
from services.orchestrator.queue import Queue
from services.orchestrator.queue.chat_use import ChatUse
from tests.unit.orchestrator.stub_engines import StubEngines

SIMULATOR = "http://10.0.0.1:8000/v1"
URL = "http://127.0.0.1:9/v1"


class StubUse:
    """Keeps what it is given, in this process."""

    def __init__(self) -> None:
        self.accounts: dict[str, SideAccount] = {}
        self.budgets: list[tuple[str, int]] = []
        self.paces: list[str] = []

    def pacer(self, api: str, limits: RateLimits) -> Pacer:
        self.paces.append(api)
        return LocalPacer(limits)

    def budget(self, run_id: str, limit_nanos: int) -> LocalBudget:
        self.budgets.append((run_id, limit_nanos))
        return LocalBudget(limit_nanos)

    async def keep_account(self, run_id: str, side: str, speaker_id: str, account: SideAccount) -> None:
        self.accounts[f"{run_id} {side} {speaker_id}"] = account


class World:
    """A worker's sides, with files of the operator's and no network."""

    def __init__(self, folder: Path, root: str, monkeypatch: pytest.MonkeyPatch) -> None:
        self.use = StubUse()
        self.registry = CollectorRegistry()
        apis_file, prices_file = folder / "apis.json", folder / "prices.json"
        own = {"url": "https://api.example.com/v1", "model": "large", "key_env": "LARGE_KEY", "context_tokens": 900}
        apis_file.write_text(json.dumps({"apis": {"large": own, "small": {"url": URL, "model": "small-1"}}}))
        prices_file.write_text(json.dumps({"models": {"large": {"input": 1, "output": 2}}}))
        self.apis = open_chat_apis(
            apis_file, prices_file, use=cast("ChatUse", self.use), environment={"LARGE_KEY": "k"}, secrets_folder=None
        )
        StubEngines(models={SIMULATOR: [EngineModel("socratic", root, 4096)]}).installed(monkeypatch)
        replicas = Replicas(cast("aiohttp.ClientSession", None), hang_after_s=60)
        self.pools = Pools(replicas, {USER: [SIMULATOR], ASSISTANT: []}, self.apis)
        chat_sides = ChatSides(self.apis, cast("ChatUse", self.use), WorkerMetrics(self.registry))
        self.sides = Sides(self.pools, {USER: None, ASSISTANT: None}, None, chat_sides)


@pytest.fixture
async def world(tmp_path: Path, byte_tokenizer_folder: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    async def check(self: ChatApis, names: object) -> None:
        return None

    monkeypatch.setattr(ChatApis, "check", check)
    made = World(tmp_path, str(byte_tokenizer_folder), monkeypatch)
    await made.pools.refresh()
    return made


def spec(budget: float | None = None, simulator: SideSpec | None = None, **apis: float) -> RunSpec:
    return RunSpec(
        conversations=1,
        simulator=simulator or SideSpec(profile="socratic"),
        respondent=SideSpec(profile="chat", apis=apis),
        endings=Endings(context_tokens=2048),
        limits=Limits(budget=budget),
    )


async def test_one_side_an_engine_the_other_chat_apis(world: World) -> None:
    speakers = await world.sides.speakers("run-a", spec(large=2, small=1))
    simulator, respondent = speakers[USER], speakers[ASSISTANT]
    assert isinstance(simulator, TokenSpeaker)
    assert isinstance(respondent, ChatSpeaker)
    assert simulator.context_tokens == respondent.context_tokens == 900, "the smallest limit that is known"
    assert [respondent.model_of(api) for api in ("large", "small", None)] == ["large", "small-1", "large, small-1"]
    assert respondent.budget is None
    assert (await world.sides.speakers("run-a", spec(large=2, small=1))) is speakers


async def test_both_sides_spend_of_one_budget(world: World) -> None:
    asked = spec(0.3, SideSpec(profile="roleplay", apis={"small": 1}), small=1)
    speakers = await world.sides.speakers("run-a", asked)
    budgets = [cast("ChatSpeaker", speaker).budget for speaker in speakers.values()]
    assert budgets[0] is budgets[1] is not None
    assert world.use.budgets == [("run-a", 300_000_000)]
    assert cast("ChatSpeaker", speakers[USER]).context_tokens == 2048


async def test_accounts_are_kept_and_counted_for_prometheus(world: World) -> None:
    speakers = await world.sides.speakers("run-a", spec(small=1))
    respondent = cast("ChatSpeaker", speakers[ASSISTANT])
    respondent.account.answered(Usage(10, 5), 2_000_000_000, 0.5)
    respondent.account.failed(throttled=True, cost_nanos=0)
    respondent.account.failed(throttled=False, cost_nanos=500_000_000)
    assert respondent.keep is not None
    await respondent.keep(respondent.account)
    [(name, kept)] = world.use.accounts.items()
    assert name.startswith("run-a respondent ")
    assert kept is respondent.account
    assert SideAccount.from_json(kept.to_json()).num_requests == 3
    counted: Any = world.registry.get_sample_value
    outcomes = {
        outcome: counted("platolm_chat_api_requests_total", {"side": "respondent", "outcome": outcome})
        for outcome in ("answered", "failed", "throttled")
    }
    assert outcomes == {"answered": 1, "failed": 1, "throttled": 1}
    assert counted("platolm_chat_api_cost_total", {"side": "respondent"}) == 2.5


async def test_an_api_is_opened_with_its_key_pace_and_price(world: World) -> None:
    large, small = world.apis.get("large").engine, world.apis.get("small").engine
    assert world.use.paces == ["large", "small"]
    assert large.prices == Prices(input=1, output=2)
    assert small.prices == Prices(input=0, output=0), "it is local"
    await world.apis.close()


async def test_an_api_that_this_worker_does_not_know(world: World) -> None:
    with pytest.raises(MisconfiguredError, match="this worker knows no chat API 'other', but large, small"):
        await world.sides.speakers("run-a", spec(other=1))


async def test_a_side_without_engines_is_not_published(world: World) -> None:
    published: dict[str, object] = {}

    class StubQueue:
        async def publish_side(self, side: str, description: object) -> None:
            published[side] = description

    await world.sides.publish(cast("Queue", StubQueue()))
    assert list(published) == ["simulator"]


def test_a_file_that_is_wrong_is_told_with_its_line(tmp_path: Path) -> None:
    file = tmp_path / "apis.yaml"
    file.write_text("apis:\n  one:\n    url: nowhere\n    model: m\n")
    with pytest.raises(SpecError) as caught:
        open_chat_apis(file, None, use=cast("ChatUse", StubUse()), environment={}, secrets_folder=None)
    assert [(problem.path, problem.line) for problem in caught.value.problems] == [("apis.one.url", 3)]
