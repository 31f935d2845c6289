"""What the pages' modules reckon without a page: axes, bins, seeds as pasted, durations, rates."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.browser.chromium import Watched

SEED_FIELDS = "question, answer, intent, goal, persona, profile"
CALL = """async ([module, name, ...given]) => {
  const folder = document.querySelector('script[src*="/js/"]').src.replace(/[^/]+$/, "");
  return (await import(folder + module))[name](...given);
}"""
RATES = """async () => {
  const folder = document.querySelector('script[src*="/js/"]').src.replace(/[^/]+$/, "");
  const { RunRates } = await import(folder + "run_rates.js");
  const rates = new RunRates();
  const totals = (n) => ({ finished: n, utterances: 4 * n, generated_tokens: 100 * n });
  for (let s = 0; s <= 120; s += 1) rates.add("a", s, totals(s < 60 ? 0 : 2 * (s - 60)));
  rates.add("b", 0, totals(0));
  const run = (id) => ({ id, conversations: 200, finished: 120, dead: 10, cancelled: 10 });
  return [rates.of(run("a")), rates.of(run("b"))];
}"""


@pytest.fixture
def call(tab: Watched) -> Any:
    page = tab.open("/runs")
    return lambda module, name, *given: page.evaluate(CALL, [module, name, *given])


@pytest.mark.parametrize(
    ("largest", "options", "expected"),
    [
        (0, {}, [0, 1]),
        (100, {}, [0, 50, 100]),
        (7, {}, [0, 2.5, 5, 7.5]),
        (7, {"isWhole": True}, [0, 5, 10]),
        (1, {"isWhole": True}, [0, 1]),
        (1, {}, [0, 0.5, 1]),
        (41_000, {"isWhole": True}, [0, 20_000, 40_000, 60_000]),
    ],
)
def test_ticks_are_round_and_reach_the_largest(
    call: Any, largest: float, options: dict[str, Any], expected: list[float]
) -> None:
    assert call("scales.js", "ticks", largest, options) == expected


def test_the_nearest_sample(call: Any) -> None:
    samples = [{"time": time} for time in (10, 12, 14, 30)]
    found = [call("scales.js", "nearest", samples, time) for time in (0, 10.9, 11.1, 21, 23, 99)]
    assert found == [0, 0, 1, 2, 3, 3]


def test_bins_are_joined_to_as_many_as_there_is_room_for(call: Any) -> None:
    bins = [[rounds, rounds] for rounds in range(1, 8)]
    assert call("scales.js", "joined", bins, 7) == bins
    assert call("scales.js", "joined", bins, 3) == [["1–3", 6], ["4–6", 15], [7, 7]]


def test_a_line_has_gaps_where_nothing_is_known(call: Any) -> None:
    assert call("scales.js", "path", [[0, 1], [2, 3], None, [4, 5]]) == "M0.0 1.0h.01L2.0 3.0M4.0 5.0h.01"


def test_seeds_as_text_as_json_lines_and_as_a_list(call: Any) -> None:
    def parsed(text: str, mode: str = "question") -> tuple[list[dict[str, Any]], list[str]]:
        found = call("seed_text.js", "parseSeeds", text, mode)
        return found["seeds"], found["problems"]

    assert parsed("Why?\n\n  How?  ") == ([{"question": "Why?", "line": 1}, {"question": "How?", "line": 3}], [])
    assert parsed("to bake", "intent") == ([{"intent": "to bake", "line": 1}], [])
    lines = '{"question": "a", "answer": "b", "id": 7}\r\n{"instruction": "c"}\n{"id": 1}\n{"open'
    assert parsed(lines) == (
        [{"question": "a", "answer": "b", "line": 1}, {"question": "c", "line": 2}],
        [f"Line 3: it needs one of {SEED_FIELDS}", "Line 4: it begins like JSON but is none"],
    )
    assert parsed('["a", {"prompt": "b"}, 3]') == (
        [{"question": "a"}, {"question": "b"}],
        [f"Item 3: it needs one of {SEED_FIELDS}"],
    )
    told = {"intent": "to bake", "goal": "a cake", "persona": "shy", "profile": "a baker"}
    assert parsed(json.dumps(told), "intent") == ([{**told, "line": 1}], [])


def test_seeds_that_are_conversations(call: Any) -> None:
    def parsed(text: str) -> tuple[list[dict[str, Any]], list[str]]:
        found = call("seed_text.js", "parseSeeds", text, "continue")
        return found["seeds"], found["problems"]

    turns = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Ho"}]
    openai = {"messages": [{"role": "system", "content": "Be brief."}, *turns], "ended": True, "persona": "shy"}
    sharegpt = {"conversations": [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Ho"}], "id": "a"}
    lines = "\n".join(map(json.dumps, [openai, sharegpt, {"turns": ["Hi", turns[1]]}]))
    assert parsed(lines) == (
        [
            {"persona": "shy", "turns": turns, "ended": True, "line": 1},
            {"turns": turns, "line": 2},
            {"turns": turns, "line": 3},
        ],
        [],
    )
    assert parsed("Hi") == ([{"turns": turns[:1], "line": 1}], [])
    assert parsed('{"question": "Hi"}\n{"turns": [5]}') == (
        [],
        [
            "Line 1: it needs one of turns, messages, conversations",
            "Line 2: each of its turns has to be a text with a role",
        ],
    )


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.84, "0.8 s"),
        (9.97, "10 s"),
        (59.7, "1 min 00 s"),
        (200, "3 min 20 s"),
        (7500, "2 h 05 min"),
        (356_400, "4 d 3 h"),
        (None, "–"),
    ],
)
def test_durations_carry_units(call: Any, seconds: float | None, text: str) -> None:
    assert call("format.js", "duration", seconds) == text


def test_rates_are_those_of_the_last_minute(tab: Watched) -> None:
    steady, unknown = tab.open("/runs").evaluate(RATES)
    assert steady == {"conversations_per_min": 120, "tokens_per_s": 200, "utterances_per_s": 8, "eta_s": 30}
    assert set(unknown.values()) == {None}
