"""The part of the hub's HTTP API that an upload needs, on this machine. Not the hub: it keeps what it is sent."""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

TOKEN = "hf_local"


@dataclass
class FakeHub:
    """Repositories by name, with their files; `refuse` is the status that every request gets, 0: none.

    Parquet is uploaded by git-lfs's basic transfer, as the hub wants of large and binary files; `refuse_large` is the
    status that such an upload gets.
    """

    url: str = ""
    refuse: int = 0
    refuse_large: int = 0
    large: dict[str, bytes] = field(default_factory=dict)
    created: list[dict[str, Any]] = field(default_factory=list)
    files: dict[str, bytes] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)

    def answer(self, method: str, path: str, authorized: bool, body: bytes) -> tuple[int, dict[str, Any]]:
        """The status and JSON for a request."""
        self.requests.append(f"{method} {path}")
        if self.refuse or not authorized:
            return self.refuse or 401, {"error": "You may not write here."}
        if path == "/api/repos/create":
            self.created.append(json.loads(body))
            return 200, {"url": f"{self.url}/datasets/me/talks", "id": "me/talks"}
        if path == "/api/validate-yaml":
            return 200, {"errors": [], "warnings": []}
        if path == "/api/datasets/me/talks/preupload/main":
            asked = json.loads(body)["files"]
            return 200, {"files": [_upload_of(one["path"]) for one in asked]}
        if path == "/datasets/me/talks.git/info/lfs/objects/batch":
            return 200, {"transfer": "basic", "objects": [self._place_of(one) for one in json.loads(body)["objects"]]}
        if path == "/api/datasets/me/talks/commit/main":
            self._commit(body)
            commit = f"{self.url}/datasets/me/talks/commit/{'a' * 40}"
            return 200, {"commitUrl": commit, "commitOid": "a" * 40, "success": True}
        return 404, {"error": f"{method} {path} is not known here"}

    def _commit(self, body: bytes) -> None:
        for line in body.splitlines():
            entry = json.loads(line)
            if entry["key"] == "file":
                assert entry["value"]["encoding"] == "base64"
                self.files[entry["value"]["path"]] = base64.b64decode(entry["value"]["content"])
            if entry["key"] == "lfsFile":
                self.files[entry["value"]["path"]] = self.large[entry["value"]["oid"]]

    def _place_of(self, asked: dict[str, Any]) -> dict[str, Any]:
        return {**asked, "actions": {"upload": {"href": f"{self.url}/large/{asked['oid']}"}}}

    def keep_large(self, oid: str, content: bytes) -> tuple[int, dict[str, Any]]:
        """Take a large file's content, which must be what its digest says."""
        if self.refuse_large:
            return self.refuse_large, {"error": "No room is left."}
        assert hashlib.sha256(content).hexdigest() == oid
        self.large[oid] = content
        return 200, {}


def _upload_of(path: str) -> dict[str, Any]:
    mode = "lfs" if path.endswith(".parquet") else "regular"
    return {"path": path, "uploadMode": mode, "shouldIgnore": False, "oid": None}


@contextmanager
def fake_hub() -> Iterator[FakeHub]:
    """A hub that listens on a free port until the context ends."""
    hub = FakeHub()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            authorized = self.headers.get("Authorization") == f"Bearer {TOKEN}"
            status, answer = hub.answer("POST", self.path.partition("?")[0], authorized, body)
            self._send(status, answer)

        def do_PUT(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            self._send(*hub.keep_large(self.path.rpartition("/")[2], body))

        def do_GET(self) -> None:
            self._send(*hub.answer("GET", self.path.partition("?")[0], True, b""))

        def log_message(self, format: str, *args: Any) -> None:
            """Nothing."""

        def _send(self, status: int, answer: dict[str, Any]) -> None:
            content = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    hub.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
