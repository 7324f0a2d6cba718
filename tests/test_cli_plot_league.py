"""`collapsebench plot league-profile` and `league-fronts`, from planted runs."""

from __future__ import annotations

import pytest
from test_leagues import ONE, SUITE, defaults

from collapsebench.experiment import suites
from collapsebench.store import Store

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
