from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import pytest

from platolm.errors import InputError
from platolm.stack.adapters import Adapter, engine_args, read_adapter
from tests.unit.stack.adapter_folders import write_adapter


def test_an_adapters_folder(tmp_path: Path) -> None:
    assert read_adapter(write_adapter(tmp_path / "a")) == Adapter(tmp_path / "a", 8)


def test_the_rank_is_that_of_the_largest_matrix(tmp_path: Path) -> None:
    folder = write_adapter(tmp_path / "a", r=4, rank_pattern={"down_proj": 24, "q_proj": 2})
    assert read_adapter(folder).rank == 24


def test_a_relative_path_is_made_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The engine is started from another folder."""
    write_adapter(tmp_path / "a")
    monkeypatch.chdir(tmp_path)
    assert read_adapter("a").folder == tmp_path / "a"


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"peft_type": "IA3"}, "type IA3"),
        ({"use_dora": True}, "use_dora, which vLLM does not serve"),
        ({"modules_to_save": ["lm_head"], "lora_bias": True}, "lora_bias, modules_to_save"),
        ({"r": None}, "no usable rank"),
        ({"r": True}, "no usable rank"),
        ({"r": 0}, "no usable rank"),
        ({"rank_pattern": {"q_proj": "8"}}, "no usable rank"),
    ],
)
def test_an_adapter_that_the_engine_does_not_serve(tmp_path: Path, config: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_adapter(write_adapter(tmp_path / "a", **config))


def test_a_model_is_no_adapter(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no adapter folder \(adapter_config\.json: No such file"):
        read_adapter(tmp_path)


@pytest.mark.parametrize(("text", "message"), [("{", "not JSON"), ("[]", "not an adapter's configuration")])
def test_a_configuration_that_is_none(tmp_path: Path, text: str, message: str) -> None:
    folder = write_adapter(tmp_path / "a")
    (folder / "adapter_config.json").write_text(text)
    with pytest.raises(InputError, match=message):
        read_adapter(folder)


def test_an_adapter_without_weights(tmp_path: Path) -> None:
    folder = write_adapter(tmp_path / "a")
    (folder / "adapter_model.safetensors").unlink()
    with pytest.raises(InputError, match="not a complete adapter"):
        read_adapter(folder)


def test_the_engines_flags() -> None:
    adapters = {"socratic": Adapter(Path("/a b"), 8), "platolm": Adapter(Path("/c"), 24)}
    assert shlex.split(engine_args(adapters)) == [
        *("--served-model-name", "base", "--enable-lora", "--max-loras", "2", "--max-lora-rank", "32"),
        *("--lora-modules", "socratic=/a b", "platolm=/c"),
    ]


@pytest.mark.parametrize(("rank", "taken"), [(1, "1"), (2, "8"), (8, "8"), (65, "128"), (512, "512")])
def test_a_rank_is_rounded_up_to_one_that_the_engine_has(rank: int, taken: str) -> None:
    argv = engine_args({"a": Adapter(Path("/a"), rank)}).split()
    assert argv[argv.index("--max-lora-rank") + 1] == taken


def test_a_rank_that_is_too_large() -> None:
    with pytest.raises(InputError, match="rank 513 is more than vLLM takes, 512"):
        engine_args({"a": Adapter(Path("/a"), 8), "b": Adapter(Path("/b"), 513)})
