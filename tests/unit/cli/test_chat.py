"""What a line of a chat says, and what it does to the talk."""

from __future__ import annotations

import pytest

from platolm.cli.chat.commands import Command, Name, parse
from platolm.cli.chat.talk import Talk
from platolm.conversation import ASSISTANT, USER, TerminationReason
from platolm.dialogues_api import DialogueTurn, Role
from platolm.endings import FinishReason
from platolm.errors import InputError


def utterance(talk: Talk, content: str) -> None:
    talk.hear(
        DialogueTurn(
            turn_index=len(talk.turns),
            role=talk.next_role,
            content=content,
            num_tokens=2,
            num_prompt_tokens=9,
            finish_reason=FinishReason.STOP,
            sampling_seed=1,
            duration_s=0.5,
            model="m",
        )
    )


def talk_of(person: Role | None, *contents: str) -> Talk:
    """A talk in which everything but the person's turns was generated."""
    talk = Talk(person=person, num_turns=4)
    for content in contents:
        if talk.is_persons_turn:
            talk.say(content)
        else:
            utterance(talk, content)
    return talk


def said(talk: Talk) -> list[str]:
    return [turn.content for turn in talk.turns]


@pytest.mark.parametrize(
    ("line", "parsed"),
    [
        ("Hello /quit", "Hello /quit"),
        ("", ""),
        ("//etc is a folder", "/etc is a folder"),
        ("/quit", Command(Name.QUIT)),
        ("/q", Command(Name.QUIT)),
        ("/R ", Command(Name.REGENERATE)),
        ("/edit 3  Why  so? ", Command(Name.EDIT, "Why  so?", number=3)),
        ("/save", Command(Name.SAVE)),
        ("/save About the sky", Command(Name.SAVE, "About the sky")),
        ("/system Be brief.", Command(Name.SYSTEM, "Be brief.")),
        ("/system simulator Be rude.", Command(Name.SYSTEM, "Be rude.", side="simulator")),
        ("/system respondent", Command(Name.SYSTEM, side="respondent")),
    ],
)
def test_lines(line: str, parsed: Command | str) -> None:
    assert parse(line) == parsed


@pytest.mark.parametrize("line", ["/", "/s", "/what", "/edit", "/edit 3", "/edit x y", "/edit ² y"])
def test_lines_that_say_nothing(line: str) -> None:
    with pytest.raises(InputError):
        parse(line)


def test_whose_turn_it_is() -> None:
    assert [talk_of("user", *"abc"[:n]).is_persons_turn for n in range(3)] == [True, False, True]
    assert [talk_of("assistant", *"abc"[:n]).is_persons_turn for n in range(3)] == [False, True, False]
    assert [talk_of(None, *"abc"[:n]).is_persons_turn for n in range(3)] == [False, False, False]
    with pytest.raises(InputError, match="press Enter to ask it, or /undo"):
        talk_of("user", "a").say("b")


def test_who_watches_speaks_for_whoever_is_next() -> None:
    talk = talk_of(None, "a", "b")
    assert talk.say("c").role == USER
    assert talk.say("d").role == ASSISTANT


@pytest.mark.parametrize(
    ("person", "contents", "taken_back", "left"),
    [
        ("user", "ab", 2, ""),
        ("user", "abc", 1, "ab"),
        ("user", "abcd", 2, "ab"),
        ("assistant", "a", 1, ""),
        ("assistant", "abc", 2, "a"),
        ("assistant", "ab", 1, "a"),
        (None, "abc", 1, "ab"),
    ],
)
def test_undo(person: Role | None, contents: str, taken_back: int, left: str) -> None:
    talk = talk_of(person, *contents)
    talk.ended = TerminationReason.REPETITION
    assert (talk.undo(), "".join(said(talk))) == (taken_back, left)
    assert talk.to_save(None).termination_reason is None if left else not talk.turns


def test_nothing_to_take_back() -> None:
    with pytest.raises(InputError, match="nothing was said yet"):
        talk_of("user").undo()


def test_another_try_has_another_seed() -> None:
    talk = talk_of("user", "a", "b")
    talk.seed = 5
    talk.forget_last_utterance()
    assert (said(talk), talk.request().seed) == (["a"], 6)
    with pytest.raises(InputError, match="no utterance of a model"):
        talk.forget_last_utterance()
    talk.seed = None
    assert talk.request().seed is None


def test_an_edited_turn_is_a_persons_and_the_last() -> None:
    talk = talk_of("user", "a", "b", "c", "d")
    turn = talk.edit(2, "B")
    assert (turn.role, turn.finish_reason, turn.num_tokens, said(talk)) == (ASSISTANT, "seed", 0, ["a", "B"])
    for number in (0, 3):
        with pytest.raises(InputError, match=f"there is no turn {number}: there are 2"):
            talk.edit(number, "x")


def test_what_is_asked_for() -> None:
    talk = talk_of(None, "a")
    request = talk.request()
    assert ([message.role for message in request.messages], request.num_turns) == ([USER], 4)
    assert (request.session_id, request.first_speaker) == (talk.session_id, ASSISTANT)
    assert talk_of("user", "a").request().num_turns == 1


def test_what_is_saved() -> None:
    talk = talk_of("user", "a", "b")
    talk.ended = TerminationReason.TURN_LIMIT
    saved = talk.to_save("")
    assert [(turn.role, turn.content, turn.finish_reason, turn.model) for turn in saved.turns] == [
        (USER, "a", "seed", None),
        (ASSISTANT, "b", "stop", "m"),
    ]
    assert (saved.title, saved.termination_reason, saved.started_at) == (None, "turn_limit", talk.started_at)
    talk.say("c")
    talk.hear_stopped("half", "m")
    assert talk.to_save("T").turns[-1].model_dump(exclude_defaults=True) == {
        "role": ASSISTANT, "content": "half", "finish_reason": "stopped", "model": "m",
    }  # fmt: skip
    assert talk.to_save("T").termination_reason is None
