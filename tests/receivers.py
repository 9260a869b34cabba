"""Where messages go in tests: a web server that keeps what is posted to it, a mail server."""

import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from email.message import EmailMessage
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from aiosmtpd.controller import Controller

from tests.control_fixtures import wait_until


@dataclass
class Posted:
    """One request."""

    path: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Receiver:
    """A web server on loopback. `answers` are the next statuses, then it answers 200; `hang`: it never does."""

    url: str
    posted: list[Posted] = field(default_factory=list)
    answers: list[int] = field(default_factory=list)
    hang: threading.Event = field(default_factory=threading.Event)

    def wait(self, number: int = 1, timeout_s: float = 30) -> list[Posted]:
        wait_until(lambda: len(self.posted) >= number, timeout_s)
        return self.posted


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    lock = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            with lock:
                found.posted.append(Posted(self.path, dict(self.headers), body))
                status = found.answers.pop(0) if found.answers else 200
            if found.hang.is_set():
                ended.wait(60)
                return
            self.send_response(status)
            self.send_header("Location", "/elsewhere")
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"ok")

        def log_message(self, *_: Any) -> None:
            pass

    ended = threading.Event()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    found = Receiver(f"http://127.0.0.1:{server.server_address[1]}")
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    yield found
    ended.set()
    server.shutdown()
    server.server_close()


@dataclass
class Mailbox:
    """A mail server on loopback, and what it got."""

    port: int
    mails: list[EmailMessage] = field(default_factory=list)


@pytest.fixture
def mailbox() -> Iterator[Mailbox]:
    class Keep:
        async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:  # noqa: N802 (aiosmtpd's name)
            box.mails.append(message_from_bytes(envelope.content, policy=policy.default))  # type: ignore[arg-type]
            return "250 kept"

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        box = Mailbox(probe.getsockname()[1])
    controller = Controller(Keep(), hostname="127.0.0.1", port=box.port)
    controller.start()
    yield box
    controller.stop()
