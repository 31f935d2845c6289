"""A stage's account: in, out, changed, dropped, and three examples of each kind."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from curation.clean.report import MAX_EXAMPLES, CleanReport, InputFile, StageCount, add_counts, opening
from curation.clean.stages import Dropped, Outcome
from curation.dialogue import Dialogue
from platolm.conversation import ASSISTANT, SYSTEM, USER, Message
from tests.unit.curation.clean.spoken import spoken


def numbered(number: int, *texts: str) -> Dialogue:
    return replace(spoken(*texts), id=f"d{number}", origin=f"f.jsonl:{number}")


def examples(count: StageCount) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = count.as_json()["examples"]
    return found


def test_what_passes_is_counted_and_no_example() -> None:
    count = StageCount("s")
    dialogue = spoken("a", "b", "c")
    assert count.pass_on(dialogue, dialogue) == (dialogue,)
    assert count.as_json() == {
        "name": "s", "conversations_in": 1, "conversations_out": 1, "turns_in": 3, "turns_out": 3, "changed": 0,
        "dropped": {}, "examples": [],
    }  # fmt: skip


def test_other_fields_are_no_change() -> None:
    count = StageCount("s")
    count.pass_on(spoken("a"), spoken("a", language="en"))
    assert count.changed == 0


def test_a_changed_turn_is_shown_around_its_first_difference() -> None:
    count = StageCount("s")
    same = "x" * 300
    count.pass_on(numbered(1, "q", same + "OLD" + same), numbered(1, "q", same + "NEW" + same))
    (example,) = examples(count)
    assert (example["id"], example["origin"]) == ("d1", "f.jsonl:1")
    assert example["before"] == "…" + "x" * 40 + "OLD" + "x" * 157 + "…"
    assert example["after"] == "…" + "x" * 40 + "NEW" + "x" * 157 + "…"
    assert "reason" not in example


def test_a_changed_role_and_a_changed_number_of_turns_are_told() -> None:
    count = StageCount("s")
    before = spoken("a", "b")
    count.pass_on(before, replace(before, messages=(Message(SYSTEM, "a"), before.messages[1])))
    count.pass_on(before, replace(before, messages=before.messages[:1]))
    count.pass_on(
        before, (replace(before, messages=before.messages[:1]), replace(before, messages=before.messages[1:]))
    )
    shown = [(example["before"], example["after"]) for example in examples(count)]
    assert shown == [("role user", "role system"), ("2 turns", "1 turns"), ("2 turns", "1 + 1 turns")]


def test_one_that_became_several_is_counted_as_what_it_became() -> None:
    count = StageCount("s")
    count.pass_on(spoken("a", "b"), (spoken("a"), spoken("b"), spoken("c")))
    assert (count.conversations_in, count.conversations_out, count.turns_in, count.turns_out) == (1, 3, 2, 3)
    assert count.changed == 1


def test_three_examples_of_each_kind_the_first_ones() -> None:
    count = StageCount("s")
    for number in range(10):
        for reason in ("late", "early"):
            assert count.pass_on(numbered(number, f"q{number}"), Dropped(reason, f"why {number}")) == ()
    assert count.dropped == {"late": 10, "early": 10}
    assert [(one["id"], one["reason"]) for one in examples(count)] == [
        *((f"d{n}", f"early: why {n}") for n in range(MAX_EXAMPLES)),
        *((f"d{n}", f"late: why {n}") for n in range(MAX_EXAMPLES)),
    ]
    assert examples(count)[0]["before"] == "q0"


def test_accounts_of_parts_add_up_to_the_account_of_the_whole() -> None:
    whole, first, second = StageCount("s"), StageCount("s"), StageCount("s")
    for number in range(8):
        before = numbered(number, "q", "a")
        outcomes: list[Outcome] = [before, numbered(number, "q", "b"), Dropped("gone", str(number)), (before, before)]
        outcome = outcomes[number % 4]
        whole.pass_on(before, outcome)
        (first if number < 3 else second).pass_on(before, outcome)
    add_counts([first], [second])
    assert first.as_json() == whole.as_json()


def test_a_dialogue_is_known_by_its_first_question() -> None:
    assert opening(Dialogue("d", (Message(SYSTEM, "s"), Message(ASSISTANT, "a"), Message(USER, "q" * 500)))) == (
        "q" * 200 + "…"
    )
    assert opening(Dialogue("d", (Message(ASSISTANT, "a"),))) == "a"
    assert opening(Dialogue("d", ())) == ""


def test_a_report_as_json_has_files_settings_versions_and_stages() -> None:
    report = CleanReport([InputFile("f", 3, "00")], {"similarity": 0.8}, {"rensa": "1"}, [StageCount("parse", 4, 2)])
    assert (report.num_read, report.num_written) == (4, 2)
    assert list(report.as_json()) == ["input", "settings", "versions", "stages"]
    assert report.as_json()["input"] == [{"path": "f", "size_bytes": 3, "sha256": "00"}]
