"""From what a simulator writes to what is kept of it, whole or as it streams; and what it sees of the other side."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

THINK, END_OF_THINK = "<think>", "</think>"

_NONBLANK = re.compile(r"\S")
_OPENED = re.compile(r"(?<!`)<think>")
_UNOPENED = re.compile(r"</think>[^\S\n]*(?:\n|\Z)")
_UNCLOSED = re.compile(r"^[^\S\n]*<think>", re.MULTILINE)


class End(StrEnum):
    """How an utterance says that it was the last."""

    MARKER = "marker"
    """It holds one of the profile's end markers."""
    BLANK = "blank"
    """It says nothing, which some simulators mean as the end."""
    LIKELY = "likely"
    """It holds none, but was likely to: as likely as the run wants it for an end."""


@dataclass(frozen=True, slots=True)
class Cleaned:
    """What is kept of an utterance.

    `intact`: nothing but white space at its begin was taken away, so that the generated ids may stand in the next
    prompt as they are; otherwise what is kept has to be encoded.
    """

    content: str
    end: End | None = None
    marker: str | None = None
    intact: bool = True


@dataclass(frozen=True)
class Cleaning:
    """What a profile takes away from its model's output.

    `end_markers` end an utterance where they stand: what is before is kept. `strips`: white space at both ends goes.
    `drops_thought`: a `<think>` block at the begin goes. `blank_ends`: a blank utterance is a goodbye.
    """

    end_markers: tuple[str, ...] = ()
    blank_ends: bool = False
    strips: bool = True
    drops_thought: bool = True

    def __post_init__(self) -> None:
        if not all(marker.strip() for marker in self.end_markers):
            raise ValueError("an end marker must not be blank")

    def clean(self, text: str) -> Cleaned:
        """What is kept of a whole utterance."""
        begin = self._begin(text, is_whole=True)
        assert begin is not None, "a whole text has a begin"
        content, marker = self._cut(text[begin:])
        if self.strips:
            content = content.rstrip()
        intact = marker is None and not text[: len(text) - len(content)].strip()
        return Cleaned(content, self._end(content, marker), marker, intact)

    def _begin(self, text: str, *, is_whole: bool) -> int | None:
        """Where the kept text begins; None: not to be told yet."""
        begin = 0
        while True:
            if self.strips:
                begin = _first_nonblank(text, begin)
            if not self.drops_thought:
                return begin
            thought = _first_nonblank(text, begin)
            if not text.startswith(THINK, thought):
                waits = THINK.startswith(text[thought:]) and not is_whole
                return None if waits else begin
            end = text.find(END_OF_THINK, thought)
            if end < 0:
                return begin if is_whole else None  # a thought without an end stays, for the guardrails to find
            begin = end + len(END_OF_THINK)

    def _cut(self, text: str) -> tuple[str, str | None]:
        """What stands before the first end marker, and which it is."""
        found = self._first_marker(text)
        return (text, None) if found is None else (text[: found[0]], found[1])

    def _first_marker(self, text: str) -> tuple[int, str] | None:
        places = ((text.find(marker), marker) for marker in self.end_markers)
        return min(((at, marker) for at, marker in places if at >= 0), key=_by_place, default=None)

    def _end(self, content: str, marker: str | None) -> End | None:
        if marker is not None:
            return End.MARKER
        return End.BLANK if self.blank_ends and not content.strip() else None


class StreamCleaner:
    """The same of an utterance that comes in parts, wherever it is split.

    What `feed` gives out, and `close`'s content after it, are together what `Cleaning.clean` keeps of the whole. Only
    what may still turn out to be a marker, a thought or white space at the end is held back.
    """

    def __init__(self, cleaning: Cleaning) -> None:
        self._cleaning = cleaning
        self._whole: list[str] = []
        self._held = ""
        self._has_begun = False
        self._given = 0
        self._marker: str | None = None

    @property
    def has_ended(self) -> bool:
        """Whether an end marker has been read: nothing more is to be waited for."""
        return self._marker is not None

    def feed(self, text: str) -> str:
        """Take in a part; gives what is now certain to be kept."""
        if self.has_ended:
            return ""
        self._whole.append(text)
        self._held += text
        if not self._has_begun:
            begin = self._cleaning._begin(self._held, is_whole=False)
            if begin is None:
                return ""
            self._held = self._held[begin:]
            # With white space alone there may be more of it, or a thought.
            self._has_begun = bool(self._held.strip()) or not (self._cleaning.strips or self._cleaning.drops_thought)
        return self._give(self._certain())

    def close(self) -> Cleaned:
        """The whole is there: how it ended, and the content that was still held back."""
        whole = self._cleaning.clean("".join(self._whole))
        return Cleaned(whole.content[self._given :], whole.end, whole.marker, whole.intact)

    def _certain(self) -> int:
        """How much of what is held is kept whatever follows."""
        if not self._has_begun:
            return 0
        found = self._cleaning._first_marker(self._held)
        pending = self._pending()
        if found is not None and found[0] <= pending:
            self._marker = found[1]
        sure = self._held[: min(pending, found[0] if found else pending)]
        return len(sure.rstrip() if self._cleaning.strips else sure)

    def _pending(self) -> int:
        """Where a marker may have begun whose rest is still to come."""
        text, markers = self._held, self._cleaning.end_markers
        longest = max((len(marker) for marker in markers), default=1) - 1
        for at in range(max(0, len(text) - longest), len(text)):
            if any(len(text) - at < len(marker) and marker.startswith(text[at:]) for marker in markers):
                return at
        return len(text)

    def _give(self, num_chars: int) -> str:
        given, self._held = self._held[:num_chars], self._held[num_chars:]
        self._given += num_chars
        return given


def without_thoughts(text: str) -> str:
    """What the other side sees of an answer: its `<think>` parts are taken out.

    A block that begins a line and never ends (an answer cut short) goes whole; so does what stands before a `</think>`
    that ends its line and was never opened, since some templates open the block in the prompt. Tags in backticks are
    talked about, and stay.
    """
    if THINK not in text and END_OF_THINK not in text:
        return text
    shown = _without_blocks(_without_unopened(text))
    return text if shown == text else shown.strip()


def _without_unopened(text: str) -> str:
    end = _UNOPENED.search(text)
    opened = text.find(THINK)
    return text[end.end() :] if end and not 0 <= opened < end.start() else text


def _without_blocks(text: str) -> str:
    kept, at = [], 0
    while (opened := _OPENED.search(text, at)) and (end := text.find(END_OF_THINK, opened.end())) >= 0:
        kept.append(text[at : opened.start()])
        at = _first_nonblank(text, end + len(END_OF_THINK))
    rest = text[at:]
    unclosed = _UNCLOSED.search(rest)
    return "".join([*kept, rest[: unclosed.start()] if unclosed else rest])


def _first_nonblank(text: str, start: int) -> int:
    found = _NONBLANK.search(text, start)
    return found.start() if found else len(text)


def _by_place(found: tuple[int, str]) -> tuple[int, int]:
    return found[0], len(found[1])
