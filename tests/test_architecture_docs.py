"""docs/architecture.md shows the rooms as they are, and modules that exist."""

from __future__ import annotations

import re
from collections import Counter
from itertools import chain

from import_graph import PACKAGE, ROOMS, ROOT

FOLDER = ROOT / PACKAGE
TEXT = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
FIRST_CELLS = re.findall(r"^\| (`.*?) \|", TEXT, re.MULTILINE)
NAMED = [re.findall(r"`([\w/.]+)`", cell) for cell in FIRST_CELLS]
MODULES = [name for (name, *_) in NAMED if name.endswith(".py")]


def test_the_layout_lists_the_rooms_from_the_top_to_the_bottom():
    rooms = [name.removesuffix("/") for name in chain.from_iterable(NAMED) if name.removesuffix("/") in ROOMS]
    assert rooms == list(ROOMS)


def test_every_module_named_is_there():
    assert MODULES
    assert [name for name in re.findall(r"`([\w/]+/\w+\.py)`", TEXT) if not is_there(name)] == []


def is_there(name: str) -> bool:
    return any((folder / name).is_file() for folder in (FOLDER, ROOT))


def test_three_modules_of_each_folder_are_explained_or_all_it_has():
    explained = Counter(name.partition("/")[0] for name in MODULES)
    folders = [path for path in FOLDER.iterdir() if (path / "__init__.py").is_file()]
    modules = {folder.name: len(set(folder.rglob("*.py")) - {folder / "__init__.py"}) for folder in folders}
    assert explained == {name: min(3, number) for name, number in modules.items()}
