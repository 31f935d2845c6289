"""An object store on loopback that speaks S3's dialect over HTTP."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3  # type: ignore[import-untyped]
import httpx
from s3fs import S3FileSystem  # type: ignore[import-untyped]

from tests.redis_server import free_port

START_TIMEOUT_S = 60.0


@dataclass
class ObjectStore:
    """A running store; `env` is what a client process needs to find it."""

    port: int
    process: subprocess.Popen[bytes]

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def env(self) -> dict[str, str]:
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_DEFAULT_REGION": "us-east-1",
        }

    def make_bucket(self, name: str) -> None:
        self._client().create_bucket(Bucket=name)

    def _client(self) -> Any:
        return boto3.client(
            "s3",
            endpoint_url=self.endpoint,
            aws_access_key_id="test",
            aws_secret_access_key="test",
            region_name="us-east-1",
        )


@contextmanager
def object_store(log: Path, *, port: int | None = None) -> Iterator[ObjectStore]:
    """A store that is empty and gone afterwards."""
    port = port or free_port()
    with log.open("ab") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)], stdout=output, stderr=output
        )
    store = ObjectStore(port, process)
    S3FileSystem.clear_instance_cache()  # fsspec remembers a client of the store before, at another port
    try:
        wait_for_store(store, log)
        yield store
    finally:
        process.kill()
        process.wait()


def wait_for_store(store: ObjectStore, log: Path) -> None:
    """Until it answers."""
    deadline = time.monotonic() + START_TIMEOUT_S
    while True:
        try:
            httpx.get(f"{store.endpoint}/moto-api/", timeout=2)
            return
        except httpx.TransportError:
            assert store.process.poll() is None, log.read_text()[-2000:]
            assert time.monotonic() < deadline, log.read_text()[-2000:]
            time.sleep(0.05)
