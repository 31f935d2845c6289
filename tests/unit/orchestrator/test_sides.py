"""Speakers for a run: which model, which tokenizer, how much context, and what is told to the API."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import aiohttp
import pytest

from platolm.conversation import ASSISTANT, USER
from platolm.engine_client import EngineModel
from platolm.errors import MisconfiguredError, SpeakerError
from platolm.sampling import PAPERS_SAMPLING, Sampling
from platolm.speakers import TokenSpeaker
from platolm.spec import Endings, RunSpec, SideSpec, speaker_profile
from services.orchestrator.engines.errors import NoReplicaError
from services.orchestrator.engines.replicas import Pools, Replicas
from services.orchestrator.engines.sides import SideDescription, Sides
from services.orchestrator.queue import Queue
from tests.unit.orchestrator.stub_engines import StubEngines
from tests.unit.simulators.tokenizers import save_llama3_tokenizer

SIMULATOR, RESPONDENT, OWN = "http://127.0.0.1:8011/v1", "http://127.0.0.1:8012/v1", "http://127.0.0.1:8099/v1"
LOST = SpeakerError("did not answer", retryable=True)


class StubQueue:
    def __init__(self) -> None:
        self.published: dict[str, dict[str, Any]] = {}

    async def publish_side(self, side: str, description: dict[str, Any]) -> None:
        self.published[side] = description


@pytest.fixture
def engines(byte_tokenizer_folder: Path, monkeypatch: pytest.MonkeyPatch) -> StubEngines:
    root = str(byte_tokenizer_folder)
    models = {
        SIMULATOR: [EngineModel("socratic", root, 1024)],
        RESPONDENT: [EngineModel("platolm", root, 4096), EngineModel("larger", root, 8192)],
        OWN: [EngineModel("mine", root, 512)],
    }
    return StubEngines(models=dict(models)).installed(monkeypatch)


@pytest.fixture
async def pools(engines: StubEngines) -> Pools:
    replicas = Replicas(cast("aiohttp.ClientSession", None), hang_after_s=60)
    pools = Pools(replicas, {USER: [SIMULATOR], ASSISTANT: [RESPONDENT]})
    pools.get(ASSISTANT, OWN)
    await pools.refresh()
    return pools


@pytest.fixture
def sides(pools: Pools) -> Sides:
    return Sides(pools, {USER: None, ASSISTANT: None})


def spec(**fields: Any) -> RunSpec:
    return RunSpec(conversations=1, **fields)


async def speakers_of(sides: Sides, run_id: str, asked: RunSpec) -> Mapping[str, TokenSpeaker]:
    """Of a run whose sides are engines."""
    return cast("Mapping[str, TokenSpeaker]", await sides.speakers(run_id, asked))


async def test_both_sides_of_a_run(sides: Sides) -> None:
    sampling = Sampling(temperature=0.2)
    speakers = await speakers_of(sides, "run-a", spec(respondent=SideSpec(profile="platolm", sampling=sampling)))
    assert [(role, one.profile, one.model, one.sampling) for role, one in speakers.items()] == [
        (USER, speaker_profile("socratic"), "socratic", Sampling(**PAPERS_SAMPLING)),
        (ASSISTANT, speaker_profile("platolm"), "platolm", sampling.or_else(PAPERS_SAMPLING)),
    ]


@pytest.mark.parametrize(
    ("asked", "model", "context"),
    [(2048, None, 1024), (1000, None, 1000), (10**8, "larger", 1024), (10**8, None, 1024)],
)
async def test_the_context_is_the_smallest_limit_of_all(
    sides: Sides, asked: int, model: str | None, context: int
) -> None:
    """Both sides stop at the same place, whichever of the two has less room."""
    respondent = SideSpec(profile="platolm", model=model)
    speakers = await speakers_of(sides, "run-a", spec(respondent=respondent, endings=Endings(context_tokens=asked)))
    assert {one.context_tokens for one in speakers.values()} == {context}
    assert speakers[ASSISTANT].model == (model or "platolm")


async def test_a_run_with_engines_of_its_own(sides: Sides) -> None:
    speakers = await speakers_of(sides, "run-a", spec(respondent=SideSpec(profile="platolm", endpoints=[OWN])))
    assert (speakers[ASSISTANT].model, speakers[ASSISTANT].context_tokens) == ("mine", 512)


async def test_a_tokenizer_is_loaded_once_for_all_runs(sides: Sides) -> None:
    first, second = [await speakers_of(sides, run, spec()) for run in ("run-a", "run-b")]
    assert first[USER].tokenizer is first[ASSISTANT].tokenizer is second[USER].tokenizer


async def test_the_workers_tokenizer_is_for_its_own_engines(pools: Pools, byte_tokenizer_folder: Path) -> None:
    with_setting = Sides(pools, {USER: None, ASSISTANT: "/no/such/model"})
    with pytest.raises(MisconfiguredError, match=r"respondent platolm: .*/no/such/model"):
        await speakers_of(with_setting, "run-a", spec())
    speakers = await speakers_of(with_setting, "run-a", spec(respondent=SideSpec(profile="platolm", endpoints=[OWN])))
    assert speakers[ASSISTANT].tokenizer.name == str(byte_tokenizer_folder)


async def test_the_models_are_asked_for_once_a_run(sides: Sides, engines: StubEngines) -> None:
    before = await speakers_of(sides, "run-a", spec())
    engines.models = dict.fromkeys((SIMULATOR, RESPONDENT), LOST)
    assert await speakers_of(sides, "run-a", spec()) is before
    with pytest.raises(SpeakerError, match="did not answer"):
        await speakers_of(sides, "run-b", spec())


async def test_a_run_that_waited_is_looked_at_again(sides: Sides, engines: StubEngines) -> None:
    await speakers_of(sides, "run-a", spec())
    await speakers_of(sides, "run-b", spec())
    [served] = cast("list[EngineModel]", engines.models[SIMULATOR])
    engines.models[SIMULATOR] = [EngineModel("newer", served.root, served.max_model_len)]
    sides.forget({"run-b"})
    assert (await speakers_of(sides, "run-a", spec()))[USER].model == "newer"
    assert (await speakers_of(sides, "run-b", spec()))[USER].model == "socratic"


async def test_another_model_than_the_one_that_is_served(sides: Sides) -> None:
    with pytest.raises(MisconfiguredError, match="serves socratic, not missing"):
        await speakers_of(sides, "run-a", spec(simulator=SideSpec(profile="socratic", model="missing")))


async def test_no_engine_is_no_misconfiguration(sides: Sides) -> None:
    with pytest.raises(NoReplicaError) as caught:
        await speakers_of(sides, "run-a", spec(simulator=SideSpec(profile="socratic", endpoints=["http://[::1]:9/v1"])))
    assert caught.value.retryable


async def test_what_is_served_is_told_to_the_api(pools: Pools, byte_tokenizer_folder: Path) -> None:
    queue = StubQueue()
    await Sides(pools, {USER: "/models/mine", ASSISTANT: None}).publish(cast("Queue", queue))
    assert {side: SideDescription(**told) for side, told in queue.published.items()} == {
        "simulator": SideDescription("socratic", "/models/mine", 1024),
        "respondent": SideDescription("platolm", str(byte_tokenizer_folder), 4096),
    }


async def test_nothing_is_told_of_engines_that_are_away(sides: Sides, engines: StubEngines) -> None:
    engines.models[SIMULATOR] = LOST
    queue = StubQueue()
    with pytest.raises(SpeakerError, match="did not answer"):
        await sides.publish(cast("Queue", queue))
    assert queue.published == {}


# One engine for both sides


@pytest.fixture
async def shared(engines: StubEngines, byte_tokenizer_folder: Path) -> Sides:
    """Both roles' pools are one engine, which lists its base first."""
    root = str(byte_tokenizer_folder)
    engines.models[SIMULATOR] = [EngineModel(name, root, 1024) for name in ("base", "socratic", "platolm")]
    engines.models[OWN] = [EngineModel("mine", root, 512)]
    replicas = Replicas(cast("aiohttp.ClientSession", None), hang_after_s=60)
    pools = Pools(replicas, {USER: [SIMULATOR], ASSISTANT: [SIMULATOR]})
    pools.get(ASSISTANT, OWN)
    await pools.refresh()
    return Sides(pools, {USER: None, ASSISTANT: None}, {USER: "socratic", ASSISTANT: "platolm"})


async def test_each_side_has_its_own_model_of_one_engine(shared: Sides) -> None:
    speakers = await speakers_of(shared, "run-a", spec())
    assert (speakers[USER].model, speakers[ASSISTANT].model) == ("socratic", "platolm")
    queue = StubQueue()
    await shared.publish(cast("Queue", queue))
    assert {side: told["model"] for side, told in queue.published.items()} == {
        "simulator": "socratic",
        "respondent": "platolm",
    }


async def test_a_spec_may_name_another_model_of_the_engine(shared: Sides) -> None:
    speakers = await speakers_of(shared, "run-a", spec(respondent=SideSpec(profile="platolm", model="base")))
    assert (speakers[USER].model, speakers[ASSISTANT].model) == ("socratic", "base")


async def test_the_workers_model_is_for_its_own_engines(shared: Sides) -> None:
    speakers = await speakers_of(shared, "run-a", spec(respondent=SideSpec(profile="platolm", endpoints=[OWN])))
    assert (speakers[USER].model, speakers[ASSISTANT].model) == ("socratic", "mine")


async def test_an_engine_without_the_workers_model(shared: Sides, engines: StubEngines) -> None:
    engines.models[SIMULATOR] = cast("list[EngineModel]", engines.models[SIMULATOR])[:2]
    with pytest.raises(MisconfiguredError, match="serves base, socratic, not platolm"):
        await speakers_of(shared, "run-a", spec())


async def test_each_side_speaks_as_its_profile_says(engines: StubEngines, pools: Pools, tmp_path: Path) -> None:
    """Where a tokenizer lacks what a profile's prompt is made of, the run is told so."""
    asked = spec(
        simulator=SideSpec(profile="userlm", system_prompt="You want a cake."),
        respondent=SideSpec(profile="chat"),
        endings=Endings(goodbye_threshold=0.5),
    )
    with pytest.raises(MisconfiguredError, match=r"simulator socratic: the tokenizer has no '<\|start_header_id\|>'"):
        await speakers_of(Sides(pools, {USER: None, ASSISTANT: None}), "run-a", asked)
    folder = str(save_llama3_tokenizer(tmp_path))
    speakers = await speakers_of(Sides(pools, {USER: folder, ASSISTANT: folder}), "run-a", asked)
    assert {role: (one.profile.name, one.tells_goodbye) for role, one in speakers.items()} == {
        USER: ("userlm", True),
        ASSISTANT: ("chat", True),
    }
    assert speakers[USER].sampling == Sampling(**{**PAPERS_SAMPLING, "temperature": 1.0, "top_p": 0.8})
