"""What a chat's page shows round an answer and is no part of it: buttons, labels, counters. Assistant turns only."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from curation.clean.stages import Outcome
from curation.dialogue import Dialogue
from platolm.conversation import ASSISTANT, Message

_COUNTER = r"[1-9][0-9]{0,2} / [1-9][0-9]{0,2}"
_COPY = r"(?:Copy code|CopyEdit)"
_LABEL = r"[A-Za-z][\w+#.\-]{0,23}"

_SIGNS = ("Copy", "ChatGPT", "Model: ", "Regenerate", " words", " / ", "```")
"""What every answer with furniture has one of; looking for them is much faster than the expression."""
_HINT = re.compile(
    rf"{_COPY}|ChatGPT|Model: |Regenerate response|[0-9]+ words|^[ \t]*{_COUNTER}[ \t]*$|^{_LABEL}\n+`{{3}}",
    re.MULTILINE,
)
_ANYWHERE = re.compile(rf"{_COPY}|Regenerate response|Copy[0-9]+ chars / [0-9]+ words")
_AT_THE_HEAD = re.compile(rf"{_COUNTER}|ChatGPT|ChatGPT said:|Model: (?:Default|GPT).{{0,40}}")
_AT_THE_TAIL = re.compile(_COUNTER)
_OPENING = re.compile(r"([ \t>]*)(`{3,}|~{3,})[ \t]*([^`]*)")
_WHOLE_LABEL = re.compile(_LABEL)
_LABELLED_COPY = re.compile(rf"((?:{_LABEL}?)??)(?:{_COPY})+[ \t]*(.*)")


class Furniture:
    """The stage: "Copy code", "1 / 2", "ChatGPT" and labels of code go from assistant turns; code stays as it is."""

    name = "furniture"

    def apply(self, dialogue: Dialogue) -> Outcome:
        return dialogue.with_messages([_cleared(message) for message in dialogue.messages])


def _cleared(message: Message) -> Message:
    if message.role != ASSISTANT:
        return message
    return Message(message.role, without_furniture(message.content))


def without_furniture(markdown: str) -> str:
    """The answer alone; the same text where nothing of a page is in it.

    Lines that are a button's text go wherever they stand outside code, counters and the speaker's name only at the
    head and the tail. A label above code goes where the block says the same, and becomes its language where a "Copy
    code" beside it shows that it is one. An answer that is nothing else ("1 / 2") stays.
    """
    if not any(sign in markdown for sign in _SIGNS) or _HINT.search(markdown) is None:
        return markdown
    while (cleared := _cleared_once(markdown)) != markdown:  # a button that went may have stood before a counter
        markdown = cleared
    return markdown


def _cleared_once(markdown: str) -> str:
    sweep = _Sweep()
    for line in _without_ends(markdown.split("\n")):
        sweep.take(line)
    cleared = "\n".join(sweep.kept).strip("\n")
    return cleared if cleared.strip() and cleared.strip() != markdown.strip() else markdown


def _without_ends(lines: list[str]) -> list[str]:
    """Without counters and names above and below the answer."""
    first, last = 0, len(lines)
    while first < last and _is_furniture(lines[first], _AT_THE_HEAD):
        first += 1
    while last > first and _is_furniture(lines[last - 1], _AT_THE_TAIL):
        last -= 1
    return lines[first:last]


def _is_furniture(line: str, shown: re.Pattern[str]) -> bool:
    """A counter counts up to its second number: 3 / 2 is a fraction."""
    line = line.strip()
    if line and shown.fullmatch(line) is None:
        return False
    number, slash, total = line.partition(" / ")
    return not slash or not number.isdigit() or int(number) <= int(total)


@dataclass
class _Sweep:
    """Goes down the lines of an answer; `fence` is what opened the code block it is in, "" outside."""

    kept: list[str] = field(default_factory=list)
    fence: str = ""
    opening: int = 0
    saw_copy: bool = False

    def take(self, line: str) -> None:
        if self.fence:
            self._in_code(line)
        elif match := _OPENING.fullmatch(line):
            self._open(match)
        elif _ANYWHERE.fullmatch(line.strip()):
            self.saw_copy = True
        elif (labelled := _LABELLED_COPY.fullmatch(line.strip())) and not labelled[2]:
            self._keep_text(labelled[1])
            self.saw_copy = True
        else:
            self.saw_copy &= not line.strip()
            self._keep_text(line)

    def _open(self, match: re.Match[str]) -> None:
        indent, self.fence, info = match.groups()
        if labelled := _LABELLED_COPY.fullmatch(info):
            info = labelled[1]
        while _WHOLE_LABEL.fullmatch(label := self._last_line()) and (self.saw_copy or label == info.strip()):
            self._drop_last_line()
            self.saw_copy = False
            info = info or label
        self.saw_copy = False
        self.opening = len(self.kept)
        self.kept.append(f"{indent}{self.fence}{info}")

    def _in_code(self, line: str) -> None:
        stripped = line.strip(" \t>")
        if stripped.startswith(self.fence) and not stripped.strip(self.fence[0]):
            self.fence = ""
        elif len(self.kept) <= self.opening + 2 and (match := _LABELLED_COPY.fullmatch(stripped)):
            self._take_button_in_code(line, match)
            return
        self.kept.append(line)

    def _take_button_in_code(self, line: str, match: re.Match[str]) -> None:
        """The button's text got into the block, alone, behind the label, or before the first line of code."""
        label, code = match.groups()
        if len(self.kept) == self.opening + 2:
            above = self.kept[-1].strip(" \t>")
            if label or not _WHOLE_LABEL.fullmatch(above):
                self.kept.append(line)
                return
            label = above
            self.kept.pop()
        if self.kept[self.opening].endswith(self.fence):
            self.kept[self.opening] += label
        if code:
            self.kept.append(line[: line.index(match[0])] + code)

    def _keep_text(self, line: str) -> None:
        """A blank line too, but for the second of two between which a button stood."""
        if line.strip() or not self.saw_copy or not self.kept or self.kept[-1].strip():
            self.kept.append(line)

    def _last_line(self) -> str:
        """The last that was kept and is not blank."""
        return next((line.strip() for line in reversed(self.kept) if line.strip()), "")

    def _drop_last_line(self) -> None:
        while not self.kept[-1].strip():
            self.kept.pop()
        self.kept.pop()
