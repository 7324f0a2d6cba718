"""The executors that docs/cluster.md writes have the parameters that it gives them."""

from __future__ import annotations

import re

import pytest
from import_graph import ROOT

from collapsebench.components import discovery
from collapsebench.experiment.engines import executor_named

TEXT = (ROOT / "docs" / "cluster.md").read_text(encoding="utf-8")
WRITTEN = sorted({text for text in re.findall(r"'((?:slurm|ray)\[[^']*\])'", TEXT) if "…" not in text})
CELLS = re.findall(r"^\| .*? \| (.*) \|$", TEXT.split("### What to write")[1].split("###")[0], re.MULTILINE)
PAIRS = sorted({pair for cell in CELLS for pair in re.findall(r"`(\w+=[^`']+)`", cell)})


@pytest.mark.parametrize("text", [*WRITTEN, *(f"slurm[{pair}]" for pair in PAIRS)])
def test_an_executor_that_is_shown_can_be_made(text):
    assert text.startswith(executor_named(text, discovery.load()).name)


def test_the_page_shows_executors():
    assert len(WRITTEN) >= 2
    assert len(PAIRS) >= 8
