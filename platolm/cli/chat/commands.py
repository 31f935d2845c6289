"""What a line says: words for the talk, or a command."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from platolm.errors import InputError


class Name(StrEnum):
    REGENERATE = "regenerate"
    UNDO = "undo"
    EDIT = "edit"
    SYSTEM = "system"
    SAVE = "save"
    HELP = "help"
    QUIT = "quit"


@dataclass(frozen=True)
class Command:
    """A command with what follows it; `number` is that of /edit, `side` that of /system."""

    name: Name
    text: str = ""
    number: int = 0
    side: str | None = None


def parse(line: str) -> Command | str:
    """A command, or what the line says.

    Raises:
        InputError: there is no such command, or it lacks something.
    """
    if not line.startswith("/"):
        return line
    if line.startswith("//"):
        return line[1:]
    word, _, rest = line[1:].strip().partition(" ")
    names = [name for name in Name if word and name.startswith(word.lower())]
    if len(names) > 1:
        raise InputError(f"/{word} may be {' or '.join(f'/{name}' for name in names)}: write more of it")
    if not names:
        raise InputError(f"there is no command /{word}: /help names them; // says a line that begins with /")
    return _with_text(names[0], rest.strip())


def _with_text(name: Name, rest: str) -> Command:
    first, _, following = rest.partition(" ")
    if name is Name.EDIT:
        if not (first.isascii() and first.isdigit() and following.strip()):
            raise InputError("say which turn, and its new text: /edit 3 Why is that so?")
        return Command(name, following.strip(), number=int(first[:9]))
    if name is Name.SYSTEM and first in ("simulator", "respondent"):
        return Command(name, following.strip(), side=first)
    return Command(name, rest)
