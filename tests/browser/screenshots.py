"""`python tests/browser/screenshots.py RECORDS FOLDER` takes the pictures of the report that the documentation shows.

RECORDS is a file of `runs export`. The pictures are those of a wide window, light and dark, of a telephone, and of the
evidence of one number.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from chromium import Browser, browser
from PIL import Image

from collapsebench.reporting.queries import EVERY_PROTOCOL
from collapsebench.reporting.report.report import make_report
from collapsebench.store import Store
from collapsebench.store.interchange import read_lines


class Picture(NamedTuple):
    """One picture: its name, the size of the window, the colours, and what is clicked on."""

    name: str
    width: int
    height: int
    scheme: str = "light"
    clicked: str = ""


PICTURES = (
    Picture("light", 1280, 1240),
    Picture("dark", 1280, 1240, "dark"),
    Picture("narrow", 400, 1240),
    Picture("evidence", 1280, 1000, clicked=".board tbody tr:nth-child(4) td:nth-child(4) button"),
)


def taken(opened: Browser, page: Path) -> Iterator[tuple[str, bytes]]:
    """Yield the name of each picture, and its PNG."""
    for picture in PICTURES:
        opened.media(scheme=picture.scheme)
        opened.resize(picture.width, picture.height)
        opened.go(page)
        opened.wait("document.querySelectorAll('figure svg .series').length > 0")
        if picture.clicked:
            opened.click(picture.clicked)
        yield f"report-{picture.name}.png", small(opened.screenshot())


def small(png: bytes) -> bytes:
    """Return the picture with 256 colours, which takes a third of the bytes. An octree keeps colours that are rare."""
    out, picture = io.BytesIO(), Image.open(io.BytesIO(png)).convert("RGB")
    reduced = picture.quantize(256, method=Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE)
    reduced.save(out, "png", optimize=True)
    return out.getvalue()


def main() -> None:
    """Write the pictures."""
    records, folder = map(Path, sys.argv[1:])
    with TemporaryDirectory() as scratch:
        page, file = Path(scratch) / "report.html", Path(scratch) / "runs.sqlite"
        with Store.open(file) as store, records.open("rb") as lines:
            store.add(read_lines(lines, records.name))
            page.write_text(make_report(store, str(file), EVERY_PROTOCOL).html, encoding="utf-8")
        with browser() as opened:
            for name, png in taken(opened, page):
                (folder / name).write_bytes(png)
                print(f"wrote {folder / name}: {len(png) / 1000:.0f} kB")


if __name__ == "__main__":
    main()
