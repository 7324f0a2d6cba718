"""`collapsebench samples` shows what trained models make of codes."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from collapsebench.cli import completing, options
from collapsebench.cli.files import destination
from collapsebench.errors import UsageError
from collapsebench.syntax import LARGEST_SEED

if TYPE_CHECKING:
    from collections.abc import Sequence

    from collapsebench.reporting.looking import Question
    from collapsebench.reporting.samples import Samples

PICTURES = {".png", ".svg", ".pdf"}
"""The endings of files that samples are drawn to."""
WAYS = ("random", "expected")
"""Named here, too, as their own module imports torch."""


class TwoExamples(click.ParamType):  # type: ignore[type-arg]
    """The numbers of two examples, as in 3,7."""

    name = "examples"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, int]:
        """Return both numbers. Raises UsageError."""
        del param, ctx
        try:
            first, last = (int(each) for each in value.split(","))
        except ValueError:
            raise UsageError(
                f"--interpolate takes the numbers of two test examples, as in 3,7; got '{value}'"
            ) from None
        return first, last


@dataclass(frozen=True)
class SampleOptions:
    """What is to be looked at, one of the first four, and how."""

    prior: int | None
    reconstruct: int | None
    interpolate: tuple[int, int] | None
    vary: int | None
    draw: str | None
    seed: int
    plugins: tuple[Path, ...]
    data_dir: Path | None
    work_dir: Path | None
    store: str

    @property
    def question(self) -> Question:
        """What is asked; eight reconstructions if nothing is. Raises UsageError if several things are."""
        from collapsebench.reporting.looking import Interpolation, Prior, Reconstructions, Variation

        given = {
            "--prior": None if self.prior is None else Prior(self.prior),
            "--reconstruct": None if self.reconstruct is None else Reconstructions(self.reconstruct),
            "--interpolate": None if self.interpolate is None else Interpolation(*self.interpolate),
            "--vary": None if self.vary is None else Variation(self.vary),
        }
        found = {name: question for name, question in given.items() if question is not None}
        if len(found) > 1:
            raise UsageError(f"{' and '.join(found)} are asked at once: give one of them")
        return next(iter(found.values()), Reconstructions(8))

    def samples(self, run_ids: Sequence[str]) -> list[Samples]:
        """Return the samples of these runs. Raises UsageError, DataError, PluginError or StoreError."""
        from collapsebench.experiment.trained import stored_models
        from collapsebench.reporting.looking import look

        question = self.question
        models = stored_models(self.store, run_ids, self.plugins, self.data_dir, self.work_dir)
        return [look(model, question, self.seed, self.draw) for model in models]


sample_options = options.gathered(
    SampleOptions,
    click.option("--prior", type=click.IntRange(min=1), metavar="N", help="N codes of the prior."),
    click.option(
        "--reconstruct", type=click.IntRange(min=1), metavar="N", help="The first N test examples.  [default: 8]"
    ),
    click.option("--interpolate", type=TwoExamples(), metavar="A,B", help="From test example A to B, as in 3,7."),
    click.option("--vary", type=click.IntRange(min=0), metavar="UNIT", help="One latent unit of test example 0."),
    click.option(
        "--draw",
        type=click.Choice(WAYS),
        default=None,
        help="Draw every symbol, or show the expected ones.  [default: random for --prior, else expected]",
    ),
    click.option(
        "--seed",
        type=click.IntRange(min=0, max=LARGEST_SEED),
        default=0,
        show_default=True,
        help="The seed of all draws.",
    ),
    options.plugin,
    options.data_dir,
    options.work_dir,
    options.stored,
)


@click.command("samples")
@click.argument("run_ids", metavar="RUN...", nargs=-1, required=True, shell_complete=completing.runs)
@sample_options
@click.option("--format", "format_", type=click.Choice(("text", "json")), default="text", show_default=True)
@click.option("--output", type=options.FILE, default=None, help="Write to a file; .png, .svg and .pdf draw images.")
def command(asked: SampleOptions, run_ids: tuple[str, ...], format_: str, output: Path | None) -> None:
    """Show what the trained models of runs make of codes: texts, images, or rows of numbers.

    Each RUN is an id or its first digits. A model that has collapsed makes the same of all codes.
    """
    _write(asked.samples(run_ids), format_, output)


def _write(every: list[Samples], format_: str, output: Path | None) -> None:
    """Print samples, or write or draw them to a file."""
    if output is not None and output.suffix.lower() in PICTURES:
        from collapsebench.reporting.plotting import specimens
        from collapsebench.reporting.plotting.canvas import check_matplotlib, figure_bytes

        check_matplotlib()
        content = figure_bytes(specimens.draw(every), output.suffix.lower().removeprefix("."))
        with destination(output) as stream:
            stream.buffer.write(content)
        click.echo(f"wrote {output}: {'; '.join(samples.title for samples in every)}")
        return
    with destination(output) as stream:
        stream.write(_text(every, format_) + "\n")


def _text(every: list[Samples], format_: str) -> str:
    from collapsebench.reporting.samples_page import samples_text

    if format_ == "json":
        return json.dumps([samples.as_json() for samples in every], indent=2)
    width = shutil.get_terminal_size().columns
    return "\n\n".join(samples_text(samples, width) for samples in every)
