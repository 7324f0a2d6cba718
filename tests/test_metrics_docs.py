"""docs/metrics.md and the docstrings say what the metrics are."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from collapsebench.metrics import METRICS

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
