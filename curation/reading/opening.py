"""A file's bytes as UTF-8 without a mark at its head, whatever it was packed and encoded in; damage is an error."""

from __future__ import annotations

import codecs
import gzip
import io
import json
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

from platolm.errors import InputError

_GZIP, _ZSTD, _PARQUET = b"\x1f\x8b", b"\x28\xb5\x2f\xfd", b"PAR1"
_GZIP_SUFFIX, _ZSTD_SUFFIX, _PARQUET_SUFFIX = ".gz", ".zst", ".parquet"
_SNIFFED_BYTES = 4096
_READ_BYTES = 1 << 18


@contextmanager
def opened(file: Path) -> Iterator[io.BufferedReader]:
    """The text of a file as a stream of UTF-8: gzip and zstd (several members or frames too) unpacked.

    UTF-16 and UTF-32 are told by their mark or, as JSON begins, by their zeros. Packed files are known by their name or
    their first bytes.

    Raises:
        InputError: the file is missing, or is damaged, also while it is read; names it.
    """
    try:
        with _unpacked(file) as unpacked:
            encoding = json.detect_encoding(unpacked.peek(4))
            if encoding == "utf-8-sig":
                unpacked.read(len(codecs.BOM_UTF8))
            yield unpacked if encoding.startswith("utf-8") else io.BufferedReader(_Recoded(unpacked, encoding))
    except FileNotFoundError as error:
        raise InputError(f"{file}: no such file") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{file} begins as {error.encoding.upper()} but is not: {error.reason}") from error
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"{file} cannot be read: {error}") from error


def is_parquet(file: Path) -> bool:
    """By its name or its first bytes.

    Raises:
        InputError: the file cannot be read.
    """
    return _is(file, _PARQUET_SUFFIX, _PARQUET)


def begins_a_list(file: io.BufferedReader) -> bool:
    """Whether the first sign of the text that is `opened` is a bracket; nothing of it is used up."""
    return file.peek(_SNIFFED_BYTES).lstrip()[:1] == b"["


def begins_an_indented_object(file: io.BufferedReader) -> bool:
    """Whether the first line is a brace alone, as it never is of JSON lines; nothing is used up."""
    first, line_end, _ = file.peek(_SNIFFED_BYTES).lstrip().partition(b"\n")
    return bool(line_end) and first.strip() == b"{"


def _is(file: Path, suffix: str, magic: bytes) -> bool:
    if file.suffix == suffix:
        return True
    try:
        with file.open("rb") as sniffed:
            return sniffed.read(len(magic)) == magic
    except OSError as error:
        raise InputError(f"{file} cannot be read: {error.strerror or error}") from error


def _unpacked(file: Path) -> io.BufferedReader:
    if _is(file, _GZIP_SUFFIX, _GZIP):
        return io.BufferedReader(cast("io.RawIOBase", gzip.open(file, "rb")), _READ_BYTES)
    if _is(file, _ZSTD_SUFFIX, _ZSTD):
        import pyarrow as pa  # type: ignore[import-untyped]  # zstandard's own reader takes a cut file for a whole one

        return io.BufferedReader(pa.CompressedInputStream(pa.OSFile(str(file)), "zstd"), _READ_BYTES)
    return file.open("rb")


class _Recoded(io.RawIOBase):
    """UTF-8 of a text in another encoding. A lone surrogate stays one, and is found where its record is read."""

    def __init__(self, file: io.BufferedReader, encoding: str) -> None:
        super().__init__()
        self._file = file
        self._decoder = codecs.getincrementaldecoder(encoding)("surrogatepass")
        self._left = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._left:
            read = self._file.read1(_READ_BYTES)
            self._left = self._decoder.decode(read, final=not read).encode("utf-8", "surrogatepass")
            if not read:
                break
        size = min(len(self._left), len(buffer))
        buffer[:size], self._left = self._left[:size], self._left[size:]
        return size
