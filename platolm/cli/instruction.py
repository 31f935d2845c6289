"""A simulator's instruction as a command line gives it: the text itself, or the file that it is in."""

from __future__ import annotations

from pathlib import Path

from platolm.errors import InputError


def instruction_text(given: str) -> str:
    """The text of an instruction. What has no white space in it names a file, for no instruction is one word.

    Raises:
        InputError: there is no such file, it cannot be read, or is blank.
    """
    text = given if any(map(str.isspace, given)) and not _is_file(given) else _read(Path(given))
    if not text.strip():
        raise InputError(f"--instruction {given!r}: it says nothing")
    return text


def _is_file(name: str) -> bool:
    try:
        return Path(name).is_file()
    except (OSError, ValueError):  # too long for a name, or with a zero in it
        return False


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise InputError(f"--instruction {path}: no instruction, and the file cannot be read: {reason}") from error
