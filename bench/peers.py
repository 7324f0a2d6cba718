"""`python -m bench.peers`: whole runs beside plain programs that do the same work, as the released ones do it.

The programs are written here after a reading of theirs: modules and optimizers of torch, its default allocator, one
example at a time where they score one at a time. Text: the training loop and the importance weights of the program of
He et al. (2019, lagging inference networks). Images: the trainer and `get_nll` of Pythae (Chadebec et al., 2022). Both
programs read prepared arrays. Ours reads its data and also computes all other metrics of the track.
"""

from __future__ import annotations

import math
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import click
import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

ROOT = Path(__file__).parents[1]
AIM = 2.0
"""How many times the time of ours a plain program should take."""

STEPS, TEXT_SAMPLES, IMAGE_SAMPLES = 84, 100, 50


class Work(NamedTuple):
    """One piece of work: how a user gives it to us, and the program that does the same."""

    dataset: str
    budget: str
    settings: tuple[str, ...]
    program: Callable[[Path], None]

    def ours(self, data_dir: Path, store: Path) -> list[str]:
        """Return our command."""
        options = [part for setting in self.settings for part in ("--set", setting)]
        given = ["run", "--dataset", self.dataset, "--budget", self.budget, "--data-dir", str(data_dir), *options]
        given += ["--store", str(store), "--quiet"]
        return [sys.executable, "-c", "from collapsebench.cli import main; main()", *given]


class TextVAE(nn.Module):
    """An LSTM encoder and an LSTM decoder of the sizes of yahoo-9k's quick track, in plain modules."""

    def __init__(self, vocabulary: int, embedding: int = 64, hidden: int = 64, units: int = 32) -> None:
        super().__init__()
        self.read, self.encoder = nn.Embedding(vocabulary, embedding), nn.LSTM(embedding, hidden, batch_first=True)
        self.moments = nn.Linear(hidden, 2 * units, bias=False)
        self.words, self.first = nn.Embedding(vocabulary, embedding), nn.Linear(units, hidden, bias=False)
        self.decoder = nn.LSTM(embedding + units, hidden, batch_first=True)
        self.predict, self.dropout = nn.Linear(hidden, vocabulary, bias=False), nn.Dropout(0.5)

    def encode(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Mean and log-variance of q(z|x), (B, D)."""
        _, (last, _) = self.encoder(self.read(x))
        mean, logvar = self.moments(last[0]).chunk(2, -1)
        return mean, logvar

    def reconstruct(self, x: torch.Tensor, z: torch.Tensor) -> torch.Tensor:
        """-log p(x|z) for x (B, T) and z (B, S, D), as (B, S)."""
        (batch, samples, _), length = z.shape, x.shape[1] - 1
        words = self.dropout(self.words(x[:, :-1])).repeat_interleave(samples, 0)
        codes = z.reshape(batch * samples, 1, -1)
        state = self.first(codes.transpose(0, 1))
        out, _ = self.decoder(torch.cat((words, codes.expand(-1, length, -1)), -1), (state.tanh(), state))
        logits = self.predict(self.dropout(out)).flatten(0, 1)
        targets = x[:, 1:].repeat_interleave(samples, 0).reshape(-1)
        losses = nn.functional.cross_entropy(logits, targets, reduction="none")
        return losses.view(batch, samples, length).sum(-1)


def text_program(arrays: Path) -> None:
    """Train an LSTM VAE for `STEPS` steps on documents of one length each, and score every test document by itself."""
    with np.load(arrays) as file:
        train, train_lengths, test, test_lengths = (
            file[name] for name in ("train", "train_lengths", "test", "test_lengths")
        )
    torch.manual_seed(1)
    model = TextVAE(vocabulary=int(max(train.max(), test.max())) + 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    done = 0
    for length in np.random.default_rng(1).permutation(np.unique(train_lengths)):
        same = torch.from_numpy(train[train_lengths == length][:, :length].astype(np.int64))
        for x in same.split(32):  # type: ignore[no-untyped-call]
            if done == STEPS:
                break
            optimizer.zero_grad()
            mean, logvar = model.encode(x)
            z = mean + (0.5 * logvar).exp() * torch.randn_like(mean)
            kl = 0.5 * (mean.square() + logvar.exp() - logvar - 1).sum(-1)
            (model.reconstruct(x, z[:, None])[:, 0] + kl).mean().backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(model.parameters(), 5.0)
            optimizer.step()
            done += 1
    model.eval()
    with torch.no_grad():
        for document, length in zip(test, test_lengths, strict=True):
            x = torch.from_numpy(document[None, :length].astype(np.int64))
            mean, logvar = model.encode(x)
            noise = torch.randn(1, TEXT_SAMPLES, mean.shape[1])
            z = mean[:, None] + (0.5 * logvar).exp()[:, None] * noise
            log_q = -0.5 * (noise.square() + logvar[:, None] + math.log(2 * math.pi)).sum(-1)
            log_p = -0.5 * (z.square() + math.log(2 * math.pi)).sum(-1)
            torch.logsumexp(log_p - model.reconstruct(x, z) - log_q, 1)


def image_program(arrays: Path) -> None:
    """Train an MLP VAE for one epoch with Adam, and score every test image by itself."""
    with np.load(arrays) as file:
        train, test = (torch.from_numpy(file[name].astype(np.float32)) for name in ("train", "test"))
    size, hidden, units = train.shape[1], 512, 50
    torch.manual_seed(1)
    encoder = nn.Sequential(nn.Linear(size, hidden), nn.ReLU())
    mean_of, logvar_of = nn.Linear(hidden, units), nn.Linear(hidden, units)
    decoder = nn.Sequential(
        nn.Linear(units, hidden), nn.ReLU(), nn.Linear(hidden, hidden), nn.ReLU(), nn.Linear(hidden, size), nn.Sigmoid()
    )
    model = nn.ModuleList((encoder, mean_of, logvar_of, decoder))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    data = torch.utils.data.TensorDataset(train)
    for (images,) in torch.utils.data.DataLoader(data, batch_size=50, shuffle=True):
        x = torch.bernoulli(images)
        features = encoder(x)
        mean, logvar = mean_of(features), logvar_of(features)
        z = mean + (0.5 * logvar).exp() * torch.randn_like(mean)
        reconstruction = nn.functional.binary_cross_entropy(decoder(z), x, reduction="none").sum(-1)
        kl = 0.5 * (mean.square() + logvar.exp() - logvar - 1).sum(-1)
        optimizer.zero_grad()
        (reconstruction + kl).mean().backward()
        optimizer.step()
    with torch.no_grad():
        for image in test:
            features = encoder(image[None])
            mean, logvar = mean_of(features), logvar_of(features)
            noise = torch.randn(IMAGE_SAMPLES, units)
            z = mean + (0.5 * logvar).exp() * noise
            losses = nn.functional.binary_cross_entropy(decoder(z), image.expand(len(z), -1), reduction="none").sum(-1)
            log_q = -0.5 * (noise.square() + logvar + math.log(2 * math.pi)).sum(-1)
            log_p = -0.5 * (z.square() + math.log(2 * math.pi)).sum(-1)
            torch.logsumexp(log_p - losses - log_q, 0)


WORK = {
    "text": Work(
        "yahoo-9k",
        f"{STEPS}steps",
        (
            f"evaluation.metrics.iw-nll.samples={TEXT_SAMPLES}",
            f"evaluation.metrics.perplexity.samples={TEXT_SAMPLES}",
            "evaluation.every=1000steps",
        ),
        text_program,
    ),
    "images": Work(
        "mnist",
        "1epochs",
        (
            f"evaluation.metrics.iw-nll.samples={IMAGE_SAMPLES}",
            *("encoder.hidden=512", "encoder.layers=1", "decoder.hidden=512", "decoder.layers=1", "batch_size=50"),
        ),
        image_program,
    ),
}


def prepare(work: Work, data_dir: Path, arrays: Path) -> None:
    """Write what a plain program reads: the arrays of our splits."""
    from collapsebench.components import discovery
    from collapsebench.data.splits import GreyImages, ink
    from collapsebench.experiment.planning import Request, SplitCache, plan

    catalog = discovery.load()
    cache = SplitCache(catalog, data_dir)
    request = Request(methods=(), dataset=work.dataset, settings=work.settings, budget=work.budget)
    splits = cache.of(plan([request], catalog, cache).specs[0].protocol.dataset)
    images = splits.train
    if isinstance(images, GreyImages):
        test = np.concatenate([batch.x for batch in splits.test.batches(1000)])
        flat = ink(images.pixels).reshape(len(images), -1)
        np.savez(arrays, train=flat, test=test.reshape(len(test), -1))
        return
    text: dict[str, NDArray[np.generic]] = {}
    for name, split in (("train", splits.train), ("test", splits.test)):
        documents = {int(batch.index[0]): batch.x[0] for batch in split.batches(1)}
        lengths = np.array([len(documents[index]) for index in range(len(split))])
        padded = np.zeros((len(split), lengths.max()), np.int32)
        for index, document in documents.items():
            padded[index, : len(document)] = document
        text |= {name: padded, f"{name}_lengths": lengths}
    np.savez(arrays, **text)  # type: ignore[arg-type]


def timed(command: list[str]) -> tuple[float, float]:
    """Run a command with one thread; return its seconds, and those of the processor. Raises CalledProcessError."""
    before, begun = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(command, check=True, env=os.environ | {"OMP_NUM_THREADS": "1"}, cwd=ROOT)  # noqa: S603
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    processor = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return time.perf_counter() - begun, processor


@click.command(help=__doc__)
@click.option("--data-dir", required=True, type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--only", "names", multiple=True, type=click.Choice(list(WORK)), help="This work; default: all.")
@click.option(
    "--repeats", type=click.IntRange(min=1), default=3, show_default=True, help="Turns, of which the medians are shown."
)
def main(data_dir: Path, names: tuple[str, ...], repeats: int) -> None:
    """Print the processor seconds of both, and their ratio. The exit code is 1 if it is below the aim."""
    below = False
    with tempfile.TemporaryDirectory() as folder:
        for name in names or WORK:
            work, arrays = WORK[name], Path(folder) / f"{name}.npz"
            prepare(work, data_dir.resolve(), arrays)
            turns = []
            for turn in range(repeats):
                ours = timed(work.ours(data_dir.resolve(), Path(folder) / f"{name}-{turn}.sqlite"))
                theirs = timed([sys.executable, "-m", "bench.peers", "--program", name, str(arrays)])
                turns.append((ours[1], theirs[1]))
            mine, other = (statistics.median(column) for column in zip(*turns, strict=True))
            ratio = statistics.median(theirs / ours for ours, theirs in turns)
            below |= ratio < AIM
            click.echo(f"{name:8s} ours {mine:6.1f} s, plain program {other:6.1f} s: {ratio:.2f} times (aim {AIM:g})")
    sys.exit(below)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--program"]:
        WORK[sys.argv[2]].program(Path(sys.argv[3]))
    else:
        main()
