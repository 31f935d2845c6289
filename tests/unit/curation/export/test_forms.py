"""What a row holds, and which dialogues other trainers take."""

from __future__ import annotations

import pytest

from curation.dialogue import Dialogue
from curation.export.forms import Fitted, Unfit, as_it_is, fitted, llama_factory_entry, public_name, rounds_of, row_of
from platolm.conversation import ASSISTANT, SYSTEM, USER, Message
from platolm.runs_api import DatasetFormat

ROLES = {"u": USER, "a": ASSISTANT, "s": SYSTEM, "t": "observation"}


def talk(roles: str) -> tuple[Message, ...]:
    return tuple(Message(ROLES[role], f"{role}{i}") for i, role in enumerate(roles))


@pytest.mark.parametrize(
    ("roles", "spoken", "is_cut"), [("ua", "ua", False), ("uaua", "uaua", False), ("uau", "ua", True)]
)
def test_user_and_assistant_in_turn_are_taken_up_to_the_last_answer(roles: str, spoken: str, is_cut: bool) -> None:
    assert fitted(talk(roles)) == Fitted(talk(spoken), is_cut=is_cut)


def test_system_messages_in_front_are_taken_apart() -> None:
    assert fitted(talk("ssua")) == Fitted(talk("ssua")[2:], system="s0\n\ns1")


@pytest.mark.parametrize(
    ("roles", "reason"),
    [
        ("", Unfit.NOTHING),
        ("s", Unfit.NOTHING),
        ("u", Unfit.NOTHING),
        ("au", Unfit.NOT_USER_FIRST),
        ("uua", Unfit.NOT_ALTERNATING),
        ("uaa", Unfit.NOT_ALTERNATING),
        ("usa", Unfit.OTHER_ROLES),
        ("uta", Unfit.OTHER_ROLES),
    ],
)
def test_others_are_refused(roles: str, reason: Unfit) -> None:
    assert fitted(talk(roles)) is reason


def test_an_empty_turn_is_refused_unless_it_is_the_question_that_is_cut() -> None:
    assert fitted([*talk("u"), Message(ASSISTANT, " \n")]) is Unfit.EMPTY
    assert fitted([*talk("ua"), Message(USER, "")]) == Fitted(talk("ua"), is_cut=True)


def test_rounds_are_questions_with_answers() -> None:
    assert [rounds_of(talk(roles)) for roles in ("", "u", "ua", "suau", "uuaaua")] == [0, 0, 1, 1, 2]


def test_every_row_of_a_form_has_the_same_columns_and_no_null() -> None:
    rich = Dialogue(
        "r-1", talk("ua"), "f:1",
        {"termination_reason": "turn_limit", "run_id": "r", "simulator": {"model": "/models/demo/socratic"},
         "respondent": {"model": "org/respondent"}, "model": "gpt-4", "language": "English", "turns": [1]},
    )  # fmt: skip
    bare = Dialogue("x", talk("ua"), "f:2", {"model": None, "language": 3, "simulator": "s"})
    for form in DatasetFormat:
        rows = [row_of(one, as_it_is(one.messages), form, "") for one in (rich, bare)]
        assert list(rows[0]) == list(rows[1])
        assert None not in [*rows[0].values(), *rows[1].values()]
    row = row_of(rich, Fitted(talk("ua"), "Be kind."), DatasetFormat.SHAREGPT, "good")
    assert row == {
        "id": "r-1",
        "conversations": [{"from": "human", "value": "u0"}, {"from": "gpt", "value": "a1"}],
        "system": "Be kind.",
        "num_rounds": 1,
        "termination_reason": "turn_limit",
        "run_id": "r",
        "simulator_model": "socratic",
        "respondent_model": "org/respondent",
        "model": "gpt-4",
        "language": "English",
        "mark": "good",
    }


def test_openai_messages_begin_with_the_system_message() -> None:
    row = row_of(Dialogue("x", ()), Fitted(talk("ua"), "Be kind."), DatasetFormat.OPENAI, "")
    assert row["messages"] == [
        {"role": "system", "content": "Be kind."},
        {"role": "user", "content": "u0"},
        {"role": "assistant", "content": "a1"},
    ]
    assert "system" not in row


def test_a_folder_of_a_model_is_not_told() -> None:
    assert [public_name(name) for name in ("/srv/models/seven/", "./demo/a", "org/seven", "gpt-4")] == [
        "seven", "a", "org/seven", "gpt-4",
    ]  # fmt: skip


def test_llama_factory_is_told_every_tag() -> None:
    entry = llama_factory_entry(DatasetFormat.OPENAI, "data/train.jsonl")
    assert entry["columns"] == {"messages": "messages"}
    assert entry["tags"] == {
        "role_tag": "role", "content_tag": "content", "user_tag": "user", "assistant_tag": "assistant",
        "observation_tag": "observation", "function_tag": "function_call", "system_tag": "system",
    }  # fmt: skip
    assert llama_factory_entry(DatasetFormat.PARQUET, "p")["tags"]["user_tag"] == "human"
