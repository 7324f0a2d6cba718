"""`collapsebench plot`, through the command line's own entry."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import toys
from records import SETTING, record

from collapsebench.cli import plot as options
from collapsebench.experiment.counters import COUNTERS
from collapsebench.metrics.codes import Codes, codes_file
from collapsebench.record import Outcome
from collapsebench.reporting.leaderboard.trajectories import TRAJECTORY_COLUMNS
from collapsebench.reporting.plotting.depth import DEPTH
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


def test_size_title_and_labels_are_those_of_the_user(plot, tmp_path):
    figure = ("--dataset", "digits", "--y", "neg_elbo", "--size", "3.3,2.6", "--output", "figure.svg")
    answer = plot("trajectories", *figure, "--title", "Digits at last", "--label", "skip=Skip-VAE")
    assert (answer.code, answer.err) == (0, "")
    drawn = (tmp_path / "figure.svg").read_text()
    assert 'width="237.6pt" height="187.2pt"' in drawn
    assert "<!-- Digits at last -->" in drawn
    assert "<!-- Skip-VAE -->" in drawn
    assert "<!-- skip -->" not in drawn


@pytest.mark.parametrize("size", ["3.3", "a,b", "3,-2", "0,2", "1e9,2", "nan,2", ""])
def test_what_is_no_size_is_one_line(plot, size):
    answer = plot("--dataset", "digits", "--size", size)
    assert (answer.code, answer.out) == (2, "")
    assert answer.err == f"error: --size '{size}' must be W,H in inches, each of 1 to 60, as in 3.3,2.5\n"


def test_panels_without_room_are_one_line(plot, tmp_path):
    answer = plot("--dataset", "digits", "--contender", "vae", "--y", "neg_elbo,kl", "--size", "2,1.2")
    assert (answer.code, answer.out) == (2, "")
    assert answer.err == "error: the panels do not fit 2 × 1.2 inches: choose a larger --size\n"
    assert not (tmp_path / "plot.png").exists()


def test_a_label_of_no_contender_is_one_line(plot):
    answer = plot("--dataset", "digits", "--label", "skpi=S")
    assert (answer.code, answer.err.startswith("error: unknown contender 'skpi'")) == (2, True)


def test_some_contenders(plot):
    assert "of 2 runs\n" in plot("--dataset", "digits", "--contender", "vae").out


def test_without_matplotlib_the_error_says_what_to_install(plot, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    answer = plot("--dataset", "digits")
    assert (answer.code, answer.err) == (2, "error: figures need matplotlib: pip install matplotlib\n")


def test_the_options_name_what_there_is():
    assert options.COUNTERS == COUNTERS
    assert tuple(TRAJECTORY_COLUMNS) == options.TRAJECTORY_COLUMNS
    assert DEPTH in {option.default for option in options.depth.params}


def test_help_names_the_figures(command):
    assert "trajectories" in command("plot", "--help").out


SUITE = """
title = "KL over layers"
source = "nowhere"
follows = "nobody"
published = { publication = "dieng-2019", table = "Table 3" }
keep_codes = true

[scales.small]
description = "seconds"
hours = 0.01
departs = "three words"
dataset = "toy"
track = "quick"
contenders = { VAE = "vae", SKIP-VAE = "skip" }
cells = [
    { name = "2 layers", settings = ["decoder.layers=2"], published = { "decoder.layers" = 2 } },
    { name = "3 layers", settings = ["decoder.layers=3"], published = { "decoder.layers" = 3 } },
    { name = "4 layers", settings = ["decoder.layers=4"], published = { "decoder.layers" = 4 } },
]
"""
TOY = ("--plugin", toys.PLUGIN)


@pytest.fixture(scope="module")
def layers(prepare, tmp_path_factory):
    """The folder of a suite of three cells of which two have run."""
    folder = tmp_path_factory.mktemp("layers")
    (folder / "layers.toml").write_text(SUITE)
    cells = ("--cell", "2 layers", "--cell", "3 layers")
    prepare(folder, "suite", "run", "layers.toml", *TOY, *cells, "--seeds", 2, "-q")
    return folder


@pytest.fixture
def suite(command, layers, monkeypatch):
    """Call the command on that suite."""
    monkeypatch.chdir(layers)
    return lambda figure, *arguments: command("plot", figure, "--suite", "layers.toml", *TOY, *arguments)


@pytest.mark.torch
def test_a_suite_over_depth_with_its_published_numbers(suite, layers):
    answer = suite("depth", "--columns", "kl,neg_elbo", "--output", "depth.svg")
    assert (answer.code, answer.err) == (0, "")
    assert answer.out == "wrote depth.svg: kl, neg_elbo over decoder.layers at 2, 3\n"
    drawn = (layers / "depth.svg").read_text()
    assert "mean over 2 seeds" in drawn
    assert "skip, published" in drawn
    assert "three words" in drawn


@pytest.mark.torch
def test_a_figure_of_one_protocol_is_of_one_cell(suite):
    several = suite("trajectories")
    assert several.code == 2
    assert "this figure is of one protocol; choose one with --cell: '2 layers', '3 layers'" in several.err
    assert "of 4 runs\n" in suite("trajectories", "--cell", "3 layers").out
    missing = suite("trajectories", "--cell", "4 layers")
    assert missing.code == 1
    assert "nothing of the suite has run; to run it: collapsebench suite run layers.toml --scale small" in missing.err


def test_a_dataset_over_depth(command, tmp_path):
    path = tmp_path / "runs.sqlite"
    with Store.open(path) as store:
        for layers, budget in ((1, "350steps"), (3, "350steps"), (3, "9steps")):
            setting = SETTING | {"decoder": {"name": "lstm", "layers": layers}}
            runs = [record(label, protocol={"setting": setting, "budget": budget}) for label in ("vae", "skip")]
            store.add(runs)
    plot = ("plot", "depth", "--store", path, "--columns", "kl")
    expected = "wrote plot.png: kl over decoder.layers at 1, 3\n"
    assert command(*plot, "--dataset", "digits").out == expected  # the only ones that differ in nothing else
    assert command(*plot, "--protocol", runs[0].protocol_id[:8]).out.endswith("decoder.layers at 3\n")
    with Store.open(path) as store:
        setting = SETTING | {"decoder": {"name": "lstm", "layers": 1}}
        store.add([record("vae", protocol={"setting": setting, "budget": "9steps"})])
    several = command(*plot, "--dataset", "digits")
    assert several.code == 2
    assert "these differ in more than decoder.layers: budget.amount; choose one with --protocol: " in several.err
    none = command(*plot, "--dataset", "digits", "--over", "latent_dim")
    assert none.code == 1
    assert "no stored protocols of 'digits' differ in latent_dim alone; make some: collapsebench run" in none.err
    assert "unknown column 'mi'" in command(*plot, "--protocol", runs[0].protocol_id, "--columns", "mi").err


@pytest.mark.torch
def test_codes_need_labels(suite):
    """Documents of the toy dataset have none."""
    answer = suite("codes", "--cell", "2 layers")
    assert (answer.code, len(answer.err.splitlines())) == (1, 1)
    assert "dataset 'toy' has no labels to colour codes by; take one that has" in answer.err


def kept(folder, label):
    """The file for the codes of seed 2."""
    return codes_file(folder / "runs.sqlite.codes", record(label, 2).run_id)


@pytest.fixture
def coded(plot, tmp_path):
    """The command on the runs of `plot`, of which seed 2 has labelled codes."""
    generator = np.random.default_rng(0)
    with Store.open(tmp_path / "runs.sqlite") as store:
        for label in ("vae", "skip"):
            mean = generator.normal(size=(12, 2)).astype(np.float32)
            Codes(mean, mean, np.arange(12) % 3).write(kept(tmp_path, label))
            store.attach(record(label, 2).run_id, "codes", kept(tmp_path, label))
    return lambda *arguments: plot("codes", "--dataset", "digits", *arguments)


def test_codes_of_the_seed_that_all_have(coded, tmp_path):
    answer = coded("--examples", "8", "--output", "codes.svg")
    assert (answer.code, answer.err) == (0, "")
    assert answer.out == "wrote codes.svg: codes of vae, skip, seed 2, 8 of 12 examples\n"
    first = (tmp_path / "codes.svg").read_bytes()
    coded("--examples", "8", "--seed", "2", "--output", "codes.svg")
    assert (tmp_path / "codes.svg").read_bytes() == first


def test_codes_that_are_not_there(coded, tmp_path):
    absent = coded("--seed", "1")
    assert absent.code == 1
    assert "has no codes or weights that runs of seed 1 have kept; to make them beside these runs: " in absent.err
    assert absent.err.endswith("with --keep-codes --store codes.sqlite\n")
    assert "delete" not in absent.err
    kept(tmp_path, "skip").unlink()
    assert "cannot read the codes" in coded().err
    assert coded("--contender", "vae", "--examples", "8").code == 0


def test_codes_outside_the_folder_of_the_store_are_not_read(coded, tmp_path):
    """Not by a location that somebody else has written, and not through a link."""
    own, other = kept(tmp_path, "skip"), tmp_path / "other.npz"
    own.rename(other)
    own.symlink_to(other)
    assert "are not in '" in coded().err
    own.unlink()
    with Store.open(tmp_path / "runs.sqlite") as store:
        store.attach(record("skip", 2).run_id, "codes", other)
    assert "are not in '" in coded().err


@pytest.mark.torch
def test_spectrum_and_rate_distortion(suite):
    shown = suite("spectrum", "--cell", "3 layers", "--output", "a.pdf")
    assert (shown.err, shown.out) == ("", "wrote a.pdf: variances of the units of vae, skip\n")
    shown = suite("rate-distortion", "--cell", "3 layers", "--output", "a.pdf")
    assert (shown.err, shown.out) == ("", "wrote a.pdf: rate and distortion of vae, skip\n")


def test_runs_without_the_numbers_of_a_figure(plot):
    assert "has finished with variances of its units" in plot("spectrum", "--dataset", "digits").err
    assert "has KL and reconstruction for all its seeds" in plot("rate-distortion", "--dataset", "digits").err
