"""Chat APIs in `platolm run` and `platolm runs`: named, paid for, accounted for."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from platolm.chat_apis.use import ApiUse, EstimatedCost
from platolm.cli.api_weights import weights_of
from platolm.errors import InputError
from platolm.runs import Pause, PausedBy
from platolm.spec import RunRequest, RunSpec, SideSpec
from tests.unit.cli.conftest import RunCommand
from tests.unit.cli.fake_api import FakeApi
from tests.unit.cli.fake_run import FakeRun


@pytest.mark.parametrize(
    ("given", "weights"),
    [
        (None, None),
        ([], None),
        (["openai"], {"openai": 1}),
        (["openai=3", "gpt-4.1_x=0.5"], {"openai": 3, "gpt-4.1_x": 0.5}),
    ],
)
def test_weights(given: list[str] | None, weights: dict[str, float] | None) -> None:
    assert weights_of(given) == weights


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["a=x"], "a=x: the weight 'x' is no number, write it as openai=2.5"),
        (["a="], "a=: the weight '' is no number, write it as openai=2.5"),
        (["a", "a=2"], "chat API a is given twice: give it one weight, a=WEIGHT"),
    ],
)
def test_weights_that_are_none(given: list[str], said: str) -> None:
    with pytest.raises(InputError) as caught:
        weights_of(given)
    assert str(caught.value) == said


async def shown(platolm: RunCommand, *arguments: str) -> RunSpec:
    result = await platolm("run", *arguments, "--show", "--json")
    assert result.code == 0, result.stderr
    spec = json.loads(result.stdout)
    del spec["seeds"]
    return RunSpec.model_validate(spec)


async def test_options_name_apis_and_profiles_that_go_with_them(platolm: RunCommand) -> None:
    spec = await shown(
        platolm, "--respondent-api", "openai=3", "--respondent-api", "laptop", "--simulator-api", "x", "--budget", "2.5"
    )
    assert (spec.respondent.profile, spec.respondent.apis) == ("chat", {"openai": 3, "laptop": 1})
    assert (spec.simulator.profile, spec.simulator.apis) == ("roleplay", {"x": 1})
    assert spec.limits.budget == 2.5
    assert spec.respondent.sampling.temperature is None, "the model's own"


async def test_a_profile_that_is_named_stays(platolm: RunCommand, tmp_path: Path) -> None:
    given = ("--respondent-api", "a", "--respondent-profile", "platolm")
    assert (await shown(platolm, *given)).respondent.profile == "platolm"
    (tmp_path / "run.yaml").write_text(
        "simulator: {apis: {a: 1}, profile: usp, system_prompt: Ask.}\nrespondent:\n  apis:\n    gpt-4.1: 2\n"
    )
    spec = await shown(platolm, "run.yaml")
    assert (spec.simulator.profile, spec.respondent.profile) == ("usp", "chat")
    assert spec.respondent.apis == {"gpt-4.1": 2}


async def test_a_spec_with_apis_is_shown_and_read_again(platolm: RunCommand, tmp_path: Path) -> None:
    first = await platolm("run", "--show", "--respondent-api", "a=2", "--budget", "3")
    (tmp_path / "again.yaml").write_text(first.stdout)
    again = await platolm("run", "again.yaml", "--show")
    assert (again.code, again.stdout) == (0, first.stdout)
    assert "apis:\n    a: 2.0\n" in first.stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--respondent-api", "a b"], "respondent.apis.a b"),
        (["--respondent-api", "a=0"], "respondent.apis.a: Input should be greater than 0 (given: 0.0)"),
        (["--respondent-api", "a", "--respondent-model", "m"], "give apis, or endpoints and model"),
        (["--budget", "5"], "limits.budget is for chat APIs, and no side has apis"),
        (["--respondent-api", "a", "--budget", "0"], "limits.budget: Input should be greater than 0"),
    ],
)
async def test_misuse_is_exit_2_and_says_what(platolm: RunCommand, arguments: list[str], said: str) -> None:
    result = await platolm("run", *arguments)
    assert (result.code, "Traceback" in result.stderr) == (2, False)
    assert said in result.stderr


async def test_what_a_run_has_used_is_in_its_summary_and_its_folder(
    api: FakeApi, platolm: RunCommand, tmp_path: Path
) -> None:
    api.apis = {"respondent": ApiUse(requests=6, prompt_tokens=100, generated_tokens=20, cost=0.5)}
    api.cost_estimate = EstimatedCost(low=1, likely=2, high=4, assumptions=["this", "that"])
    result = await platolm("run", "-n", "3", "--respondent-api", "a", "--out", tmp_path / "out")
    assert result.code == 0, result.stderr
    assert "chat APIs are likely to cost about 2.00 (1.00 to 4.00), with this; that" in result.stderr
    assert "respondent's chat APIs" in result.stdout
    assert "6 requests, 100 tokens in and 20 out, cost 0.5000" in " ".join(result.stdout.split())
    kept = json.loads((tmp_path / "out" / "run.json").read_text())
    assert kept["summary"]["apis"]["respondent"]["cost"] == 0.5


async def test_a_budget_is_raised_when_a_run_is_resumed(api: FakeApi, platolm: RunCommand) -> None:
    side = SideSpec(profile="chat", apis={"a": 1})
    spec = RunSpec.model_validate({"conversations": 3, "respondent": side.model_dump(), "limits": {"budget": 2}})
    run = api.runs["run-4f2a"] = FakeRun("run-4f2a", RunRequest(spec=spec), is_paced=False)
    run.pause = Pause(by=PausedBy.LIMIT, reason="1.99 of the budget of 2.00 is spent")
    before = await platolm("runs", "show", "4f2a")
    assert "2 for chat APIs" in before.stdout
    result = await platolm("runs", "resume", "4f2a", "--budget", "7.5", "--json")
    assert json.loads(result.stdout)["budget"] == 7.5
    assert run.budget == 7.5
