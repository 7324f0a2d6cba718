"""The harness from Python: `run`, `board`, `league`, `runs` and `load_run` do what the commands do."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import StrEnum
from functools import partial
from numbers import Integral
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, TypeVar

from collapsebench.components.interfaces import Component, Dataset, Method
from collapsebench.errors import UsageError, unknown
from collapsebench.experiment.processors import MOST
from collapsebench.experiment.weights import ADVICE
from collapsebench.files import DEFAULT_STORE
from collapsebench.notebook import Boards, Run, Runs
from collapsebench.observation import unreadable_line
from collapsebench.record import Outcome
from collapsebench.reporting.queries import ProtocolQuery, SuiteQuery
from collapsebench.syntax import (
    LARGEST_SEED,
    MOST_RESAMPLES,
    MOST_SEEDS,
    ParameterValue,
    canonical,
    print_call,
    print_value,
    seconds,
)

if TYPE_CHECKING:
    from collapsebench.experiment.events import Event, Observer
    from collapsebench.experiment.executors import Executor
    from collapsebench.experiment.work import GridSetup
    from collapsebench.metrics.dialects import Dialect
    from collapsebench.record import RunRecord

T = TypeVar("T")
N = TypeVar("N", bound=StrEnum)

Contestant: TypeAlias = str | Method | Sequence[str | Method]
"""A contender as `run` takes it: `"skip+sa-vae[steps=10]"`, a method, or a sequence of these, which are composed.

>>> from collapsebench import Contestant, Method
>>> class Mine(Method):
...     name = "mine"
>>> composed: Contestant = ["skip", Mine()]
>>> len(composed)
2
"""


def run(  # noqa: PLR0913 - the options of `collapsebench run`
    methods: Iterable[Contestant] = (),
    *,
    dataset: str | Dataset,
    track: str = "quick",
    budget: str | None = None,
    seeds: int | Iterable[int] = 1,
    settings: Mapping[str, ParameterValue] | None = None,
    baseline: bool = True,
    components: Iterable[type[Component]] = (),
    plugins: Iterable[str | Path] = (),
    data_dir: str | Path | None = None,
    store: str | Path = DEFAULT_STORE,
    device: str = "cpu",
    workers: int = 1,
    per_device: int = 1,
    threads: int | None = None,
    executor: str | None = None,
    keep_checkpoints: bool = False,
    keep_codes: bool = False,
    weights: bool = True,
    work_dir: str | Path | None = None,
    timeout: float | str | None = None,
    resume_anywhere: bool = False,
    rerun: bool = False,
    fetch: bool = False,
    progress: bool | Callable[[Event], None] = True,
    log: Iterable[Callable[[Event], None]] = (),
) -> Runs:
    """Run the missing runs of a grid, store them, and return all runs of the grid.

    The arguments mean the same as the options of `collapsebench run`. `seeds` is a number N for seeds 1 to N, or the
    seeds themselves. `settings` overrides the track, as in `{"decoder.layers": 3}` and `{"decoder": "mlp[layers=3]"}`.
    `track` may be a file: `mine.toml`. `components` are further classes from a notebook or a script, such as a metric;
    the classes of `methods` and `dataset` need not be named. `progress` is True to show the runs, or a function that
    gets every event; its errors are warnings. `log` has further such functions, as `CsvLog("logs")`. `timeout` is a
    number of seconds, or a text such as `30m`. `executor` names what computes the runs, as `slurm[partition=gpu]`.
    `weights` keeps the trained parameters of every run. If a run fails, the others go on: look at `outcome`.

    Raises UsageError, DataError, PluginError or StoreError before anything runs.

    >>> import collapsebench
    >>> runs = collapsebench.run(
    ...     ["skip", "kl-annealing"],
    ...     dataset="linear-gaussian",
    ...     budget="2steps",
    ...     seeds=2,
    ...     store="runs.sqlite",
    ...     progress=False,
    ... )
    >>> [(run.contender, run.seed) for run in runs]
    [('vae', 1), ('skip', 1), ('kl-annealing', 1), ('vae', 2), ('skip', 2), ('kl-annealing', 2)]
    """
    from collapsebench.components.discovery import check_component
    from collapsebench.data.files import data_folder
    from collapsebench.experiment.engines import chosen
    from collapsebench.experiment.planning import Request
    from collapsebench.experiment.work import GridSetup
    from collapsebench.experiment.worker import check_importable

    _check_kinds(dataset=(dataset, str | Dataset), track=(track, str), store=(store, str | Path), device=(device, str))
    _check_kinds(settings=(settings or {}, Mapping), progress=(progress, bool | Callable))
    _counted("threads", 1 if threads is None else threads, MOST)
    contenders = [_composed(each) for each in _listed("methods", methods)]
    instances: list[Component] = [part for contender in contenders for part in contender if isinstance(part, Method)]
    instances += [dataset] if isinstance(dataset, Dataset) else []
    classes = (*_listed("components", components), *map(type, instances))
    for component in classes:
        check_component(component, "components")
    if _counted("workers", workers, MOST) > 1:
        check_importable(classes)
    overrides = _data_settings(dataset) | dict(settings or {})
    request = Request(
        methods=tuple("+".join(map(_call_text, contender)) for contender in contenders),
        dataset=dataset if isinstance(dataset, str) else dataset.name,
        track=track,
        budget=None if budget is None else str(budget),
        seeds=_seeds(seeds),
        settings=tuple(f"{key}={print_value(value)}" for key, value in overrides.items()),
        baseline=baseline,
    )
    setup = GridSetup(
        requests=(request,),
        plugins=tuple(map(Path, _listed("plugins", plugins))),
        data_folder=data_folder(None if data_dir is None else Path(data_dir)),
        store=str(store),
        device=device,
        keep_checkpoints=keep_checkpoints,
        keep_codes=keep_codes,
        weights=weights,
        work_folder=None if work_dir is None else Path(work_dir),
        timeout=None if timeout is None else seconds(str(timeout)),
        resume_anywhere=resume_anywhere,
        rerun=rerun,
        components=classes,
        per_device=_counted("per_device", per_device, MOST),
    )
    if fetch:
        from collapsebench.data.fetching import fetch_for_runs

        fetch_for_runs([request.dataset], setup.catalog, setup.data_folder)
    engine = chosen(executor, None if workers == 1 else workers, threads, setup)
    return _run(setup, engine, progress, _observers(log))


def _run(
    setup: GridSetup,
    executor: Executor,
    progress: bool | Callable[[Event], None],
    log: Sequence[Observer],
) -> Runs:
    from collapsebench.experiment.events import Shielded, ToAll
    from collapsebench.experiment.grids import prepare, run_grid
    from collapsebench.experiment.progress import run_on_screen
    from collapsebench.experiment.trained import Models
    from collapsebench.store import Store

    if isinstance(progress, bool):
        run_on_screen(setup, executor, quiet=not progress, logs=log)
    else:
        executor.check(setup)
        observers: list[Observer] = [*(Shielded(each, "a log") for each in log), progress]
        run_grid(prepare(setup), executor, ToAll(observers))
    with Store.reading(setup.store) as store:
        records = [store.get(spec.run_id) for spec in setup.plan.specs]
    models = Models(setup.sources, setup.store, setup.work_folder)
    return Runs(Run(record, models.of(record)) for record in records)


def _composed(contestant: Contestant) -> Sequence[str | Method]:
    """Give the parts of one contender. Raises UsageError for what is no method."""
    if isinstance(contestant, str | Method):
        return [contestant]
    parts = contestant if isinstance(contestant, Sequence) else [contestant]
    wrong = [part for part in parts if not isinstance(part, str | Method)]
    if wrong:
        raise UsageError(f"a contender is a text, a method or a list of these, got {wrong[0]!r:.80}")
    return contestant


def _seeds(seeds: int | Iterable[int]) -> tuple[int, ...]:
    """Give seeds 1 to N for a number N. Raises UsageError for what is no seed."""
    if isinstance(seeds, Integral):
        return tuple(range(1, _counted("seeds", int(seeds), MOST_SEEDS) + 1))
    if not isinstance(seeds, Iterable) or isinstance(seeds, str):
        raise UsageError(f"seeds must be a number of seeds, or a list of them, got {seeds!r}")
    listed = tuple(seeds)
    if not listed:
        raise UsageError("seeds must be at least one, got an empty list")
    wrong = [seed for seed in listed if not isinstance(seed, Integral) or not 0 <= seed <= LARGEST_SEED]
    if wrong:
        raise UsageError(f"a seed is a whole number from 0 to 2^63 - 1, got {wrong[0]!r}")
    return tuple(map(int, listed))


def _call_text(part: str | Method) -> str:
    """Return a method as the command line writes it."""
    return part if isinstance(part, str) else print_call(part.name, part.model_dump(mode="json", exclude_defaults=True))


def _data_settings(dataset: str | Dataset) -> dict[str, ParameterValue]:
    """Return the parameters of a `Dataset` value as overrides of the track; empty for a name."""
    if isinstance(dataset, str):
        return {}
    return {f"data.{name}": value for name, value in dataset.model_dump(mode="json", exclude_defaults=True).items()}


def board(  # noqa: PLR0913 - the options of `collapsebench leaderboard`
    *,
    dataset: str | None = None,
    track: str | None = None,
    protocol: str | None = None,
    suite: str | None = None,
    scale: str = "small",
    variants: Iterable[str] = (),
    against: str | None = None,
    sort: str | None = None,
    at: str | None = None,
    dialect: str | None = None,
    columns: Literal["all"] | Iterable[str] = (),
    contenders: Iterable[str] = (),
    labels: Mapping[str, str] | None = None,
    print_differences: bool = False,
    plugins: Iterable[str | Path] = (),
    store: str | Path = DEFAULT_STORE,
) -> Boards:
    """Return the leaderboards of stored runs, one for each protocol. With `suite`, they have the numbers of its paper.

    The arguments mean the same as the options of `collapsebench leaderboard`. `columns` are the keys of columns, or
    "all"; if empty, these are the usual five, and in csv and json all. `labels` says how contenders are called, as in
    `{"skip": "Skip-VAE"}`. Raises StoreError if no run is selected, and UsageError for a name that does not exist.

    >>> import collapsebench
    >>> runs = collapsebench.run(["skip"], dataset="linear-gaussian", budget="2steps", store="b.sqlite", progress=False)
    >>> board = collapsebench.board(dataset="linear-gaussian", columns=["kl"], store="b.sqlite")
    >>> print(board.render("markdown").splitlines()[0])
    ## linear-gaussian · quick · 2steps · protocol ...
    """
    from collapsebench.reporting.boards import BoardView, boards
    from collapsebench.reporting.leaderboard import DIALECTS, Cut, Shown, pieces
    from collapsebench.reporting.suite_boards import suite_boards, suite_pieces
    from collapsebench.store import Store

    files = tuple(map(Path, _listed("plugins", plugins)))
    wanted = Shown.EVERY if columns == "all" else _listed("columns", columns) or Shown.USUAL
    kept, called = _listed("contenders", contenders), dict(labels or {})
    if suite is not None:
        others = {"track": track, "protocol": protocol, "against": against, "sort": sort, "at": at, "dialect": dialect}
        _refuse_beside("suite", others | {"contenders": kept or None, "labels": called or None})
        query = SuiteQuery(suite, scale, _listed("variants", variants), files, dataset)
        with Store.reading(store) as opened:
            return Boards(partial(suite_pieces, suite_boards(opened, query, wanted)))
    if dialect is not None:
        _refuse_beside("dialect", {"at": at})
        if dialect not in DIALECTS:
            raise UsageError(unknown("dialect", dialect, DIALECTS))
    scored: Cut | Dialect | None = None if at is None else Cut.parse(at)
    scored = scored if dialect is None else DIALECTS[dialect]
    view = BoardView(scored, against, sort, wanted, kept, _canonical(called), print_differences)
    with Store.reading(store) as opened:
        found = tuple(boards(opened, ProtocolQuery(dataset, track, protocol), view, files))
    return Boards(partial(pieces, found))


def league(  # noqa: PLR0913 - the options of `collapsebench league`
    suite: str | Path,
    *,
    scale: str = "small",
    variants: Iterable[str] = (),
    cells: Iterable[str] = (),
    divisions: Iterable[str] = (),
    beside: str | None = None,
    seeds: int | None = None,
    against: str | None = None,
    resamples: int = 10_000,
    bootstrap_seed: int = 0,
    unit: Literal["seeds", "runs"] = "seeds",
    plugins: Iterable[str | Path] = (),
    store: str | Path = DEFAULT_STORE,
) -> Boards:
    """Return the cells of a suite as the tasks of a league, with one table for all of them.

    The arguments mean the same as the options of `collapsebench league`. `divisions` are of `default`, `tuned`, `cured`
    and `iso-kl`; all if empty. `seeds` is the last seed that counts. The `frame` has a row for each division, task,
    contender and seed. Raises UsageError for a suite that is no league and for a name that does not exist, and
    StoreError if no run has a result.

    >>> import collapsebench
    >>> from pathlib import Path
    >>> text = '''
    ... title = "One task"
    ... source = "me"
    ... follows = "nobody"
    ... league = { baseline = "VAE", reference = "no z" }
    ... [scales.small]
    ... description = "2 steps"
    ... hours = 0.01
    ... [[scales.small.cells]]
    ... name = "a task"
    ... dataset = "linear-gaussian"
    ... track = "quick"
    ... budget = "2steps"
    ... contenders = { VAE = "vae", "no z" = "no-latent", Skip = "skip" }
    ... '''
    >>> characters = Path("mine.toml").write_text(text)
    >>> runs = collapsebench.run(
    ...     ["no-latent", "skip"], dataset="linear-gaussian", budget="2steps", store="l.sqlite", progress=False
    ... )
    >>> league = collapsebench.league("mine.toml", resamples=100, store="l.sqlite")
    >>> [line.split(",")[:3] for line in league.render("csv").splitlines()[1:]]
    [['default', 'a task', 'VAE'], ['default', 'a task', 'no z'], ['default', 'a task', 'Skip']]
    """
    from collapsebench.reporting.divisions import Division
    from collapsebench.reporting.league import Bootstrap, Unit
    from collapsebench.reporting.league_pages import league_pieces
    from collapsebench.reporting.leagues import LeagueView, read_league
    from collapsebench.store import Store

    _check_kinds(suite=(suite, str | Path), scale=(scale, str), bootstrap_seed=(bootstrap_seed, int))
    _check_kinds(beside=(beside or "", str), against=(against or "", str))
    asked = [_member("division", name, Division) for name in _listed("divisions", divisions)]
    try:
        number = _counted("resamples", resamples, MOST_RESAMPLES)
        drawn = Bootstrap(number, bootstrap_seed, _member("unit", unit, Unit))
    except ValueError as error:
        raise UsageError(str(error)) from None
    files = tuple(map(Path, _listed("plugins", plugins)))
    query = SuiteQuery(str(suite), scale, _listed("variants", variants), files, cells=_listed("cells", cells))
    most = None if seeds is None else _counted("seeds", seeds, MOST_SEEDS)
    view = LeagueView(asked, drawn, beside, most, against)
    with Store.reading(store) as opened:
        return Boards(partial(league_pieces, read_league(opened, query, view)))


def _member(kind: str, name: str, known: type[N]) -> N:
    """Give the member of an enumeration. Raises UsageError for a name that it does not have."""
    if name not in list(known):
        raise UsageError(unknown(kind, str(name), known))
    return known(name)


def _canonical(labels: Mapping[str, str]) -> dict[str, str]:
    """Write the contenders of labels as boards do. Raises UsageError for one that does not parse."""
    return {canonical(contender): str(label) for contender, label in labels.items()}


def _listed(name: str, values: Iterable[T]) -> tuple[T, ...]:
    """Give the values of a list. Raises UsageError for a single value, of which a text would be a list of letters."""
    if isinstance(values, str | Path | Component) or not isinstance(values, Iterable):
        raise UsageError(f"{name} must be a list, got {values!r}: write [{values!r}]")
    return tuple(values)


def _observers(log: Iterable[Callable[[Event], None]]) -> tuple[Observer, ...]:
    """Give functions of events. Raises UsageError for what is none."""
    observers = _listed("log", log)
    for each in observers:
        if not callable(each):
            raise UsageError(f"log has functions of events, such as CsvLog('logs'), got {each!r:.80}")
    return observers


def _counted(name: str, number: int, most: int) -> int:
    """Give a number of things. Raises UsageError unless it is a whole number of at least one, and at most `most`."""
    if not isinstance(number, int) or not 1 <= number <= most:
        raise UsageError(f"{name} must be at least 1 and at most {most}, got {number!r}")
    return number


def _check_kinds(**arguments: tuple[object, Any]) -> None:
    """Raise UsageError for an argument that is not of its type. `arguments` are values with their types, by name."""
    for name, (value, kind) in arguments.items():
        if not isinstance(value, kind):
            raise UsageError(f"{name} cannot be {value!r:.80}: see help(collapsebench)")


def _refuse_beside(option: str, others: Mapping[str, object]) -> None:
    """Raise UsageError if one of `others` is set. They have no meaning together with this option."""
    found = [name for name, value in others.items() if value is not None]
    if found:
        raise UsageError(f"{option} does not go with {', '.join(found)}")


def runs(  # noqa: PLR0913 - filters, and what models are made of
    *,
    dataset: str | None = None,
    track: str | None = None,
    protocol: str | None = None,
    contender: str | None = None,
    outcome: Outcome | None = None,
    plugins: Iterable[str | Path] = (),
    data_dir: str | Path | None = None,
    store: str | Path = DEFAULT_STORE,
    work_dir: str | Path | None = None,
) -> Runs:
    """Return stored runs, the newest first, as `collapsebench runs list` does. Raises StoreError without a store.

    `plugins`, `data_dir` and `work_dir` are for the models of the runs, as in `load_run`.

    >>> import collapsebench
    >>> made = collapsebench.run(["skip"], dataset="linear-gaussian", budget="2steps", store="c.sqlite", progress=False)
    >>> [run.contender for run in collapsebench.runs(contender="skip", store="c.sqlite")]
    ['skip']
    """
    from collapsebench.store import Store

    if outcome is not None and outcome not in list(Outcome):
        raise UsageError(unknown("outcome", str(outcome), Outcome))
    with Store.reading(store) as opened:
        found = opened.find(dataset=dataset, track=track, protocol=protocol, contender=contender, outcome=outcome)
        records = sorted(found, key=lambda record: record.started_at, reverse=True)
    if opened.unreadable:
        warnings.warn(unreadable_line(opened.unreadable), stacklevel=2)
    return _stored(records, plugins, data_dir, store, work_dir)


def load_run(
    run_id: str,
    *,
    plugins: Iterable[str | Path] = (),
    components: Iterable[type[Component]] = (),
    data_dir: str | Path | None = None,
    store: str | Path = DEFAULT_STORE,
    work_dir: str | Path | None = None,
) -> Run:
    """Return one stored run, by its id or the first digits. Raises StoreError or UsageError if there is no such run.

    Its model is made when it is first asked for: `vae`, `inference`, `data` and `vocabulary` of the run. `plugins`,
    `components`, `data_dir` and `work_dir` are those of `run`. A finished run that has kept no weights is a warning.

    >>> import collapsebench
    >>> made = collapsebench.run(dataset="linear-gaussian", budget="2steps", store="d.sqlite", progress=False)
    >>> collapsebench.load_run(made[0].run_id[:8], store="d.sqlite").contender
    'vae'
    """
    from collapsebench.store import Store

    with Store.reading(store) as opened:
        record = opened.get(run_id)
    (loaded,) = _stored([record], plugins, data_dir, store, work_dir, components)
    if record.outcome is Outcome.FINISHED and not loaded.has_weights:
        warnings.warn(f"run {record.run_id} has kept no weights: it has no `vae`; {ADVICE}", stacklevel=2)
    return loaded


def _stored(
    records: Iterable[RunRecord],
    plugins: Iterable[str | Path],
    data_dir: str | Path | None,
    store: str | Path,
    work_dir: str | Path | None,
    components: Iterable[type[Component]] = (),
) -> Runs:
    """Return the runs of these records, with their models."""
    from collapsebench.data.files import data_folder
    from collapsebench.experiment.trained import Models
    from collapsebench.experiment.work import Sources

    sources = Sources(
        plugins=tuple(map(Path, _listed("plugins", plugins))),
        components=_listed("components", components),
        data_folder=data_folder(None if data_dir is None else Path(data_dir)),
    )
    models = Models(sources, store, None if work_dir is None else Path(work_dir))
    return Runs(Run(record, models.of(record)) for record in records)
