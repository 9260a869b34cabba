"""A small real HTTP server that answers, and misbehaves, as Kafka Connect's REST interface does."""

import contextlib
import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

CONFIG = {"connector.class": "x.Y", "cdc.pipeline": "shop", "cdc.generation": "7"}
Answer = tuple[int, Any]


class Server(ThreadingHTTPServer):
    """Answers by `answers[method, path]` (the last one again and again), else by what connectors it holds."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.answers: dict[tuple[str, str], list[Answer | Callable[[], Answer]]] = {}
        self.asked: list[tuple[str, str, Any]] = []
        self.headers_seen: list[dict[str, str]] = []
        self.queries_seen: list[str] = []
        self.connectors: dict[str, dict[str, str]] = {}

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def times(self, method: str, path: str) -> int:
        return sum(1 for m, p, _ in self.asked if (m, p) == (method, path))

    def answer(self, method: str, path: str, body: Any) -> Answer:
        scripted = self.answers.get((method, path))
        if scripted:
            found = scripted.pop(0) if len(scripted) > 1 else scripted[0]
            return found() if callable(found) else found
        name = path.split("/")[2] if path.count("/") > 1 else ""
        if (method, path) == ("POST", "/connectors"):
            return self.create(body)
        if name not in self.connectors:
            return 404, {"error_code": 404, "message": f"Connector {name} not found"}
        if method == "DELETE" and path.count("/") == 2:
            del self.connectors[name]
            return 204, None
        if method == "GET" and path.endswith("/config"):
            return 200, self.connectors[name] | {"name": name}
        return 202, None

    def create(self, body: Any) -> Answer:
        name = body["name"]
        if name in self.connectors:
            return 409, {"error_code": 409, "message": f"Connector {name} already exists"}
        self.connectors[name] = body["config"]
        return 201, body


class Handler(BaseHTTPRequestHandler):
    server: Server

    def handle_any(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        body = json.loads(self.rfile.read(length)) if length else None
        path, _, query = self.path.partition("?")
        self.server.queries_seen.append(query)
        self.server.asked.append((self.command, path, body))
        self.server.headers_seen.append(dict(self.headers))
        status, answer = self.server.answer(self.command, path, body)
        text = b"" if answer is None else json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = handle_any  # noqa: N815

    def log_message(self, *args: Any) -> None:
        pass


@contextlib.contextmanager
def serve() -> Iterator[Server]:
    with Server() as running:
        thread = threading.Thread(target=running.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        yield running
        running.shutdown()
        thread.join()
