"""A judge behind OpenAI's API: what it is asked, what comes of its scores, and that nothing is asked twice."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from curation.evaluation.endpoint import EndpointSettings
from curation.evaluation.report import Price
from curation.stats.figures import Figure
from curation.stats.judge import JudgeSettings, Scores, judge
from curation.stats.sample import Sampled
from curation.stats.sampled import Raters, rate
from platolm.errors import MisconfiguredError
from tests.fakes.chat_server import Body, ChatServer, Refusal, last_message
from tests.unit.curation.stats.records import dialogue


def scored(body: Body) -> str | Refusal:
    """By what the human asks for: bread 3, tea 9; of wine it does not speak, and juice it does not take."""
    asked = last_message(body)
    if "juice" in asked:
        return Refusal(400, "too long")
    if "wine" in asked:
        return "I would rather not say."
    mark = 3 if "bread" in asked else 9
    return json.dumps({"complexity": mark, "relevancy": 5, "logicality": mark, "diversity": 10})


@pytest.fixture
def server() -> Iterator[ChatServer]:
    with ChatServer(("gpt-4",), says=scored, api_key="secret").running() as running:
        yield running


def settings_of(server: ChatServer, folder: Path, **changed: object) -> JudgeSettings:
    endpoint = EndpointSettings("judge", server.url, "--judge-api-key", "secret", max_retries=2)
    return JudgeSettings(endpoint, folder / "judgments.jsonl", **{"price": Price(10, 20), **changed})  # type: ignore[arg-type]


def sampled(*asked: str) -> list[Sampled]:
    return [Sampled(number, f"d{number}", dialogue(one, "Well.").messages) for number, one in enumerate(asked)]


def values(figures: dict[str, Figure]) -> list[float | None]:
    return [figures[f"judge_{name}"].value for name in ("complexity", "relevancy", "logicality", "diversity")]


def test_scores_are_means_over_what_was_judged(server: ChatServer, tmp_path: Path) -> None:
    sample = sampled("bread?", "tea?", "wine?", "juice?", "more bread?")
    told: list[tuple[str, int, float]] = []
    rated = rate(sample, Raters(judge=settings_of(server, tmp_path)), 1, lambda *now: told.append(now))
    assert values(rated.figures) == [5, 5, 5, 10]
    assert rated.figures["judge_complexity"].count == 3
    low, high = rated.figures["judge_complexity"].low, rated.figures["judge_complexity"].high
    assert low is not None
    assert high is not None
    assert 3 <= low < 5 < high <= 9
    assert rated.made_by["judge"] == "gpt-4"
    assert sorted(told) == [("conversations judged", number, number / 5) for number in range(1, 6)]
    cost = rated.judge_cost
    assert cost is not None
    assert cost.requests == 4
    assert cost.amount == pytest.approx((cost.prompt_tokens * 10 + cost.completion_tokens * 20) / 1e6)
    assert cost.prompt_tokens > 400
    assert {body["temperature"] for body in server.asked} == {0}


def test_the_same_conversations_are_not_judged_twice(server: ChatServer, tmp_path: Path) -> None:
    settings = settings_of(server, tmp_path)
    once = asyncio.run(judge(sampled("bread?", "tea?"), settings))
    again = asyncio.run(judge(sampled("tea?", "bread?", "more tea?"), settings))
    assert len(server.asked) == 3
    assert again.cost.requests == 1
    assert (again.scores[0], again.scores[1]) == (once.scores[1], once.scores[0])
    kept = [json.loads(line) for line in settings.journal.read_bytes().splitlines()]
    assert sorted(row["id"] for row in kept) == ["d0", "d1", "d2"]


def test_what_a_kill_cut_short_is_asked_again(server: ChatServer, tmp_path: Path) -> None:
    settings = settings_of(server, tmp_path)
    asyncio.run(judge(sampled("bread?", "tea?"), settings))
    content = settings.journal.read_text()
    settings.journal.write_text(content[: content.index("\n") + 20])
    assert len(asyncio.run(judge(sampled("bread?", "tea?"), settings)).scores) == 2
    assert len(server.asked) == 3


def test_only_so_many_are_judged(server: ChatServer, tmp_path: Path) -> None:
    judged = asyncio.run(judge(sampled(*["tea?"] * 9), settings_of(server, tmp_path, conversations=4, price=None)))
    assert judged.scores == dict.fromkeys(range(4), Scores(complexity=9, relevancy=5, logicality=9, diversity=10))
    assert judged.cost.amount is None


def test_a_judge_without_readable_scores_says_so(server: ChatServer, tmp_path: Path) -> None:
    figures = rate(sampled("wine?", "wine!"), Raters(judge=settings_of(server, tmp_path)), 1).figures
    assert values(figures) == [None] * 4
    assert figures["judge_diversity"].lacking == "the judge gave no readable scores (2 asked for in vain)"


def test_a_key_that_is_refused_is_an_error(server: ChatServer, tmp_path: Path) -> None:
    server.api_key = "another"
    with pytest.raises(MisconfiguredError, match="--judge-api-key"):
        asyncio.run(judge(sampled("tea?"), settings_of(server, tmp_path)))
