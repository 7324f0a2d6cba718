"""A suite as a league, for people: a page for each division, and one of how much their orders agree."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING

from collapsebench.reporting.divisions import INFORMATION, NLL, RATE, Division
from collapsebench.reporting.leaderboard import EXPORTS, page_pieces
from collapsebench.reporting.leaderboard.decisions import MOST_PAIRS
from collapsebench.reporting.leaderboard.layout import title
from collapsebench.reporting.leaderboard.numbers import BLANK, with_interval
from collapsebench.reporting.leaderboard.pages import FINDING, Page, Part, TableCell, TextTable
from collapsebench.reporting.leaderboard.scoring import SeedSample
from collapsebench.reporting.league import FIRST, Known, league_page, listed
from collapsebench.reporting.league_exports import league_csv, league_json

if TYPE_CHECKING:
    from collapsebench.reporting.divisions import Entry, Task
    from collapsebench.reporting.league import Agreement, Effect, Interaction, League
    from collapsebench.reporting.leagues import Comparison, FoundLeague, Outsider, Ranking
    from collapsebench.reporting.tuning import Selected

CHOICES = {
    Division.DEFAULT: "Each model has the setting of its card.",
    Division.TUNED: "Each model has the trial of the lowest validation −ELBO.",
    Division.CURED: "Each model has the trial of the lowest validation −ELBO of those with so much MI.",
    Division.ISO_KL: "Each model has the trial whose validation KL is nearest to a given one.",
}
"""What a division is."""
SHOWN = {NLL: "IW-NLL", RATE: "KL", INFORMATION: "MI ≥"}
"""The numbers of the test split that a page shows."""


def league_pieces(found: FoundLeague, format_: str, *, width: int | None = None) -> Iterator[str]:
    """Yield a league in one of the formats of boards, in pieces.

    CSV has a line for each division, task, model and seed; JSON has all numbers. If `width` is that of a terminal,
    tables are made to fit it.
    """
    if format_ in EXPORTS:
        return {"csv": league_csv, "json": league_json}[format_](found)
    return page_pieces(league_pages(found), format_, width=width)


def league_pages(found: FoundLeague) -> Iterator[Page]:
    """Lay a league out: the divisions, and then how much orders agree."""
    heading = " · ".join([found.suite.name, found.query.scale, *found.query.variants])
    for number, ranking in enumerate(found.rankings):
        yield _division(found, ranking, heading, explained=number > 0)
    if found.comparisons:
        tables = tuple(map(_comparison, found.comparisons))
        yield Page(f"{heading} · agreement of orders", tables, tuple(_of_agreement(found)), _command(found))


def _command(found: FoundLeague) -> str:
    """Return the command that runs the suite with as many seeds."""
    seeds = (seed for each in found.rankings for task in each.league.losses.tasks for seed in task.seeds)
    return f"{found.query.command} --seeds {max(seeds)}"


def _division(found: FoundLeague, ranking: Ranking, heading: str, *, explained: bool) -> Page:
    known = Known(
        explained=explained,
        about=(_of_choice(ranking),),
        marked={entry.model for _, entry in _entries(ranking) if entry.row is not None and entry.row.findings},
        unchosen={task.name: [entry.model for entry in _unchosen(task, ranking)] for task in ranking.tasks},
        tables=tuple(_tables(ranking)),
        notes=tuple(_notes(found, ranking, explained=explained)),
    )
    return league_page(ranking.league, f"{heading} · {ranking.division}", _command(found), known)


def _tables(ranking: Ranking) -> Iterator[TextTable]:
    """Yield the tables below those of the statistics."""
    yield from _numbers(ranking)
    yield _differences(ranking.league)
    yield from _settings(ranking)
    yield from _outsiders(ranking)
    yield from _interactions(ranking)


def _entries(ranking: Ranking) -> Iterator[tuple[Task, Entry]]:
    """Yield the ranked models in each task."""
    yield from ((task, entry) for task in ranking.tasks for entry in _ranked(task, ranking))


def _ranked(task: Task, ranking: Ranking) -> list[Entry]:
    return [task.entries[model] for model in ranking.models]


def _unchosen(task: Task, ranking: Ranking) -> list[Entry]:
    return [entry for entry in _ranked(task, ranking) if not entry.chosen]


def _numbers(ranking: Ranking) -> Iterator[TextTable]:
    """Yield a table of each number of the test split, task beside task, in the order of the standings."""
    for key, caption in SHOWN.items():
        rows = (
            (model, *(_number(task.entries[model], key, task.seeds(ranking.facts)) for task in ranking.tasks))
            for model in ranking.league.ranks.means
        )
        cells = tuple(tuple(map(TableCell, row)) for row in rows)
        yield TextTable(f"{caption} by task", ("contender", *(task.name for task in ranking.tasks)), cells)


def _differences(own: League) -> TextTable:
    """Return what each model changes of the baseline, task beside task, in the order of the standings."""
    rows = (
        (name, *(_effect(effects[name]) for effects in own.effects.values()))
        for name in own.ranks.means
        if name != own.baseline
    )
    cells = tuple(tuple(map(TableCell, row)) for row in rows)
    caption = f"{SHOWN[NLL]} minus that of {own.baseline}, by task"
    return TextTable(caption, ("contender", *own.effects), cells, Part.DIFFERENCES)


def _settings(ranking: Ranking) -> Iterator[TextTable]:
    """Yield what was chosen in each task, with its trials; nothing for defaults."""
    headers = ("contender", "setting", "at the border", "trials", "FLOPs")
    for task in ranking.tasks:
        entries = [task.entries[model] for model in ranking.models]
        rows = tuple(_setting(entry, entry.choice) for entry in entries if entry.choice is not None)
        if rows:
            yield TextTable(f"Settings of {task.name}, chosen on the validation split", headers, rows, Part.TUNING)


def _setting(entry: Entry, choice: Selected) -> tuple[TableCell, ...]:
    ends, counted = ", ".join(choice.borders), f"{choice.trials}/{choice.drawn}"
    return tuple(map(TableCell, (entry.model, entry.setting or "no trial fits", ends, counted, f"{choice.flops:.3g}")))


def _outsiders(ranking: Ranking) -> Iterator[TextTable]:
    if ranking.outsiders:
        seeds = {task.name: task.seeds(ranking.facts) for task in ranking.tasks}
        rows = tuple(tuple(map(TableCell, _outsider(each, seeds[each.task]))) for each in ranking.outsiders)
        headers = ("contender", "task", "IW-NLL", "MI ≥", "no result", "why")
        yield TextTable("Outside of the ranking", headers, rows)


def _outsider(outsider: Outsider, seeds: Collection[int]) -> Iterator[str]:
    entry = outsider.entry
    yield _marked(entry)
    yield outsider.task
    yield from (_number(entry, key, seeds) for key in (NLL, INFORMATION))
    yield str(len(seeds) - len(_known(entry, NLL, seeds)) or "")
    yield outsider.reason if entry.chosen else f"{outsider.reason}; no trial fits"


def _marked(entry: Entry) -> str:
    return f"{entry.model} {FINDING}" if entry.row is not None and entry.row.findings else entry.model


def _number(entry: Entry, key: str, seeds: Collection[int]) -> str:
    """Write a mean over the seeds that count; a dash if a run of one of them has no number."""
    known = _known(entry, key, seeds)
    return with_interval(SeedSample(known, {})) if known and len(known) == len(seeds) else BLANK


def _known(entry: Entry, key: str, seeds: Collection[int]) -> dict[int, float]:
    scores = entry.scores(key).items()
    return {seed: score for seed, score in scores if seed in seeds and score is not None and math.isfinite(score)}


def _interactions(ranking: Ranking) -> Iterator[TextTable]:
    """Yield a table of compositions for each task."""
    for task in ranking.tasks:
        own = [each for each in ranking.interactions if each.task == task.name]
        if own:
            headers = ("A with B", "A", "B", "A beside B", "interaction")
            rows = tuple(tuple(map(TableCell, _interaction(each))) for each in own)
            yield TextTable(f"Compositions on {task.name}: differences of IW-NLL", headers, rows, Part.DIFFERENCES)


def _interaction(found: Interaction) -> tuple[str, ...]:
    name = f"{found.factorial.first} with {found.factorial.second}"
    effects = (found.first, found.second, found.first_beside_second, found.interaction)
    return (name, *map(_effect, effects))


def _effect(effect: Effect) -> str:
    if effect.difference is None:
        return BLANK
    would = "" if effect.told is not False else f" ({effect.pairs or f'> {MOST_PAIRS}'})"
    return f"{with_interval(effect.difference, signed=True)}{would}"


def _notes(found: FoundLeague, ranking: Ranking, *, explained: bool) -> Iterator[str]:
    yield from _of_part(found)
    for task in ranking.tasks:
        names = [entry.model for entry in _unchosen(task, ranking)]
        if names:
            yield f"{task.name}, not chosen, as no trial has the result that its rule asks for: {listed(names)}"
    if ranking.division.criterion is not None:
        yield "At the border: no other trial of the model has a larger value (high), or a smaller one (low)."
    if ranking.division is Division.CURED:
        yield (
            f"{found.facts.reference} has no MI, and is no cure: it stands here with the trial of its lowest −ELBO, as "
            "others are measured by it."
        )
    if not explained:
        yield from _of_tasks(ranking)
    yield from _of_what_is_left_out(found, ranking)
    if found.empty:
        yield f"Divisions without a result, left out: {', '.join(found.empty)}."
    if not explained:
        yield from _of_differences(ranking)
    yield from _of_findings(ranking)


def _of_tasks(ranking: Ranking) -> Iterator[str]:
    """Say what each task is: its data, setting and budget, which all of its runs share."""
    yield "Tasks: " + "; ".join(f"{task.name} is {title(task.board)}" for task in ranking.tasks) + "."


def _of_what_is_left_out(found: FoundLeague, ranking: Ranking) -> Iterator[str]:
    either = f"{found.facts.baseline} or {found.facts.reference}"
    for task in ranking.tasks:
        further = [f"{model} {', '.join(map(str, seeds))}" for model, seeds in task.further(found.facts).items()]
        if further:
            yield f"{task.name}, seeds that count for nobody, as {either} has no result: {listed(further)}"
    if ranking.without:
        yield (
            f"Left out, as no seed has a result of both {found.facts.baseline} and {found.facts.reference} in this "
            f"division: {listed(ranking.without)}."
        )


def _of_part(found: FoundLeague) -> Iterator[str]:
    """Say what the league is a part of."""
    if found.query.cells:
        yield f"A part of the league, and ranked are the models that this part has: {listed(found.query.cells)}."
    if found.seeds is not None:
        yield f"Of all runs only those of seeds 1 to {found.seeds} count."


def _of_choice(ranking: Ranking) -> str:
    wanted = ranking.division.criterion
    rules = {task.name: str(rule) for task in ranking.tasks for rule in task.cell.rules if rule.name is wanted}
    alike = set(rules.values())
    text = next(iter(alike)) if len(alike) == 1 else listed(f"{name}: {rule}" for name, rule in rules.items())
    return f"Division {ranking.division}. {CHOICES[ranking.division]}{f' The rule: {text}.' if text else ''}"


def _of_differences(ranking: Ranking) -> Iterator[str]:
    yield (
        "Differences are paired by seed, ± half of the 95 % interval (Student's t); negative is better. In brackets "
        "stands about how many seeds would tell one from zero, where it is not told. Nothing is corrected for the "
        "number of comparisons."
    )
    if ranking.interactions:
        yield (
            f"Compositions: A and B each minus {ranking.facts.baseline}, A with B minus B, and what this differs from "
            "A alone."
        )


def _of_findings(ranking: Ranking) -> Iterator[str]:
    """Yield what each guard found in the runs of a model in a task: one text stands for those of all seeds."""
    for task in ranking.tasks:
        for model, entry in task.entries.items():
            found = () if entry.row is None else entry.row.findings
            for guard in dict.fromkeys(each.guard for each in found):
                own = [each for each in found if each.guard == guard]
                seeds = sorted({seed for each in own for seed in each.seeds})
                head = (
                    f"{FINDING} {task.name}, {model}, seed{'s' if len(seeds) > 1 else ''} {', '.join(map(str, seeds))}"
                )
                yield f"{head}: {'as ' if len(own) > 1 else ''}{own[0].text} ({guard})"


def _comparison(comparison: Comparison) -> TextTable:
    tasks = dict.fromkeys(task for each in comparison.found.values() for task in each.taus)
    rows = [(task, *(_tau(each, task) for each in comparison.found.values())) for task in tasks]
    rows.append(("mean", *map(_mean, comparison.found.values())))
    cells = tuple(tuple(map(TableCell, row)) for row in rows)
    return TextTable(f"Kendall's τ: {comparison.title}", ("task", *comparison.found), cells)


def _tau(found: Agreement, task: str) -> str:
    tau = found.taus.get(task)
    return BLANK if tau is None else f"{tau:.2f}".replace("-", "−")


def _mean(found: Agreement) -> str:
    if found.mean is None:
        return BLANK
    ends = "" if found.interval is None else f" [{found.interval.low:.2f}, {found.interval.high:.2f}]"
    return f"{found.mean:.2f}{ends}".replace("-", "−")


def _of_agreement(found: FoundLeague) -> Iterator[str]:
    yield (
        "τ is 1 for equal orders, 0 on average for orders that know nothing of each other, and −1 for reversed ones. "
        "Seeds take from it: below 1 does not say that orders differ. In brackets: 95 % bootstrap over seeds."
    )
    for comparison in found.comparisons:
        if comparison.alone is not None:
            yield _of_first(comparison.title, comparison.alone)


def _of_first(title: str, found: Agreement) -> str:
    """Say which models are among the first ones in both orders."""
    first = ", ".join(f"{task} ({listed(models) or 'none'})" for task, models in found.shared_first.items())
    return f"Among the first {FIRST} of both orders, {title}: {first}."
