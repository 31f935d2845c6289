"""Sessions made of dialogues: the same ones each time, as long as wanted, with repeats that were meant."""

from __future__ import annotations

import pytest

from benchmarks.copies import MEAN_CHARACTERS, SHARES, Copies, Kind, page_of, sources_of
from curation.clean.duplicates import shingles_of
from curation.clean.markdown import to_markdown
from curation.dialogue import Dialogue
from curation.reading import dialogues_of
from platolm.conversation import ASSISTANT, USER, Message
from tests.unit.curation.clean.records import prose

LONG = [
    [Message(USER, prose(n, 60)), Message(ASSISTANT, f"{prose(n + 100, 80)}\n\n```python\nx = {n}\n```")]
    for n in range(40)
]


@pytest.fixture(scope="module")
def copies() -> Copies:
    return Copies(sources_of(LONG))


def messages(copies: Copies, number: int) -> tuple[Message, ...]:
    (found,) = dialogues_of(copies.record(number), "f:1")
    assert isinstance(found, Dialogue)
    return found.messages


def likeness(copies: Copies, first: int, second: int) -> float:
    a, b = (set(shingles_of(messages(copies, number)).tolist()) for number in (first, second))
    return len(a & b) / len(a | b)


def test_only_long_dialogues_in_turns_are_sources() -> None:
    short = [Message(USER, "Hello"), Message(ASSISTANT, "Hello.")]
    assert len(sources_of([*LONG, short, LONG[0][:1], LONG[0][::-1], []])) == len(LONG)


def test_a_session_depends_on_its_number_and_the_seed_alone(copies: Copies) -> None:
    assert copies.record(7) == Copies(sources_of(LONG)).record(7)
    assert copies.record(7) != Copies(sources_of(LONG), seed=1).record(7)
    assert copies.kind(0) is Kind.NEW


def test_sizes_and_kinds_are_as_they_were_wanted(copies: Copies) -> None:
    kinds = [copies.kind(number) for number in range(1000)]
    for kind, share in SHARES.items():
        assert kinds.count(kind) / 1000 == pytest.approx(share, abs=0.03)
    texts = [[to_markdown(message.content) for message in messages(copies, number)] for number in range(200)]
    sizes = [sum(map(len, of_session)) for of_session in texts]
    # A session is made of whole dialogues, so that it can be longer than what was drawn.
    assert MEAN_CHARACTERS <= sum(sizes) / len(sizes) <= 1.5 * MEAN_CHARACTERS


def test_repeats_repeat_an_earlier_new_one_and_nothing_else_does(copies: Copies) -> None:
    kinds = [copies.kind(number) for number in range(60)]
    for number in (kinds.index(Kind.EXACT), kinds.index(Kind.NEAR)):
        likest = max(likeness(copies, number, other) for other in range(number))
        assert (likest == 1) == (kinds[number] is Kind.EXACT)
        assert likest > 0.85
    new = [number for number, kind in enumerate(kinds) if kind is Kind.NEW][:12]
    assert max(likeness(copies, a, b) for a in new for b in new if a < b) < 0.7


def test_a_page_is_read_back_as_what_it_was_made_of() -> None:
    markdown = 'Use `x`:\n\n```python\nif a < b:\n    f("é")\n```\n\n- one\n- two'
    assert "Copy code" in page_of(markdown)
    assert to_markdown(page_of(markdown)) == markdown
