"""Boards compile as they are, and fit one column of a paper with two."""

from __future__ import annotations

import importlib.util
import re
import subprocess
from pathlib import Path

import pytest
from records import record, score_records
from test_leaderboard_rendering import NASTY, USUAL, board, measured, usual

from collapsebench.reporting.leaderboard import Presentation, RowOrder, Shown, present, render

pytestmark = pytest.mark.latex

DOCUMENT = r"""
\documentclass[twocolumn,10pt]{article}
\usepackage[letterpaper,margin=0.85in,columnsep=0.25in]{geometry}
\usepackage{booktabs}
\begin{document}
\typeout{column \the\columnwidth}
%s
\end{document}
"""
"""A paper of two columns, each of 3.3 inches."""


@pytest.fixture(scope="module")
def compiled(tmp_path_factory):
    """Compile a table; gives what pdflatex says."""

    def call(table):
        folder = tmp_path_factory.mktemp("latex")
        (folder / "paper.tex").write_text(DOCUMENT.lstrip() % table, encoding="utf-8")
        order = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "-no-shell-escape", "paper.tex"]
        answer = subprocess.run(order, cwd=folder, check=False, capture_output=True, text=True, errors="replace")
        assert answer.returncode == 0, answer.stdout[-2000:]
        assert (folder / "paper.pdf").stat().st_size > 5000
        assert 230 < float(re.search(r"column ([\d.]+)pt", answer.stdout)[1]) < 240
        return answer.stdout

    return call


LARGE = {"neg_elbo": 1234.5, "iw_nll": 1230.25, "kl": 12.5, "mi_lower": 9.125, "mi_upper": 12.25, "active_units": 2.0}
LABELS = {"vae": "VAE", "a": "Ours & theirs, 50 % (α ≤ β_2)"}


def large(**presentation):
    """Two contenders with numbers of many digits, whose intervals are cut, and which differ."""
    runs = [
        measured(label, seed, **{key: number + far * (1 + seed / 7) for key, number in LARGE.items()})
        for label, far in (("vae", 0.0), ("a", -0.5))
        for seed in (1, 2, 3)
    ]
    made = Presentation(Shown.USUAL, RowOrder.BY_DECISION, print_differences=True, **presentation)
    return next(present([score_records(runs)], made))


@pytest.mark.parametrize("made", [large(), large(labels=LABELS), usual(measured("vae", 1, **USUAL))])
def test_the_usual_view_fits_the_column_of_a_paper(compiled, made):
    text = render([made], "latex")
    assert r"\tiny" in text or len(made.rows) == 1
    assert "Overfull" not in compiled(text)


def test_the_page_of_the_documentation_compiles_and_nothing_leaves_its_column(tmp_path):
    path = Path(__file__).parents[1] / "docs" / "_ext" / "paper_column.py"
    spec = importlib.util.spec_from_file_location("paper_column", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert "Overfull" not in module.write_paper(tmp_path)
    assert (tmp_path / "paper.pdf").stat().st_size > 5000
    assert module.PICTURE.stat().st_size < 100_000
    assert f"(_static/{module.PICTURE.name})" in (module.ROOT / "docs" / "board.md").read_text(encoding="utf-8")


def test_every_text_compiles(compiled):
    compiled(render([board(), score_records([record(NASTY, seed, columns={"kl": seed}) for seed in (1, 2)])], "latex"))
