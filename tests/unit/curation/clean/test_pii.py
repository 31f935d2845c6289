"""What points to a person gets a name of its kind, the same one throughout a dialogue."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation.clean.pii import Pii
from tests.unit.curation.clean.spoken import spoken, texts


def redacted(*said: str) -> list[str]:
    return texts(Pii().apply(spoken(*said)))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Mail to ann.lee+x@mail.example.org.", "Mail to [EMAIL_1]."),
        ("Server 203.0.113.7:8080 is up", "Server [IP_1]:8080 is up"),
        ("at 2001:db8::8a2e:370:7334", "at [IP_1]"),
        ("card 4111 1111 1111 1111, thanks", "card [CARD_1], thanks"),
        ("pay to DE89 3704 0044 0532 0130 00 today", "pay to [ACCOUNT_1] today"),
        ("call (650) 253-0000 now", "call [PHONE_1] now"),
        ("ruf +49 30 123456 an", "ruf [PHONE_1] an"),
    ],
)
def test_each_kind_is_replaced(text: str, expected: str) -> None:
    assert redacted(text) == [expected]


@pytest.mark.parametrize(
    "text",
    [
        "version 1.2.3 of 2024-05-06 at 12:34:56",
        "localhost is 127.0.0.1 or ::1",
        "order 4111 1111 1111 1112",  # wrong check digit
        "1234567890 rows, 3.14159265358979 and 10000000",
        "decorate with @cache, a@b",
        "std::vector::size()",
    ],
)
def test_what_only_looks_alike_stays(text: str) -> None:
    dialogue = spoken(text)
    assert Pii().apply(dialogue) is dialogue


def test_one_value_has_one_name_across_turns_and_sides() -> None:
    said = redacted("I am a@example.org", "Hello a@example.org, meet b@example.org", "Not A@EXAMPLE.ORG?")
    assert said == ["I am [EMAIL_1]", "Hello [EMAIL_1], meet [EMAIL_2]", "Not [EMAIL_1]?"]


@given(st.text(max_size=200))
def test_no_text_breaks_it_and_twice_is_once(text: str) -> None:
    (once,) = redacted(text)
    assert redacted(once) == [once]
