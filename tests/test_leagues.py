"""Leagues of suites, from planted runs: which setting of a model counts, what is the worst, and what is left out."""

from __future__ import annotations

import csv
import io
import json
import math
import shlex
import sqlite3
from dataclasses import replace
from pathlib import Path

import pytest
from records import ENVIRONMENT, START

from collapsebench.components import discovery
from collapsebench.errors import StoreError, UsageError
from collapsebench.estimates import Direction, Estimate
from collapsebench.experiment import suites
from collapsebench.experiment.planning import SplitCache, plan
from collapsebench.experiment.tuning import family_of, tuned_contenders
from collapsebench.record import DeclinedColumn, Finding, Guard, Number, Outcome, Point, RunRecord, Value, json_number
from collapsebench.reporting.divisions import BOUND, INFORMATION, NLL, RATE, USE, Division
from collapsebench.reporting.leaderboard.numbers import with_interval
from collapsebench.reporting.league import Bootstrap, Factorial, improvement, league
from collapsebench.reporting.league_exports import MEASURED
from collapsebench.reporting.league_pages import league_pages, league_pieces
from collapsebench.reporting.leagues import CONTROL, LeagueView, factorials, one_ranking, ranked, read_league
from collapsebench.reporting.queries import SuiteQuery
from collapsebench.spec import identity
from collapsebench.store import Store

SUITE = """
title = "Planted"
source = "nobody"
follows = "nobody"
league = { baseline = "VAE", reference = "no z" }

[variants.more]
description = "more steps"
budget = "3steps"
tuned = false

[scales.small]
description = "two steps"
hours = 0.01
dataset = "linear-gaussian"
track = "quick"
budget = "2steps"
trials = 2
controls = ["control"]
searched = { capacity = "capacity" }

[scales.small.contenders]
VAE = "vae"
"no z" = "no-latent"
skip = "skip"
annealed = "kl-annealing"
both = "skip+kl-annealing"
capacity = "capacity[nats=3]"
control = "iwae"

[[scales.small.cells]]
name = "one"
rules = ["elbo", "cured[nats=0.5]", "iso-kl[nats=1]"]

[[scales.small.cells]]
name = "two"
rules = ["elbo", "cured[nats=0.5]", "iso-kl[nats=1]"]
settings = ["latent_dim=3"]
further = { extra = "free-bits" }
"""
RANKED = ("VAE", "no z", "skip", "annealed", "both", "capacity")
FEW = Bootstrap(resamples=50)
CATALOG = discovery.load()
SPLITS = SplitCache(CATALOG, Path("nowhere"))
NUMBERS = {
    "neg_elbo": ("elbo", Direction.LOWER),
    NLL: ("iw-nll", Direction.LOWER),
    "kl": ("kl", Direction.NONE),
    INFORMATION: ("mutual-information", Direction.HIGHER),
    "active_units": ("active-units", Direction.HIGHER),
    "delta_shuffle": ("latent-use", Direction.HIGHER),
}


@pytest.fixture(scope="module")
def suite_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("league") / "planted.toml"
    path.write_text(SUITE)
    return str(path)


@pytest.fixture(scope="module")
def cells(suite_file):
    return {cell.name: cell for cell in suites.suite(suite_file).cells("small")}


def finished(spec, nll, *, mi=1.0, declined=(), **fields):
    """A run with these numbers; those of `declined` have a reason in their place."""
    numbers = {"neg_elbo": nll + 1, NLL: nll, "kl": 2.0, INFORMATION: mi, "active_units": 2.0, "delta_shuffle": mi}
    values = [
        Value.of(
            NUMBERS[name][0], name, Estimate(number), unit="nats", title=name, direction=NUMBERS[name][1], board=True
        )
        for name, number in numbers.items()
        if name not in declined
    ]
    reasons = [DeclinedColumn(metric=NUMBERS[name][0], column=name, reason="no density") for name in declined]
    return ended(spec, Outcome.FINISHED, values=tuple(values), declined=tuple(reasons), **fields)


def ended(spec, outcome, **fields):
    """A run with this outcome."""
    begun = RunRecord.started(spec, START, ENVIRONMENT)
    done = {"outcome": outcome, "parameters": 10, "points": (Point(counters={"steps": 2.0}, values={}),)}
    return RunRecord.model_validate(dict(begun) | done | fields)


def specs(cell, seeds=(1, 2)):
    """The runs of the declared contenders: by model and seed."""
    known = {identity(CATALOG.contender(text)[0]): model for model, text in cell.contenders.items()}
    found = {}
    for spec in plan([cell.request(seeds)], CATALOG, SPLITS).specs:
        found.setdefault(known[identity(spec.contender)], {})[spec.seed] = spec
    return found


def defaults(cell, **nlls):
    """The runs of declared contenders from lists of IW-NLL by seed; an outcome stands for a run without a number."""
    planned = specs(cell)
    for model, own in nlls.items():
        for seed, nll in enumerate(own, start=1):
            spec = planned[model.replace("_", " ")][seed]
            if nll is not None:
                yield ended(spec, nll) if isinstance(nll, Outcome) else finished(spec, nll)


def trials(cell, rules=None, **valid):
    """The trials of models, by the rules of the cell or by others.

    Each has (-ELBO, KL, MI) of the validation split, in the order in which they are drawn.
    """
    families = {model: tuned_contenders(text, CATALOG)[0].name for model, text in cell.tuned.items()}
    asked = cell.trial_request() if rules is None else cell.request(()).tuned(cell.trials, rules)
    asked = replace(asked, methods=tuple(cell.tuned.values()))
    drawn = plan([asked], CATALOG, SPLITS).specs
    for model, own in valid.items():
        family = families[model.replace("_", " ")]
        tried = [spec for spec in drawn if family_of(spec.contender, CATALOG) == family]
        for spec, numbers in zip(tried, own, strict=True):
            known = dict(zip(("neg_elbo", "kl", INFORMATION), map(Number.of, numbers), strict=True))
            point = Point(counters={"steps": 2.0, "flops": 10.0}, values=known, selected=True)
            yield ended(spec, Outcome.FINISHED, points=(point,))


def chosen(cell, records, nll, seeds=(1, 2)):
    """Runs of the settings of trials, all with this IW-NLL plus the seed; a default among them has runs already."""
    declared = {CATALOG.contender(text)[0].label for text in cell.contenders.values()}
    labels = [label for record in records if (label := record.spec.contender.label) not in declared]
    for spec in plan([cell.chosen_request(labels, seeds)], CATALOG, SPLITS).specs:
        yield finished(spec, nll + spec.seed)


ONE = {
    "VAE": (100.0, 101.0),
    "no_z": (105.0, 105.5),
    "skip": (98.0, 97.0),
    "annealed": (99.0, 99.5),
    "both": (97.0, 99.0),
    "capacity": (101.0, 100.0),
    "control": (50.0, 50.0),
}
TWO = {name: tuple(reversed([number + 20 for number in own])) for name, own in ONE.items()} | {"extra": (90.0, 91.0)}


@pytest.fixture
def read(tmp_path, suite_file):
    """Stores records, and reads the league of them."""
    numbers = iter(range(9))

    def read(records, *, query=None, **asked):
        with Store.open(tmp_path / f"{next(numbers)}.sqlite") as store:
            store.add(records)
            return read_league(store, query or SuiteQuery(suite_file), LeagueView(bootstrap=FEW, **asked))

    return read


def test_the_league_is_that_of_the_numbers_of_its_runs(read, cells):
    found = read([*defaults(cells["one"], **ONE), *defaults(cells["two"], **TWO)])
    (ranking,) = found.rankings
    assert ranking.division is Division.DEFAULT
    assert found.empty == (Division.TUNED, Division.CURED, Division.ISO_KL)
    nlls = {
        task: {name: dict(enumerate(own[name.replace(" ", "_")], start=1)) for name in RANKED}
        for task, own in (("one", ONE), ("two", TWO))
    }
    informations = {task: {name: dict.fromkeys(runs, 1.0) for name, runs in own.items()} for task, own in nlls.items()}
    direct = league(nlls, informations, baseline="VAE", reference="no z", bootstrap=FEW)
    content = json.loads("".join(league_pieces(found, "json")))
    statistics = content["divisions"]["default"]["statistics"]
    assert {name: own["mean_rank"] for name, own in statistics["contenders"].items()} == dict(direct.ranks.means)
    for name, own in statistics["contenders"].items():
        better = direct.improvements.get(name)
        assert own["mean_rank_interval"] == list(direct.ranks.intervals[name])
        assert (own["better"] is None) == (better is None)
        if better is not None:
            assert own["better"]["probability"] == better.probability
            assert own["better"]["interval"] == list(better.interval)
            seeds = own["better"]["differences"]["one"]["seeds"]
            assert seeds == {str(seed): nll - nlls["one"]["VAE"][seed] for seed, nll in nlls["one"][name].items()}
        assert own["regret"]["shares"] == list(direct.profile.shares[name])
    for front in direct.fronts:
        task = statistics["tasks"][front.task]
        assert (task["front"], task["area"]) == (list(front.members), json_number(front.area))
        assert task["unit"] == json_number(direct.regrets.units[front.task])
    assert statistics["critical_difference"] == direct.ranks.critical_difference


def test_the_order_of_runs_means_nothing(read, cells):
    records = [*defaults(cells["one"], **ONE), *defaults(cells["two"], **TWO)]
    shuffled = sorted(records, key=lambda record: record.run_id)
    for format_ in ("json", "csv", "table"):
        first, second = ("".join(league_pieces(read(each), format_)) for each in (records, shuffled))
        assert first == second


def test_what_has_no_number_is_the_worst_and_is_named(read, cells):
    own = ONE | {
        "VAE": (100.0, Outcome.DIVERGED),
        "skip": (98.0, None),
        "annealed": (99.0, Outcome.STARTED),
        "both": (97.0, Outcome.FAILED),
        "capacity": (101.0, Outcome.INTERRUPTED),
    }
    (ranking,) = read(defaults(cells["one"], **own)).rankings
    scores = {name: ranking.entry("one", name).scores(NLL) for name in RANKED}
    assert scores["VAE"][1] == 100
    assert math.isnan(scores["VAE"][2])
    assert scores["skip"] == {1: 98}
    assert [scores[name][2] for name in ("annealed", "both", "capacity")] == [None] * 3
    lacking = {name: tuple(lost["one"]) for name, lost in ranking.league.losses.shortfalls.items()}
    assert lacking == {"VAE": (0, 1)} | dict.fromkeys(("skip", "annealed", "both", "capacity"), (1, 0))
    assert ranking.league.ranks.means["VAE"] == ranking.league.ranks.means["skip"]


def test_an_impossible_number_is_no_number_and_a_declined_one_is_missing(read, cells):
    planned = specs(cells["one"])
    others = defaults(cells["one"], **{name: own for name, own in ONE.items() if name not in {"skip", "annealed"}})
    impossible = [finished(spec, -1000.0) for spec in planned["skip"].values()]
    declined = [finished(spec, 99.0, declined=(INFORMATION,)) for spec in planned["annealed"].values()]
    (ranking,) = read([*others, *impossible, *declined]).rankings
    assert all(math.isnan(score) for score in ranking.entry("one", "skip").scores(NLL).values())
    assert ranking.entry("one", "annealed").scores(INFORMATION) == {1: None, 2: None}
    (front,) = ranking.league.fronts
    assert front.members == ("both",)
    assert not {"skip", "annealed"} & front.points.keys()
    assert ranking.league.ranks.means["skip"] == len(RANKED)


def tuning(cell):
    """Trials of four models: the second of each has the lowest -ELBO, the first one of VAE and skip has MI."""
    return list(
        trials(
            cell,
            VAE=[(99, 3.0, 2.0), (98, 0.2, 0.1)],
            no_z=[(106, 0.0, 0.0), (105, 0.0, 0.0)],
            skip=[(97, 3.0, 2.0), (96, 1.1, 1.0)],
            annealed=[(97, 0.1, 0.1), (95, 0.9, 0.2)],
        )
    )


def setting(ranking, model):
    return ranking.entry("one", model).setting


def test_each_division_has_what_its_rule_chooses(read, cells):
    tried = tuning(cells["one"])
    labels = {record.spec.contender.label: at for at, record in enumerate(tried)}
    found = read([*defaults(cells["one"], **ONE), *tried, *chosen(cells["one"], tried, 80)])
    default, tuned, cured, iso = found.rankings
    places = [
        {model: labels.get(setting(each, model)) for model in ("VAE", "no z", "skip", "annealed")}
        for each in (tuned, cured, iso)
    ]
    assert places == [
        {"VAE": 1, "no z": 3, "skip": 5, "annealed": 7},
        {"VAE": 0, "no z": 3, "skip": 5, "annealed": None},
        {"VAE": 1, "no z": 3, "skip": 5, "annealed": 7},
    ]
    assert setting(default, "VAE") == "vae"
    assert tuned.entry("one", "skip").scores(NLL) == {1: 81, 2: 82}
    choice = tuned.entry("one", "skip").choice
    assert (choice.trials, choice.drawn, choice.flops) == (2, 2, 20)
    assert not cured.entry("one", "annealed").chosen
    assert cured.league.ranks.means["annealed"] == cured.league.ranks.means["both"] > cured.league.ranks.means["VAE"]


def test_what_was_not_chosen_and_what_was_not_run_are_told_apart(read, cells):
    tried = tuning(cells["one"])
    found = read([*defaults(cells["one"], **ONE), *tried, *chosen(cells["one"], tried[:4], 80)])
    page = list(league_pages(found))[2]
    assert page.title.endswith("cured")
    notes = "\n".join(page.notes)
    assert "one, not chosen, as no trial has the result that its rule asks for: annealed; both; capacity" in notes
    assert "one, 2 missing each: skip\n" in notes
    settings = next(table for table in page.tables if table.caption.startswith("Settings of one"))
    texts = {row[0].text: [cell.text for cell in row[1:]] for row in settings.rows}
    assert texts["annealed"] == ["no trial fits", "", "2/2", "20"]
    assert texts["both"] == ["no trial fits", "", "0/2", "0"]
    assert "no z has no MI, and is no cure: it stands here with the trial of its lowest −ELBO" in notes


def test_a_baseline_without_a_cure_is_the_worst_of_that_division(read, cells):
    """The plain VAE collapses: that no trial of it has so much MI is what the division shows."""
    cell = cells["one"]
    without = {model: [(99, 0.2, 0.1), (98, 0.2, 0.1)] for model in ("VAE", "no_z")}
    tried = list(trials(cell, **without, skip=[(97, 3.0, 2.0), (96, 1.1, 1.0)]))
    found = read([*defaults(cell, **ONE), *tried, *chosen(cell, tried, 80)])
    cured = next(each for each in found.rankings if each.division is Division.CURED)
    assert not cured.entry("one", "VAE").chosen
    assert [task.seeds for task in cured.league.losses.tasks] == [(1, 2)]
    assert cured.league.losses.shortfalls.keys() == set(RANKED) - {"no z", "skip"}
    assert cured.league.ranks.means["VAE"] == max(cured.league.ranks.means.values())
    assert cured.league.improvements["skip"].probability == 1


def test_numbers_of_the_test_split_choose_nothing(read, cells):
    tried = tuning(cells["one"])
    runs = list(defaults(cells["one"], **ONE))
    best = [
        read([*runs, *tried, *chosen(cells["one"], tried[:4], 80), *chosen(cells["one"], tried[4:], nll)])
        for nll in (60, 120)
    ]
    settings = [[[setting(each, model) for model in RANKED] for each in found.rankings] for found in best]
    assert settings[0] == settings[1]


def test_trials_that_other_rules_choose_from_are_of_another_tuning(read, cells):
    own = tuning(cells["one"])
    others = list(trials(cells["one"], ["elbo"], VAE=[(1, 3.0, 2.0), (98, 0.2, 0.1)]))
    runs = [*defaults(cells["one"], **ONE), *own, *chosen(cells["one"], own, 80)]
    alone, beside = ([setting(each, "VAE") for each in read(records).rankings] for records in (runs, [*others, *runs]))
    first, second = (record.spec.contender.label for record in own[:2])
    assert alone == beside == ["vae", second, first, second]


def test_controls_and_models_of_some_cells_stand_outside(read, cells):
    found = read([*defaults(cells["one"], **ONE), *defaults(cells["two"], **TWO)])
    (ranking,) = found.rankings
    assert ranking.models == RANKED
    assert [(each.task, each.entry.model, each.reason) for each in ranking.outsiders] == [
        ("one", "control", CONTROL),
        ("two", "control", CONTROL),
        ("two", "extra", "not in one"),
    ]
    assert all(task.best > 90 for task in ranking.league.losses.tasks)
    (table,) = [table for table in league_pages(found).__next__().tables if table.caption == "Outside of the ranking"]
    assert [cell.text for cell in table.rows[2]] == ["extra", "two", "90.5 ± 6.4", "1 ± 0", "", "not in one"]


def test_a_task_or_a_division_without_results_is_left_out_and_named(read, cells):
    records = [*defaults(cells["one"], **ONE), *defaults(cells["two"], VAE=(Outcome.STARTED,))]
    found = read(records)
    (ranking,) = found.rankings
    assert ([task.name for task in ranking.tasks], ranking.without) == (["one"], ("two",))
    notes = next(league_pages(found)).notes
    assert "Left out, as no seed has a result of both VAE and no z in this division: two." in notes
    assert "Divisions without a result, left out: tuned, cured, iso-kl." in notes
    with pytest.raises(StoreError, match="no run of the league has a result; to run it: collapsebench suite run"):
        read(records, divisions=[Division.TUNED])


def test_findings_mark_a_contender_and_are_told_by_task(read, cells):
    marked = [
        finished(spec, 98.0, findings=(Finding(guard=Guard.USE, text=f"no use {seed}"),))
        for seed, spec in specs(cells["one"])["skip"].items()
    ]
    others = {name: own for name, own in ONE.items() if name != "skip"}
    records = [*defaults(cells["one"], **others), *marked]
    page = next(league_pages(read(records)))
    assert "skip ‡" in [row[0].text for row in page.tables[0].rows]
    assert "‡ one, skip, seeds 1, 2: as no use 1 (use)" in page.notes
    assert "‡ one, skip, seed 1: no use 1 (use)" in next(league_pages(read(records, seeds=1))).notes


def test_findings_of_later_seeds_are_not_told(read, cells):
    own = (Finding(guard=Guard.USE, text="no use"),)
    marked = [finished(spec, 98.0, findings=own) for spec in specs(cells["one"])["skip"].values()]
    records = [*defaults(cells["one"], VAE=ONE["VAE"], no_z=ONE["no_z"]), *marked]
    assert "‡ one, skip, seeds 1, 2: no use (use)" in next(league_pages(read(records))).notes
    assert "‡ one, skip, seed 1: no use (use)" in next(league_pages(read(records, seeds=1))).notes


def test_a_part_of_a_league_says_that_it_is_one(read, cells, suite_file):
    records = list(defaults(cells["one"], **ONE))
    part = read(records, seeds=1, query=SuiteQuery(suite_file, cells=("one",)))
    (page,) = [page for page in league_pages(part) if page.title.endswith("default")]
    assert "Of all runs only those of seeds 1 to 1 count." in page.notes
    assert "A part of the league, and ranked are the models that this part has: one." in page.notes
    assert page.command.endswith("--cell one --seeds 1")
    content = json.loads("".join(league_pieces(part, "json")))
    assert (content["cells"], content["seeds"]) == (["one"], 1)
    whole = next(league_pages(read(records)))
    assert not any("part of" in note or "seeds 1 to" in note for note in whole.notes)
    assert "--cell" not in whole.command


def test_no_run_takes_the_numbers_of_others(read, cells):
    others = {name: own for name, own in ONE.items() if name not in {"skip", "control"}}
    planned = specs(cells["one"])

    def ranks(**fields):
        runs = [finished(spec, 98.0) for model in ("skip", "control") for spec in planned[model].values()]
        own = [run.model_copy(update=fields) for run in runs]
        (ranking,) = read([*defaults(cells["one"], **others), *own]).rankings
        return ranking.league.ranks.means, ranking.league.fronts[0].points

    usual = ranks()
    counters = {"steps": 2.0, NLL: 1.0, INFORMATION: 9.0}
    assert ranks(points=(Point(counters=counters, values={}),)) == usual
    foreign = Value.of("mine", NLL, Estimate(60.0), unit="", title="", direction=Direction.LOWER, board=True)
    measured = finished(planned["skip"][1], 98.0).values
    assert ranks(values=(*measured, foreign)) == usual


def test_the_first_seeds_are_a_league_while_others_still_run(read, cells):
    own = ONE | {"annealed": (100.0, Outcome.STARTED), "skip": (98.0, None)}
    records = list(defaults(cells["one"], **own))
    (ranking,) = read(records, seeds=1).rankings
    assert not ranking.league.losses.shortfalls
    assert [task.seeds for task in ranking.league.losses.tasks] == [(1,)]
    assert read(records, seeds=2).rankings[0].league.losses.shortfalls.keys() == {"annealed", "skip"}


@pytest.mark.parametrize("lost", [None, Outcome.STARTED, Outcome.FAILED])
def test_a_seed_that_the_baseline_has_not_makes_nobody_the_worst(read, cells, lost):
    own = {model: (*numbers[:1], lost) for model, numbers in ONE.items()}
    alone = read(list(defaults(cells["one"], **own)))
    further = read(list(defaults(cells["one"], **own | {"skip": (ONE["skip"][0], 1.0)})))
    (usual,), (ranking,) = alone.rankings, further.rankings
    assert ranking.league.ranks.means == usual.league.ranks.means
    assert ranking.league.improvements == usual.league.improvements
    assert not ranking.league.losses.shortfalls
    page = next(league_pages(further))
    assert "one, seeds that count for nobody, as VAE or no z has no result: skip 2" in page.notes
    (shown,) = [table for table in page.tables if table.caption == "IW-NLL by task"]
    assert [row[1].text for row in shown.rows if row[0].text == "skip"] == [f"{ONE['skip'][0]:g}"]


def test_a_mean_that_lacks_a_run_is_no_number_beside_ranks_that_count_it_as_the_worst(read, cells):
    own = ONE | {"skip": (ONE["skip"][0], None), "control": (ONE["control"][0], Outcome.FAILED)}
    page = next(league_pages(read(list(defaults(cells["one"], **own)))))
    shown = {table.caption: {row[0].text: row[1].text for row in table.rows} for table in page.tables}
    for caption in ("IW-NLL by task", "KL by task", "MI ≥ by task", "IW-NLL minus that of VAE, by task"):
        assert shown[caption]["skip"] == "—"
    (outside,) = [table for table in page.tables if table.caption == "Outside of the ranking"]
    assert [cell.text for cell in outside.rows[0]] == ["control", "one", "—", "—", "1", CONTROL]


def test_who_has_no_point_is_named(read, cells):
    specs_ = specs(cells["one"])
    records = [
        record for record in defaults(cells["one"], **ONE) if record.spec.contender != specs_["skip"][1].contender
    ]
    records += [finished(spec, 98.0, declined=(INFORMATION,)) for spec in specs_["skip"].values()]
    notes = next(league_pages(read(records))).notes
    assert "one, without a point, as a run has no bound on MI: skip" in notes


def test_others_may_be_compared_with_another_model(read, cells):
    records = list(defaults(cells["one"], **ONE))
    usual, asked = read(records), read(records, against="annealed")
    (before,), (after,) = usual.rankings, asked.rankings
    direct = improvement(after.league.losses, "skip", "annealed", FEW)
    assert after.league.improvements["skip"] == direct
    assert "annealed" not in after.league.improvements
    assert after.league.ranks.means == before.league.ranks.means
    assert after.interactions == before.interactions
    page = next(league_pages(asked))
    assert page.tables[0].headers[1] == "better than annealed"
    (table,) = [each for each in page.tables if each.caption == "IW-NLL minus that of annealed, by task"]
    assert [row[0].text for row in table.rows] == [name for name in after.league.ranks.means if name != "annealed"]
    shown = {row[0].text: row[1].text for row in table.rows}
    assert shown["skip"].startswith(with_interval(after.league.effects["one"]["skip"].difference, signed=True))
    for wrong in ("anneald", "control"):
        with pytest.raises(UsageError, match=f"unknown model '{wrong}'"):
            read(records, against=wrong)


def test_the_page_says_what_each_task_is(read, cells):
    notes = next(league_pages(read(list(defaults(cells["one"], **ONE))))).notes
    (said,) = [note for note in notes if note.startswith("Tasks: one is ")]
    assert "linear-gaussian · quick · 2steps · protocol " in said


def test_orders_are_compared_between_divisions_and_columns(read, cells):
    tried = tuning(cells["one"])
    found = read([*defaults(cells["one"], **ONE), *tried, *chosen(cells["one"], tried, 80)])
    assert [each.title for each in found.comparisons] == [
        "IW-NLL, default and tuned",
        "−ELBO and IW-NLL",
        "active units and Δ shuffle",
    ]
    assert list(found.comparisons[1].found) == ["default", "tuned", "cured", "iso-kl"]
    assert found.comparisons[1].found["default"].mean == 1  # the bound is the likelihood plus one
    assert found.comparisons[2].found["default"].mean is None  # all are equal


def test_runs_do_not_agree_with_themselves(read, cells, suite_file):
    records = list(defaults(cells["one"], **ONE))
    with pytest.raises(StoreError, match="in which defaults of both have results, each with runs of its own"):
        read(records, beside=suite_file)


def test_the_defaults_of_a_variant_are_another_order(read, cells, suite_file):
    (more,) = suites.suite(suite_file).cells("small", ("more",), ("one",))
    untuned = SuiteQuery(suite_file, variants=("more",))
    turned = {name: tuple(200 - number for number in own) for name, own in ONE.items()}
    records = [*defaults(cells["one"], **ONE), *defaults(more, **turned)]
    comparison = read(records, beside="more").comparisons[-1]
    assert comparison.title == f"IW-NLL of defaults, {suite_file} and more"
    ((agreement),) = comparison.found.values()
    assert agreement.mean == pytest.approx(-1)
    with pytest.raises(UsageError, match="unknown suite 'none'"):
        read(records, beside="none")
    with pytest.raises(StoreError, match="have no task in which defaults of both have results"):
        read(records[: len(records) // 2], beside="more")
    assert not read(records, query=untuned).empty
    with pytest.raises(UsageError, match="no cell has a rule for it: unknown division 'tuned'"):
        read(records, query=untuned, divisions=[Division.TUNED])


def test_compositions_stand_beside_their_parts(read, cells):
    (ranking,) = read(defaults(cells["one"], **ONE)).rankings
    (interaction,) = ranking.interactions
    assert interaction.factorial == Factorial("skip", "annealed", "both")
    assert interaction.first.difference.mean == pytest.approx(-3)
    assert interaction.interaction.difference.mean == pytest.approx((98 - 99.25) + 3)


def test_the_compositions_of_the_shipped_league_are_found():
    suite = suites.suite("league/small")
    cells = suite.cells("small")
    models = ranked(cells)
    found = {each.both: (each.first, each.second) for each in factorials(cells, models, suite.league.baseline)}
    assert found["lagging inference + KL annealing"] == ("lagging inference", "KL annealing")
    assert {both for both in found if both.startswith("Skip-VAE + ")} == {
        model for model in models if model.startswith("Skip-VAE + ")
    }
    assert len(found) == len([model for model in models if " + " in model])
    assert not {"word dropout", "hidden work"} & set(models)
    assert factorials(cells, models, "Skip-VAE") == []


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (('league = { baseline = "VAE", reference = "no z" }', ""), "is no league"),
        (('rules = ["elbo", ', 'rules = ["elbo", "cured[nats=2]", '), "has several rules of the kind cured"),
        (('rules = ["elbo", ', "rules = ["), "cell 'one': a league with the rule cured has the rule elbo, too"),
        (('baseline = "VAE"', 'baseline = "extra"'), "cell 'one': every cell of a .* baselines: unknown model 'extra'"),
        (('reference = "no z"', 'reference = "control"'), "baselines: unknown model 'control'"),
        (('settings = ["latent_dim=3"]', ""), "cells 'one' and 'two' are one task: they have the same runs"),
    ],
)
def test_what_is_no_league_is_one_line(wrong, said, cells, tmp_path):
    path = tmp_path / "wrong.toml"
    path.write_text(SUITE.replace(*wrong))
    with Store.open(tmp_path / "runs.sqlite") as store:
        store.add(defaults(cells["one"], **ONE))
        with pytest.raises(UsageError, match=said) as caught:
            one_ranking(store, SuiteQuery(str(path)), Division.DEFAULT, FEW)
    assert "\n" not in str(caught.value)


@pytest.fixture
def league_command(command, cells, suite_file, tmp_path):
    """The command on a store with tuned models."""
    tried = tuning(cells["one"])
    with Store.open(tmp_path / "runs.sqlite") as store:
        store.add([*defaults(cells["one"], **ONE), *tried, *chosen(cells["one"], tried, 80)])

    def run(*arguments, group=("league", suite_file)):
        return command(*group, *arguments, "--store", tmp_path / "runs.sqlite")

    return run


def test_csv_has_a_line_for_each_division_task_contender_and_seed(league_command):
    lines = list(csv.DictReader(io.StringIO(league_command("--format", "csv", "--resamples", 50).out)))
    assert list(lines[0]) == ["division", "task", "contender", "setting", "ranked", "seed", *MEASURED]
    names = [(line["division"], line["task"], line["contender"], line["seed"]) for line in lines]
    assert len(set(names)) == len(names) == 2 * (7 + 3 * 6)
    known = dict(zip(names, lines, strict=True))
    skip = known["default", "one", "skip", "2"]
    assert [skip[column] for column in (NLL, BOUND, RATE, USE)] == ["97.0", "98.0", "2.0", skip[INFORMATION]]
    assert known["default", "one", "control", "1"]["ranked"] == "0"
    assert (known["cured", "one", "annealed", "1"]["setting"], known["cured", "one", "annealed", "1"][NLL]) == ("", "")


def test_every_format_and_each_choice_of_the_command(league_command):
    for format_ in ("table", "markdown", "latex", "html"):
        text = league_command("--format", format_, "--resamples", 50, "--unit", "runs", "--bootstrap-seed", 3).out
        assert all(name in text for name in ("annealed", "cured", "Kendall"))
    content = json.loads(league_command("--format", "json", "--division", "tuned", "--resamples", 50).out)
    assert list(content["divisions"]) == ["tuned"]
    assert content["divisions"]["tuned"]["statistics"]["bootstrap"] == {"resamples": 50, "seed": 0, "unit": "seeds"}
    assert league_command("--cell", "three").err.startswith("error: suite '")
    assert "is no league" in league_command(group=("league", "dieng-2019/table-3")).err


def test_a_league_fits_any_terminal(read, cells):
    tried = tuning(cells["one"])
    found = read(
        [*defaults(cells["one"], **ONE), *defaults(cells["two"], **TWO), *tried, *chosen(cells["one"], tried, 80)]
    )
    whole = "".join(league_pieces(found, "table"))
    for width in range(20, 141, 4):
        text = "".join(league_pieces(found, "table", width=width))
        assert all(text.count(name) >= whole.count(name) for name in ("annealed", "capacity"))


def test_runs_that_cannot_be_read_are_told(league_command, tmp_path):
    with sqlite3.connect(tmp_path / "runs.sqlite") as store:
        (damaged,) = store.execute("select run_id from runs where seed = 1 limit 1").fetchone()
        store.execute("update runs set outcome = 'gone' where run_id = ?", (damaged,))
    for format_ in ("table", "csv"):
        answer = league_command("--format", format_, "--resamples", 50)
        assert answer.code == 0
        assert answer.err.startswith(f"1 run cannot be read: {damaged}")


def test_the_commands_of_a_suite_are_words_of_a_shell():
    query = SuiteQuery("my league.toml", "small", ("a b",))
    words = ["my league.toml", "--scale", "small", "--variant", "a b"]
    assert shlex.split(query.command) == ["collapsebench", "suite", "run", *words]
    assert shlex.split(query.league_command) == ["collapsebench", "league", *words]
    assert shlex.split(query.board_command) == ["collapsebench", "leaderboard", "--suite", *words]


def test_a_tuned_suite_is_shown_with_what_it_consists_of(command, suite_file):
    shown = command("suite", "show", suite_file).out
    run = f"collapsebench suite run {shlex.quote(suite_file)} --scale small"
    assert f"  one: {run} --cell one\n    linear-gaussian · quick · 2steps\n" in shown
    assert "    2 trials of each but for control; chosen by elbo; cured[nats=0.5]; iso-kl[nats=1.0]\n" in shown
    assert "    VAE (vae); no z (no-latent); skip; annealed (kl-annealing); " in shown
    assert "trials of each" not in command("suite", "show", suite_file, "--variant", "more").out


def test_the_commands_of_a_variant_run_the_variant(command):
    shown = command("suite", "show", "league/small", "--variant", "steps").out
    assert (
        "collapsebench suite run league/small --scale small --variant steps --cell digits\n    digits · quick" in shown
    )
    assert "trials of each" not in shown


@pytest.mark.parametrize("figure", ["league-profile", "league-fronts"])
def test_figures_of_a_division(league_command, suite_file, figure, tmp_path):
    plot = ("plot", figure, "--suite", suite_file)
    answer = league_command("--division", "default", "--output", tmp_path / "a.svg", group=plot)
    assert answer.code == 0
    assert "6 contenders" in answer.out
    assert (tmp_path / "a.svg").stat().st_size > 1000
    assert (
        "of the division cured has a result" in league_command("--cell", "two", "--division", "cured", group=plot).err
    )
    assert "does not go with a league" in league_command("--contender", "skip", group=plot).err
    assert "a league is a suite" in league_command("--dataset", "linear-gaussian", group=plot[:2]).err


def test_the_same_from_python(league_command, suite_file, tmp_path, monkeypatch):
    import collapsebench

    printed = league_command("--format", "csv", "--resamples", 50).out
    for suite in (suite_file, Path(suite_file)):
        found = collapsebench.league(suite, resamples=50, store=tmp_path / "runs.sqlite")
        assert found.render("csv") == printed
    for wrong, said in (
        ({"divisions": ["best"]}, "unknown division 'best'"),
        ({"unit": "tasks"}, "unknown unit 'tasks'"),
        ({"resamples": 0}, "resamples must be at least 1"),
        ({"resamples": "9"}, "resamples must be at least 1"),
        ({"bootstrap_seed": -1}, "needs a seed of 0 or more"),
        ({"bootstrap_seed": 1.5}, "bootstrap_seed cannot be 1.5"),
        ({"scale": 3}, "scale cannot be 3"),
        ({"divisions": [3]}, "unknown division '3'"),
    ):
        with pytest.raises(UsageError, match=said):
            collapsebench.league(suite_file, store=tmp_path / "runs.sqlite", **wrong)
