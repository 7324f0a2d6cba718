"""`collapsebench suite`: grids of a paper, run like any other grid."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import toys
from test_suites import TOY

from collapsebench.metrics.codes import Codes
from collapsebench.reporting.leaderboard import FORMATS
from collapsebench.store import Store

RUN = ("suite", "run", "noise.toml", "--scale", "toy", "--plugin", toys.PLUGIN)


@pytest.fixture
def noise(tmp_path):
    """A suite of the user's in the working folder: three runs a seed, seconds."""
    (tmp_path / "noise.toml").write_text(TOY)
    return tmp_path


@pytest.fixture(scope="module")
def noise_ran(prepare, tmp_path_factory):
    """The folder in which that suite has run."""
    folder = tmp_path_factory.mktemp("noise")
    (folder / "noise.toml").write_text(TOY)
    prepare(folder, *RUN, "--seeds", 1, "-q")
    return folder


def stored(folder):
    with Store.open(folder / "results" / "collapsebench.sqlite") as store:
        return {record.run_id: record for record in store.find()}


@pytest.mark.torch
def test_a_suite_is_one_grid_and_the_same_command_fills_only_gaps(command, noise):
    first = command(*RUN, "--seeds", 1)
    assert first.code == 0, first.err
    assert "3 runs, 0 already stored, 3 to run" in first.out
    assert "one · vae seed 1: " in first.out
    assert "wide · skip seed 1: " in first.out
    board = f"collapsebench leaderboard --suite noise.toml --scale toy --plugin {toys.PLUGIN}"
    assert first.out.endswith(f"next: {board}\n")
    again = command(*RUN, "--seeds", 2)
    assert "6 runs, 3 already stored, 3 to run" in again.out
    records = stored(noise).values()
    assert {record.spec.protocol.setting.decoder.params["layers"] for record in records} == {1, 3}
    assert {str(record.spec.protocol.budget) for record in records} == {"6steps", "5steps"}


@pytest.mark.torch
def test_the_runs_of_a_cell_are_those_of_its_run_command(command, noise):
    shown = command("suite", "show", "noise.toml")
    line = next(line for line in shown.out.splitlines() if line.startswith("  one: collapsebench "))
    words = line.partition("collapsebench ")[2].split()
    assert command(*words, "--plugin", toys.PLUGIN, "-q").code == 0
    assert "3 runs, 2 already stored, 1 to run" in command(*RUN, "--seeds", 1).out


def test_a_dry_run_shows_every_cell_with_its_protocol(command, noise):
    plan = command(*RUN, "--seeds", 1, "--dry-run")
    assert "one · toy · quick[decoder.hidden=5,decoder.layers=1] · 6steps · protocol " in plan.out
    assert "wide · toy · quick[decoder.hidden=5,decoder.layers=3] · 5steps · protocol " in plan.out
    assert plan.out.count("to run") == 3
    cells = json.loads(command(*RUN, "--seeds", 1, "--dry-run", "--json").out)
    assert [(cell["name"], len(cell["runs"])) for cell in cells] == [("one", 2), ("wide", 1)]
    assert not (noise / "results").exists()


def test_a_variant_is_another_protocol(command, noise):
    plain = json.loads(command(*RUN, "--dry-run", "--json").out)
    deep = json.loads(command(*RUN, "--dry-run", "--json", "--variant", "deep").out)
    assert [cell["protocol"]["setting"]["decoder"]["params"]["layers"] for cell in deep] == [2, 2]
    assert plain[0]["protocol_id"] != deep[0]["protocol_id"]
    annealed = json.loads(command(*RUN, "--dry-run", "--json", "--variant", "annealed").out)
    assert [run["contender"] for run in annealed[0]["runs"][:2]] == ["kl-annealing", "skip"]


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.torch
def test_codes_are_kept_and_noted(command, noise, workers):
    done = command(*RUN, "--seeds", 1, "--keep-codes", "--workers", workers, "--threads", 1)
    assert done.code == 0, done.err
    with Store.open(noise / "results" / "collapsebench.sqlite") as store:
        kept = {run.run_id: store.artifacts(run.run_id) for run in store.summaries()}
    folder = noise / "results" / "collapsebench.sqlite.codes"
    for run_id, artifacts in kept.items():
        assert [(artifact.name, artifact.location) for artifact in artifacts] == [
            ("codes", str(folder / f"{run_id}.npz"))
        ]
        codes = Codes.read(folder / f"{run_id}.npz")
        assert codes.mean.shape == codes.logvar.shape == (8, 2)
        assert codes.labels is None
        by_hand = 0.5 * (codes.mean**2 + np.exp(codes.logvar) - codes.logvar - 1).sum(1).mean()
        values = {value.column: float(value.estimate) for value in stored(noise)[run_id].values}
        assert by_hand == pytest.approx(values["kl"], rel=1e-5)
    assert command("runs", "delete", *kept, "--yes").code == 0
    assert list(folder.iterdir()) == []


@pytest.mark.torch
def test_a_suite_that_is_drawn_from_codes_keeps_them(command, noise):
    (noise / "noise.toml").write_text(f"keep_codes = true\n{TOY}")
    assert command(*RUN, "--seeds", 1, "-q").code == 0
    assert len(list((noise / "results" / "collapsebench.sqlite.codes").glob("*.npz"))) == 3


@pytest.mark.torch
def test_stored_runs_without_codes_are_said(command, noise_ran, tmp_path):
    shutil.copytree(noise_ran, tmp_path, dirs_exist_ok=True)
    again = command(*RUN, "--seeds", 1, "--keep-codes")
    assert "warning: 3 stored runs have kept no codes; to run them again: --rerun\n" in again.err
    done = command(*RUN, "--seeds", 1, "--keep-codes", "--rerun")
    assert "3 to run" in done.out
    assert done.err == ""


@pytest.mark.torch
def test_codes_that_cannot_be_written_cost_a_warning(command, noise):
    (noise / "results").mkdir()
    (noise / "results" / "collapsebench.sqlite.codes").write_text("in the way")
    done = command(*RUN, "--seeds", 1, "--keep-codes")
    assert done.code == 0
    assert "warning: cannot write the codes" in done.err
    assert done.out.count("finished  ") == 3


def test_list_and_show(command):
    listed = command("suite", "list").out
    assert "dieng-2019/table-3" in listed
    names = [suite["name"] for suite in json.loads(command("suite", "list", "--json").out)]
    assert names == sorted(names)
    shown = command("suite", "show", "dieng-2019/table-3", "--scale", "small", "--variant", "released-width")
    assert "hidden=1024" in shown.out
    assert "scale paper" not in shown.out
    facts = json.loads(command("suite", "show", "dieng-2019/table-3", "--json").out)
    assert set(facts["scales"]) == {"paper", "small"}


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("run", "table-3"), "unknown suite 'table-3'"),
        (("show", "dieng-2019/table-3", "--scale", "tiny"), "unknown scale 'tiny'"),
        (("show", "dieng-2019/table-3", "--variant", "wide"), "unknown variant 'wide'"),
        (("run", "dieng-2019/table-3", "--device", "gpu"), "unknown device 'gpu'"),
        (("run", "nowhere.toml"), "cannot read the suite file 'nowhere.toml': No such file or directory"),
        (("play", "dieng-2019/table-3"), "No such command 'play'"),
    ],
)
def test_wrong_usage_is_one_line_and_exit_code_two(command, arguments, expected):
    answer = command("suite", *arguments)
    assert answer.code == 2
    assert answer.out == ""
    assert answer.err.startswith("error: ")
    assert answer.err.count("\n") == 1
    assert expected in answer.err


TINY = """
title = "Small perceptrons"
source = "Dieng et al. 2019, Table 3"
follows = "nobody"
published = { publication = "dieng-2019", table = "Table 3" }

[variants.wide]
description = "7 units"
settings = ["decoder.hidden=7"]

[scales.small]
description = "seconds"
hours = 0.01
departs = "four steps"
dataset = "digits"
track = "quick"
budget = "4steps"
settings = [
    "encoder.hidden=6",
    "decoder.hidden=6",
    "latent_dim=2",
    "batch_size=200",
    "evaluation.every=2steps",
    "evaluation.metrics.iw-nll.samples=2",
]
contenders = { VAE = "vae", SKIP-VAE = "skip" }
cells = [
    { name = "2 layers", settings = ["decoder.layers=2"], published = { "decoder.layers" = 2 } },
    { name = "4 layers", settings = ["decoder.layers=4"], published = { "decoder.layers" = 4 } },
]
"""
AGAINST = """
cells = [
    { name = "2 layers", settings = ["decoder.layers=2"], contenders = { SKIP-VAE = "skip" }, against = "wide" },
    { name = "wide", settings = ["decoder.layers=2", "decoder.hidden=7"], contenders = { "wide VAE" = "vae" } },
]
"""
BESIDE = ("leaderboard", "--suite", "tiny.toml")


@pytest.fixture(scope="module")
def tiny_ran(prepare, tmp_path_factory):
    """The folder of a suite of the user's about a published table; one of its two cells has run."""
    folder = tmp_path_factory.mktemp("tiny")
    (folder / "tiny.toml").write_text(TINY)
    prepare(folder, "suite", "run", "tiny.toml", "--seeds", 1, "--cell", "2 layers", "-q")
    return folder


@pytest.fixture
def tiny(command, tiny_ran, monkeypatch):
    """That folder, entered."""
    monkeypatch.chdir(tiny_ran)
    return tiny_ran


@pytest.mark.torch
def test_a_suite_beside_its_published_table(command, tiny):
    shown = command(*BESIDE)
    assert shown.code == 0, shown.err
    assert shown.out.startswith("tiny · small · Dieng et al. 2019, Table 3\n")
    facts = json.loads(command(*BESIDE, "--format", "json").out)["comparison"]
    bounds = {(fact["cell"], fact["model"]): fact for fact in facts if fact["column"] == "neg_elbo"}
    assert bounds["4 layers", "VAE"]["mean"] is None
    assert bounds["4 layers", "VAE"]["published"] == 97.09
    measured = bounds["2 layers", "VAE"]
    run = next(record for record in stored(tiny).values() if record.contender == "vae")
    by_hand = {value.column: float(value.estimate) for value in run.values}["neg_elbo"]
    assert measured["mean"] == by_hand
    assert measured["difference"] == by_hand - 94.88
    assert measured["protocol_id"] == run.protocol_id
    assert "another setting: four steps; another dataset: digits, published on mnist" in measured["reasons"]


@pytest.mark.torch
def test_a_comparison_in_every_format_and_into_a_file(command, tiny):
    for format_ in FORMATS:
        assert command(*BESIDE, "--format", format_, "--output", "page", "--columns", "kl").code == 0
        text = (tiny / "page").read_text()
        assert "24.23" in text
        assert "94.88" not in text


@pytest.mark.slow
@pytest.mark.torch
def test_a_cell_against_one_of_another_protocol(command, tmp_path):
    """Both are run by the suite, and the difference of every seed is that of the two stored runs."""
    (tmp_path / "wider.toml").write_text(TINY.partition("cells =")[0] + AGAINST)
    assert "2 layers against wide: collapsebench run" in command("suite", "show", "wider.toml").out
    assert command("suite", "run", "wider.toml", "--seeds", 2, "-q").code == 0
    shown = command("leaderboard", "--suite", "wider.toml")
    assert "2 layers · SKIP-VAE − wide VAE " in shown.out
    apart = "two protocols, only the first has decoder.hidden=6; only the second has decoder.hidden=7."
    assert f"2 layers against wide: {apart}" in shown.out
    kl = {
        (run.contender, run.spec.seed): float(value.estimate)
        for run in stored(tmp_path).values()
        for value in run.values
        if value.column == "kl"
    }
    facts = json.loads(command("leaderboard", "--suite", "wider.toml", "--format", "json").out)["comparison"]
    (gain,) = (fact for fact in facts if (fact["column"], fact["against"]) == ("kl", "wide VAE"))
    first, second = (kl["skip", seed] - kl["vae", seed] for seed in (1, 2))
    assert gain["n"] == 2
    assert gain["mean"] == pytest.approx((first + second) / 2, rel=1e-12)
    assert gain["half_width"] == pytest.approx(12.706204736 * abs(first - second) / 2, rel=1e-9)
    assert gain["protocol_id"] != gain["against_protocol_id"]


@pytest.mark.torch
def test_a_suite_without_a_published_table_is_shown_as_boards(command, noise_ran, monkeypatch):
    monkeypatch.chdir(noise_ran)
    shown = command("leaderboard", "--suite", "noise.toml", "--scale", "toy", "--plugin", toys.PLUGIN)
    assert shown.out.count("protocol ") == 2


@pytest.mark.torch
def test_a_comparison_that_cannot_be_made_is_one_line(command, tiny):
    for arguments, code, expected in (
        (("--columns", "kl,kk"), 2, "unknown column 'kk'"),
        (("--scale", "paper"), 2, "unknown scale 'paper'"),
        (("--dataset", "digits", "--sort", "kl"), 2, "--suite does not go with --dataset, --sort"),
        (("--variant", "wide"), 1, "nothing of the suite has run; to run it: collapsebench suite run tiny.toml"),
    ):
        answer = command(*BESIDE, *arguments)
        assert (answer.code, answer.out) == (code, "")
        assert answer.err.count("\n") == 1
        assert expected in answer.err
