"""What a judge is asked, and what its reply says."""

from __future__ import annotations

import pytest

from curation.stats.judge import MAX_CHARS, Scores, judge_messages, read_scores
from platolm.conversation import SYSTEM, Message
from tests.unit.curation.stats.records import dialogue

GOOD = '{"complexity": 3, "relevancy": 9, "logicality": 8, "diversity": 1}'


@pytest.mark.parametrize(
    "reply",
    [GOOD, f"Here you are:\n```json\n{GOOD}\n```", '{"complexity": 1}\n' + GOOD, GOOD.replace("3", "3.0")],
)
def test_scores_are_read_from_the_last_object_that_has_them(reply: str) -> None:
    assert read_scores(reply) == Scores(complexity=3, relevancy=9, logicality=8, diversity=1)


@pytest.mark.parametrize(
    "reply", ["", "8 of 10", '{"complexity": 3}', GOOD.replace("9", "11"), GOOD.replace("9", "0"), "{" + GOOD[2:]]
)
def test_a_reply_without_all_four_has_none(reply: str) -> None:
    assert read_scores(reply) is None


def test_the_judge_sees_both_sides_and_no_system_message() -> None:
    said = judge_messages((Message(SYSTEM, "secret"), *dialogue("Why?", "So.").messages))
    assert [one["role"] for one in said] == ["system", "user"]
    assert "Human: Why?\n\nAssistant: So." in said[1]["content"]
    assert "secret" not in said[1]["content"]


def test_a_long_conversation_is_judged_by_its_beginning() -> None:
    assert len(judge_messages(dialogue("a" * 2 * MAX_CHARS).messages)[1]["content"]) < MAX_CHARS + 200
