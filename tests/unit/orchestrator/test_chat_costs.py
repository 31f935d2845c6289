"""Chat APIs of a run that is to start: which of them there are, and what they are likely to cost."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from platolm.chat_apis.prices import FREE, Prices
from platolm.chat_apis.use import EstimatedCost
from platolm.errors import SpecError
from platolm.sampling import Sampling
from platolm.spec import Endings, Limits, RunSpec, SideSpec
from services.orchestrator import app, worker
from services.orchestrator.runs.chat_costs import budget_warnings, estimated, read_chat_prices, refused_apis

CHEAP, DEAR = Prices(input=1, output=2), Prices(input=3, output=1)
PRICES = {"cheap": CHEAP, "dear": DEAR, "unpriced": None}


def spec(budget: float | None = None, *, simulator: dict[str, float] | None = None, **respondent: float) -> RunSpec:
    sampling = Sampling(max_tokens=50)
    return RunSpec(
        conversations=10,
        endings=Endings(max_turns=2),
        simulator=SideSpec(profile="roleplay" if simulator else "socratic", apis=simulator or {}, sampling=sampling),
        respondent=SideSpec(profile="chat", apis=respondent, sampling=sampling),
        limits=Limits(budget=budget),
    )


def test_files_say_what_there_is_and_what_it_costs(tmp_path: Path) -> None:
    endpoints: dict[str, Any] = {
        "known": {"url": "https://api.example.com/v1", "model": "large"},
        "own": {"url": "https://api.example.com/v1", "model": "large", "prices": {"input": 5, "output": 6}},
        "local": {"url": "http://localhost:8000/v1", "model": "mine"},
        "unknown": {"url": "https://api.example.com/v1", "model": "new"},
    }
    apis, prices = tmp_path / "apis.json", tmp_path / "prices.json"
    apis.write_text(json.dumps({"apis": endpoints}))
    prices.write_text(json.dumps({"models": {"large": {"input": 1, "output": 2}}}))
    assert read_chat_prices(apis, prices) == {
        "known": CHEAP,
        "own": Prices(input=5, output=6),
        "local": FREE,
        "unknown": None,
    }
    assert read_chat_prices(None, prices) == {}
    with pytest.raises(SpecError, match=r"gone\.json: it cannot be read"):
        read_chat_prices(tmp_path / "gone.json", None)


def test_what_is_not_there_is_refused_with_what_is() -> None:
    told = [(problem.loc, problem.msg) for problem in refused_apis(spec(simulator={"x": 1}, cheap=1, y=2), PRICES)]
    why = "is no chat API that the operator allows (PLATOLM_API_CHAT_APIS_FILE); there are cheap, dear, unpriced"
    assert told == [
        (["body", "spec", "simulator", "apis", "x"], why),
        (["body", "spec", "respondent", "apis", "y"], why),
    ]
    [problem] = refused_apis(spec(cheap=1), {})
    assert problem.msg.endswith("; there is none")


def test_a_price_has_to_be_known_where_there_is_a_budget() -> None:
    assert list(refused_apis(spec(unpriced=1), PRICES)) == []
    [problem] = refused_apis(spec(5.0, unpriced=1, cheap=1), PRICES)
    assert problem.loc[-1] == "unpriced"
    assert problem.msg == "has no known price, and the run has a budget: add it to the price table"


def test_an_estimate_is_of_the_dearest_of_several() -> None:
    """Ten conversations of a round: a question of 50 tokens, and an answer of 50 that is shown it."""
    cost = estimated(spec(cheap=1, dear=1), [], PRICES)
    assert cost is not None
    assert (cost.low, cost.likely, cost.high) == (10 * 50 * (3 + 2) / 1e6,) * 3
    assert cost.told() == "about 0.0025 (0.0025 to 0.0025)"
    assert cost.explained().startswith(
        "about 0.0025 (0.0025 to 0.0025), with 10 conversations of 1 rounds, within 2048 tokens and 2 turns; "
    )


@pytest.mark.parametrize("asked", [spec(), spec(unpriced=1), spec(simulator={"unpriced": 1}, cheap=1)])
def test_no_estimate_where_nothing_is_asked_or_a_price_is_not_known(asked: RunSpec) -> None:
    assert estimated(asked, [], PRICES) is None


def test_a_budget_below_what_is_likely_is_worth_a_warning() -> None:
    cost = EstimatedCost(low=1, likely=2, high=4, assumptions=[])
    assert budget_warnings(spec(2.0, cheap=1), cost) == []
    assert budget_warnings(spec(cheap=1), cost) == []
    assert budget_warnings(spec(1.5, cheap=1), None) == []
    assert budget_warnings(spec(1.5, cheap=1), cost) == [
        "the run is likely to cost about 2.00 (1.00 to 4.00), more than its budget of 1.5: it will pause there"
    ]


def test_the_api_does_not_start_with_a_wrong_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "apis.yaml"
    file.write_text("apis:\n  one: {url: nowhere, model: m}\n  two: {url: http://b/v1, model: m, key: sk-1}\n")
    monkeypatch.setenv("PLATOLM_API_CHAT_APIS_FILE", str(file))
    assert app.serve({"data_dir": tmp_path}) == 2
    said = capsys.readouterr().err.splitlines()
    assert [line.partition(": ")[2].removeprefix(f"{file}: ")[:21] for line in said] == [
        "line 2: apis.one.url:", "line 3: apis.two.key:",
    ]  # fmt: skip


def test_a_worker_does_not_start_with_a_wrong_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLATOLM_WORKER_CHAT_APIS_FILE", str(tmp_path / "gone.yaml"))
    monkeypatch.setenv("PLATOLM_WORKER_HEALTH_PORT", "0")
    monkeypatch.setattr(worker, "configure_logs", lambda *args, **kwargs: None)
    result = CliRunner().invoke(command_of_worker(), [])
    assert result.exit_code == 2
    assert result.stderr == f"error: {tmp_path / 'gone.yaml'}: it cannot be read (No such file or directory)\n"


def command_of_worker() -> typer.Typer:
    command = typer.Typer()
    command.command()(worker.main)
    return command
