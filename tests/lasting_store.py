"""An object store that a SIGKILL ends and that comes back with everything it had acknowledged.

moto's server keeps its buckets in memory, and can write down each request before it answers it: at its start this one
makes what is written down again, and opens its port only then.

    python -m tests.lasting_store FOLDER --port 5000
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from tests.object_store import ObjectStore, wait_for_store
from tests.redis_server import free_port

WRITES = ("PUT", "POST", "DELETE")


@dataclass
class LastingStore:
    """Its starter's view; `store` is where it is while it runs."""

    folder: Path
    store: ObjectStore | None = None
    port: int = 0

    def start(self) -> ObjectStore:
        """Run, after a `kill` at the same address and with what it had."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self.port = self.port or free_port()
        argv = [sys.executable, "-m", "tests.lasting_store", str(self.folder), "--port", str(self.port)]
        log = self.folder / "store.log"
        with log.open("ab") as output:
            process = subprocess.Popen(argv, stdout=output, stderr=output)
        self.store = ObjectStore(self.port, process)
        wait_for_store(self.store, log)
        return self.store

    def kill(self) -> None:
        """SIGKILL, in the middle of whatever it does."""
        assert self.store is not None
        self.store.process.kill()
        self.store.process.wait()

    def end(self) -> None:
        if self.store is not None and self.store.process.poll() is None:
            self.kill()


def main(
    folder: Path,
    port: Annotated[int, typer.Option(help="on loopback")],
) -> None:
    """Serve until SIGTERM."""
    recording = folder / "requests.jsonl"
    os.environ["MOTO_RECORDER_FILEPATH"] = str(recording)
    from moto.moto_api import recorder
    from moto.server import ThreadedMotoServer

    if recording.exists():
        _keep_whole_writes(recording)
        inner = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
        inner.start()
        recorder.replay_recording(target_host="http://{}:{}".format(*inner.get_host_and_port()))
        inner.stop()
    recorder.start_recording()
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=port)
    server.start()
    stopping = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stopping.set())
    stopping.wait()


def _keep_whole_writes(recording: Path) -> None:
    """Drop what changes nothing, and a last line that was cut: its request was never answered."""
    kept = []
    for line in recording.read_text(encoding="utf-8").splitlines():
        try:
            request = json.loads(line)
        except json.JSONDecodeError:
            continue
        if request["method"] in WRITES:
            kept.append(line)
    recording.write_text("".join(f"{line}\n" for line in kept), encoding="utf-8")


if __name__ == "__main__":
    typer.run(main)
