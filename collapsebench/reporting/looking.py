"""Looks at a trained model: makes samples of it. Torch is imported when a model is asked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from collapsebench.data.text import BOS, EOS
from collapsebench.errors import UsageError
from collapsebench.examples import ImageSpec, LevelImageSpec, TextSpec
from collapsebench.printable import printable
from collapsebench.reporting.samples import Content, Part, Samples, Specimen

if TYPE_CHECKING:
    import torch

    from collapsebench.experiment.trained import TrainedModel
    from collapsebench.model.sampling import Sampling

STEPS = 8
"""The codes of an interpolation, both ends included."""

MOST_CODES = 10_000
"""No more codes of the prior are drawn, as nobody looks at more, and each needs memory."""

VALUES = (-3.0, -2.0, -1.0, 0.0, 1.0, 2.0, 3.0)
"""The values that a unit is set to."""


@dataclass(frozen=True)
class Prior:
    """So many codes from the prior."""

    number: int


@dataclass(frozen=True)
class Reconstructions:
    """The first so many test examples, each beside what the model makes of its posterior mean."""

    number: int


@dataclass(frozen=True)
class Interpolation:
    """The way from the posterior mean of one test example to that of another, in equal steps."""

    first: int
    last: int


@dataclass(frozen=True)
class Variation:
    """The posterior mean of one test example with one unit set to some values."""

    unit: int
    example: int = 0


Question: TypeAlias = Prior | Reconstructions | Interpolation | Variation
"""What is to be looked at."""


def look(model: TrainedModel, question: Question, seed: int = 0, way: str | None = None) -> Samples:
    """Return what the model makes of the codes of a question.

    The seed is that of all draws. `way` is the name of a `Sampling`, `random` or `expected`. Without it, examples of
    the prior are drawn, and all others are the expected ones. Raises UsageError for an example or a unit that does not
    exist, and what the parts of a TrainedModel raise.
    """
    import torch

    from collapsebench.metrics.evaluation import evaluation_mode
    from collapsebench.model.sampling import Sampling

    with torch.no_grad(), evaluation_mode(model.vae):
        return _Looker(model, seed, None if way is None else Sampling(way)).answer(question)


@dataclass(frozen=True)
class _Looker:
    model: TrainedModel
    seed: int
    sampling: Sampling | None

    def answer(self, question: Question) -> Samples:
        match question:
            case Prior(number):
                return self._prior(number)
            case Reconstructions(number):
                return self._reconstructions(number)
            case Interpolation(first, last):
                return self._interpolation(first, last)
            case Variation(unit, example):
                return self._variation(unit, example)

    def _prior(self, number: int) -> Samples:
        from collapsebench.model.sampling import Sampling
        from collapsebench.model.seeding import SeededNoise

        if number > MOST_CODES:
            raise UsageError(f"{number} codes of the prior are too many: at most {MOST_CODES}")
        z = self.model.vae.prior.sample(number, SeededNoise(self.seed).child("prior"))
        made = self._made(z, self.sampling or Sampling.RANDOM)
        specimens = (Specimen(f"z {place}", each, Part.MODEL) for place, each in enumerate(made, 1))
        return self._samples(f"{number} codes of the prior", [tuple(specimens)])

    def _reconstructions(self, number: int) -> Samples:
        wanted = range(number)
        examples, means = self._encoded(wanted)
        pairs = zip(wanted, examples, self._made(means), strict=True)
        groups = [
            (Specimen(f"test {place}", example, Part.EXAMPLE), Specimen("model", made, Part.MODEL))
            for place, example, made in pairs
        ]
        return self._samples(f"{number} reconstructions of test examples", groups)

    def _interpolation(self, first: int, last: int) -> Samples:
        import torch

        self._check_units(0)
        ends, means = self._encoded([first, last])
        shares = torch.linspace(0, 1, STEPS)
        made = self._made(torch.lerp(means[:1], means[1:], shares[:, None].to(means)))
        between = [
            Specimen(f"{share:.2f}", each, Part.MODEL) for share, each in zip(shares.tolist(), made, strict=True)
        ]
        from_, to = (Specimen(f"test {n}", x, Part.EXAMPLE) for n, x in zip((first, last), ends, strict=True))
        return self._samples(f"the way from test example {first} to {last}", [(from_, *between, to)])

    def _variation(self, unit: int, example: int) -> Samples:
        self._check_units(unit)
        (original,), mean = self._encoded([example])
        z = mean.repeat(len(VALUES), 1)
        z[:, unit] = z.new_tensor(VALUES)
        made = zip(VALUES, self._made(z), strict=True)
        specimens = (Specimen(f"z[{unit}] = {value:g}", each, Part.MODEL) for value, each in made)
        group = (Specimen(f"test {example}", original, Part.EXAMPLE), *specimens)
        return self._samples(f"unit {unit} of the code of test example {example} varies", [group])

    def _samples(self, what: str, groups: Sequence[tuple[Specimen, ...]]) -> Samples:
        record = self.model.record
        name = record.spec.protocol.dataset.name
        return Samples(record.run_id, record.contender, record.spec.seed, name, what, tuple(groups))

    def _check_units(self, unit: int) -> None:
        units = self.model.vae.latent_dim
        if units == 0:
            raise UsageError(f"contender '{self.model.record.contender}' has no latent units to move along")
        if not 0 <= unit < units:
            raise UsageError(f"no unit {unit}: the units are 0 to {units - 1}")

    def _encoded(self, wanted: Sequence[int]) -> tuple[list[Content], torch.Tensor]:
        """Return test examples, and the means of their posteriors, (N, D), as the metrics of the run have them."""
        import torch

        split = self.model.test_split
        for number in wanted:
            if not 0 <= number < len(split):
                raise UsageError(f"no test example {number}: there are examples 0 to {len(split) - 1}")
        found: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}
        for batch in split.batches():
            own = {row: place for place, row in enumerate(batch.rows.tolist()) if row in wanted}
            if own:
                mean = split.posterior_of(batch).mean
                found |= {row: (batch.x[place], mean[place]) for row, place in own.items()}
            if len(found) == len(set(wanted)):
                break
        examples = [found[number] for number in wanted]
        dtype = next(self.model.vae.parameters()).dtype
        return [self._shown(x) for x, _ in examples], torch.stack([mean for _, mean in examples]).to(dtype)

    def _made(self, z: torch.Tensor, sampling: Sampling | None = None) -> list[Content]:
        """Return what the decoder makes of codes, (N, D)."""
        from collapsebench.model.sampling import Sampling
        from collapsebench.model.seeding import SeededNoise

        how = sampling or self.sampling or Sampling.EXPECTED
        x = self.model.vae.sample(z[None], self._shape, SeededNoise(self.seed).child("x"), how)[0]
        return [self._shown(each) for each in x]

    @property
    def _shape(self) -> tuple[int, ...]:
        """The shape of one example. A document is at most as long as the longest of training."""
        splits = self.model.splits
        match splits.spec:
            case TextSpec():
                return (int(splits.train.predictions.max()) + 1,)
            case ImageSpec(shape) | LevelImageSpec(shape):
                return shape
            case data:
                return (data.dimension,)

    def _shown(self, x: torch.Tensor) -> Content:
        import numpy as np

        match self.model.splits.spec:
            case TextSpec():
                return text_of(x.tolist(), self.model.words)
            case ImageSpec() | LevelImageSpec():
                return x.float().clamp(0, 1).numpy().astype(np.float32)
            case _:
                return x.float().numpy().astype(np.float32)


def text_of(tokens: Sequence[int], words: Sequence[str] | None) -> str:
    """Write a document without its markers. One that does not end is cut: it has an ellipsis.

    >>> text_of([2, 5, 4, 3, 0], ["<pad>", "<unk>", "<s>", "</s>", "sat", "cats"]), text_of([2, 7], None)
    ('cats sat', 't7 …')
    """
    inner = list(tokens[tokens[0] == BOS :])
    ended = EOS in inner
    known = inner[: inner.index(EOS)] if ended else inner
    written = (f"t{token}" if words is None else printable(words[token]) for token in known)
    return " ".join([*written, *([] if ended else ["…"])])
