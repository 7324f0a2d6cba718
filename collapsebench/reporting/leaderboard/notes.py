"""The notes below the tables of a board: what it decides, what its marks mean, and what is to be known of its runs."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from collapsebench.estimates import SATURATION, Direction
from collapsebench.metrics.dialects import Dialect
from collapsebench.observation import unreadable_line
from collapsebench.record import Outcome
from collapsebench.reporting.leaderboard import reference
from collapsebench.reporting.leaderboard.decisions import MOST_PAIRS, Verdict, deciding, differs, verdicts
from collapsebench.reporting.leaderboard.numbers import BLANK, leaves, possible, with_interval
from collapsebench.reporting.leaderboard.pages import DECLINED, DIFFERS, FINDING, IMPOSSIBLE, SATURATED
from collapsebench.reporting.leaderboard.scoring import Board, BoardColumn, Problem, Row, RowReason
from collapsebench.spec import Unit

BETTER = {Direction.LOWER: ", lower is better", Direction.HIGHER: ", higher is better", Direction.NONE: ""}
INTERVALS = "± half of the 95 % interval over seeds (Student's t)."
TOLD = "cannot be told from the best: the paired difference to it has zero in its interval."
LEGEND = f"{INTERVALS} Bold (in plain text: *) {TOLD}"
MOST_NAMED = 6
"""So many contenders are named in a line of what is decided."""
NEARLY = 1.05
"""FLOPs that differ by no more than this factor are taken for equal."""


def notes(board: Board, metrics: Sequence[BoardColumn]) -> Iterator[str]:
    """Yield all notes of a board."""
    yield from decisions(board, metrics)
    yield LEGEND
    yield from _of_marks(board, metrics)
    yield from _of_view(board)
    descriptions = [
        f"{column.title} = {column.key} ({column.unit or 'no unit'}{BETTER[column.direction]})" for column in metrics
    ]
    if descriptions:
        yield f"Columns: {'; '.join(descriptions)}."
    if any(column.key in board.reference for column in metrics):
        yield (
            f"The {reference.LABEL} is what the best model of this setting scores on the test examples, known because "
            "they were generated; ± there is the Monte Carlo error of I(x; z). The regret is at least 0 in expectation "
            "over examples; the share can pass 100 %, as z may hold more of x than made it."
        )
    yield from run_notes(board, metrics)
    yield f"Runs: {_outcomes(board.outcomes)}."
    yield from _unreadable(board)
    total = sum(board.outcomes.values())
    yield from (f"Machine ({count} of {total}): {_machine(environment)}." for environment, count in board.environments)
    if len(board.environments) > 1:
        yield "Seconds of runs on different machines, or with different versions, do not compare."


def usual_notes(board: Board, shown: Sequence[BoardColumn]) -> Iterator[str]:
    """Yield the notes of the usual view, which leaves out machines and what columns mean."""
    yield from decisions(board, shown)
    yield from _of_costs(board)
    yield LEGEND
    yield from _of_marks(board, shown)
    yield from _of_view(board)
    yield _units(board, shown)
    if any(column.key in board.reference for column in shown):
        yield f"The {reference.LABEL}: what the best model scores on the test examples, which were generated."
    yield from run_notes(board, shown)
    yield from _unreadable(board)
    hidden = [column.title for column in board.columns if column.metric and column not in shown]
    yield f"--columns all shows {''.join(f'{title}, ' for title in hidden)}the costs and the machines, too."


def footnotes(board: Board, shown: Sequence[BoardColumn]) -> Iterator[str]:
    """Yield the notes that a table needs in a paper: what its numbers and marks mean."""
    yield f"{INTERVALS} Bold {TOLD}"
    yield from _of_marks(board, shown)
    yield from _of_view(board)
    yield _units(board, shown, keys=False)
    if {"mi_lower", "mi_upper"} <= {column.key for column in shown}:
        yield "MI: its lower bound to its upper bound."
    yield from run_notes(board, shown)


def decisions(board: Board, columns: Sequence[BoardColumn]) -> Iterator[str]:
    """Yield what a board decides by the column that decides, and what it cannot."""
    column = deciding(columns)
    if column is None or board.compared is None or len(board.rows) == 1:
        return
    found = verdicts(board, column)
    sure, open_ = [each for each in found if each.told], [each for each in found if each.told is False]
    for text, chosen in (
        ("Better", [each for each in sure if each.better]),
        ("Worse", [each for each in reversed(sure) if not each.better]),
    ):
        if chosen:
            yield f"{text} than {board.against} by {column.title}: {_listed(map(_difference, chosen))}."
    if open_:
        open_.sort(key=lambda each: math.inf if each.pairs is None else each.pairs)
        yield f"Undecided, with the seeds that would decide: {_listed(map(_would_tell, open_))}."
    if found and not sure and not open_:
        yield "Nothing is decided: one seed cannot tell a contender from another. Run more, as with --seeds 3."


def _listed(texts: Iterable[str]) -> str:
    found = list(texts)
    more = [] if len(found) <= MOST_NAMED else [f"and {len(found) - MOST_NAMED} more"]
    return ", ".join([*found[:MOST_NAMED], *more])


def _difference(verdict: Verdict) -> str:
    return f"{_name(verdict)} {with_interval(verdict.difference, signed=True)}"


def _name(verdict: Verdict) -> str:
    """Return the contender with its mark: what is decided by numbers that a guard doubts is to be read with it."""
    return f"{verdict.label} {FINDING}" if verdict.marked else verdict.label


def _would_tell(verdict: Verdict) -> str:
    if not any(verdict.difference.seeds.values()):
        return f"{_name(verdict)} equal"
    return f"{_name(verdict)} {f'more than {MOST_PAIRS}' if verdict.pairs is None else f'about {verdict.pairs}'}"


def _of_costs(board: Board) -> Iterator[str]:
    """Yield the FLOPs of contenders that have spent more or less of them than the compared one."""
    if board.compared is None or board.protocol.budget.unit is Unit.FLOPS:
        return
    own = board.compared.sample("flops")
    if own is None or not own.mean:
        return
    means = ((row.label, sample.mean) for row in board.rows if (sample := row.sample("flops")) is not None)
    ratios = [(label, mean / own.mean) for label, mean in means if mean > 0]
    unequal = [(label, ratio) for label, ratio in ratios if not 1 / NEARLY <= ratio <= NEARLY]
    if unequal:
        unequal.sort(key=lambda each: -abs(math.log(each[1])))
        listed = _listed(f"{label} {ratio:.3g}" for label, ratio in unequal)
        yield f"FLOPs in multiples of those of {board.against}: {listed}."


def _of_marks(board: Board, columns: Sequence[BoardColumn]) -> Iterator[str]:
    if any(differs(board, row, column) for row in board.rows for column in columns):
        yield f"{DIFFERS} differs from {board.against}: the paired difference has no zero in its interval."
    directed = [column for column in columns if column.direction is not Direction.NONE]
    if directed and all(len(row.seeds) < 2 for row in board.rows):
        yield "There is one seed: nothing can be told from the best, and nothing is bold."
    cut = [column for column in columns if any(_leaves(board, row, column) for row in board.rows)]
    if cut:
        limits: dict[str, list[str]] = {}
        for column in cut:
            limits.setdefault(_limits(board, column), []).append(column.title)
        texts = (f"{', '.join(titles)} {limit}" for limit, titles in limits.items())
        yield f"Intervals are cut to what is possible: {'; '.join(texts)}."


def _leaves(board: Board, row: Row, column: BoardColumn) -> bool:
    sample = row.sample(column.key)
    return sample is not None and not row.impossible(column) and leaves(sample, possible(board, column))


def _limits(board: Board, column: BoardColumn) -> str:
    least, most = possible(board, column)
    return f"at least {least:g}" if most == math.inf else f"from {least:g} to {most:g}"


def _of_view(board: Board) -> Iterator[str]:
    if board.at:
        yield (
            f"Numbers of the validation split where {board.at}, interpolated linearly between the evaluations around "
            "it; blank for runs that did not get there."
        )
    if board.dialect:
        yield f"Dialect {board.dialect.name}, {board.dialect.source}. {_estimators(board.dialect)}."


def _units(board: Board, columns: Sequence[BoardColumn], *, keys: bool = True) -> str:
    """Say the unit of each column once, with the names that options take."""
    by_unit: dict[str, list[str]] = {}
    for column in columns:
        by_unit.setdefault(column.unit, []).append(f"{column.title} ({column.key})" if keys else column.title)
    size = f"units, of {board.protocol.setting.latent_dim}"
    names = {"nats": "nats per example", "units": size, "": "no unit"}
    texts = (f"{', '.join(titles)}: {names.get(unit, unit)}" for unit, titles in by_unit.items())
    directed = any(column.direction is not Direction.NONE for column in columns)
    return f"{'; '.join(texts)}.{' ↓ lower is better, ↑ higher.' if directed else ''}"


def run_notes(board: Board, metrics: Sequence[BoardColumn]) -> Iterator[str]:
    """Yield the reasons of blanks and marks, run by run."""
    problems = [(row, problem) for row in board.rows for problem in row.problems]
    if problems:
        yield f"{BLANK} where a run is missing or did not finish; these {len(problems)}:"
        yield from (f"{row.label}, seed {problem.seed}: {_problem(problem)}" for row, problem in problems)
    yield from _declined_notes(board.rows, metrics)
    if any(row.saturates(column) for row in board.rows for column in metrics):
        yield (
            f"{SATURATED} marks lower bounds on the mutual information within {SATURATION} nats of log N, N the "
            "test examples: the estimator gets no higher, and the truth may be anything above."
        )
    impossible = [
        (row, seed, found) for row in board.rows for seed, several in row.violations.items() for found in several
    ]
    if impossible:
        number = len(impossible)
        yield f"{IMPOSSIBLE} marks numbers that cannot be, whatever the model, and are never the best; these {number}:"
        yield from (f"{row.label}, seed {seed}, run {row.runs[seed]}: {found.text}" for row, seed, found in impossible)
    yield from finding_notes(board.rows)


def _unreadable(board: Board) -> Iterator[str]:
    if board.left_out:
        yield f"{unreadable_line(board.left_out)}."


def _declined_notes(rows: Iterable[Row], columns: Sequence[BoardColumn]) -> Iterator[str]:
    found = [note for row in rows for note in _declined(row, columns)]
    if found:
        yield f"{DECLINED} marks cells whose metric has no number for the contender, and says why; these {len(found)}:"
    yield from found


def _declined(row: Row, columns: Iterable[BoardColumn]) -> Iterator[str]:
    """Yield a note for each reason, with the columns that it is for, and with the seeds if the others have numbers."""
    titles: dict[RowReason, list[str]] = {}
    for column in columns:
        for reason in row.declined.get(column.key, ()):
            titles.setdefault(reason, []).append(column.title)
    finished = len(row.seeds) - len(row.problems)
    for reason, own in titles.items():
        seeds = f", {_seeds(reason.seeds)}" if len(reason.seeds) < finished else ""
        yield f"{row.label}{seeds}, {', '.join(own)}: {reason.text}"


def finding_notes(rows: Iterable[Row]) -> Iterator[str]:
    """Yield a note for each distinct finding about the runs of a row."""
    found = [(row, finding) for row in rows for finding in row.findings]
    if found:
        yield f"{FINDING} marks contenders about whose runs there is something to know; these {len(found)}:"
    for row, finding in found:
        yield f"{row.label}, {_seeds(finding.seeds)}: {finding.text} ({finding.guard})"


def _seeds(seeds: Sequence[int]) -> str:
    return f"seed{'s' if len(seeds) > 1 else ''} {', '.join(map(str, seeds))}"


def _estimators(dialect: Dialect) -> str:
    texts = dialect.estimators.values()
    return "; ".join(f"{column.title}: {text}" for column, text in zip(dialect.columns, texts, strict=True))


def _problem(problem: Problem) -> str:
    run = f", run {problem.run_id}" if problem.run_id else ""
    message = f": {' '.join(problem.message.split())}" if problem.message else ""
    return f"{problem.outcome}{run}{message}"


def _outcomes(outcomes: Mapping[Outcome, int]) -> str:
    total = sum(outcomes.values())
    return f"{total} ({', '.join(f'{outcomes[o]} {o.value}' for o in Outcome if outcomes.get(o))})"


def _machine(environment: Mapping[str, Any]) -> str:
    return ", ".join(f"{key} {value}" for key, value in environment.items() if value is not None)
