"""What every dataset must do, whatever it holds."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from collapsebench.components.discovery import extended, load
from collapsebench.components.interfaces import Dataset
from collapsebench.data.files import data_folder
from collapsebench.examples import CountSpec, ImageSpec, LevelImageSpec, TextSpec, VectorSpec
from collapsebench.experiment.planning import Request, SplitCache, plan
from collapsebench.facts import dataset_facts
from collapsebench.testing.checks import CheckError, expect
from collapsebench.testing.tiny import BATCH

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from collapsebench.examples import Batch, DataSpec, Split, Splits
    from collapsebench.facts import DatasetFacts
    from collapsebench.testing.subjects import Subject


def has_facts(subject: Subject) -> None:
    """It has a card, and a track that its users can name."""
    facts = _facts(subject)
    expect(bool(facts.tracks), f"its facts declare no track: write [tracks.quick] into {subject.component.name}.toml")


def loads(subject: Subject) -> None:
    """It gives three splits that are not empty, the same ones each time."""
    first, again = _splits(subject), _splits(subject)
    for name in ("train", "valid", "test"):
        split: Split = getattr(first, name)
        expect(len(split) > 0, f"the split '{name}' is empty")
        expect(len(split.predictions) == len(split), f"the split '{name}' does not predict for each of its examples")
        labels = split.labels
        expect(labels is None or len(labels) == len(split), f"the split '{name}' has not a label for each example")
    expect(first.hashes() == again.hashes(), "two calls of load() give other splits: fix every seed in the class")


def keeps_its_splits(subject: Subject) -> None:
    """Train, valid and test are different examples."""
    hashes = _splits(subject).hashes()
    expect(len(set(hashes.values())) == len(hashes), "two of its splits are the same examples")


def gives_batches(subject: Subject) -> None:
    """Batches hold every example once, in the form that its `spec` says, in an order that the seed draws."""
    splits = _splits(subject)
    before = splits.hashes()
    for name in ("train", "valid", "test"):
        split: Split = getattr(splits, name)
        batches = list(split.batches(BATCH, seed=1))
        seen = np.sort(np.concatenate([batch.index for batch in batches]))
        expect(np.array_equal(seen, np.arange(len(split))), f"the batches of '{name}' miss or repeat examples")
        wrong = next((problem for batch in batches[:50] if (problem := _misfit(batch, splits.spec))), "")
        expect(not wrong, f"a batch of '{name}' is no {splits.spec}: {wrong}")
    expect(_order(splits.train, 1) == _order(splits.train, 1), "one seed gives two orders of batches")
    expect(_order(splits.train, 1) != _order(splits.train, 2), "two seeds give the same order of batches")
    expect(splits.hashes() == before, "going through the batches has changed the examples")


def _order(split: Split, seed: int) -> list[int]:
    return [int(row) for batch in split.batches(BATCH, seed) for row in batch.index]


def _misfit(batch: Batch, data: DataSpec) -> str:
    """Return what is wrong with the form of a batch; empty if nothing is."""
    x = batch.x
    wanted: tuple[int, ...]
    match data:
        case TextSpec():
            if x.dtype != np.int64 or x.ndim != 2:
                return f"documents are int64 (B, T), got {x.dtype} {x.shape}"
            return "" if x.min() >= 0 and x.max() < data.vocabulary else f"tokens from {x.min()} to {x.max()}"
        case ImageSpec() | LevelImageSpec():
            wanted = (len(batch), *data.shape)
        case VectorSpec() | CountSpec():
            wanted = (len(batch), data.dimension)
    if x.dtype != np.float32 or x.shape != wanted:
        return f"examples are float32 {wanted}, got {x.dtype} {x.shape}"
    return _misfit_values(x.astype(np.float64), data)


def _misfit_values(x: NDArray[np.float64], data: DataSpec) -> str:
    """Return what is wrong with the values of float32 examples; empty if nothing is."""
    match data:
        case ImageSpec():
            fine = bool(np.isin(x, (0, 1)).all())
        case LevelImageSpec():
            levels = x * (data.levels - 1)
            fine = bool(np.allclose(levels, np.round(levels), atol=1e-3) and x.min() >= 0 and x.max() <= 1)
        case CountSpec():
            fine = bool((x >= 0).all() and (x == np.round(x)).all())
        case _:
            fine = bool(np.isfinite(x).all())
    return "" if fine else f"values from {x.min()} to {x.max()}"


def has_tracks_that_fit(subject: Subject) -> None:
    """Every name and every value of its tracks is known, and the networks fit the data."""
    component, folder = subject.component, _folder(subject)
    if not issubclass(component, Dataset):
        raise CheckError(f"{subject.title} is no Dataset")
    catalog = extended(load(), [component])
    splits = SplitCache(catalog, folder)
    for track in _facts(subject).tracks:
        plan([Request(methods=(), dataset=component.name, track=track)], catalog, splits)


def _facts(subject: Subject) -> DatasetFacts:
    component = subject.component
    if not issubclass(component, Dataset):
        raise CheckError(f"{subject.title} is no Dataset")
    return dataset_facts(component.facts or component.name)


def _splits(subject: Subject) -> Splits:
    made = subject.make()
    if not isinstance(made, Dataset):
        raise CheckError(f"{subject.title} is no Dataset")
    return made.load(_folder(subject))


def _folder(subject: Subject) -> Path:
    return data_folder(subject.data_folder)
