"""results/league: what its page and its JSON say is in the committed records, and is what the rules choose of them."""

from __future__ import annotations

import gzip
import json
import math
import re
import statistics
from collections import defaultdict
from functools import cache
from pathlib import Path

import pytest
from cogapp import Cog

from collapsebench.reporting.league_exports import MEASURED

ROOT = Path(__file__).parents[1]
LEAGUE = ROOT / "results" / "league"
CONTENT = json.loads((LEAGUE / "small.json").read_text(encoding="utf-8"))
DIVISIONS = CONTENT["divisions"]


@cache
def records():
    """The committed records by run id."""
    found = {}
    for path in sorted(LEAGUE.glob("*.jsonl.gz")):
        with gzip.open(path, "rt", encoding="utf-8") as lines:
            found |= {record["run_id"]: record for record in map(json.loads, lines)}
    return found


@cache
def trials():
    """The records of trials, which have no metrics, by task and what no trial changes of a contender."""
    found = defaultdict(list)
    for record in records().values():
        if not record["values"]:
            found[task(record), fixed(record["contender"])].append(record)
    return dict(found)


def task(record):
    """What the runs and the trials of a task share: all of their protocol but what is measured."""
    protocol = record["spec"]["protocol"]
    networks = {name: value for name, value in protocol["setting"].items() if name != "evaluation"}
    return json.dumps([protocol["dataset"], protocol["budget"], networks], sort_keys=True)


def fixed(contender):
    """The names of the methods of a contender and its parameters that are words: numbers are drawn."""
    return re.sub(r"\w+=[-+\d.e]+,?|@.*|[][]", "", contender).rstrip(",")


def lowest(record):
    """The lowest validation -ELBO of a run."""
    values = (point["values"]["neg_elbo"] for point in record["points"])
    return min(value["value"] for value in values if value["kind"] == "finite")


@pytest.mark.parametrize("page", ["README.md", "details.md"])
def test_the_pages_are_what_the_league_says(page):
    folders = [option for folder in ("docs/_ext", "tests") for option in ("-I", str(ROOT / folder))]
    assert Cog().main(["cog", "--check", "--diff", *folders, str(LEAGUE / page)]) == 0


@pytest.mark.parametrize("division", DIVISIONS)
def test_every_number_of_a_division_is_that_of_a_record(division):
    for entry in DIVISIONS[division]["runs"]:
        for seed, run_id in entry["run_ids"].items():
            record = records()[run_id]
            assert (str(record["spec"]["seed"]), record["contender"]) == (seed, entry["setting"])
            known = {value["column"]: value["estimate"]["value"] for value in record["values"] if value["estimate"]}
            for column in MEASURED:
                assert entry[column].get(seed) == known.get(column), (entry["contender"], column)


def test_what_is_tuned_is_the_trial_of_the_lowest_bound():
    chosen = [entry for entry in DIVISIONS["tuned"]["runs"] if entry["run_ids"]]
    for entry in chosen:
        run = records()[next(iter(entry["run_ids"].values()))]
        tried = trials()[task(run), fixed(entry["setting"])]
        assert len(tried) == entry["choice"]["trials"]["drawn"]
        results = {record["contender"]: lowest(record) for record in tried if record["outcome"] == "finished"}
        assert len(results) == entry["choice"]["trials"]["with_result"]
        assert min(results, key=results.get) == entry["setting"]
    assert chosen


def test_ranks_are_those_of_the_means_of_the_records():
    for division in DIVISIONS.values():
        own = division["statistics"]
        for name, found in own["tasks"].items():
            ranked = [entry for entry in division["runs"] if entry["task"] == name and entry["ranked"]]
            means = {entry["contender"]: mean_of_records(entry, found["seeds"]) for entry in ranked}
            order = sorted(means, key=means.get)
            for place, model in enumerate(order, 1):
                if means[model] < math.inf:
                    assert found["ranks"][model] == place, model
                    assert found["means"][model] == pytest.approx(means[model], abs=1e-12)


def mean_of_records(entry, seeds):
    """The mean IW-NLL of a model over seeds; infinite if a seed has no result."""
    scores = [entry["iw_nll"].get(str(seed)) for seed in seeds]
    return statistics.fmean(scores) if all(isinstance(score, float) for score in scores) else math.inf
