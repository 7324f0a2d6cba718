"""Whoever installs collapsebench alone gets no engine."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, requires

import pytest
from packaging.requirements import Requirement


def needed(package, *extras):
    """Return the packages that an installation takes with it, by way of others, too."""
    found, waiting = set(), [(package, extras)]
    while waiting:
        name, wanted = waiting.pop()
        for requirement in direct(name):
            if any(applies(requirement, extra) for extra in wanted or ("",)) and requirement.name not in found:
                found.add(requirement.name)
                waiting.append((requirement.name, tuple(requirement.extras)))
    return found


def direct(package):
    try:
        return [Requirement(line) for line in requires(package) or []]
    except PackageNotFoundError:  # of another system or another Python
        return []


def applies(requirement, extra):
    return requirement.marker is None or requirement.marker.evaluate({"extra": extra})


@pytest.mark.short
def test_collapsebench_alone_takes_no_engine_with_it():
    alone = needed("collapsebench")
    assert {"torch", "numpy", "sqlalchemy"} <= alone
    assert alone.isdisjoint({"ray", "submitit", "psycopg"})


@pytest.mark.short
@pytest.mark.parametrize(("extra", "package"), [("slurm", "submitit"), ("ray", "ray"), ("postgres", "psycopg")])
def test_each_engine_has_an_extra(extra, package):
    assert package in needed("collapsebench", extra)
