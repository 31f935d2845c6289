"""Records of JSON lines, each on its own: a broken line, or one as long as a file, costs itself alone."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from typing import Any

from platolm.errors import BadLine

LARGEST_LINE = 1 << 28
"""Bytes; a longer line is no record but a file without line ends. What is longer is passed over unread."""

NOT_UNICODE = "its text is not Unicode (a lone surrogate)"
TOO_DEEP = "nested too deeply"


def records_of(file: io.BufferedReader) -> Iterator[tuple[int, Any]]:
    """Pairs (number of the line from 1, record), a `BadLine` in the place of a broken one; blank lines give nothing."""
    for number, line in _lines(file):
        if line is None:
            yield number, BadLine(number, f"longer than {LARGEST_LINE >> 20} MiB")
        elif line.strip():
            yield number, record_of(line, number)


def record_of(line: bytes, number: int) -> Any:
    """What the line says, or a `BadLine`. The last of equal keys counts; NaN and Infinity, no JSON, become null."""
    try:
        record = json.loads(line.decode(), parse_constant=_null)
        has_surrogates = b"\\ud" in line or b"\\uD" in line
        return BadLine(number, NOT_UNICODE) if has_surrogates and not is_unicode(record) else record
    except UnicodeDecodeError:
        return BadLine(number, "not UTF-8")
    except RecursionError:
        return BadLine(number, TOO_DEEP)
    except ValueError as error:
        return BadLine(number, f"not JSON: {error}")


def is_unicode(record: Any) -> bool:
    r"""Whether its text can be encoded: a lone `\ud83d` is valid JSON but no text, and no tokenizer takes it.

    Raises:
        RecursionError: it is nested too deeply.
    """
    try:
        json.dumps(record, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return False
    return True


def _null(constant: str) -> None:
    return None


def _lines(file: io.BufferedReader) -> Iterator[tuple[int, bytes | None]]:
    """Lines with their numbers; None for one that is too long."""
    number = 0
    while line := file.readline(LARGEST_LINE + 1):
        number += 1
        if len(line) <= LARGEST_LINE:
            yield number, line
            continue
        while not line.endswith(b"\n") and (line := file.readline(LARGEST_LINE)):
            pass
        yield number, None
