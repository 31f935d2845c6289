from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from services.gateway import engine
from services.gateway.client import EngineModel
from services.gateway.engine import EngineBuild, check_and_load, engine_argv, engine_env, installed_build
from services.gateway.errors import MISUSE, StartError
from services.gateway.flags import settings_from
from services.gateway.watch import choose_model, progress_of
from services.respondent.settings import RespondentSettings
from services.simulator.settings import SimulatorSettings
from tests.unit.simulators.tokenizers import DEMO_MODEL


@pytest.fixture(autouse=True)
def _no_settings_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    for name in os.environ:
        if name.startswith("PLATOLM_"):
            monkeypatch.delenv(name)


AMX = "processor\t: 0\nflags\t\t: fpu avx512_bf16 amx_bf16 amx_tile\n"


def following(argv: list[str], flag: str) -> str:
    return argv[argv.index(flag) + 1]


def test_cpu_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "cpu_dtype", {str(tmp_path): "bfloat16"}.__getitem__)
    settings = SimulatorSettings(model=str(tmp_path), kv_cache_gib=3, engine_threads=2, max_model_len=2048)
    argv = engine_argv(settings, EngineBuild.CPU)
    assert argv[1:3] == ["-m", "vllm.entrypoints.openai.api_server"]
    assert following(argv, "--model") == str(tmp_path)
    assert following(argv, "--served-model-name") == "socratic"
    assert following(argv, "--host") == "127.0.0.1"
    assert following(argv, "--port") == "8011"
    assert following(argv, "--generation-config") == "vllm"
    assert following(argv, "--dtype") == "bfloat16"
    assert following(argv, "--max-model-len") == "2048"
    assert "--enforce-eager" in argv
    assert "--no-enable-chunked-prefill" in argv
    assert "--enable-prompt-tokens-details" in argv
    assert "--gpu-memory-utilization" not in argv
    env = engine_env(settings, EngineBuild.CPU)
    assert env["VLLM_CPU_KVCACHE_SPACE"] == "3"
    assert env["VLLM_CPU_OMP_THREADS_BIND"] == "nobind"
    assert env["OMP_NUM_THREADS"] == "2"
    assert env["HF_HUB_OFFLINE"] == "1"
    assert env["VLLM_NO_USAGE_STATS"] == env["DO_NOT_TRACK"] == "1"


@pytest.mark.parametrize(
    ("config", "cpu_info", "dtype"),
    [
        ('{"dtype": "bfloat16"}', AMX, "bfloat16"),
        ('{"torch_dtype": "bfloat16"}', AMX, "bfloat16"),
        ('{"dtype": "float32"}', AMX, "float32"),
        ("{}", AMX, "float32"),
        ("no JSON", AMX, "float32"),
        ('{"dtype": "bfloat16"}', "processor\t: 0\nflags\t\t: fpu avx512_bf16 amx_bf16x\n", "float32"),
        ('{"dtype": "bfloat16"}', "processor\t: 0\nFeatures\t: fp asimd bf16\n", "float32"),
    ],
)
def test_bfloat16_is_for_weights_that_are_in_it_and_processors_that_are_fast_at_it(
    tmp_path: Path, config: str, cpu_info: str, dtype: str
) -> None:
    (tmp_path / "config.json").write_text(config)
    (tmp_path / "cpuinfo").write_text(cpu_info)
    assert engine.cpu_dtype(str(tmp_path), tmp_path / "cpuinfo") == dtype
    assert engine.cpu_dtype(str(tmp_path), tmp_path / "absent") == "float32"
    assert engine.cpu_dtype("org/model", tmp_path / "cpuinfo") == "float32"


def test_a_type_that_is_named_is_taken(tmp_path: Path) -> None:
    argv = engine_argv(SimulatorSettings(model=str(tmp_path), dtype="float16"), EngineBuild.CPU)
    assert following(argv, "--dtype") == "float16"


def test_gpu_command() -> None:
    settings = RespondentSettings(
        model="org/model", gpu_memory_utilization=0.5, engine_args="--tensor-parallel-size 2 --seed '1'"
    )
    argv = engine_argv(settings, EngineBuild.GPU)
    assert following(argv, "--port") == "8012"
    assert following(argv, "--dtype") == "auto"
    assert following(argv, "--gpu-memory-utilization") == "0.5"
    assert argv[-4:] == ["--tensor-parallel-size", "2", "--seed", "1"]
    assert "--enforce-eager" not in argv
    env = engine_env(settings, EngineBuild.GPU)
    assert "HF_HUB_OFFLINE" not in env
    assert not any(name.startswith(("VLLM_CPU", "OMP")) for name in env)


@pytest.mark.parametrize(
    ("profile", "whose"), [("socratic", "vllm"), ("usp", "vllm"), ("osim", "auto"), ("roleplay", "auto")]
)
def test_sampling_is_the_models_where_the_profile_leaves_it_to_the_model(profile: str, whose: str) -> None:
    argv = engine_argv(SimulatorSettings(model="org/model", profile=profile), EngineBuild.GPU)
    assert following(argv, "--generation-config") == whose


def test_a_model_without_the_profiles_tokens_is_known_before_the_engine_starts() -> None:
    settings = SimulatorSettings(model=str(DEMO_MODEL), profile="userlm", engine_url="http://gpu-1:8011/v1")
    with pytest.raises(StartError, match="start_header_id") as refused:
        check_and_load(settings)
    assert refused.value.exit_code == MISUSE


@pytest.mark.parametrize(
    ("versions", "build"),
    [
        ({"vllm-cpu": "0.32.0"}, EngineBuild.CPU),
        ({"vllm": "0.32.0+cpu"}, EngineBuild.CPU),
        ({"vllm": "0.32.0"}, EngineBuild.GPU),
    ],
)
def test_build_by_package(versions: dict[str, str], build: EngineBuild, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "_version", versions.get)
    assert installed_build() is build


def test_no_vllm(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "_version", lambda _name: None)
    with pytest.raises(StartError, match="install `vllm`"):
        installed_build()


def read(argv: list[str]) -> SimulatorSettings:
    return settings_from(SimulatorSettings, argv, prog="services.simulator", about="", examples="")


def test_flags_win_over_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLATOLM_SIMULATOR_PORT", "9001")
    monkeypatch.setenv("PLATOLM_SIMULATOR_TEMPERATURE", "0.1")
    settings = read(["--port", "9002", "--metrics-need-key", "true", "--engine-log", "x.log"])
    assert (settings.port, settings.temperature) == (9002, 0.1)
    assert settings.metrics_need_key is True
    assert settings.engine_log == Path("x.log")


def test_help_has_every_setting(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        read(["--help"])
    assert stopped.value.code == 0
    text = capsys.readouterr().out
    for name in SimulatorSettings.model_fields:
        assert "--" + name.replace("_", "-") in text
        assert f"PLATOLM_SIMULATOR_{name.upper()}" in "".join(text.split())


def test_unknown_flag_is_misuse() -> None:
    with pytest.raises(SystemExit) as stopped:
        read(["--modle", "x"])
    assert stopped.value.code == 2


@pytest.mark.parametrize(
    "fields",
    [
        {"api_keys": "short"},
        {"api_keys": "changeme-please"},
        {"api_keys": "0123456789abcdef,your-api-key"},
        {"profile": "bard"},
        {"port": 0},
        {"port": 8011},
        {"engine_url": "localhost:8000"},
        {"log_level": "loud"},
    ],
)
def test_bad_settings(fields: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        SimulatorSettings(model="m", **fields)


def test_keys_do_not_show() -> None:
    settings = SimulatorSettings(model="m", api_keys="0123456789abcdef")
    assert "0123456789abcdef" not in repr(settings)
    assert SimulatorSettings(model="m", api_keys="").api_keys is None


@pytest.mark.parametrize("url", ["http://gpu-1:8011", "http://gpu-1:8011/v1", "http://gpu-1:8011/v1/"])
def test_engine_url_with_or_without_v1(url: str) -> None:
    assert SimulatorSettings(model="m", engine_url=url).engine_base_url == "http://gpu-1:8011"


def test_engine_in_a_container_is_reached_on_loopback() -> None:
    settings = SimulatorSettings(model="m", engine_host="0.0.0.0")
    assert settings.engine_base_url == "http://127.0.0.1:8011"


def test_choose_model() -> None:
    first, second = EngineModel("a", 10), EngineModel("b", 20)
    assert choose_model([first, second], "b") is second
    assert choose_model([first, second], "c") is first
    with pytest.raises(ValueError, match="no model"):
        choose_model([], "a")


def test_progress() -> None:
    text = 'vllm:iteration_tokens_total_count{engine="0"} 17.0\nvllm:other 3\n'
    assert progress_of(text) == "17.0"
    assert progress_of("") == ""
