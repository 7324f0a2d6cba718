"""The cards of datasets: all datasets with one line each, or one with all that is known of it, as JSON and as text."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from collapsebench.data.base import Generated
from collapsebench.data.files import available, by_hand, find, known_checksum, read
from collapsebench.data.located import LocatedDataset, find_datasets
from collapsebench.data.pictures import Images
from collapsebench.data.texts import Text
from collapsebench.errors import CollapsebenchError, DataError
from collapsebench.spec import Choice
from collapsebench.syntax import print_call

if TYPE_CHECKING:
    from collapsebench.components.interfaces import Dataset
    from collapsebench.data.census import Census
    from collapsebench.estimates import Estimate
    from collapsebench.facts import Checked, DatasetFacts

CleaningOrReason: TypeAlias = "Mapping[str, Mapping[str, int]] | str"
"""What was done to a user's text, by file and rule, or why that is not known."""
CensusOrReason: TypeAlias = "Census | str"
"""What a user's own dataset holds, or why that is not known."""
TruthOrReason: TypeAlias = "Mapping[str, Estimate] | str"
"""The true numbers of a generated dataset by name, in nats per example, or why they are not known."""


class DatasetLine(NamedTuple):
    """One dataset in the list of all."""

    name: str
    kind: str
    """`text`, `images` or `vectors`."""
    examples: str
    """The numbers of examples in the splits, if they are known: `1,000 / 400 / 397`."""
    available: str
    """`embedded` if no files are needed, `yes` if they are here, `fetchable`, or `no: …` with the reason."""
    title: str


def list_datasets(plugins: Iterable[Path] = (), data_dir: Path | None = None) -> list[DatasetLine]:
    """List all datasets by name, and say of each whether its files are here. See `find_datasets`."""
    return [_line(each.facts, each.folder) for each in find_datasets((), plugins, data_dir)]


def _line(facts: DatasetFacts, folder: Path) -> DatasetLine:
    examples = " / ".join(f"{split.examples:,}" for split in facts.splits.values() if split.examples)
    return DatasetLine(facts.name, facts.card.kind, examples, _available(facts, folder), facts.card.title)


def _available(facts: DatasetFacts, folder: Path) -> str:
    if facts.embedded:
        return "embedded"
    try:
        names = by_hand(facts, folder)
        fetchable = f"no: no address of {', '.join(names)}" if names else "fetchable"
        return "yes" if available(facts, folder) else fetchable
    except DataError as error:
        return f"no: {error}"


@dataclass(frozen=True)
class DatasetCard:
    """All that is known of one dataset with given parameters."""

    dataset: Dataset
    facts: DatasetFacts
    folder: Path
    """The folder of the original files of all datasets."""
    truths: Mapping[str, TruthOrReason]
    """The truth by dataset with parameters. It is empty for real datasets, whose truth nobody knows."""
    cleaning: CleaningOrReason
    """It is empty for all datasets but the texts of users."""
    contents: CensusOrReason | None
    """It is None for all datasets but the texts and images of users."""

    @property
    def own_folder(self) -> Path:
        """The folder of this dataset's files."""
        return self.folder / self.facts.folder

    @property
    def found(self) -> tuple[Path | None, ...]:
        """The path of each file; None if the file is not here."""
        return tuple(find(self.facts, file, self.folder) for file in self.facts.files)

    @property
    def parameters(self) -> dict[str, dict[str, Any]]:
        """The value and the description of every parameter, by name."""
        fields = type(self.dataset).model_fields
        values = self.dataset.model_dump(mode="json")
        return {key: {"value": value, "description": fields[key].description} for key, value in values.items()}

    def as_json(self) -> dict[str, Any]:
        """Give the card as JSON has it."""
        facts = self.facts.model_dump(mode="json", exclude_none=True)
        for entry, path in zip(facts["files"], self.found, strict=True):
            entry["found"] = None if path is None else str(path)
        return facts | {
            "citation": self.dataset.citation,
            "data_folder": str(self.own_folder),
            "parameters": self.parameters,
            "cleaning": self.cleaning,
            "contents": self.contents if isinstance(self.contents, str | None) else self.contents.as_json(),
            "truth": {name: _truth_json(truth) for name, truth in self.truths.items()},
        }

    def as_text(self) -> str:
        """Write the card for a reader."""
        found = (*self._files(), *self._cleaning(), *self._contents())
        return "\n".join((*self._about(), *self._parts(), *found, *self._tracks()))

    def found_text(self) -> str:
        """Write what is in the files: what was cleaned, and what is counted."""
        return "\n".join((f"{self.facts.name} in {self.own_folder}", *self._cleaning(), *self._contents()))

    def _about(self) -> Iterator[str]:
        card = self.facts.card
        yield f"{self.facts.name}: {card.title}"
        for key in ("description", "comparability", "licence"):
            text = f"{key}: {getattr(card, key)}"
            yield textwrap.fill(text, 100, initial_indent="  ", subsequent_indent="    ")
        yield f"  citation: {self.dataset.citation or 'none'}"

    def _parts(self) -> Iterator[str]:
        yield "parameters:"
        for key, parameter in self.parameters.items():
            yield f"  {key} = {json.dumps(parameter['value'])}: {parameter['description']}"
        yield "splits (at the default parameters):"
        for name, split in self.facts.splits.items():
            yield f"  {name}: {split.examples} examples, sha256 {split.sha256 or 'not known'}"

    def _files(self) -> Iterator[str]:
        yield "files: none needed" if self.facts.embedded else f"files in {self.own_folder}:"
        for file, path in zip(self.facts.files, self.found, strict=True):
            yield f"  {file.name}: {path or 'not here'}{'; optional' if file.optional else ''}"
            yield "; ".join((f"    {_checksum(file)}", *file.addresses))
        for archive in self.facts.archives:
            yield "; ".join((f"  archive {archive.name}: {_checksum(archive)}", *archive.addresses))
        if self.facts.card.source:
            yield f"  by hand: {self.facts.card.source}"

    def _cleaning(self) -> Iterator[str]:
        if isinstance(self.cleaning, str):
            yield f"cleaning: {self.cleaning}"
        elif self.cleaning:
            yield "cleaning, by the rules of the class Text:"
            for name, done in self.cleaning.items():
                yield f"  {name}: {', '.join(f'{rule}: {count:,}' for rule, count in done.items())}"

    def _contents(self) -> Iterator[str]:
        if isinstance(self.contents, str):
            yield f"contents: {self.contents}"
        elif self.contents is not None:
            yield "contents (at these parameters):"
            yield from (f"  {line}" for line in self.contents.lines())

    def _tracks(self) -> Iterator[str]:
        yield "tracks:"
        for name, track in self.facts.tracks.items():
            yield f"  {name} ({track['budget']}): {track['description']}"
        for name, truth in self.truths.items():
            yield f"truth of {name}, in nats per example: {_truth_text(truth)}"


def dataset_card(name: str, plugins: Iterable[Path] = (), data_dir: Path | None = None) -> DatasetCard:
    """Make the card of a dataset, named as `name[key=value]`. See `find_datasets`."""
    (located,) = find_datasets([name], plugins, data_dir)
    found = (_truths(located), _cleaning(located), _contents(located))
    return DatasetCard(located.dataset, located.facts, located.folder, *found)


def _contents(located: LocatedDataset) -> CensusOrReason | None:
    """What the files that are here hold, once they are a dataset; None for datasets that are no user's own."""
    from collapsebench.data.census import census

    dataset = located.dataset
    if not isinstance(dataset, Text | Images):
        return None
    if not available(located.facts, located.folder):
        return "files are missing"
    try:
        return census(dataset, located.folder)
    except DataError as error:
        return str(error)


def _cleaning(located: LocatedDataset) -> CleaningOrReason:
    """What the rules of `Text` do to the files that are here; empty for other datasets."""
    dataset, facts, folder = located.dataset, located.facts, located.folder
    if not isinstance(dataset, Text):
        return {}
    if not available(facts, folder):
        return "files are missing"
    try:
        return dataset.cleaning({name: read(facts, name, folder).content for name in dataset.originals()})
    except DataError as error:
        return str(error)


def _truths(located: LocatedDataset) -> dict[str, TruthOrReason]:
    """The best possible numbers of this dataset, and of the data of each of its tracks; empty if they are not known."""
    dataset, components = located.dataset, located.components
    if not isinstance(dataset, Generated):
        return {}
    passed = dataset.model_dump(exclude_defaults=True)
    choices = [passed] if passed else [{}, *(track.get("data", {}) for track in located.facts.tracks.values())]
    datasets = [components.create(Generated, Choice(name=dataset.name, params=params)) for params in choices]
    return {
        print_call(each.name, each.model_dump(mode="json", exclude_defaults=True)): _truth(each) for each in datasets
    }


def _truth(dataset: Generated) -> TruthOrReason:
    try:
        return dataset.truth()
    except CollapsebenchError as error:
        return str(error)


def _truth_json(truth: TruthOrReason) -> dict[str, Any] | str:
    return truth if isinstance(truth, str) else {name: estimate._asdict() for name, estimate in truth.items()}


def _truth_text(truth: TruthOrReason) -> str:
    if isinstance(truth, str):
        return truth
    return ", ".join(
        f"{name} {value:.4f}" + ("" if error is None else f" ± {error:.4f}") for name, (value, error) in truth.items()
    )


def _checksum(file: Checked) -> str:
    known = known_checksum(file)
    return "checksum not known" if known is None else " ".join(known)
