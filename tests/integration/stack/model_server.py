"""A stand-in for a model server: both of its ports, an engine whose every utterance names its model's folder.

python -m tests.integration.stack.model_server simulator|respondent

Reads the environment that `platolm.stack.plan` gives the real one. A folder with a file `broken` does not come up; each
answered request adds a line to `answered.log` in the model's folder.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aiohttp import web

from tests.fakes.engine import FakeEngine

SERVED = {"simulator": "socratic", "respondent": "platolm"}


@dataclass
class NamedEngine(FakeEngine):
    """Says the name of its model's folder first."""

    latency_s: float = 0.15
    max_model_len: int = 4096

    def _choice(self, prompt: tuple[int, ...], body: dict[str, Any]) -> dict[str, Any]:
        with (self.tokenizer_folder / "answered.log").open("a") as log:
            log.write(f"{hash((prompt, body['seed']))}\n")
        choice = super()._choice(prompt, body)
        ids = [*self.tokenizer.encode(f"{self.tokenizer_folder.name} "), *choice["token_ids"]]
        return {**choice, "token_ids": ids}

    async def root(self, _request: web.Request) -> web.Response:
        return web.Response(text=self.tokenizer_folder.name)


async def serve(name: str) -> None:
    stopped = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
    settings = {key: os.environ[f"PLATOLM_{name.upper()}_{key}"] for key in ("MODEL", "PORT", "ENGINE_PORT")}
    engine = NamedEngine(Path(settings["MODEL"]), SERVED[name])
    if (engine.tokenizer_folder / "broken").exists():
        sys.exit("its weights are damaged")
    app = web.Application()
    app.add_routes(
        [
            web.get("/readyz", engine.root),
            web.get("/v1/models", engine.models),
            web.post("/v1/completions", engine.completions),
        ]
    )
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    for key in ("ENGINE_PORT", "PORT"):
        await web.TCPSite(runner, "127.0.0.1", int(settings[key])).start()
    await stopped.wait()
    await runner.cleanup()


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1]))
