"""Equal inputs have equal fingerprints, others other ones."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from platolm.errors import InputError
from training.loop import fingerprint
from training.loop.fingerprint import files_fingerprint, fingerprint_of, model_fingerprint


def test_the_order_of_keys_does_not_count_but_that_of_parts_does() -> None:
    assert fingerprint_of({"a": 1, "b": 2}) == fingerprint_of({"b": 2, "a": 1})
    assert fingerprint_of("a", "b") != fingerprint_of("b", "a")


def test_files_count_by_content(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    one.write_text("x")
    two.write_text("x")
    os.utime(two, (1, 1))
    assert files_fingerprint([one]) == files_fingerprint([two])
    before = files_fingerprint([one, two])
    two.write_text("y")
    assert files_fingerprint([one, two]) != before
    with pytest.raises(InputError, match="cannot be read"):
        files_fingerprint([tmp_path / "none"])


def test_large_files_count_by_size_and_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fingerprint, "_READ_WHOLE_BYTES", 3)
    large = tmp_path / "large"
    seen = set()
    for content, at in (("abcd", 1), ("abcd", 2), ("abcde", 2)):
        large.write_text(content)
        os.utime(large, (at, at))
        seen.add(files_fingerprint([large]))
    assert len(seen) == 3


def test_a_model_counts_by_its_files_and_a_hub_name_as_itself(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    before = model_fingerprint(str(tmp_path))
    (tmp_path / "config.json").rename(tmp_path / "renamed.json")
    assert model_fingerprint(str(tmp_path)) != before
    assert model_fingerprint("org/model") == "org/model"
