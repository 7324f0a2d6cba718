"""`collapsebench plot`, through the command line's own entry."""

from __future__ import annotations

import sys

import pytest
from records import record

from collapsebench.record import Outcome
from collapsebench.store import Store

BEGINNINGS = {"png": b"\x89PNG\r\n", "svg": b"<?xml", "pdf": b"%PDF-"}


@pytest.fixture
def plot(command, tmp_path):
    """Call the command on a store with two protocols of one dataset and one of another."""
    path = tmp_path / "runs.sqlite"
    with Store.open(path) as store:
        store.add(record(label, seed) for label in ("vae", "skip") for seed in (1, 2))
        store.add([record("skip", 3, outcome=Outcome.DIVERGED)])
        store.add(
            [record("vae", protocol={"dataset": "ptb"}), record("vae", protocol={"dataset": "ptb", "track": "x"})]
        )
        store.add([record("a", protocol={"dataset": "omniglot"}, points=())])
    return lambda *arguments: command("plot", *arguments, "--store", path)


@pytest.mark.parametrize("format_", BEGINNINGS)
def test_every_format_is_written(plot, tmp_path, format_):
    answer = plot("--dataset", "digits", "--x", "seconds", "--y", "neg_elbo", "--output", f"made/curve.{format_}")
    assert (answer.code, answer.err) == (0, "")
    note = "left out 1 that did not finish or did not count seconds"
    assert answer.out == f"wrote made/curve.{format_}: neg_elbo over seconds of 4 runs; {note}\n"
    assert (tmp_path / "made" / f"curve.{format_}").read_bytes().startswith(BEGINNINGS[format_])
    assert [path.name for path in (tmp_path / "made").iterdir()] == [f"curve.{format_}"]


def test_protocols_are_not_mixed(plot, tmp_path):
    answer = plot("--dataset", "ptb")
    assert answer.code == 2
    assert "runs of different protocols do not compare; choose one with --protocol: " in answer.err
    listed = answer.err.partition("--protocol: ")[2]
    assert "(quick, 1 runs)" in listed
    assert "(x, 1 runs)" in listed
    assert plot("--dataset", "ptb", "--protocol", listed[:6]).code == 0
    assert (tmp_path / "plot.png").exists()
    assert plot("--dataset", "ptb", "--track", "x").code == 0


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("--dataset", "digits", "--x", "second"), 2, "unknown counter 'second'. Did you mean 'seconds'?"),
        (("--dataset", "digits", "--y", "elbo"), 2, "unknown value 'elbo'. Did you mean 'neg_elbo'?"),
        (
            ("--dataset", "digits", "--output", "a.jpg"),
            2,
            "cannot write 'a.jpg': its ending must be one of png, svg, pdf",
        ),
        (("--dataset", "digits", "--x", "flops"), 1, "no run of protocol"),
        (("--dataset", "omniglot"), 1, "has finished and has counted steps"),
        (("--dataset", "digit"), 1, "no such runs of 'digit'"),
        ((), 2, "nothing to draw: give --dataset, --protocol or --suite"),
        (("trajectories", "--dataset", "digits", "--cell", "a"), 2, "--cell is of a suite: give --suite"),
        (("trajectories", "--suite", "a.toml", "--track", "quick"), 2, "--suite does not go with --track"),
        (("--dataset", "digits", "--contender", "skp"), 2, "unknown contender 'skp'. Did you mean 'skip'?"),
        (("figure", "--dataset", "digits"), 2, "No such command 'figure'"),
    ],
)
def test_what_cannot_be_drawn_is_one_line(plot, tmp_path, arguments, code, message):
    answer = plot(*arguments)
    assert (answer.code, answer.out) == (code, "")
    assert message in answer.err
    assert len(answer.err.splitlines()) == 1
    assert [path.name for path in tmp_path.iterdir() if not path.name.startswith("runs.sqlite")] == []


def test_without_a_name_the_figure_is_trajectories(plot, tmp_path):
    named = plot("trajectories", "--dataset", "digits", "--output", "named.svg")
    short = plot("--dataset", "digits", "--output", "short.svg")
    assert short.out == named.out.replace("named", "short")
    assert (tmp_path / "short.svg").read_bytes() == (tmp_path / "named.svg").read_bytes()


def test_some_contenders(plot):
    assert "of 2 runs\n" in plot("--dataset", "digits", "--contender", "vae").out


def test_without_matplotlib_the_error_says_what_to_install(plot, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    answer = plot("--dataset", "digits")
    assert (answer.code, answer.err) == (2, "error: figures need matplotlib: pip install matplotlib\n")


def test_help_names_the_figures(command):
    assert "trajectories" in command("plot", "--help").out
