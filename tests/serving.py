"""A server of this machine for tests of downloads. It answers well, badly, slowly or not to the end, as it is told."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TypeAlias

Answer: TypeAlias = "bytes | Callable[[BaseHTTPRequestHandler], None]"
"""The content of a path, or a function that answers by itself."""


@dataclass
class Site:
    """What a server of this machine serves, and what it was asked for."""

    address: str
    answers: dict[str, Answer] = field(default_factory=dict)
    """By path."""
    asked: list[tuple[str, str | None]] = field(default_factory=list)
    """The paths that were asked for, each with its header `Range`."""
    over: threading.Event = field(default_factory=threading.Event)
    """Set at the end, so that a slow answer does not keep the test waiting."""

    def url(self, path: str) -> str:
        """The address of a path."""
        return self.address + path


@contextmanager
def serving(answers: Mapping[str, Answer] | None = None) -> Iterator[Site]:
    """Serve on a free port of this machine."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            site.asked.append((self.path, self.headers["Range"]))
            answer = site.answers.get(self.path)
            self.close_connection = True
            if answer is None:
                self.send_error(404)
            elif callable(answer):
                answer(self)
            else:
                send(self, answer)

        def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002 - the name of the base class
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    site = Site(f"http://127.0.0.1:{server.server_port}", dict(answers or {}))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield site
    finally:
        site.over.set()
        server.shutdown()
        thread.join()
        server.server_close()


def send(
    handler: BaseHTTPRequestHandler, body: bytes, *, length: int | None = -1, status: int = 200, **headers: str
) -> None:
    """Answer with a body. `length` is what the server claims; -1 stands for the truth, None for saying nothing."""
    handler.send_response(status)
    handler.send_header("Connection", "close")
    for name, value in headers.items():
        handler.send_header(name.replace("_", "-"), value)
    if length is not None:
        handler.send_header("Content-Length", str(len(body) if length == -1 else length))
    handler.end_headers()
    handler.wfile.write(body)


def with_ranges(content: bytes) -> Callable[[BaseHTTPRequestHandler], None]:
    """Serve the part that a header `Range` asks for, or all."""

    def answer(handler: BaseHTTPRequestHandler) -> None:
        asked = handler.headers["Range"]
        if asked is None:
            send(handler, content)
            return
        start = int(asked.removeprefix("bytes=").removesuffix("-"))
        if start >= len(content):
            send(handler, b"", status=416, Content_Range=f"bytes */{len(content)}")
            return
        part = f"bytes {start}-{len(content) - 1}/{len(content)}"
        send(handler, content[start:], status=206, Content_Range=part)

    return answer


def cut(content: bytes, at: int) -> Callable[[BaseHTTPRequestHandler], None]:
    """Promise all of the content, send its first bytes, and hang up."""
    return lambda handler: send(handler, content[:at], length=len(content))


def dripping(site: Site, content: bytes, pause: float) -> Callable[[BaseHTTPRequestHandler], None]:
    """Send a byte now and then, which no timeout of a socket notices."""

    def answer(handler: BaseHTTPRequestHandler) -> None:
        send(handler, b"", length=len(content))
        for i in range(len(content)):
            if site.over.wait(pause):
                return
            handler.wfile.write(content[i : i + 1])
            handler.wfile.flush()

    return answer
