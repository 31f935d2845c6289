"""What a simulator is told of the user it plays, and free-text instructions with fields for it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from string import Formatter
from typing import TypeVar

from platolm.conversation import SYSTEM, Message
from platolm.dyadic import Turn
from platolm.errors import SpecError, SpecProblem

TOLD_FIELDS = ("system_prompt", "intent", "persona", "profile", "goal")
"""The texts of a `Told`, which an instruction may name."""

Spoken = TypeVar("Spoken", Message, Turn)


@dataclass(frozen=True, slots=True)
class Told:
    """What one conversation's simulator is told; blank counts as not said.

    `system_prompt` is the run's, for all of its conversations; the other texts are a seed's. `instruction` replaces a
    profile's own way of putting them together, see `render`.
    """

    system_prompt: str | None = None
    intent: str | None = None
    persona: str | None = None
    profile: str | None = None
    goal: str | None = None
    instruction: str | None = None

    def said(self, *fields: str) -> list[str]:
        """The texts that are there, stripped, in this order."""
        texts = (getattr(self, field) for field in fields)
        return [text.strip() for text in texts if text and text.strip()]


NOTHING_TOLD = Told()


def told_and_spoken(turns: Iterable[Spoken], told: Told = NOTHING_TOLD) -> tuple[Told, list[Spoken]]:
    """Take the system messages out of a conversation: their texts join the system prompt."""
    turns = list(turns)
    texts = told.said("system_prompt") + [turn.content.strip() for turn in turns if turn.role == SYSTEM]
    joined = "\n\n".join(text for text in texts if text) or None
    return replace(told, system_prompt=joined), [turn for turn in turns if turn.role != SYSTEM]


def render(instruction: str, told: Told, **more: str) -> str:
    """An instruction with its fields filled in: `Who you are: {persona}`; `{{` and `}}` are braces.

    A line whose fields are all unsaid is left out, and so is a blank line after another. What is filled in is not
    read again: braces in a persona are text.

    Raises:
        SpecError: see `check_instruction`.
    """
    check_instruction(instruction, more)
    values = {field: " ".join(told.said(field)) for field in TOLD_FIELDS} | more
    lines: list[str] = []
    for line in instruction.split("\n"):
        rendered = _rendered_line(line, values)
        if rendered is not None and (rendered.strip() or (lines and lines[-1].strip())):
            lines.append(rendered)
    return "\n".join(lines).strip()


def check_instruction(instruction: str, more: Iterable[str] = ()) -> None:
    """Whether an instruction names only fields that there are: `TOLD_FIELDS`, and `more`.

    Raises:
        SpecError: it names another, or has a brace that is neither doubled nor a field's.
    """
    known = [*TOLD_FIELDS, *more]
    for number, line in enumerate(instruction.split("\n"), start=1):
        try:
            names = [name for _, name, spec, conversion in Formatter().parse(line) if name is not None]
            extras = [spec or conversion for _, _, spec, conversion in Formatter().parse(line) if spec or conversion]
        except ValueError:
            raise _bad(number, "a brace stands alone; write {{ or }} for a brace in the text") from None
        unknown = [name for name in names if name not in known]
        if unknown:
            listed = ", ".join("{" + name + "}" for name in known)
            raise _bad(number, "{" + unknown[0] + "} is not a field; there are " + listed)
        if extras:
            raise _bad(number, "a field is its name alone, without a format")


def _rendered_line(line: str, values: Mapping[str, str]) -> str | None:
    """None where a line has fields and nothing is said in any."""
    parts = [(literal, name) for literal, name, _, _ in Formatter().parse(line)]
    filled = [values[name] for _, name in parts if name is not None]
    if filled and not any(filled):
        return None
    return "".join(literal + (values[name] if name is not None else "") for literal, name in parts)


def _bad(line: int, reason: str) -> SpecError:
    return SpecError("instruction", [SpecProblem("", reason, line)])
