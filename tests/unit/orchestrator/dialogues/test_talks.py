"""A saved talk's record, and what a failed save leaves."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from platolm.conversation import TerminationReason
from platolm.dataset import ConversationRecord, read_records
from platolm.dialogues_api import TalkRequest
from platolm.errors import InputError, OutputError
from platolm.storage import LocalPlace
from services.orchestrator.dialogues.talks import Talks, record_fields


def talk(*contents: str, first: str = "user", **fields: Any) -> TalkRequest:
    roles = ["user", "assistant"] if first == "user" else ["assistant", "user"]
    turns = [{"role": roles[number % 2], "content": content} for number, content in enumerate(contents)]
    return TalkRequest.model_validate({"turns": turns, **fields})


def texts(place: LocalPlace) -> list[str]:
    return [record["conversations"][0]["value"] for record in read_records(place)]


def test_a_record_holds_what_a_runs_does() -> None:
    fields = record_fields(talk("a", "b"))
    record = ConversationRecord.model_validate({"id": "talks-00000000", "run_id": "talks", "index": 0, **fields})
    assert record.model_dump(mode="json").keys() == {"id", "run_id", "index", *fields} - {"title"}
    assert fields["conversations"] == [{"from": "human", "value": "a"}, {"from": "gpt", "value": "b"}]


@pytest.mark.parametrize(
    ("contents", "reason", "kept"),
    [
        (["a", "b", "c", "b"], TerminationReason.REPETITION, 2),
        (["a", "b", "c", " "], TerminationReason.EMPTY, 2),
        (["a", "b", "c"], TerminationReason.USER_ENDED, 2),
        (["a", "b", "c", "d"], TerminationReason.TURN_LIMIT, 4),
        (["a", "b", "c"], None, 3),
        (["a"], TerminationReason.USER_ENDED, 1),
    ],
)
def test_without_what_ended_it(contents: list[str], reason: TerminationReason | None, kept: int) -> None:
    fields = record_fields(talk(*contents, termination_reason=reason))
    assert len(fields["conversations"]) == len(fields["turns"]) == kept
    assert fields["num_rounds"] == kept // 2
    assert fields["termination_reason"] == (reason or "cancelled")


def test_where_the_simulator_said_goodbye() -> None:
    turns = talk("a", "b", "c", "d").model_dump()["turns"]
    turns[2]["end"] = "marker"
    fields = record_fields(TalkRequest.model_validate({"turns": turns}))
    assert (fields["goodbye_at"], fields["goodbye_end"]) == (2, "marker")
    assert [turn["end"] for turn in fields["turns"]] == [None, None, "marker", None]


def test_the_profiles_are_those_that_spoke() -> None:
    turns = talk("a", "b", "c", "d").model_dump()["turns"]
    fields = record_fields(TalkRequest.model_validate({"turns": turns}))
    assert [fields[side]["profile"] for side in ("simulator", "respondent")] == ["socratic", "platolm"]
    turns[0]["profile"], turns[1]["profile"] = "userlm", "chat"
    fields = record_fields(TalkRequest.model_validate({"turns": turns, "simulator": {"top_k": 5}}))
    assert [fields[side]["profile"] for side in ("simulator", "respondent")] == ["userlm", "chat"]
    assert fields["simulator"]["sampling"]["temperature"] == 1.0
    assert fields["simulator"]["sampling"]["top_k"] == 5
    assert fields["respondent"]["sampling"]["temperature"] is None
    ConversationRecord.model_validate({"id": "talks-00000000", "run_id": "talks", "index": 0, **fields})


def test_nothing_left() -> None:
    with pytest.raises(InputError, match="nothing is left to save"):
        record_fields(talk("", termination_reason=TerminationReason.EMPTY))


@pytest.mark.parametrize(
    "wrong",
    [
        {"turns": []},
        {"turns": [{"role": "system", "content": "a"}]},
        {"turns": [{"role": "user", "content": "a", "num_tokens": -1}]},
        {"turns": [{"role": "user", "content": "a", "duration_s": float("nan")}]},
        {"turns": [{"role": "user", "content": "a", "sampling_seed": 2**63}]},
        {"turns": [{"role": "user", "content": "a", "finish_reason": "bored"}]},
        {"turns": [{"role": "user", "content": "a", "profile": "platolm"}]},
        {"turns": [{"role": "user", "content": "a", "profile": "bard"}]},
        {"turns": [{"role": "user", "content": "a"}], "mark": "fair"},
        {"turns": [{"role": "user", "content": "a"}], "title": "x" * 201},
        {"turns": [{"role": "user", "content": "a"}], "started_at": float("inf")},
        {"turns": [{"role": "user", "content": "a"}], "comment": "?"},
    ],
)
def test_talks_that_cannot_be_saved(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        TalkRequest.model_validate(wrong)


def test_a_save_that_failed_gives_its_words_to_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The writer keeps the segment of a failed commit for the same records; a talk has the same index as the next."""
    place = LocalPlace(tmp_path / "talks")
    talks = Talks(place)
    talks.save(talk("first"))
    link = os.link

    def no_space(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "link", no_space)
    with pytest.raises(OutputError, match="No space left on device"):
        talks.save(talk("lost"))
    monkeypatch.setattr(os, "link", link)
    assert talks.save(talk("second")) == 1
    assert texts(place) == ["first", "second"]
    assert talks.count() == 2


def test_pages_of_a_folder_that_another_process_fills(tmp_path: Path) -> None:
    place = LocalPlace(tmp_path / "talks")
    reader, writers = Talks(place), [Talks(place), Talks(place)]
    assert reader.page(before=None, limit=9).talks == []
    for number in range(5):
        assert writers[number % 2].save(talk(f"talk {number}")) == number
    page = reader.page(before=None, limit=3)
    assert ([one.opening for one in page.talks], page.next_cursor) == (["talk 4", "talk 3", "talk 2"], "3")
    page = reader.page(before=3, limit=3)
    assert ([one.opening for one in page.talks], page.next_cursor) == (["talk 1", "talk 0"], None)
    assert reader.page(before=99, limit=1).talks[0].opening == "talk 4"
    assert reader.page(before=1, limit=9).talks == []
