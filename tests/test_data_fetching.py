"""Fetching, against a server of this machine: a file that is whole and right appears, anything else leaves nothing."""

from __future__ import annotations

import fcntl
import gzip
import hashlib
import io
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from originals import facts_table, write
from rich.console import Console
from serving import cut, dripping, send, serving, with_ranges

from collapsebench.components import discovery
from collapsebench.data.base import FromFiles
from collapsebench.data.downloading import Limits
from collapsebench.data.fetching import fetch
from collapsebench.data.files import available, read
from collapsebench.data.located import LocatedDataset
from collapsebench.errors import DataError
from collapsebench.facts import dataset_facts

NAME, CONTENT = "words.txt", b"one\ntwo\n" * 50_000
PAGE = b"<!DOCTYPE html>\n<html><body>Sign in to your network</body></html>"


class Words(FromFiles):
    """A dataset of one file, which it can make from two."""

    name = "words"

    def originals(self):
        return [NAME]

    def parse(self, contents):
        raise NotImplementedError

    def make(self, name, archives):
        return b"".join(archives[key] for key in sorted(archives))


@pytest.fixture
def site():
    with serving() as site:
        yield site


def located(tmp_path, more="", **entries):
    """The dataset, with a facts file of these entries of its file, and of more lines."""
    path = tmp_path / "facts.toml"
    path.write_text(facts_table({NAME: CONTENT}, **entries) + "\n" + more)
    return LocatedDataset(Words(), dataset_facts(path), tmp_path / "data", discovery.load())


def quiet():
    return Console(file=io.StringIO())


def left(tmp_path):
    """The names of the files in the folder of the dataset."""
    folder = tmp_path / "data" / "sub"
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


def is_one_line(error, *parts):
    assert "\n" not in str(error)
    assert all(part in str(error) for part in parts), str(error)
    return True


@pytest.mark.parametrize("ending", ["", ".gz"])
def test_a_good_file_is_fetched_once(tmp_path, site, ending):
    site.answers[f"/good.txt{ending}"] = gzip.compress(CONTENT) if ending else CONTENT
    known = located(tmp_path, url=site.url(f"/good.txt{ending}"))
    assert fetch(known, quiet()) == [tmp_path / "data" / "sub" / (NAME + ending)]
    assert left(tmp_path) == [NAME + ending]
    assert read(known.facts, NAME, tmp_path / "data").content == CONTENT
    (tmp_path / "plain").touch()
    assert (tmp_path / "data" / "sub" / (NAME + ending)).stat().st_mode == (tmp_path / "plain").stat().st_mode
    assert fetch(known, quiet()) == []
    assert len(site.asked) == 1


def corrupted_gzip(handler):
    send(handler, gzip.compress(CONTENT)[:100] + b"x" * 100)


def bomb(handler):
    send(handler, gzip.compress(bytes(65 << 20), 9))


def in_circles(handler):
    send(handler, b"", status=302, Location=handler.path)


def endless(handler):
    """Send without an end, until the reader hangs up."""
    send(handler, b"", length=None)
    try:
        while True:
            handler.wfile.write(bytes(1 << 16))
    except OSError:
        pass


def broken_chunks(handler):
    send(handler, b"ffff\r\nonly a part", length=None, Transfer_Encoding="chunked")


def without_a_head(handler):
    handler.wfile.write(b"no HTTP at all\r\n\r\n")


BAD = {
    "corrupted": (lambda handler: send(handler, CONTENT[:-1] + b"x"), "is not the original: expected sha256"),
    "corrupted.gz": (corrupted_gzip, "is truncated or damaged gzip"),
    "empty": (lambda handler: send(handler, b""), "is empty"),
    "cut without a length": (lambda handler: send(handler, CONTENT[:-8], length=None), "is not the original"),
    "a length that is too small": (lambda handler: send(handler, CONTENT, length=1000), "is not the original"),
    "a length that is no number": (lambda handler: send(handler, CONTENT, length="many"), "cannot fetch"),
    "a page": (lambda handler: send(handler, PAGE), "is a web page, not the file"),
    "a page that is packed": (lambda handler: send(handler, gzip.compress(PAGE)), "is a web page, not the file"),
    "a bomb": (bomb, "decompression bomb"),
    "nowhere": (lambda handler: handler.send_error(404), "404"),
    "broken inside": (lambda handler: handler.send_error(500, "\x1b[31mboom"), "500"),
    "in circles": (in_circles, "redirects"),
    "no head": (without_a_head, "cannot fetch"),
    "too much": (lambda handler: send(handler, bytes(len(CONTENT) * 2)), "the server sends more than"),
    "without an end": (endless, "the server sends more than"),
}


@pytest.mark.parametrize("kind", BAD)
def test_a_bad_answer_leaves_nothing_behind(tmp_path, site, kind):
    site.answers["/it"], complaint = BAD[kind]
    known = located(tmp_path, url=site.url("/it"), size=str(len(CONTENT)) if "end" in kind else None)
    with pytest.raises(DataError) as caught:
        fetch(known, quiet(), Limits(bytes=600_000))
    assert is_one_line(caught.value, complaint, site.url("/it"))
    assert "\x1b" not in str(caught.value)
    assert left(tmp_path) == []
    assert not available(known.facts, tmp_path / "data")


@pytest.mark.parametrize("answer", [cut(CONTENT, 1000), broken_chunks], ids=["length", "chunks"])
def test_what_a_broken_answer_leaves_is_no_file_of_the_dataset(tmp_path, site, answer):
    site.answers["/it"] = answer
    known = located(tmp_path, url=site.url("/it"))
    with pytest.raises(DataError, match="cannot fetch"):
        fetch(known, quiet())
    assert all(name.endswith(".partial") for name in left(tmp_path))
    assert not available(known.facts, tmp_path / "data")
    with pytest.raises(DataError, match="needs the file"):
        read(known.facts, NAME, tmp_path / "data")


@pytest.mark.parametrize("wait", ["between bytes", "before the head"])
def test_a_slow_server_is_given_up(tmp_path, site, wait):
    site.answers["/it"] = dripping(site, CONTENT, 0.05) if "bytes" in wait else lambda handler: site.over.wait()
    with pytest.raises(DataError) as caught:
        fetch(located(tmp_path, url=site.url("/it")), quiet(), Limits(patience=0.4))
    assert is_one_line(caught.value, "the server sends less than 16,384 bytes in 0.4 s")
    assert left(tmp_path) == []


def test_a_silent_server_is_given_up(tmp_path, site):
    site.answers["/it"] = lambda handler: site.over.wait()
    with pytest.raises(DataError, match=r"timed out|timeout"):
        fetch(located(tmp_path, url=site.url("/it")), quiet(), Limits(silence=0.2))
    assert left(tmp_path) == []


def test_a_broken_download_goes_on_where_it_was(tmp_path, site):
    known = located(tmp_path, url=site.url("/it"))
    site.answers["/it"] = cut(CONTENT, 300_000)
    with pytest.raises(DataError):
        fetch(known, quiet())
    site.answers["/it"] = with_ranges(CONTENT)
    assert fetch(known, quiet()) == [tmp_path / "data" / "sub" / NAME]
    (_, first), (_, second) = site.asked
    assert first is None
    kept = int(second.removeprefix("bytes=").removesuffix("-"))
    assert 0 < kept <= 300_000
    assert left(tmp_path) == [NAME]
    assert (tmp_path / "data" / "sub" / NAME).read_bytes() == CONTENT


@pytest.mark.parametrize("second", ["ignores", "whole already", "another", "wrong part"])
def test_a_download_that_cannot_go_on_begins_anew(tmp_path, site, second):
    """The server knows no ranges; the part is the whole file; the part was of another file; the server errs."""
    known = located(tmp_path, url=site.url("/it"))
    site.answers["/it"] = cut(b"x" * len(CONTENT) if second == "another" else CONTENT, 300_000)
    with pytest.raises(DataError):
        fetch(known, quiet())
    (part,) = (tmp_path / "data" / "sub").iterdir()
    if second == "whole already":
        part.write_bytes(CONTENT)

    def elsewhere(handler):
        if handler.headers["Range"]:
            send(handler, CONTENT[7:], status=206, Content_Range=f"bytes 7-{len(CONTENT) - 1}/{len(CONTENT)}")
        else:
            send(handler, CONTENT)

    site.answers["/it"] = {"ignores": CONTENT, "wrong part": elsewhere}.get(second, with_ranges(CONTENT))
    fetch(known, quiet())
    assert left(tmp_path) == [NAME]
    assert (tmp_path / "data" / "sub" / NAME).read_bytes() == CONTENT


def test_without_a_checksum_a_download_never_goes_on(tmp_path, site):
    known = located(tmp_path, url=site.url("/it"), sha256=None)
    site.answers["/it"] = cut(CONTENT, 300_000)
    with pytest.raises(DataError, match="cannot fetch"):
        fetch(known, quiet())
    assert left(tmp_path) == []


@pytest.mark.parametrize("size", [None, str(len(CONTENT))])
def test_without_a_checksum_the_server_or_the_size_must_tell_whether_a_file_is_whole(tmp_path, site, size):
    known = located(tmp_path, url=site.url("/it"), sha256=None, size=size)
    for body in (CONTENT[:-8], CONTENT):
        site.answers["/it"] = lambda handler, body=body: send(handler, body, length=None)
        if size is not None and body == CONTENT:
            assert fetch(known, quiet())
            continue
        with pytest.raises(DataError, match="is it whole" if size is None else "expected 400000 bytes, got 399992"):
            fetch(known, quiet())
        assert left(tmp_path) == []


@pytest.mark.parametrize(
    "body", [PAGE, b"\xef\xbb\xbf \n" + PAGE.lower(), b"version https://git-lfs.github.com/spec/v1\n"]
)
def test_a_page_is_refused_even_if_nothing_is_known_of_the_file(tmp_path, site, body):
    site.answers["/it"] = body
    with pytest.raises(DataError, match=r"is (a web page|a pointer of Git LFS), not the file"):
        fetch(located(tmp_path, url=site.url("/it"), sha256=None), quiet())
    assert left(tmp_path) == []


def test_a_mirror_is_tried_second(tmp_path, site):
    site.answers |= {"/page": PAGE, "/broken": cut(CONTENT, 300_000), "/mirror": CONTENT}
    mirrors = f'mirrors = ["{site.url("/broken")}", "{site.url("/mirror")}"]'
    said = quiet()
    assert fetch(located(tmp_path, mirrors, url=site.url("/page")), said)
    assert [path for path, _ in site.asked] == ["/page", "/broken", "/mirror"]
    assert left(tmp_path) == [NAME]  # not even a part of the broken one
    assert said.file.getvalue().count("; the next source is tried\n") == 2


def test_if_every_address_fails_all_of_them_are_named(tmp_path, site):
    with pytest.raises(DataError) as caught:
        fetch(located(tmp_path, f'mirrors = ["{site.url("/b")}"]', url=site.url("/a")), quiet())
    assert is_one_line(caught.value, site.url("/a"), site.url("/b"))


def test_two_processes_fetch_side_by_side(tmp_path, site):
    """The second does not touch the part at which the first is, and both end well."""
    known = located(tmp_path, url=site.url("/it"))
    site.answers["/it"] = cut(CONTENT, 300_000)
    with pytest.raises(DataError):
        fetch(known, quiet())
    (part,) = (tmp_path / "data" / "sub").iterdir()
    before = part.read_bytes()
    site.answers["/it"] = with_ranges(CONTENT)
    with part.open("rb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        fetch(known, quiet())
    assert site.asked[-1] == ("/it", None)
    assert part.read_bytes() == before
    assert (tmp_path / "data" / "sub" / NAME).read_bytes() == CONTENT


def test_a_planted_link_is_not_followed(tmp_path, site):
    known = located(tmp_path, url=site.url("/it"))
    site.answers["/it"] = cut(CONTENT, 300_000)
    with pytest.raises(DataError):
        fetch(known, quiet())
    (part,) = (tmp_path / "data" / "sub").iterdir()
    part.unlink()
    (tmp_path / "mine").write_bytes(b"mine")
    part.symlink_to(tmp_path / "mine")
    site.answers["/it"] = CONTENT
    with pytest.raises(DataError, match="cannot fetch"):
        fetch(known, quiet())
    assert (tmp_path / "mine").read_bytes() == b"mine"


def test_a_server_that_is_not_there_is_one_line(tmp_path):
    with pytest.raises(DataError, match=r"cannot fetch http://127\.0\.0\.1:9/x into") as caught:
        fetch(located(tmp_path, url="http://127.0.0.1:9/x"), quiet())
    reason = str(caught.value).partition(f"into '{tmp_path / 'data' / 'sub'}': ")[2]
    assert reason.startswith("Failed to establish a new connection: ")


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path, site):
    site.answers["/it"] = CONTENT
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "sub").write_bytes(b"a file")
    with pytest.raises(DataError, match=r"cannot fetch .* into") as caught:
        fetch(located(tmp_path, url=site.url("/it")), quiet())
    assert is_one_line(caught.value)


def test_a_file_without_an_address_is_to_be_had_by_hand(tmp_path):
    with pytest.raises(DataError) as caught:
        fetch(located(tmp_path), quiet())
    assert f"no address is known of {NAME}; ask the author" in str(caught.value)
    assert str(tmp_path / "data" / "sub") in str(caught.value)


def test_a_damaged_file_is_not_replaced_silently(tmp_path, site):
    write(tmp_path / "data", {NAME: b"mine"})
    with pytest.raises(DataError, match=r"is not the original.*; remove it to fetch it again"):
        fetch(located(tmp_path, url=site.url("/it")), quiet())
    assert (tmp_path / "data" / NAME).read_bytes() == b"mine"


def test_progress_is_shown_on_a_terminal_only_and_the_licence_always_first(tmp_path, site):
    site.answers["/it"] = CONTENT
    for terminal in (False, True):
        shown = io.StringIO()
        console = Console(file=shown, force_terminal=terminal, width=100)
        known = located(tmp_path, url=site.url("/it"))._replace(folder=tmp_path / f"data-{terminal}")
        fetch(known, console)
        assert shown.getvalue().startswith("facts: licence: none\n")
        assert (NAME in shown.getvalue()) == terminal
        assert ("400.0/400.0 kB" in shown.getvalue()) == terminal
        fetch(known, quiet_again := quiet())
        assert quiet_again.file.getvalue() == ""


def test_a_git_checksum_is_enough(tmp_path, site):
    site.answers["/it"] = CONTENT
    blob = hashlib.sha1(f"blob {len(CONTENT)}\0".encode() + CONTENT, usedforsecurity=False).hexdigest()
    known = located(tmp_path, url=site.url("/it"), sha256=None, git_blob=blob, md5="0" * 32)
    assert len(fetch(known, quiet())) == 1


def made_from(site, *names, checksums=()):
    """Lines of a facts file: the file is made from archives of this site."""
    lines = [f"made_from = {list(names)}"]
    for name, checksum in zip(names, checksums, strict=True):
        lines += ["[[archives]]", f'name = "{name}"', f'url = "{site.url(f"/{name}")}"', checksum]
    return "\n".join(lines)


def test_a_file_that_nobody_offers_is_made(tmp_path, site):
    halves = {"a.bin": CONTENT[:1000], "b.bin": CONTENT[1000:]}
    sums = [f'sha256 = "{hashlib.sha256(half).hexdigest()}"' for half in halves.values()]
    known = located(tmp_path, made_from(site, *halves, checksums=sums))
    site.answers["/a.bin"] = halves["a.bin"]
    with pytest.raises(DataError, match="404"):
        fetch(known, quiet())
    assert left(tmp_path) == ["a.bin"]  # it is whole and right: the next try need not fetch it
    site.answers["/b.bin"] = halves["b.bin"]
    assert fetch(known, quiet()) == [tmp_path / "data" / "sub" / NAME]
    assert [path for path, _ in site.asked] == ["/a.bin", "/b.bin", "/b.bin"]
    assert NAME in left(tmp_path)
    assert "b.bin" not in left(tmp_path)


def test_what_is_made_must_be_right_and_archives_of_unknown_content_do_not_stay(tmp_path, site):
    site.answers |= {"/a.bin": b"no", "/b.bin": b"thing"}
    known = located(tmp_path, made_from(site, "a.bin", "b.bin", checksums=["", ""]))
    with pytest.raises(DataError, match="is not the original"):
        fetch(known, quiet())
    assert left(tmp_path) == []


CHILD = """
import sys
from pathlib import Path
from test_data_fetching import fetch, located, quiet

fetch(located(Path(sys.argv[1]), url=sys.argv[2]), quiet())
"""


@pytest.mark.slow
@pytest.mark.parametrize("way", [signal.SIGKILL, signal.SIGINT])
def test_a_killed_download_is_no_file_and_goes_on(tmp_path, site, way):
    """The process is killed in the middle, or hears Ctrl-C, for real."""
    known = located(tmp_path, url=site.url("/it"))
    half = threading.Event()

    def stops_halfway(handler):
        send(handler, CONTENT[:200_000], length=len(CONTENT))
        half.set()
        site.over.wait()

    site.answers["/it"] = stops_halfway
    whole = [sys.executable, "-c", CHILD, str(tmp_path), site.url("/it")]
    child = subprocess.Popen(whole, cwd=Path(__file__).parent, stderr=subprocess.DEVNULL)
    assert half.wait(60)
    while not any(path.stat().st_size for path in (tmp_path / "data" / "sub").glob("*.partial")):
        site.over.wait(0.01)  # the server is ahead of the disk
    child.send_signal(way)
    child.wait(60)
    (part,) = (tmp_path / "data" / "sub").iterdir()
    arrived = part.stat().st_size
    assert not available(known.facts, tmp_path / "data")
    site.answers["/it"] = with_ranges(CONTENT)
    fetch(known, quiet())
    assert site.asked[-1][1] == f"bytes={arrived}-"
    assert left(tmp_path) == [NAME]


def test_no_reader_finds_a_part(tmp_path):
    known = located(tmp_path)
    write(tmp_path / "data" / "sub", {f"{NAME}.12345678.partial": CONTENT})
    assert not available(known.facts, tmp_path / "data")
