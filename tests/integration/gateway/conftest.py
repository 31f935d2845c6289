"""A tiny model, and the real servers over real vLLM; those of `both_gateways` are shared, the rest start their own."""

from __future__ import annotations

import ctypes
import importlib.util
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.integration.gateway.chain_model import write_chain_model

REPOSITORY = Path(__file__).resolve().parents[3]
START_TIMEOUT_S = 400
CONTEXT_TOKENS = 8192
CONTROL_TOKENS = ["<unk>", "<s>", "</s>", "<pad>"]


def write_tiny_model(folder: Path, *, max_length: int = CONTEXT_TOKENS) -> None:
    """A random Llama with two layers and a byte-level tokenizer of 300 ids; its text is noise."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import LlamaConfig, LlamaForCausalLM

    tokenizer = Tokenizer(models.BPE(unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=300,
        special_tokens=CONTROL_TOKENS,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(["A human asks the assistant a question; the assistant answers it."] * 9, trainer)
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    special = {"unk_token": "<unk>", "bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>"}
    (folder / "special_tokens_map.json").write_text(json.dumps(special))
    config = special | {"tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": max_length}
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    torch.manual_seed(0)
    shape = LlamaConfig(
        vocab_size=tokenizer.get_vocab_size(),
        hidden_size=128,
        intermediate_size=256,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=2,
        max_position_embeddings=max_length,
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=3,
        tie_word_embeddings=True,
    )
    LlamaForCausalLM(shape).save_pretrained(folder)  # type: ignore[no-untyped-call]


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


@dataclass
class Service:
    """A server process that a test may signal; `log` is its own stderr."""

    process: subprocess.Popen[bytes]
    port: int
    engine_port: int
    log_path: Path
    seen: list[int] = field(default_factory=list)
    """Statuses of /readyz while it started."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def log(self) -> str:
        return self.log_path.read_text(encoding="utf-8")

    def get(self, path: str, **options: Any) -> httpx.Response:
        return httpx.get(self.url + path, timeout=60, trust_env=False, verify=False, **options)

    def post(self, path: str, body: Any, **options: Any) -> httpx.Response:
        return httpx.post(self.url + path, json=body, timeout=60, trust_env=False, verify=False, **options)

    def wait_ready(self) -> None:
        deadline = time.monotonic() + START_TIMEOUT_S
        while time.monotonic() < deadline:
            assert self.process.poll() is None, self.log
            try:
                self.seen.append(self.get("/readyz").status_code)
            except httpx.TransportError:
                self.seen.append(0)
            if self.seen[-1] == 200:
                return
            time.sleep(0.2)
        pytest.fail(f"not ready in {START_TIMEOUT_S} s: {self.log}")

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=60)


StartService = Callable[..., Service]


@pytest.fixture(scope="package")
def need_vllm() -> None:
    if importlib.util.find_spec("vllm") is None:
        pytest.skip("vLLM is not installed")
    try:
        ctypes.CDLL("libnuma.so.1")
    except OSError:
        pytest.skip("the system library libnuma is missing")


@pytest.fixture(scope="package")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "tiny"
    write_tiny_model(folder)
    return folder


@pytest.fixture(scope="package")
def launch(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StartService]:
    """Start a server: `launch("simulator", model=…, …)`; whatever still runs at the end is stopped."""
    started: list[Service] = []

    def start(name: str, **settings: Any) -> Service:
        prefix = f"PLATOLM_{name.upper()}_"
        folder = tmp_path_factory.mktemp(name)
        port, engine_port = settings.pop("port", None) or free_port(), settings.pop("engine_port", None) or free_port()
        settings = {"engine_threads": 1, **settings, "port": port, "engine_port": engine_port}
        settings["engine_log"] = folder / "engine.log"
        env = os.environ | {prefix + key.upper(): str(value) for key, value in settings.items()}
        log_path = folder / "server.log"
        with log_path.open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", f"services.{name}"], env=env, stdout=log, stderr=log, cwd=REPOSITORY
            )
        started.append(Service(process, port, engine_port, log_path))
        return started[-1]

    yield start
    for service in started:
        if service.process.poll() is None:
            service.process.send_signal(signal.SIGTERM)
    for service in started:
        service.process.wait(timeout=90)


@pytest.fixture(scope="package")
def both_gateways(need_vllm: None, launch: StartService, tiny_model: Path) -> dict[str, Service]:
    """Both servers, started side by side."""
    services = {name: launch(name, model=tiny_model) for name in ("simulator", "respondent")}
    for service in services.values():
        service.wait_ready()
    return services


@pytest.fixture(scope="package")
def stand_in(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A simulator's model whose text is drawn with known probabilities; its folder's name says UserLM."""
    return write_chain_model(tmp_path_factory.mktemp("models") / "UserLM-stand-in")


@pytest.fixture(scope="package")
def simulators(need_vllm: None, launch: StartService, stand_in: Path) -> dict[str, Service]:
    """A gateway for each profile; the first starts the engine of all, and knows its profile by the model's name."""
    first = launch("simulator", model=stand_in)
    engine = {"model": stand_in, "engine_url": f"http://127.0.0.1:{first.engine_port}/v1"}
    names = ("socratic", "usp", "osim", "roleplay")
    others = {name: launch("simulator", profile=name, guardrail_retries=0, **engine) for name in names}
    services = {"userlm": first, **others}
    for service in services.values():
        service.wait_ready()
    return services


@pytest.fixture(scope="package")
def chat_respondent(simulators: dict[str, Service], launch: StartService, stand_in: Path) -> Service:
    """The stand-in's engine as any chat model that answers."""
    engine_url = f"http://127.0.0.1:{simulators['userlm'].engine_port}/v1"
    service = launch("respondent", profile="chat", model=stand_in, engine_url=engine_url)
    service.wait_ready()
    return service


@pytest.fixture(scope="package")
def simulator_gateway(both_gateways: dict[str, Service]) -> Service:
    return both_gateways["simulator"]


@pytest.fixture(scope="package")
def respondent_gateway(both_gateways: dict[str, Service]) -> Service:
    return both_gateways["respondent"]
