"""A suite as a league, for programs: CSV with the numbers of each run, JSON with these and all statistics."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from collapsebench.record import json_number
from collapsebench.reporting import escaping
from collapsebench.reporting.divisions import BOUND, INFORMATION, NLL, RATE, UNITS, USE
from collapsebench.reporting.leaderboard.exports import aggregate

if TYPE_CHECKING:
    from collapsebench.reporting.divisions import Entry
    from collapsebench.reporting.league import Agreement, Effect, Front, Interaction, Interval, League
    from collapsebench.reporting.leagues import FoundLeague, Ranking

MEASURED = (NLL, INFORMATION, BOUND, RATE, UNITS, USE)
"""What is written of each run."""
HEAD = ("division", "task", "contender", "setting", "ranked", "seed", *MEASURED)


def league_csv(found: FoundLeague) -> Iterator[str]:
    """Write one line for each division, task, contender and seed. A run that is missing has no numbers."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(HEAD)
    for ranking in found.rankings:
        for task, entry, is_ranked, seeds in _entries(ranking):
            columns = [entry.scores(column) for column in MEASURED]
            place = map(escaping.csv, (ranking.division, task, entry.model, entry.setting))
            head = [*place, int(is_ranked)]
            for seed in seeds:
                writer.writerow([*head, seed, *(_text(column.get(seed)) for column in columns)])
    yield out.getvalue()


def _entries(ranking: Ranking) -> Iterator[tuple[str, Entry, bool, tuple[int, ...]]]:
    """Yield each model in each task, whether it is ranked, and the seeds that it should have."""
    seeds = {task.task: task.seeds for task in ranking.league.losses.tasks}
    for task in ranking.tasks:
        for model, entry in task.entries.items():
            yield task.name, entry, model in ranking.models, seeds[task.name]


def _text(score: float | None) -> str:
    return "" if score is None else repr(score)


def league_json(found: FoundLeague) -> Iterator[str]:
    """Write one object. Numbers that are not finite are the texts `nan`, `+inf` and `-inf`; what is missing is null."""
    content = {
        "suite": found.suite.name,
        "scale": found.query.scale,
        "variants": list(found.query.variants),
        "cells": list(found.query.cells),
        "seeds": found.seeds,
        "divisions": {ranking.division: _ranking(ranking) for ranking in found.rankings},
        "without_results": list(found.empty),
        "agreement": [
            {"orders": each.title, "found": {name: _agreement(own) for name, own in each.found.items()}}
            for each in found.comparisons
        ],
    }
    yield f"{escaping.to_json(content)}\n"


def _ranking(ranking: Ranking) -> dict[str, Any]:
    return {
        "runs": [_entry(task, entry, is_ranked) for task, entry, is_ranked, _ in _entries(ranking)],
        "without_results": list(ranking.without),
        "outside": [
            {"task": each.task, "contender": each.entry.model, "reason": each.reason} for each in ranking.outsiders
        ],
        "statistics": _statistics(ranking.league),
        "interactions": list(map(_interaction, ranking.interactions)),
    }


def _entry(task: str, entry: Entry, is_ranked: bool) -> dict[str, Any]:
    return {
        "task": task,
        "contender": entry.model,
        "setting": entry.setting,
        "ranked": is_ranked,
        "run_ids": {} if entry.row is None else {str(seed): run for seed, run in entry.row.runs.items()},
        **{column: _seeds(entry.scores(column)) for column in MEASURED},
        "findings": [] if entry.row is None else [finding._asdict() for finding in entry.row.findings],
        "choice": _choice(entry),
    }


def _seeds(scores: Mapping[int, float | None]) -> dict[str, Any]:
    return {str(seed): json_number(score) for seed, score in scores.items()}


def _choice(entry: Entry) -> dict[str, Any] | None:
    choice = entry.choice
    if choice is None:
        return None
    counts = {"with_result": choice.trials, "drawn": choice.drawn, "flops": json_number(choice.flops)}
    return {"rule": str(choice.rule), "chosen": entry.chosen, "borders": list(choice.borders), "trials": counts}


def _statistics(league: League) -> dict[str, Any]:
    own, ranks = league.losses, league.ranks
    return {
        "baseline": league.baseline,
        "reference": league.reference,
        "bootstrap": {
            "resamples": league.bootstrap.resamples,
            "seed": league.bootstrap.seed,
            "unit": league.bootstrap.unit.value,
        },
        "contenders": {name: _contender(league, name) for name in ranks.means},
        "tasks": {front.task: _task(league, front) for front in league.fronts},
        "friedman": None if ranks.friedman is None else _numbers(ranks.friedman._asdict()),
        "critical_difference": json_number(ranks.critical_difference),
        "groups": list(map(list, ranks.groups)),
        "thresholds": [] if league.profile is None else list(league.profile.thresholds),
        "lacking": {
            name: {task: lost._asdict() for task, lost in tasks.items()} for name, tasks in own.shortfalls.items()
        },
    }


def _contender(league: League, name: str) -> dict[str, Any]:
    better, profile = league.improvements.get(name), league.profile
    return {
        "mean_rank": json_number(league.ranks.means[name]),
        "mean_rank_interval": _interval(league.ranks.intervals[name]),
        "better": None
        if better is None
        else {
            "probability": json_number(better.probability),
            "interval": _interval(better.interval),
            "tasks": _numbers(better.by_task),
            "differences": {task: _effect(effects[name]) for task, effects in league.effects.items()},
        },
        "share_of_area": json_number(league.share_of_area(name)),
        "regret": None
        if profile is None
        else {
            "shares": list(map(json_number, profile.shares[name])),
            "intervals": list(map(_interval, profile.intervals[name])),
        },
    }


def _task(league: League, front: Front) -> dict[str, Any]:
    task = next(task for task in league.losses.tasks if task.task == front.task)
    return {
        "seeds": list(task.seeds),
        "means": _numbers(task.means),
        "ranks": _numbers(league.ranks.by_task[front.task]),
        "best": json_number(task.best),
        "unit": json_number(league.regrets.units.get(front.task)),
        "reference": _numbers(front.reference._asdict()),
        "points": {name: _numbers(point._asdict()) for name, point in front.points.items()},
        "front": list(front.members),
        "area": json_number(front.area),
        "shares": _numbers(front.shares),
        "exclusive": _numbers(front.exclusive),
    }


def _interaction(found: Interaction) -> dict[str, Any]:
    effects = {
        "first": found.first,
        "second": found.second,
        "first_beside_second": found.first_beside_second,
        "interaction": found.interaction,
    }
    return {"task": found.task, "composition": found.factorial._asdict()} | {
        name: _effect(effect) for name, effect in effects.items()
    }


def _effect(effect: Effect) -> dict[str, Any]:
    lacking = {name: lost._asdict() for name, lost in effect.lacking.items()}
    seeds = {} if effect.difference is None else _seeds(effect.difference.seeds)
    told = {"told": effect.told, "seeds_to_tell": effect.pairs}
    return {"aggregate": aggregate(effect.difference), "seeds": seeds, **told, "lacking": lacking}


def _agreement(found: Agreement) -> dict[str, Any]:
    return {
        "contenders": list(found.contenders),
        "taus": _numbers(found.taus),
        "mean": json_number(found.mean),
        "interval": _interval(found.interval),
        "shared_first": {task: list(models) for task, models in found.shared_first.items()},
    }


def _numbers(values: Mapping[str, float | None]) -> dict[str, Any]:
    return {name: json_number(value) for name, value in values.items()}


def _interval(interval: Interval | None) -> list[Any] | None:
    return None if interval is None else list(map(json_number, interval))
