"""What a record of each source gives, and why one gives nothing."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest

from curation.seeds.sources import Found, Kind, LeftOutError, Reason, find, kind_of
from platolm.conversation import ASSISTANT, USER, Message
from platolm.errors import BadLine

BAIZE = (
    "The conversation between human and AI assistant.\n[|Human|] Is tea old? \n[|AI|] Very.\n[|Human|] How old?\n[|AI|]"
)
DOLLY = {
    "instruction": "Who grows it?",
    "context": "Tea is grown by Mei.\n",
    "response": "Mei.",
    "category": "closed_qa",
}


def turn(name: str, value: str) -> dict[str, str]:
    return {"from": name, "value": value}


def found(record: Any, kind: Kind = Kind.AUTO) -> Found:
    return find(record, kind, default_id="file-7")


def reason(record: Any, kind: Kind = Kind.AUTO) -> Reason:
    with pytest.raises(LeftOutError) as left_out:
        found(record, kind)
    return left_out.value.reason


def exchange(record: Any, kind: Kind = Kind.AUTO) -> tuple[str, str | None]:
    one = found(record, kind)
    return one.question, one.answer


@pytest.mark.parametrize(
    ("category", "question"),
    [
        ("closed_qa", "This is a Closed Question-Answering task.\nWho grows it?\nTea is grown by Mei."),
        ("summarization", "This is a Summarization task.\nWho grows it?\nTea is grown by Mei."),
        ("information_extraction", "This is a Information Extraction task.\nWho grows it?\nTea is grown by Mei."),
        ("open_qa", "Who grows it?\nTea is grown by Mei."),
    ],
)
def test_dolly_names_the_tasks_that_work_on_a_text_and_joins_the_text(category: str, question: str) -> None:
    one = found({**DOLLY, "category": category})
    assert one.kind is Kind.DOLLY
    assert one.as_record() == {
        "id": "file-7",
        "question": question,
        "answer": "Mei.",
        "category": category,
        "source": "dolly",
    }


def test_dolly_without_a_text_or_a_category_is_its_instruction() -> None:
    assert exchange({**DOLLY, "context": "", "category": "brainstorming"}) == ("Who grows it?", "Mei.")
    renamed = {"id": "d-1", "instruction": "Who?", "input": "Mei does.", "output": "Mei."}
    assert exchange(renamed, Kind.DOLLY) == ("Who?\nMei does.", "Mei.")
    assert reason({**DOLLY, "instruction": " "}) is Reason.NO_QUESTION


def test_wizardlm_leaves_out_what_came_from_alpaca_or_has_no_answer() -> None:
    turns = [turn("human", "Tea?"), turn("gpt", "Yes.")]
    whole = {"idx": "abc", "conversations": turns}
    assert found(whole).as_record() == {"id": "abc", "question": "Tea?", "answer": "Yes.", "source": "wizardlm"}
    assert reason({**whole, "idx": "alpaca_12"}) is Reason.FROM_ALPACA
    assert reason({**whole, "conversations": [turn("human", "Tea?"), turn("gpt", " \n")]}) is Reason.NO_ANSWER
    assert reason({**whole, "conversations": [turn("human", ""), turn("gpt", "Yes.")]}) is Reason.NO_QUESTION
    assert reason({**whole, "conversations": turns * 2}) is Reason.NOT_ONE_EXCHANGE
    assert reason({**whole, "conversations": [turn("human", "Tea?")]}) is Reason.NOT_ONE_EXCHANGE


def test_wizardlms_other_forms() -> None:
    assert exchange({"instruction": "Tea?", "output": "Yes."}, Kind.WIZARDLM) == ("Tea?", "Yes.")
    assert reason({"instruction": "Tea?", "output": ""}, Kind.WIZARDLM) is Reason.NO_ANSWER
    assert exchange({"id": "wizardlm-2", "instruction": "Tea?"}, Kind.WIZARDLM) == ("Tea?", None)
    assert reason({"id": "alpaca-3", "instruction": "Tea?", "output": "Yes."}, Kind.WIZARDLM) is Reason.FROM_ALPACA


def test_a_sharegpt_opening_is_as_it_was_typed() -> None:
    typed = "Fix  `my_var`:\n    List<String> x;"
    record = {"id": "QWJhYvA_0", "conversations": [turn("system", "Be kind."), turn("human", typed), turn("gpt", "Ok")]}
    assert exchange(record) == (typed, "Ok")
    assert exchange({"messages": [{"role": "user", "content": "Tea?"}]}) == ("Tea?", None)
    assert reason({**record, "id": "QWJhYvA_12"}) is Reason.LATER_PART
    assert reason({"id": "a", "conversations": [turn("gpt", "Go on"), turn("human", "?")]}) is Reason.NOT_USER_FIRST
    assert reason({"id": "a", "conversations": []}) is Reason.NO_QUESTION
    assert reason({"id": "a", "conversations": [turn("human", "x"), {"from": "gpt"}]}) is Reason.OTHER_FORM


def test_self_instruct_joins_the_first_instances_input() -> None:
    task = {"id": "seed_task_0", "instruction": "Sort these.", "instances": [{"input": "b a", "output": "a b"}, {}]}
    assert exchange(task) == ("Sort these.\n\nb a", "a b")
    assert exchange({**task, "instances": [{"input": "<noinput>", "output": "x"}]}) == ("Sort these.", "x")
    assert exchange({"instruction": "Sort.", "input": "b", "output": ""}, Kind.SELF_INSTRUCT) == ("Sort.\n\nb", None)
    assert reason({**task, "instances": []}) is Reason.OTHER_FORM


@pytest.mark.parametrize(
    ("record", "expected"),
    [
        ("Tea?", ("Tea?", None)),
        ({"question": " Tea? ", "answer": "Yes."}, ("Tea?", "Yes.")),
        ({"instruction": "Sort.", "input": "b a", "output": "a b"}, ("Sort.\n\nb a", "a b")),
        ({"instruction": "Sort.", "input": "", "response": ""}, ("Sort.", None)),
        ({"prompt": "Tea?", "output": None}, ("Tea?", None)),
        ({"question_id": 81, "turns": ["Tea?", "And coffee?"]}, ("Tea?", None)),
    ],
)
def test_plain_instructions(record: Any, expected: tuple[str, str | None]) -> None:
    assert exchange(record) == expected


def test_baize_gives_whole_dialogues_without_the_empty_turn_at_the_end() -> None:
    one = found({"topic": "tea", "input": BAIZE})
    dialogue = (Message(USER, "Is tea old?"), Message(ASSISTANT, "Very."), Message(USER, "How old?"))
    assert (one.kind, one.dialogue) == (Kind.BAIZE, dialogue)
    assert one.as_record() == {
        "id": "file-7",
        "conversations": [turn("human", "Is tea old?"), turn("gpt", "Very."), turn("human", "How old?")],
        "source": "baize",
    }
    assert reason({"input": "nobody speaks"}, Kind.BAIZE) is Reason.NO_QUESTION
    assert reason({"input": "[|AI|] Hello [|Human|] Hi"}, Kind.BAIZE) is Reason.NOT_USER_FIRST
    assert reason({"input": "[|Human|] a [|Human|] b"}, Kind.BAIZE) is Reason.NOT_ALTERNATING
    assert reason({"input": "[|Human|] a [|AI|] "}, Kind.BAIZE) is Reason.NO_ANSWER


def test_ultrachat_gives_whole_dialogues() -> None:
    one = found({"id": "5", "data": ["Tea?", "Yes.", "Why?", "It is good."]})
    assert [message.role for message in one.dialogue] == [USER, ASSISTANT, USER, ASSISTANT]
    assert (one.id, one.question, one.answer) == ("5", "Tea?", "Yes.")
    messages = [{"role": "user", "content": "Tea?"}, {"role": "assistant", "content": "Yes."}]
    assert found({"prompt_id": "p", "prompt": "Tea?", "messages": messages}, Kind.ULTRACHAT).id == "p"
    assert reason({"data": ["Tea?", "", "Why?"]}) is Reason.NOT_ALTERNATING
    assert reason({"data": [1, 2]}) is Reason.OTHER_FORM
    assert reason({"data": []}) is Reason.NO_QUESTION


@pytest.mark.parametrize(
    ("record", "kind"),
    [
        (DOLLY, Kind.DOLLY),
        ({"idx": "a", "conversations": []}, Kind.WIZARDLM),
        ({"id": "a", "conversations": []}, Kind.SHAREGPT),
        ({"messages": []}, Kind.SHAREGPT),
        ({"instruction": "a", "instances": []}, Kind.SELF_INSTRUCT),
        ({"instruction": "Explain [|Human|]", "input": "[|Human|]"}, Kind.PLAIN),
        ({"input": BAIZE}, Kind.BAIZE),
        ({"data": []}, Kind.ULTRACHAT),
        ({}, Kind.PLAIN),
    ],
)
def test_the_fields_tell_the_kind(record: dict[str, Any], kind: Kind) -> None:
    assert kind_of(record) is kind


@pytest.mark.parametrize("kind", list(Kind))
@pytest.mark.parametrize(
    "record",
    [
        None, 3, [], {}, {"instruction": 3}, {"instruction": None, "context": 1, "response": []}, {"input": 3},
        {"data": {}}, {"data": [None]}, {"instances": [3], "instruction": "x"}, {"conversations": 3, "idx": None},
        {"messages": [3]}, {"turns": [3]}, {"instruction": "", "input": "x"}, {"category": [], "instruction": "x"},
    ],
)  # fmt: skip
def test_nothing_a_record_says_breaks_a_reader(kind: Kind, record: Any) -> None:
    with contextlib.suppress(LeftOutError):
        assert found(record, kind).question


def test_a_broken_line_is_left_out() -> None:
    assert reason(BadLine(3, "not JSON: x")) is Reason.NOT_JSON
