"""Big engines' settings: from the environment to vLLM's flags."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from services.gateway.engine import EngineBuild, engine_argv
from services.gateway.engine_options import EngineOptions
from services.gateway.errors import MISUSE, StartError
from services.gateway.flags import settings_from
from services.respondent.settings import RespondentSettings

NGRAM = '{"method": "ngram", "num_speculative_tokens": 4}'
VALUES = {
    "tensor_parallel_size": "2",
    "data_parallel_size": "3",
    "quantization": "fp8",
    "kv_cache_dtype": "fp8_e5m2",
    "max_num_seqs": "64",
    "max_num_batched_tokens": "8192",
    "speculative_config": NGRAM,
}


@pytest.fixture(autouse=True)
def _no_settings_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    for name in os.environ:
        if name.startswith("PLATOLM_"):
            monkeypatch.delenv(name)


def test_nothing_said_is_no_flag() -> None:
    assert RespondentSettings(model="org/model").option_flags() == []
    assert RespondentSettings(model="org/model").given_options == ()


def test_the_environment_becomes_flags_and_further_flags_come_last(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in VALUES.items():
        monkeypatch.setenv(f"PLATOLM_RESPONDENT_{name.upper()}", value)
    monkeypatch.setenv("PLATOLM_RESPONDENT_CHUNKED_PREFILL", "false")
    settings = RespondentSettings(model="org/model", engine_args="--max-num-seqs 65")
    expected = [part for name, value in VALUES.items() for part in ("--" + name.replace("_", "-"), value)]
    argv = engine_argv(settings, EngineBuild.GPU)
    assert argv[-len(expected) - 3 :] == [*expected, "--no-enable-chunked-prefill", "--max-num-seqs", "65"]
    assert {*VALUES, "chunked_prefill"} == set(EngineOptions.model_fields), "a setting without a test"


def test_the_command_line_has_them() -> None:
    argv = ["--model", "org/model", "--tensor-parallel-size", "4", "--speculative-config", NGRAM]
    settings = settings_from(RespondentSettings, argv, prog="p", about="a", examples="e")
    assert settings.option_flags() == ["--tensor-parallel-size", "4", "--speculative-config", NGRAM]


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("tensor_parallel_size", 0, "greater than or equal to 1"),
        ("speculative_config", "ngram", "it is no JSON"),
        ("speculative_config", "[1]", "a JSON object"),
        ("speculative_config", '{"num_speculative_tokens": 4}', '"method" or a "model"'),
    ],
)
def test_what_cannot_be_meant_is_refused(name: str, value: object, told: str) -> None:
    with pytest.raises(ValidationError, match=told):
        RespondentSettings.model_validate({"model": "org/model", name: value})


def test_an_engine_elsewhere_has_its_own_settings() -> None:
    with pytest.raises(ValidationError, match="quantization, max_num_seqs: for an engine that is started here"):
        RespondentSettings(model="m", engine_url="http://gpu-1:8000/v1", quantization="fp8", max_num_seqs=3)


def test_without_a_gpu_there_is_no_chunked_prefill() -> None:
    settings = RespondentSettings(model="org/model", chunked_prefill=True)
    assert "--enable-chunked-prefill" in engine_argv(settings, EngineBuild.GPU)
    with pytest.raises(StartError, match="no chunked prefill") as refused:
        engine_argv(settings, EngineBuild.CPU)
    assert refused.value.exit_code == MISUSE
