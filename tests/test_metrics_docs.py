"""docs/metrics.md and the docstrings say what the metrics are."""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import tiny
import torch

from collapsebench.data.splits import BinaryImages, TextSplit
from collapsebench.inference.amortized import Amortized
from collapsebench.metrics import METRICS
from collapsebench.metrics.evaluation import EvaluatedSplit, Provenance
from collapsebench.model.seeding import SeededNoise
from collapsebench.record import Number, Point

PAGE = (Path(__file__).parents[1] / "docs" / "metrics.md").read_text(encoding="utf-8")
SECTIONS = dict(re.findall(r"^## `([^`]+)`\n(.*?)(?=^## |\Z)", PAGE, flags=re.DOTALL | re.MULTILINE))


def rows(section):
    """The cells of every table row of a section that names something in its first cell."""
    lines = [line for line in section.splitlines() if line.startswith("| `")]
    return [[cell.strip().strip("`") for cell in line.strip("|").split("|")] for line in lines]


def test_every_metric_has_a_section_in_their_order():
    assert list(SECTIONS) == [metric.name for metric in METRICS]


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)
def test_columns_and_settings_are_those_of_the_code(metric):
    columns = [[column.name, column.title, column.unit, column.direction.value] for column in metric.columns]
    settings = [[name, str(field.default), field.description] for name, field in metric.model_fields.items()]
    assert rows(SECTIONS[metric.name]) == columns + settings


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)
def test_sections_and_docstrings_state_estimator_and_trap(metric):
    section = SECTIONS[metric.name]
    assert "$$" in section
    for word in ("*Estimator.*", "*Trap.*"):
        assert word in section
    for word in ("Formula:", "Unit:", "Direction:", "Estimator:", "Trap:"):
        assert word in metric.__doc__


def entries(metric):
    """What a metric gives beside its columns on text and on labelled images, up to a dot or bracket."""
    text = TextSplit(np.array([2, 4, 5, 3, 2, 6, 3], np.int32), np.array([4, 3], np.int32))
    images = BinaryImages(np.eye(9, dtype=np.uint8).repeat(4, 0).reshape(-1, 3, 3), np.arange(36) % 2)
    found = set()
    for family, data in (("lstm", text), ("mlp", images)):
        model = partial(tiny.vae, family)
        point = Point(counters={"steps": 1.0}, values={"kl": Number.of(0.0), "active_units": Number.of(0.0)})
        provenance = Provenance(data, 1, lambda model=model: model().float(), (point,))
        split = EvaluatedSplit(model().float(), Amortized(), data, SeededNoise(1), 6, torch.device("cpu"), provenance)
        found |= {re.split(r"[.\[]", name)[0] for name in metric.evaluate(split)}
    return found - {column.name for column in metric.columns}


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)
def test_every_entry_is_named_in_the_section_and_in_the_docstring(metric):
    few = {name: 2 for name in ("samples", "steps", "epochs", "draws") if name in metric.model_fields}
    for name in entries(metric(**few)):
        for text in (SECTIONS[metric.name], metric.__doc__):
            assert re.search(rf"\b{re.escape(name)}\b", text), name
