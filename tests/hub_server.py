"""A local server of the part of the Hugging Face hub's API that a download asks for, over a folder of files.

Speaks `/api/models/...` (info and tree) and `/resolve/` (ETag, X-Repo-Commit, Range), keeps a log of what was asked,
and can be told to demand a token, to cut a connection, to send other bytes, or to be full of faults.
"""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

COMMIT = "0123456789abcdef0123456789abcdef01234567"
TOKEN = "hf_right"
LARGE_NBYTES = 4096  # from here on a file is kept in LFS, which names it by its SHA-256


class Hub:
    """One repository, `repository`, with the files of `folder`.

    Attributes:
        gated: files go only to those with the token.
        cut: name of a file whose next response ends after half of its bytes.
        damaged: name of a file that is sent with a wrong last byte.
        status: answered to everything, if not 0.
        log: "METHOD path range" of each request.
    """

    def __init__(self, repository: str, folder: Path) -> None:
        self.repository, self.folder = repository, folder
        self.gated = False
        self.cut = ""
        self.damaged = ""
        self.status = 0
        self.log: list[str] = []
        self.url = ""

    def info(self) -> dict[str, object]:
        names = [{"rfilename": name} for name in self.names()]
        return {"_id": "0", "id": self.repository, "modelId": self.repository, "sha": COMMIT, "siblings": names}

    def tree(self) -> list[dict[str, object]]:
        return [self._entry(name) for name in self.names()]

    def names(self) -> list[str]:
        return sorted(str(path.relative_to(self.folder)) for path in self.folder.rglob("*") if path.is_file())

    def etag(self, name: str) -> str:
        data = (self.folder / name).read_bytes()
        if len(data) >= LARGE_NBYTES:
            return hashlib.sha256(data).hexdigest()
        return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()

    def _entry(self, name: str) -> dict[str, object]:
        size = (self.folder / name).stat().st_size
        entry: dict[str, object] = {"type": "file", "oid": self.etag(name)[:40], "size": size, "path": name}
        if size >= LARGE_NBYTES:
            entry["lfs"] = {"oid": self.etag(name), "size": size, "pointerSize": 134}
        return entry


@contextmanager
def serve(hub: Hub) -> Iterator[Hub]:
    """Runs the hub on a free port; its address is `hub.url`."""

    class Handler(_Handler):
        server_hub = hub

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    hub.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    server_hub: Hub
    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def log_message(self, *_: object) -> None:
        pass

    def _answer(self) -> None:
        hub = self.server_hub
        path = self.path.split("?")[0]
        hub.log.append(f"{self.command} {path} {self.headers.get('Range', '')}".strip())
        if hub.status:
            return self._send(hub.status, b"{}")
        api = re.fullmatch(rf"/api/models/{hub.repository}(/(revision|tree)/([^/]+))?", path)
        if api and api[3] in (None, "main", COMMIT):
            return self._json(hub.tree() if api[2] == "tree" else hub.info())
        if api:
            return self._refuse(404, "RevisionNotFound")
        file = re.fullmatch(rf"/{hub.repository}/resolve/({COMMIT}|main)/(.+)", path)
        if file is None:
            return self._refuse(401 if path.startswith("/api/models/") else 404, "RepoNotFound")
        if not (hub.folder / file[2]).is_file():
            return self._refuse(404, "EntryNotFound")
        if hub.gated and self.headers.get("Authorization") != f"Bearer {TOKEN}":
            return self._refuse(403 if "Authorization" in self.headers else 401, "GatedRepo")
        return self._file(file[2])

    def _file(self, name: str) -> None:
        hub = self.server_hub
        data = (hub.folder / name).read_bytes()
        headers = {"ETag": f'"{hub.etag(name)}"', "X-Repo-Commit": COMMIT, "Accept-Ranges": "bytes"}
        if name == hub.damaged:
            data = data[:-1] + bytes([data[-1] ^ 1])
        start = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        if start:
            headers["Content-Range"] = f"bytes {start[1]}-{len(data) - 1}/{len(data)}"
            data = data[int(start[1]) :]
        if name == hub.cut and self.command == "GET":
            hub.cut = ""
            self._send(206 if start else 200, data[: len(data) // 2], headers | {"Content-Length": str(len(data))})
            self.close_connection = True
            return
        self._send(206 if start else 200, data, headers)

    def _json(self, value: object) -> None:
        self._send(200, json.dumps(value).encode(), {"Content-Type": "application/json"})

    def _refuse(self, status: int, code: str) -> None:
        self._send(status, b'{"error": "no"}', {"X-Error-Code": code, "X-Error-Message": "no"})

    def _send(self, status: int, data: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for key, value in ({"Content-Length": str(len(data))} | (headers or {})).items():
            self.send_header(key, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)
