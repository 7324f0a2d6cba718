"""`collapsebench plot`, through the command line's own entry."""

from __future__ import annotations

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
    assert "curves of different protocols do not compare; choose one with --protocol: " in answer.err
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
        ((), 2, "Missing option '--dataset'"),
    ],
)
def test_what_cannot_be_drawn_is_one_line(plot, tmp_path, arguments, code, message):
    answer = plot(*arguments)
    assert (answer.code, answer.out) == (code, "")
    assert message in answer.err
    assert len(answer.err.splitlines()) == 1
    assert [path.name for path in tmp_path.iterdir() if not path.name.startswith("runs.sqlite")] == []
