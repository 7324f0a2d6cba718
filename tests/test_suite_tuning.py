"""`suite tuning`: what was tried for each model of a tuned suite, and what each rule chose of it."""

from __future__ import annotations

import csv
import io
import json
import math

import pytest
from test_leagues import FEW, ONE, cells, chosen, defaults, ended, suite_file, trials, tuning

from collapsebench.errors import StoreError
from collapsebench.record import Outcome
from collapsebench.reporting.league_pages import league_pieces
from collapsebench.reporting.leagues import LeagueView, read_league
from collapsebench.reporting.queries import SuiteQuery
from collapsebench.reporting.suite_tuning import tried_pieces, tried_settings
from collapsebench.store import Store

__all__ = ["cells", "suite_file"]  # pytest finds fixtures by their names here

QUERY = SuiteQuery("league/small")


@pytest.fixture
def stored(tmp_path, cells, suite_file):
    """A store with the trials of one cell, and the question for them."""
    tried = tuning(cells["one"])
    path = tmp_path / "runs.sqlite"
    with Store.open(path) as store:
        store.add([*defaults(cells["one"], **ONE), *tried, *chosen(cells["one"], tried, 80)])
    return path, SuiteQuery(suite_file)


def test_each_rule_chooses_what_stands_in_its_division(stored):
    path, query = stored
    with Store.reading(path) as store:
        found = tried_settings(store, query)
        league = read_league(store, query, LeagueView(bootstrap=FEW))
    named = {
        (each.cell, each.model, rule, each.setting) for each in found for rule in each.chosen_by if each.cell == "one"
    }
    wanted = {
        (task.name, model, str(entry.choice.rule), entry.setting)
        for ranking in league.rankings
        for task in ranking.tasks
        for model, entry in task.entries.items()
        if entry.choice is not None and entry.choice.rule in task.cell.rules and entry.chosen and model != "no z"
    }
    assert {each for each in named if each[1] != "no z"} == wanted
    assert named


def exported(store, query):
    return "".join(league_pieces(read_league(store, query, LeagueView(bootstrap=FEW)), "csv"))


def test_runs_of_other_seeds_choose_nothing(stored, cells):
    """Each of both trials of a model runs again with the numbers of the other: the other would be chosen."""
    path, query = stored
    tried = tuning(cells["one"])
    again = [
        ended(tried[at].spec.model_copy(update={"seed": seed}), Outcome.FINISHED, points=tried[at ^ 1].points)
        for at in range(len(tried))
        for seed in (5, 6)
    ]
    with Store.open(path) as store:
        before = tried_settings(store, query), exported(store, query)
        store.add(again)
        assert (tried_settings(store, query), exported(store, query)) == before


def test_trials_come_with_the_lowest_bound_first_and_what_was_not_run_last(stored):
    path, query = stored
    with Store.reading(path) as store:
        found = tried_settings(store, query)
    for cell, model in {(each.cell, each.model) for each in found}:
        own = [each for each in found if (each.cell, each.model) == (cell, model)]
        bounds = [each.trial.neg_elbo if each.trial else math.inf for each in own]
        assert bounds == sorted(bounds)
        assert len(own) == 2
    assert all(each.trial is None and not each.chosen_by for each in found if each.cell == "two")
    assert "control" not in {each.model for each in found}


def test_a_trial_that_diverged_is_chosen_by_nobody(tmp_path, cells, suite_file):
    own = list(trials(cells["one"], skip=[(39.0, 1.0, 1.0), (38.0, 1.0, 1.0)]))
    lost = [ended(own[1].spec, Outcome.DIVERGED, message="too large")]
    with Store.open(tmp_path / "lost.sqlite") as store:
        store.add([*defaults(cells["one"], **ONE), own[0], *lost])
        found = tried_settings(store, SuiteQuery(suite_file), ("skip",))
    first, second = [each for each in found if each.cell == "one"]
    assert (first.has_result, first.chosen_by) == (True, ("elbo", "cured[nats=0.5]", "iso-kl[nats=1.0]"))
    assert (second.has_result, second.chosen_by) == (False, ())
    assert "skip: 1 of 2 trials have a result" in "".join(tried_pieces(found, QUERY, "table"))


def test_every_format_has_the_same_trials(command, stored):
    path, query = stored

    def shown(format_):
        return command("suite", "tuning", query.suite, "--cell", "one", "--format", format_, "--store", path).out

    lines = list(csv.DictReader(io.StringIO(shown("csv"))))
    content = json.loads(shown("json"))
    assert [line["setting"] for line in lines] == [each["setting"] for each in content]
    bounds = [each["neg_elbo"] for each in content]
    assert [line["neg_elbo"] for line in lines] == ["" if bound is None else repr(bound) for bound in bounds]
    assert {type(bound) for bound in bounds} == {float, type(None)}
    assert [line["chosen_by"].split() for line in lines] == [each["chosen_by"] for each in content]
    for format_ in ("table", "markdown", "latex", "html"):
        assert shown(format_).count("of 2 trials have a result") == len({line["contender"] for line in lines})


def test_what_cannot_be_shown_is_one_line(command, stored, tmp_path):
    path, query = stored
    for code, words, said in (
        (2, ("dieng-2019/table-3",), "the contenders of suite 'dieng-2019/table-3' are not tuned"),
        (2, (query.suite, "--model", "skipp"), "unknown model 'skipp'. Did you mean 'skip'"),
        (2, (query.suite, "--model", "control"), "unknown model 'control'"),
        (1, (query.suite, "--cell", "two"), "no trial is stored; to run them: collapsebench suite run"),
    ):
        answer = command("suite", "tuning", *words, "--store", path)
        assert (answer.code, answer.err.count("\n")) == (code, 1), words
        assert said in answer.err
    with Store.open(tmp_path / "empty.sqlite") as store, pytest.raises(StoreError, match="no trial is stored"):
        tried_settings(store, query)
