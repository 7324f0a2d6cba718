"""Fetching, against a server of this machine: a file that is whole and right appears, anything else leaves nothing."""

from __future__ import annotations

import gzip
import hashlib
import io
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar

import pytest
from originals import facts_table, write
from rich.console import Console

from collapsebench.data.fetching import fetch
from collapsebench.errors import DataError
from collapsebench.facts import dataset_facts

NAME, CONTENT = "words.txt", b"one\ntwo\n" * 50_000


class Server(BaseHTTPRequestHandler):
    """Serves the content whole, damaged, or not at all."""

    bodies: ClassVar = {
        "/good.txt": CONTENT,
        "/good.txt.gz": gzip.compress(CONTENT),
        "/corrupted.txt": CONTENT[:-1] + b"x",
        "/corrupted.txt.gz": gzip.compress(CONTENT)[:100] + b"x" * 100,
        "/empty.txt": b"",
        "/cut-without-length.txt": CONTENT[:-8],
        "/truncated.txt": CONTENT[:1000],
    }

    def do_GET(self):
        if self.path not in self.bodies:
            self.send_error(404)
            return
        body = self.bodies[self.path]
        self.send_response(200)
        if "without-length" not in self.path:
            self.send_header("Content-Length", str(len(CONTENT) if "truncated" in self.path else len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments):
        """Say nothing."""


@pytest.fixture(scope="module")
def address():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Server)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def facts(tmp_path, **entries):
    path = tmp_path / "facts.toml"
    path.write_text(facts_table({NAME: CONTENT}, **entries))
    return dataset_facts(path)


def quiet():
    return Console(file=io.StringIO())


@pytest.mark.parametrize("ending", ["", ".gz"])
def test_a_good_file_is_fetched_once(tmp_path, address, ending):
    known, data = facts(tmp_path, url=f"{address}/good.txt{ending}"), tmp_path / "data"
    assert fetch(known, data, quiet()) == [data / "sub" / (NAME + ending)]
    content = (data / "sub" / (NAME + ending)).read_bytes()
    assert (gzip.decompress(content) if ending else content) == CONTENT
    assert [path.name for path in (data / "sub").iterdir()] == [NAME + ending]
    (tmp_path / "plain").touch()
    assert (data / "sub" / (NAME + ending)).stat().st_mode == (tmp_path / "plain").stat().st_mode
    assert fetch(known, data, quiet()) == []


@pytest.mark.parametrize(
    ("path", "complaint"),
    [
        ("truncated.txt", "cannot fetch"),
        ("cut-without-length.txt", "is not the original: expected sha256"),
        ("corrupted.txt", "is not the original: expected sha256"),
        ("corrupted.txt.gz", "is truncated or damaged gzip"),
        ("empty.txt", "is empty"),
        ("nowhere.txt", "404"),
    ],
)
def test_a_bad_answer_leaves_nothing_behind(tmp_path, address, path, complaint):
    url = f"{address}/{path}"
    with pytest.raises(DataError, match=complaint) as caught:
        fetch(facts(tmp_path, url=url), tmp_path / "data", quiet())
    assert url in str(caught.value)
    assert "\n" not in str(caught.value)
    assert list((tmp_path / "data" / "sub").iterdir()) == []


def test_a_server_that_does_not_answer_is_one_line(tmp_path):
    with pytest.raises(DataError, match=r"cannot fetch http://127\.0\.0\.1:9/x into"):
        fetch(facts(tmp_path, url="http://127.0.0.1:9/x"), tmp_path / "data", quiet())


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path, address):
    (tmp_path / "data").write_bytes(b"a file")
    with pytest.raises(DataError, match=r"cannot fetch .* into"):
        fetch(facts(tmp_path, url=f"{address}/good.txt"), tmp_path / "data", quiet())


def test_a_file_without_an_address_is_to_be_had_by_hand(tmp_path):
    with pytest.raises(DataError) as caught:
        fetch(facts(tmp_path), tmp_path / "data", quiet())
    assert f"no address is known of {NAME}; ask the author" in str(caught.value)
    assert str(tmp_path / "data" / "sub") in str(caught.value)


def test_a_damaged_file_is_not_replaced_silently(tmp_path, address):
    write(tmp_path / "data", {NAME: b"mine"})
    with pytest.raises(DataError, match=r"is not the original.*; remove it to fetch it again"):
        fetch(facts(tmp_path, url=f"{address}/good.txt"), tmp_path / "data", quiet())
    assert (tmp_path / "data" / NAME).read_bytes() == b"mine"


def test_progress_is_shown_on_a_terminal_only(tmp_path, address):
    for terminal in (False, True):
        shown = io.StringIO()
        console = Console(file=shown, force_terminal=terminal, width=100)
        fetch(facts(tmp_path, url=f"{address}/good.txt"), tmp_path / f"data-{terminal}", console)
        assert (NAME in shown.getvalue()) == terminal
        assert ("400.0/400.0 kB" in shown.getvalue()) == terminal


def test_a_git_checksum_is_enough(tmp_path, address):
    blob = hashlib.sha1(f"blob {len(CONTENT)}\0".encode() + CONTENT, usedforsecurity=False).hexdigest()
    known = facts(tmp_path, url=f"{address}/good.txt", sha256=None, git_blob=blob)
    assert len(fetch(known, tmp_path / "data", quiet())) == 1
