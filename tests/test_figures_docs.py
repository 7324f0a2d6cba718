"""The pictures of the repository are those that their commands draw now, and small."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import pytest

LARGEST = 150_000
TEXT = re.compile(r"<!-- (.+?) -->")


def extension():
    path = Path(__file__).parents[1] / "docs" / "_ext" / "figures.py"
    spec = importlib.util.spec_from_file_location("docs_figures", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


MODULE = extension()


def texts(path: Path) -> list[str]:
    """The texts in a figure: title, axes, numbers at the axes, and legend."""
    return TEXT.findall(path.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """The folder of all figures, drawn now."""
    folder = tmp_path_factory.mktemp("figures")
    MODULE.draw_all(folder)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("figure", MODULE.FIGURES, ids=lambda figure: figure.file)
def test_a_picture_is_the_one_that_its_command_draws(figure, drawn):
    kept = figure.place / figure.file
    assert kept.stat().st_size < LARGEST
    assert texts(drawn / figure.file) == texts(kept)
    assert len(texts(kept)) > 10


def test_the_page_shows_every_picture_below_its_command():
    page = " ".join(MODULE.PAGE.read_text(encoding="utf-8").replace("\\\n", " ").split())
    places = []
    for figure in (figure for figure in MODULE.FIGURES if figure.place == MODULE.STATIC):
        command, picture = page.find(f"collapsebench plot {figure.command} ```"), page.find(f"(_static/{figure.file})")
        assert -1 < command < picture
        places.append(picture)
    assert places == sorted(places)
