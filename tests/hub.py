"""A small hub on loopback: what huggingface_hub asks of the real one to list and to download files."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

COMMIT = "c0ffee" + "0" * 34


@dataclass
class Hub:
    """Repositories and what was asked of them.

    Attributes
    ----------
    repositories : name -> file name -> content
    gated : names of repositories that refuse
    cuts : bytes after which each of the next downloads breaks off
    down : whether it answers everything with 503
    requests : "METHOD path" or "METHOD path range", in order
    headers : of each request
    """

    repositories: dict[str, dict[str, bytes]] = field(default_factory=dict)
    gated: set[str] = field(default_factory=set)
    cuts: list[int] = field(default_factory=list)
    down: bool = False
    requests: list[str] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    url: str = ""

    @contextmanager
    def serving(self) -> Iterator[Hub]:
        handler = type("Handler", (_Handler,), {"hub": self})
        with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
            self.url = f"http://127.0.0.1:{server.server_port}"
            Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
            try:
                yield self
            finally:
                server.shutdown()


class _Handler(BaseHTTPRequestHandler):
    hub: Hub
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None: ...

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        asked = self.headers.get("Range")
        self.hub.requests.append(f"{self.command} {self.path}" + (f" {asked}" if asked else ""))
        self.hub.headers.append(dict(self.headers))
        listing = re.fullmatch(r"/api/models/(.+?)/revision/(.+)", self.path)
        download = re.fullmatch(r"/(.+?)/resolve/(.+?)/(.+)", self.path)
        repository, revision = (listing or download).groups()[:2] if listing or download else ("", "")
        if self.hub.down:
            self.answer(503, b"down")
        elif repository in self.hub.gated:
            self.answer(403, b"{}", {"X-Error-Code": "GatedRepo", "X-Error-Message": "Access is restricted."})
        elif repository not in self.hub.repositories:
            self.answer(401, b"{}", {"X-Error-Code": "RepoNotFound", "X-Error-Message": "Repository not found"})
        elif revision not in ("main", COMMIT):
            self.answer(404, b"{}", {"X-Error-Code": "RevisionNotFound", "X-Error-Message": "Invalid rev"})
        elif listing:
            self.list(repository)
        else:
            self.send(self.hub.repositories[repository][download[3]])

    def list(self, repository: str) -> None:
        siblings = [{"rfilename": name} for name in self.hub.repositories[repository]]
        said = {"_id": "1", "id": repository, "sha": COMMIT, "siblings": siblings}
        self.answer(200, json.dumps(said).encode(), {"Content-Type": "application/json"})

    def send(self, data: bytes) -> None:
        headers = {"ETag": f'"{hashlib.sha256(data).hexdigest()}"', "X-Repo-Commit": COMMIT, "Accept-Ranges": "bytes"}
        asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        start = int(asked[1]) if asked else 0
        if asked:
            headers["Content-Range"] = f"bytes {start}-{len(data) - 1}/{len(data)}"
        self.answer(206 if asked else 200, data[start:], headers)

    def answer(self, status: int, data: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {**(headers or {}), "Content-Length": str(len(data))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "HEAD":
            return
        cut = self.hub.cuts.pop(0) if status in (200, 206) and "/resolve/" in self.path and self.hub.cuts else None
        self.wfile.write(data[:cut])
        if cut is not None:
            self.close_connection = True
