"""Change each array of the released programs a little, and see that some test notices it.

    python tests/golden_zoo/noticing.py [FILE ...]

takes some minutes. It prints the arrays whose change no test notices and that `LISTED` does not name, and those that it
names although a test notices them. The exit code says if there are any.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
from _pytest.runner import runtestprotocol
from numpy.typing import NDArray

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

OUTPUT, INPUT = 2e-6, 1e-2
"""How much an entry changes, by the largest one of its array: twice the loosest tolerance, and enough to move a sum."""


def changed(name: str, array: NDArray[np.generic]) -> NDArray[np.generic]:
    """The array with another last entry. Those of an input are in another order, too, as some matter by it alone."""
    output = name.startswith("out/")
    flat = array.reshape(-1) if output else np.roll(array.reshape(-1), 1)
    found, whole = flat.astype(np.float64), array.dtype.kind != "f"
    if output or not whole or found.size == 1:
        found[-1] += 1 if whole else (OUTPUT if output else INPUT) * (np.abs(found).max() or 1)
    return found.astype(array.dtype).reshape(array.shape)


class Noticing:
    """A loop of pytest that runs the tests of a file once for each of its arrays."""

    def __init__(self, files: list[str]) -> None:
        self.files, self.complaints = files, 0

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        from golden import vectors

        from golden_zoo.zoo import FOLDER

        listed: dict[str, dict[str, str]] = import_module("golden_zoo.test_zoo_whole").LISTED  # tests have no types

        plain, now, read = vectors.load, [("", "")], set()

        def load(name: str, folder: Path = vectors.FOLDER) -> vectors.Case:
            read.add(name)
            case, (file, key) = plain(name, folder), now[0]
            return case if name != file else replace(case, arrays=case.arrays | {key: changed(key, case.arrays[key])})

        vectors.load, users = load, defaultdict(list)
        for item in session.items:
            read.clear()
            if not _passes(item):
                raise SystemExit(f"{item.nodeid} fails as it is")
            for name in read:
                users[name].append(item)
        for name in self.files or sorted(path.stem for path in FOLDER.glob("*.npz")):
            for key in plain(name, FOLDER).arrays:
                now[0] = (name, key)
                self._compare(name, key, noticed=_some_fails(users[name]), listed=listed.get(name, {}))
            print(f"{name}: done", flush=True)
        return True

    def _compare(self, name: str, key: str, *, noticed: bool, listed: dict[str, str]) -> None:
        named = key.startswith(tuple(listed))
        if noticed is named:
            self.complaints += 1
            print(f"{name}: {key} is {'listed, and noticed' if noticed else 'not noticed'}", flush=True)


def _some_fails(items: list[pytest.Item]) -> bool:
    """Whether one of the tests fails. It is the first one the next time."""
    for item in items:
        if not _passes(item):
            items.remove(item)
            items.insert(0, item)
            return True
    return False


def _passes(item: pytest.Item) -> bool:
    return all(report.passed for report in _reports(item))


def _reports(item: pytest.Item) -> Iterator[pytest.TestReport]:
    item._initrequest()  # type: ignore[attr-defined]
    yield from runtestprotocol(item, log=False, nextitem=None)


if __name__ == "__main__":
    noticing = Noticing(sys.argv[1:])
    pytest.main(["-q", "-s", "-n", "0", "-p", "no:cacheprovider", str(HERE)], plugins=[noticing])
    sys.exit(bool(noticing.complaints))
