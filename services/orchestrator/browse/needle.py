"""A text that is searched for, whatever its case, first in bytes of many records and then in one utterance.

Texts are compared as Python's `str.casefold` gives them: ß is found by "ss". A record's bytes, JSON in UTF-8, are
searched for a run of the text's characters that JSON writes as they are. That is quick where the run is plain:
lower-cased bytes hold it wherever the text does. Elsewhere the bytes are decoded and folded.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from itertools import accumulate, groupby

from platolm.browse_api import Snippet

_KELVIN = "\u212a"  # looks like a K
FOLDED_INTO_ASCII = f"ßẞİŉſǰẖẗẘẙẚ{_KELVIN}ﬀﬁﬂﬃﬄﬅﬆ"
"""Every character beyond ASCII whose folding has ASCII letters in it."""

_FOLDED_INTO_ASCII = re.compile("|".join(FOLDED_INTO_ASCII).encode())
_ASCII = bytes(range(128))
_ESCAPED = '"\\/'
_JSON_ESCAPE = b"\\u"
_SHORT = 3
_BEFORE_CHARS = 60
_AFTER_CHARS = 120


@dataclass(frozen=True)
class Span:
    """Where a match begins and ends, in characters."""

    start: int
    end: int

    def snippet(self, text: str, role: str, turn_index: int) -> Snippet:
        """The match with what is around it."""
        return Snippet(
            role=role,
            turn_index=turn_index,
            before=text[max(0, self.start - _BEFORE_CHARS) : self.start],
            match=text[self.start : self.end],
            after=text[self.end : self.end + _AFTER_CHARS],
        )


class Needle:
    """One searched text, not empty."""

    def __init__(self, text: str) -> None:
        self._folded = text.casefold()
        self._run = _longest_run(self._folded, is_literal)
        plain = _longest_run(self._folded, is_plain)
        self._bytes = plain.encode() if len(plain) >= min(_SHORT, len(self._folded)) else None

    def may_be_in(self, lines: bytes) -> bool:
        """Whether records, JSON lines in UTF-8, may have it in an utterance; False: none has."""
        if _JSON_ESCAPE in lines:
            return True
        if self._bytes is not None:
            if self._bytes in lines.lower():
                return True
            if not _has_folded_into_ascii(lines):
                return False
        return self._run in lines.decode(errors="replace").casefold()

    def find(self, text: str) -> Span | None:
        """The first place in an utterance where it stands."""
        folded = text.casefold()
        at = folded.find(self._folded)
        if at < 0:
            return None
        end = at + len(self._folded)
        if len(folded) == len(text):  # folding never shortens a character: each stands where it stood
            return Span(at, end)
        return _unfolded(text, at, end)


def is_literal(char: str) -> bool:
    """Whether JSON writes a character as it is, or as \\u and its number."""
    return char >= " " and char not in _ESCAPED


def is_plain(char: str) -> bool:
    """Whether a folded character is of ASCII, or one that has no case and that nothing else folds into."""
    if char.isascii():
        return is_literal(char)
    return char.upper() == char.lower() == char and unicodedata.category(char) not in ("Mn", "Lm", "Cs")


def _longest_run(text: str, belongs: Callable[[str], bool]) -> str:
    runs = ("".join(chars) for is_run, chars in groupby(text, belongs) if is_run)
    return max(runs, key=len, default="")


def _has_folded_into_ascii(lines: bytes) -> bool:
    return not lines.isascii() and _FOLDED_INTO_ASCII.search(lines.translate(None, _ASCII)) is not None


def _unfolded(text: str, at: int, end: int) -> Span:
    """The characters whose foldings cover `at` to `end` of the folded text."""
    ends = list(accumulate(len(char.casefold()) for char in text))
    start = next(i for i, behind in enumerate(ends) if behind > at)
    return Span(start, next(i for i, behind in enumerate(ends) if behind >= end) + 1)
