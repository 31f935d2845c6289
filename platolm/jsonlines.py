"""Reading records from JSON lines or one JSON list, plain, gzip or zstd, with the number of every broken one."""

from __future__ import annotations

import codecs
import gzip
import io
import json
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, cast

import zstandard

from platolm.errors import BadLine, InputError

_SNIFFED_BYTES = 4096


def read_json_records(path: str | Path) -> Iterator[tuple[int, Any]]:
    """Pairs (number, record), numbers from 1: of the line in JSON lines, of the element in a JSON list.

    A line that is not JSON, or whose text is not Unicode, comes as a `BadLine` in its place; blank lines are passed
    over. JSON lines are read one at a time, a JSON list as a whole.

    Raises:
        InputError: the file is missing, is damaged, or begins as a JSON list and is not one.
    """
    path = Path(path)
    try:
        with _opened(path) as file:
            is_list = file.read(_SNIFFED_BYTES).removeprefix(codecs.BOM_UTF8).lstrip()[:1] == b"["
        with _opened(path) as file:
            yield from _list_elements(path, file.read()) if is_list else _lines(file)
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such file") from error
    except (OSError, EOFError, zlib.error, zstandard.ZstdError) as error:
        raise InputError(f"{path} cannot be read: {error}") from error


def _opened(path: Path) -> IO[bytes]:
    if path.suffix == ".gz":
        return cast("IO[bytes]", gzip.open(path, "rb"))
    if path.suffix == ".zst":
        return io.BufferedReader(zstandard.open(path, "rb"))
    return path.open("rb")


def _lines(file: IO[bytes]) -> Iterator[tuple[int, Any]]:
    for number, line in enumerate(file, start=1):
        content = line.removeprefix(codecs.BOM_UTF8) if number == 1 else line
        if content.strip():
            yield number, _record(number, content)


def _list_elements(path: Path, content: bytes) -> Iterator[tuple[int, Any]]:
    try:
        elements = json.loads(content.removeprefix(codecs.BOM_UTF8).decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} begins as a JSON list but is not one: {error}") from error
    assert isinstance(elements, list)
    for number, element in enumerate(elements, start=1):
        yield number, element if _is_unicode(element) else BadLine(number, "its text is not Unicode (a lone surrogate)")


def _record(number: int, line: bytes) -> Any:
    try:
        record = json.loads(line.decode("utf-8"))
    except UnicodeDecodeError:
        return BadLine(number, "not UTF-8")
    except RecursionError:
        return BadLine(number, "nested too deeply")
    except ValueError as error:
        return BadLine(number, f"not JSON: {error}")
    if b"\\u" in line and not _is_unicode(record):
        return BadLine(number, "its text is not Unicode (a lone surrogate)")
    return record


def _is_unicode(record: Any) -> bool:
    """Whether its text can be encoded; a lone `\\\\ud83d` is valid JSON but no text, and no tokenizer takes it."""
    try:
        json.dumps(record, ensure_ascii=False).encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True
