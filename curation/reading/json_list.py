"""The values of one JSON text, one at a time: a list of ShareGPT's size would fill the memory."""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Iterator
from typing import IO, Any

from curation.reading.json_lines import NOT_UNICODE, is_unicode
from platolm.errors import BadLine

_FIRST_READ = 1 << 20
LARGEST_ELEMENT = 1 << 28
"""Characters; a file in which an element seems longer is taken for damaged."""

_SPACE = " \t\n\r"
_OF_A_NUMBER = re.compile(r"[0-9.eE+-]*\Z")
_SURROGATES = ("\\ud", "\\uD")
_LONGEST_SIGN = 16
"""Characters; more than the longest sign that may be cut in two: `-Infinity`, a pair of escapes."""


def elements_of(file: IO[bytes]) -> Iterator[Any]:
    """Elements as `json.loads` gives them, a `BadLine` for one whose text is not Unicode; NaN and Infinity are null.

    Memory holds about the longest of them.

    Raises:
        ValueError: it is not UTF-8, or not one whole list; says what is missing, and after which element.
        RecursionError: an element is nested too deeply.
    """
    window = _Window(file)
    window.expect("[", "a list")
    if window.next_sign() == "]":
        window.expect("]", "the list's end")
    else:
        yield window.element()
        while window.next_sign() == ",":
            window.expect(",", "a comma")
            yield window.element()
        window.expect("]", "a comma or the list's end")
    if window.next_sign():
        raise ValueError(f"something stands after the list's end: {window.shown()}")


def values_of(file: IO[bytes]) -> Iterator[Any]:
    """JSON values that stand one after the other, on as many lines as they like.

    Raises:
        ValueError: it is not UTF-8, or something is no value; says after which one.
        RecursionError: a value is nested too deeply.
    """
    window = _Window(file)
    while window.next_sign():
        yield window.element()


class _Window:
    """The text that was read and not used yet."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._decoder = codecs.getincrementaldecoder("utf-8-sig")()
        self._scan = json.JSONDecoder(parse_constant=lambda constant: None).raw_decode
        self._text = ""
        self._at = 0
        self._is_whole = False
        self._num_elements = 0

    def next_sign(self) -> str:
        """The next character that is no white space, "" at the end; it is not used up."""
        while True:
            while self._at < len(self._text) and self._text[self._at] in _SPACE:
                self._at += 1
            if self._at < len(self._text) or self._is_whole:
                return self._text[self._at : self._at + 1]
            self._read(_FIRST_READ)

    def expect(self, sign: str, named: str) -> None:
        if self.next_sign() != sign:
            raise ValueError(f"{named} is missing after element {self._num_elements}: {self.shown()}")
        self._at += 1

    def element(self) -> Any:
        """The value that begins here. Where a number is the last that was read, more of it may follow."""
        self.next_sign()
        size = _FIRST_READ
        while True:
            try:
                value, end = self._scan(self._text, self._at)
            except ValueError as error:
                if self._is_whole or self._is_damaged(error):
                    raise ValueError(f"element {self._num_elements + 1} is no JSON: {self.shown()}") from None
            else:
                if self._is_whole or _OF_A_NUMBER.match(self._text, end) is None:
                    self._num_elements += 1
                    return self._used(value, end)
            self._read(size)
            size *= 2

    def _used(self, value: Any, end: int) -> Any:
        """The value that ends here, or a `BadLine`: lone surrogates come as escapes, of which few texts have any."""
        has_surrogates = any(self._text.find(sign, self._at, end) >= 0 for sign in _SURROGATES)
        self._at = end
        return BadLine(self._num_elements, NOT_UNICODE) if has_surrogates and not is_unicode(value) else value

    def _is_damaged(self, error: ValueError) -> bool:
        """Whether more text cannot mend it: the fault lies well before the end, and is no string without an end."""
        if len(self._text) - self._at > LARGEST_ELEMENT or not isinstance(error, json.JSONDecodeError):
            return True
        return error.pos < len(self._text) - _LONGEST_SIGN and not error.msg.startswith("Unterminated string")

    def shown(self) -> str:
        """The beginning of what comes, for a message."""
        return repr(self._text[self._at : self._at + 40])

    def _read(self, size: int) -> None:
        content = self._file.read(size)
        self._is_whole = not content
        self._text = self._text[self._at :] + self._decoder.decode(content, final=self._is_whole)
        self._at = 0
