"""Turns the texts of a user into RunSpecs. Every name and value is checked before torch is imported."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

from pydantic import ValidationError

from collapsebench.components.catalog import Catalog
from collapsebench.components.composition import check_fit, compose, inference_of
from collapsebench.components.interfaces import Dataset, Decoder, Encoder, Initialization, Posterior
from collapsebench.errors import UsageError
from collapsebench.examples import Splits
from collapsebench.experiment.counters import check_affordable
from collapsebench.experiment.overrides import distinct
from collapsebench.experiment.tracks import TrackLabel, chosen_track
from collapsebench.experiment.tuning import SEED, SELECTION, TunedContender, tuned_contenders
from collapsebench.inference.amortized import Amortized
from collapsebench.metrics import default_metrics
from collapsebench.metrics.metric import Metric
from collapsebench.spec import Choice, Contender, Protocol, RunSpec, Setting, Track, identity
from collapsebench.syntax import BASELINE, print_value
from collapsebench.validation import describe

NOTHING = "nothing to run: give --method, or leave out --no-baseline"


@dataclass(frozen=True)
class Request:
    """A request for runs, in the texts of the user."""

    methods: tuple[str, ...]
    dataset: str
    track: str = "quick"
    """The name of a track of the dataset, or a file with one: `mine.toml`."""
    budget: str | None = None
    seeds: tuple[int, ...] = (1,)
    settings: tuple[str, ...] = ()
    baseline: bool = True
    trials: int | None = None
    """So many settings of each contender, in its place: see `tuning`. None for the contender as it is written."""
    name: str = ""
    """The name of these runs, to tell them from those of other requests."""

    def tuned(self, trials: int, rules: Iterable[str]) -> Request:
        """Return the request for so many trials of each contender, which rules choose from."""
        settings = (*self.settings, f"{SELECTION}={print_value(list(rules))}")
        return replace(self, seeds=(SEED,), settings=settings, trials=trials)


class SplitCache:
    """Loads the splits of every dataset once."""

    def __init__(self, catalog: Catalog, folder: Path) -> None:
        self._catalog, self._folder = catalog, folder
        self._loaded: dict[str, Splits] = {}

    def of(self, dataset: Choice) -> Splits:
        """Return the splits of a resolved dataset. Raises DataError."""
        key = identity(dataset)
        if key not in self._loaded:
            self._loaded[key] = self._catalog.create(Dataset, dataset).load(self._folder)
        return self._loaded[key]


class Plan(NamedTuple):
    """The runs of a grid, seed by seed, so that the finished ones can be compared in pairs at any time."""

    specs: tuple[RunSpec, ...]
    protocol_names: dict[str, str]
    """The names of the requests, by the protocol id of their runs (`first and 2 more`); empty if they have none."""


def plan(requests: Iterable[Request], catalog: Catalog, splits: SplitCache) -> Plan:
    """Plan the runs of requests. It starts no run. Raises UsageError or DataError in one line.

    A run that several requests ask for is planned once, and so is one of two contenders that differ in their labels
    alone: it has the one that says more, as those of sweeps do. Runs are in the order of seeds, then of requests.
    """
    specs: dict[str, RunSpec] = {}
    names: dict[str, dict[str, None]] = {}
    for request in requests:
        for spec in _specs(request, catalog, splits):
            known = specs.setdefault(spec.run_id, spec)
            if len(spec.contender.label) > len(known.contender.label):
                specs[spec.run_id] = spec
            if request.name:
                names.setdefault(spec.protocol.protocol_id, {})[request.name] = None
    protocol_names = {protocol_id: _joint_name(list(own)) for protocol_id, own in names.items()}
    seeds = list(dict.fromkeys(spec.seed for spec in specs.values()))
    return Plan(tuple(sorted(specs.values(), key=lambda spec: seeds.index(spec.seed))), protocol_names)


def _joint_name(names: list[str]) -> str:
    """Return a name for a protocol that several requests ask for."""
    return names[0] if len(names) == 1 else f"{names[0]} and {len(names) - 1} more"


def _specs(request: Request, catalog: Catalog, splits: SplitCache) -> Iterator[RunSpec]:
    """Yield the runs of one request, seed by seed."""
    seeds = distinct("seed", request.seeds)
    contenders = _contenders(request, catalog)
    protocol = _protocol(request, catalog, splits)
    for contender in contenders:
        _check_fit(contender, protocol, catalog, splits)
    for seed in seeds:
        for contender in contenders:
            yield RunSpec(contender=contender, protocol=protocol, seed=seed)


def _protocol(request: Request, catalog: Catalog, splits: SplitCache) -> Protocol:
    track, label = _chosen(request, catalog)
    dataset = catalog.resolve(Dataset, Choice(name=request.dataset, params=track.data))[1]
    data = splits.of(dataset)
    setting = _resolved(track.setting, default_metrics(data.spec), catalog)
    check_affordable(track.budget, setting.batch_size, len(data.train))
    return Protocol(
        dataset=dataset,
        splits=data.hashes(),
        setting=setting,
        budget=track.budget,
        **label._asdict(),
    )


def _check_fit(contender: Contender, protocol: Protocol, catalog: Catalog, splits: SplitCache) -> None:
    """Raise UsageError if a method does not fit the data or the networks."""
    hooks, setting = compose(catalog.methods_of(contender)), protocol.setting
    encoder = catalog.create(Encoder, setting.encoder) if inference_of(hooks, Amortized()).uses_encoder else None
    check_fit(hooks, splits.of(protocol.dataset).spec, encoder, catalog.create(Decoder, setting.decoder))


def asks_for(request: Request, protocol: Protocol, catalog: Catalog) -> bool:
    """Return True if a request asks for runs of this protocol. Neither data nor version are compared.

    Runs of an older version of the protocol are still those of the request. Raises UsageError.
    """
    track, label = _chosen(request, catalog)
    if label.track != protocol.track:  # its metrics may be unknown here
        return False
    metrics = (metric.name for metric in protocol.setting.evaluation.metrics)
    requested = Protocol(
        version=protocol.version,
        dataset=catalog.resolve(Dataset, Choice(name=request.dataset, params=track.data))[1],
        splits=protocol.splits,
        track=label.track,
        setting=_resolved(track.setting, metrics, catalog),
        budget=track.budget,
    )
    return requested.protocol_id == protocol.protocol_id


def _contenders(request: Request, catalog: Catalog) -> list[Contender]:
    if request.trials is not None:
        return _trials(request, request.trials, catalog)
    texts, baseline = _texts(request)
    contenders = [contender for text in texts for contender in catalog.contenders(text)]
    if baseline and all(contender.label != BASELINE for contender in contenders):
        contenders = [catalog.contender(BASELINE)[0], *contenders]
    distinct("contender", tuple(contender.label for contender in contenders))
    if not contenders:
        raise UsageError(NOTHING)
    return contenders


def _trials(request: Request, number: int, catalog: Catalog) -> list[Contender]:
    """Return the trials of all contenders. One that two of them share is run once."""
    drawn = (trial for contender in tuned(request, catalog) for trial in contender.trials(number, catalog))
    return list({trial.label: trial for trial in drawn}.values())


def tuned(request: Request, catalog: Catalog) -> list[TunedContender]:
    """Return the contenders of a request as they are tuned. Raises UsageError."""
    texts, baseline = _texts(request)
    found = [contender for text in texts for contender in tuned_contenders(text, catalog)]
    if baseline and all(contender.name != BASELINE for contender in found):
        found = [*tuned_contenders(BASELINE, catalog), *found]
    distinct("contender", tuple(contender.name for contender in found))
    if not found:
        raise UsageError(NOTHING)
    return found


def _texts(request: Request) -> tuple[list[str], bool]:
    """Return the contenders of a request but the baseline, and whether that is one, too."""
    texts = [text for text in request.methods if text.strip() != BASELINE]
    return texts, len(texts) < len(request.methods) or request.baseline


def _chosen(request: Request, catalog: Catalog) -> tuple[Track, TrackLabel]:
    """Return the track of a request, with its overrides applied, and what names it in the protocol."""
    table, label = chosen_track(request.dataset, request.track, request.settings, catalog)
    if request.budget is not None:
        table = {**table, "budget": request.budget}
    try:
        return Track.model_validate(table), label
    except ValidationError as error:
        raise UsageError(
            f"dataset '{request.dataset}', track '{request.track}': {describe(error, Track).replace('setting.', '')}"
        ) from None


def _resolved(setting: Setting, default: Iterable[str], catalog: Catalog) -> Setting:
    """Return the setting with the versions and defaults of all components.

    Without metrics, it gets the default; trials of a tuning get none.
    """
    named = () if setting.evaluation.selection else default
    chosen = setting.evaluation.metrics or tuple(Choice(name=name) for name in named)
    distinct("metric", tuple(metric.name for metric in chosen))
    metrics = tuple(catalog.resolve(Metric, choice)[1] for choice in chosen)
    return setting.model_copy(
        update={
            "encoder": catalog.resolve(Encoder, setting.encoder)[1],
            "posterior": catalog.resolve(Posterior, setting.posterior)[1],
            "decoder": catalog.resolve(Decoder, setting.decoder)[1],
            "initialization": catalog.resolve(Initialization, setting.initialization)[1],
            "evaluation": setting.evaluation.model_copy(update={"metrics": metrics}),
        }
    )
