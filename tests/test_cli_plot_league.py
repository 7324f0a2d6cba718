"""`collapsebench plot league-profile` and `league-fronts`, from planted runs."""

from __future__ import annotations

import pytest
from test_leagues import ONE, SUITE, defaults

from collapsebench.experiment import suites
from collapsebench.record import Outcome
from collapsebench.store import Store

LOST = ONE | {"skip": (98.0, Outcome.DIVERGED), "annealed": (None, None)}
FIGURES = ("league-profile", "league-fronts")


@pytest.fixture
def plot(command, tmp_path):
    """Draw a figure of a planted league, from runs that a function makes of its first cell."""
    path = tmp_path / "planted.toml"

    def plot(figure, *arguments, suite=SUITE, runs=lambda cell: defaults(cell, **ONE)):
        path.write_text(suite)
        with Store.open(tmp_path / "runs.sqlite") as store:
            store.add(runs(suites.suite(str(path)).cells("small")[0]))
        return command("plot", figure, "--suite", path, *arguments, "--store", tmp_path / "runs.sqlite")

    return plot


@pytest.mark.parametrize("figure", FIGURES)
def test_a_division_for_which_no_cell_has_a_rule_is_said_as_the_league_says_it(plot, figure, command, tmp_path):
    suite = SUITE.replace(', "cured[nats=0.5]"', "")
    answer = plot(figure, "--division", "cured", suite=suite)
    league = command("league", tmp_path / "planted.toml", "--division", "cured", "--store", tmp_path / "runs.sqlite")
    assert (answer.code, answer.err) == (2, league.err)
    assert "no cell has a rule for it: unknown division 'cured'" in answer.err
    assert "no run of the division cured has a result" in plot(figure, "--division", "cured").err


def test_contenders_without_a_point_are_counted(plot):
    """One with a lost run, one without any, and none of which anything is known."""
    answer = plot("league-fronts", runs=lambda cell: defaults(cell, **LOST))
    assert (answer.code, answer.err) == (0, "")
    assert answer.out == "wrote plot.png: 6 contenders, and the fronts of one (2 without a point)\n"


def test_without_any_point_there_is_no_figure(plot, tmp_path):
    answer = plot("league-fronts", runs=lambda cell: defaults(cell, **dict.fromkeys(ONE, (Outcome.DIVERGED,) * 2)))
    assert (answer.code, answer.out, len(answer.err.splitlines())) == (1, "", 1)
    assert "no contender has a point" in answer.err
    assert not (tmp_path / "plot.png").exists()


NAMES = {"skip": "β-VAE", "annealed": "Skip-VAE, free bits + Ω", "both": "a", "capacity": "a=b", "VAE": "$x$ [k=2]"}
NAMED = "".join(SUITE.partition("[[scales.small.cells]]")[0])
for before, after in NAMES.items():
    NAMED = NAMED.replace(f'\n{before} = "', f'\n"{after}" = "')
NAMED = NAMED.replace('baseline = "VAE"', f'baseline = "{NAMES["VAE"]}"').replace("{ capacity", '{ "a=b"')
NAMED = f'{NAMED}[[scales.small.cells]]\nname = "one"\nrules = ["elbo"]\n'


def renamed(cell):
    return defaults(cell, **{NAMES.get(name, name): own for name, own in ONE.items()})


@pytest.mark.parametrize("model", [*NAMES.values(), "no z"])
def test_each_model_can_be_called_by_another_name(plot, model, tmp_path):
    for figure in FIGURES:
        label = ("--label", f" {model} = Other = name", "--output", f"{figure}.svg")
        answer = plot(figure, *label, suite=NAMED, runs=renamed)
        assert (answer.code, answer.err) == (0, "")
    drawn = (tmp_path / "league-profile.svg").read_text()
    assert "<!-- Other = name -->" in drawn
    kept = {"β-VAE", "a", "a=b", "no z"} - {model}
    assert all(f"<!-- {name} -->" in drawn for name in kept)
    assert f"<!-- {model} -->" not in drawn


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        (["skpi=S"], "unknown model 'skpi'. Did you mean 'skip'?"),
        (["vae = S"], "unknown model 'vae'. "),
        (["control=S"], "unknown model 'control'. "),
        (["skip"], "cannot read 'skip': expected '=' behind the name of a model"),
        (["skip="], "cannot read 'skip=': expected a label behind '='"),
        (["skip=S", "skip=T"], "--label skip=T: 'skip' has a label already, 'S'"),
        (["skip=VAE"], "two contenders of a figure cannot both be called 'VAE'"),
    ],
)
def test_labels_of_no_model_are_one_line(plot, labels, said):
    answer = plot("league-fronts", *(word for label in labels for word in ("--label", label)))
    assert (answer.code, answer.out, len(answer.err.splitlines())) == (2, "", 1)
    assert answer.err.startswith(f"error: {said}")


def test_the_help_says_which_names_labels_have(command):
    assert all("--label MODEL=TEXT" in command("plot", figure, "--help").out for figure in FIGURES)
    assert "--label CONTENDER=TEXT" in command("plot", "spectrum", "--help").out
