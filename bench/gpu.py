"""`python -m bench.gpu`: what only a GPU can show, in eight minutes on one.

Every check is written out as soon as it is done, so that a time limit loses none of them: to a file, or as a line of
standard output. Exit code 1 if a check failed, and 2 if there is no GPU.
"""

from __future__ import annotations

import json
import statistics
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import click
import torch
from torch._C._autograd import DeviceType
from torch.profiler import ProfilerActivity, profile, record_function

import collapsebench
from bench.work import PixelCNN, Text
from bench.workloads import PAPER, SMALL, image_setup, installed, moved, text_setup
from collapsebench.components.descriptions import with_required
from collapsebench.errors import UsageError
from collapsebench.examples import Batch
from collapsebench.experiment import training
from collapsebench.experiment.arithmetic import arithmetic, reproducible
from collapsebench.experiment.checkpoint import Checkpoints
from collapsebench.experiment.environment import environment
from collapsebench.experiment.training import TrainingSetup, TrainingState
from collapsebench.record import Outcome

DATASETS = {"digits": ("quick", "mlp"), "synthetic-text": ("demo", "lstm")}
"""A dataset of images and one of text, which need no files, with the track that is tried and a family of networks."""

LAUNCHES = ("cudaLaunch", "cuLaunch", "cudaGraphLaunch")
WAITS = ("cudaStreamSynchronize", "cudaDeviceSynchronize", "cudaEventSynchronize")
COPIES = ("cudaMemcpy", "cuMemcpy")
"""The beginnings of the names that the profiler gives to calls of the CUDA runtime."""

WARM_UP = 3
"""Steps that are left out: memory is taken, and kernels are chosen."""

STEP = "a step"
"""What the profiler calls it."""

MESSAGE = 2000
"""The last characters of a traceback that are kept."""

Found = dict[str, Any]
"""What a check found; `passed` is among it."""


@dataclass(frozen=True)
class Sizes:
    """How much is tried."""

    contenders: tuple[str, ...]
    repeated: tuple[str, ...]
    """The contenders that run several times, to be compared."""
    steps: int
    """The steps of a run."""
    text: Text
    """The text models whose FLOPs and launches are counted."""
    matrix: int
    """The size of the square matrices whose product is the yardstick."""
    seconds: float
    """How long a workload is timed, at least."""
    rated: tuple[str, ...]
    """The workloads that are timed."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """What the runs change of their tracks."""


def full() -> Sizes:
    """Everything, for a GPU."""
    return Sizes(
        contenders=contenders(),
        repeated=("svi", "skip+sa-vae"),
        steps=20,
        text=Text(vocabulary=1000, embedding=64, hidden=128, latent=16, batch=16, tokens=20),
        matrix=8192,
        seconds=5.0,
        rated=("text-paper vae", "text-small sa-vae", "pixelcnn vae", "pixelcnn sa-vae"),
    )


def little() -> Sizes:
    """Little, to try the checks themselves on a CPU."""
    few = ("skip", "sa-vae[steps=2]")
    tiny = Text(vocabulary=50, embedding=4, hidden=8, latent=2, batch=4, tokens=5)
    return Sizes(
        few,
        few[1:],
        steps=2,
        text=tiny,
        matrix=64,
        seconds=0.01,
        rated=("text-tiny sa-vae",),
        settings={"evaluation.metrics": ["neg-elbo", "kl", "iw-nll"], "evaluation.metrics.iw-nll.samples": 2},
    )


def contenders() -> tuple[str, ...]:
    """Every method that is installed, with what it requires, and the composition of the seed paper."""
    known = installed()
    return (*(with_required(known.entry("method", name).component) for name in known.names("method")), "skip+sa-vae")


class Place(NamedTuple):
    """Where the checks compute, and how much."""

    device: torch.device
    sizes: Sizes


def wait(device: torch.device) -> None:
    """Wait until the device is done."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def check_environment(place: Place) -> Found:
    """The device and the libraries, as a record names them."""
    return {"passed": True, "environment": environment(str(place.device))}


def runs(place: Place, chosen: tuple[str, ...], dataset: str, **given: Any) -> list[collapsebench.Run]:
    """The runs of some contenders and the baseline on one dataset, in a store of their own."""
    every = f"{place.sizes.steps}steps"
    asked = {"dataset": dataset, "track": DATASETS[dataset][0], "budget": every, "device": str(place.device)}
    with TemporaryDirectory() as folder:
        made = collapsebench.run(
            chosen,
            store=Path(folder) / "runs.sqlite",
            settings={"evaluation.every": every, **place.sizes.settings},
            progress=False,
            **(asked | given),
        )
        return list(made)


def check_contenders(place: Place) -> Found:
    """Every shipped contender trains some steps on text and on images, and is tested."""
    ended = {
        f"{run.contender}, {dataset}": run.record
        for dataset, (_, family) in DATASETS.items()
        for run in runs(place, fitting(place, family), dataset)
    }
    wrong = {name: record.message for name, record in ended.items() if record.outcome is not Outcome.FINISHED}
    return {"passed": not wrong, "finished": len(ended) - len(wrong), "wrong": wrong}


def numbers(run: collapsebench.Run) -> Found:
    """Every number of a run that no clock decides."""
    record = run.record.model_dump(mode="json")
    for point in record["points"]:
        del point["counters"]["seconds"]
    return {"points": record["points"], "values": record["values"], "message": record["message"]}


def check_same_bits(place: Place) -> Found:
    """The same runs twice have the same numbers, bit for bit."""
    different = []
    for dataset in DATASETS:
        first, second = (runs(place, place.sizes.repeated, dataset) for _ in range(2))
        pairs = zip(first, second, strict=True)
        different += [f"{one.contender}, {dataset}" for one, two in pairs if numbers(one) != numbers(two)]
    return {"passed": not different, "different": different}


def check_workers(place: Place) -> Found:
    """Two workers share the device, and their runs are those of one process."""
    alone = {run.run_id: numbers(run) for run in runs(place, place.sizes.repeated, "digits", threads=1)}
    shared = runs(place, place.sizes.repeated, "digits", threads=1, workers=2, per_device=2)
    different = [run.contender for run in shared if numbers(run) != alone[run.run_id]]
    return {"passed": not different, "different": different}


def families(place: Place) -> dict[str, Callable[[str], TrainingSetup]]:
    """Text and image contenders on the CPU, by the name of their networks."""
    small = {"name": "mlp", "hidden": 64}
    convolutions = ({"name": "resnet"}, {"name": "pixelcnn", "layers": 2, "maps": 4})
    return {
        "lstm": lambda contender: text_setup(contender, place.sizes.text),
        "mlp": lambda contender: image_setup(contender, 8, small, small, batch=8),
        "pixelcnn": lambda contender: image_setup(contender, 8, *convolutions, batch=2),
    }


def fitting(place: Place, family: str) -> tuple[str, ...]:
    """The contenders that can be built with a family of networks. The others are refused by a UsageError."""
    return tuple(each for each in place.sizes.contenders if fits(partial(families(place)[family], each)))


def fits(build: Callable[[], TrainingSetup]) -> bool:
    """Whether a contender can be built."""
    try:
        build()
    except UsageError:
        return False
    return True


def cases(place: Place) -> Iterator[tuple[str, Callable[[], TrainingSetup]]]:
    """The baseline and the contenders with every family that they fit, as functions that build them on the CPU."""
    for family, build in families(place).items():
        for contender in ("vae", *fitting(place, family)):
            yield f"{contender}, {family}", partial(build, contender)


def first_batch(setup: TrainingSetup) -> Batch:
    """The first batch of a contender."""
    return next(setup.splits.train.batches(setup.setting.batch_size))


def steps(setup: TrainingSetup, state: TrainingState, number: int) -> None:
    """Do so many steps on the first batch, and look at their losses."""
    for _ in range(number):
        training.step(setup, state, first_batch(setup))
    state.settle()


def check_resume(place: Place) -> Found:
    """A state that was kept in a checkpoint goes on to the same parameters, bit for bit."""
    different = []
    for name, build in cases(place):
        whole, begun, resumed = (moved(build(), place.device) for _ in range(3))
        state, first, second = map(TrainingState.start, (whole, begun, resumed))
        steps(whole, state, 4)
        steps(begun, first, 2)
        with TemporaryDirectory() as folder:
            checkpoint = Checkpoints(Path(folder)).of("0" * 16, {}, click.echo)
            checkpoint.save(first.state())
            second.load(checkpoint.load(str(place.device)) or {})
        steps(resumed, second, 2)
        if not all(map(torch.equal, whole.vae.parameters(), resumed.vae.parameters())):
            different.append(name)
    return {"passed": not different, "different": different}


def check_flops(place: Place) -> Found:
    """A step has as many FLOPs on the device as on the CPU, and nothing in it is uncounted."""
    wrong: Found = {}
    for name, build in cases(place):
        spent = []
        for device in (torch.device("cpu"), place.device):
            setup = moved(build(), device)
            state = TrainingState.start(setup)
            steps(setup, state, 1)
            spent.append((state.meter.counters()["flops"], [finding.text for finding in state.meter.findings()]))
        if spent[0] != spent[1] or spent[1][1]:
            wrong[name] = spent
    return {"passed": not wrong, "wrong": wrong}


def seconds_of(call: Callable[[], object], device: torch.device, at_least: float) -> float:
    """The seconds of a call, the mean over as many as take some time together. Warm up before."""
    done, start = 0, time.perf_counter()
    while True:
        call()
        done += 1
        if done & (done - 1) == 0:  # the device is waited for after 1, 2, 4, … calls
            wait(device)
            if (taken := time.perf_counter() - start) >= at_least:
                return taken / done


def product_rate(place: Place) -> float:
    """FLOP/s of a product of two square float32 matrices, the median of five measurements."""
    size = place.sizes.matrix
    matrix = torch.randn(size, size, device=place.device)
    seconds_of(lambda: matrix @ matrix, place.device, 0)
    rates = [
        2.0 * size**3 / seconds_of(lambda: matrix @ matrix, place.device, place.sizes.seconds / 20) for _ in range(5)
    ]
    return statistics.median(rates)


def rated(place: Place) -> dict[str, tuple[float, Callable[[], TrainingSetup]]]:
    """The workloads that are timed, with their FLOPs by analytic count."""
    image = partial(image_setup, latent=32, encoder={"name": "resnet"}, decoder={"name": "pixelcnn"})
    pixels, tiny = PixelCNN(50, 32, skip=False), place.sizes.text
    known: dict[str, tuple[float, Callable[[], TrainingSetup]]] = {
        "text-paper vae": (PAPER.vae(), partial(text_setup, "vae", PAPER)),
        "text-small sa-vae": (SMALL.sa_vae(10), partial(text_setup, "sa-vae[steps=10]", SMALL)),
        "text-tiny sa-vae": (tiny.sa_vae(2), partial(text_setup, "sa-vae[steps=2]", tiny)),
        "pixelcnn vae": (pixels.vae(), partial(image, "vae")),
        "pixelcnn sa-vae": (pixels.sa_vae(10), partial(image, "sa-vae[steps=10]")),
    }
    return {name: known[name] for name in place.sizes.rated}


@contextmanager
def tf32() -> Iterator[None]:
    """Round the inputs of products, convolutions and recurrent layers to TF32 within the block."""
    before = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    torch.set_float32_matmul_precision("high")
    torch.backends.cudnn.allow_tf32 = True
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before[0])
        torch.backends.cudnn.allow_tf32 = before[1]


def fractions(place: Place) -> Found:
    """Milliseconds of a step, and its fraction of the product rate."""
    rate, found = product_rate(place), {}
    for name, (flop, build) in rated(place).items():
        setup = moved(build(), place.device)
        state = TrainingState.start(setup)
        steps(setup, state, WARM_UP)
        call = partial(training.step, setup, state, first_batch(setup))
        seconds = seconds_of(call, place.device, place.sizes.seconds)
        found[name] = {"ms": round(1e3 * seconds, 3), "fraction": round(flop / seconds / rate, 4)}
    return {"gflops": round(rate / 1e9), **arithmetic(), "workloads": found}


def check_rates(place: Place) -> Found:
    """How fast steps are, in float32 and with TF32, as fractions of the device's product rate. Nothing has to hold."""
    exact = fractions(place)
    with tf32():
        return {"passed": True, "float32": exact, "tf32": fractions(place)}


def check_launches(place: Place) -> Found:
    """What a step of known cost asks of the device: launches, copies, and waits, of which there should be none.

    On a CPU only torch's own operations are seen.
    """
    found = {}
    for name, build in cases(place):
        setup = moved(build(), place.device)
        state = TrainingState.start(setup)
        steps(setup, state, WARM_UP)
        training.step(
            setup, state, first_batch(setup)
        )  # the wait at the beginning of a stretch is not of the next step
        found[name] = asked_of(partial(training.step, setup, state, first_batch(setup)), place.device)
        state.settle()
    waiting = [name for name, asked in found.items() if asked["waits"]]
    return {"passed": not waiting, "waiting": waiting, "steps": found}


def asked_of(call: Callable[[], object], device: torch.device) -> dict[str, int]:
    """The calls of the CUDA runtime and the operations of torch in one call. The profiler waits in the end, too."""
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if device.type == "cuda" else [])]
    with profile(activities=activities) as profiled:
        with record_function(STEP):
            call()
        wait(device)
    events = [event for event in profiled.events() if event.device_type == DeviceType.CPU]
    (step,) = (event.time_range for event in events if event.name == STEP)
    names = [event.name for event in events if step.start <= event.time_range.start <= step.end]
    counted = {"launches": LAUNCHES, "waits": WAITS, "copies": COPIES, "operations": ("aten::",)}
    return {what: sum(name.startswith(beginnings) for name in names) for what, beginnings in counted.items()}


CHECKS: dict[str, Callable[[Place], Found]] = {
    "environment": check_environment,
    "contenders": check_contenders,
    "flops": check_flops,
    "resume": check_resume,
    "launches": check_launches,
    "rates": check_rates,
    "same-bits": check_same_bits,
    "workers": check_workers,
}
"""In the order in which they run: what says most comes first."""


def checked(name: str, place: Place) -> Found:
    """Do one check. One that raises anything has failed."""
    start = time.perf_counter()
    try:
        with reproducible(str(place.device)):
            found = CHECKS[name](place)
    except Exception:  # noqa: BLE001 - the other checks are to be done
        found = {"passed": False, "error": traceback.format_exc()[-MESSAGE:]}
    return {"check": name, "seconds": round(time.perf_counter() - start, 1), **found}


@click.command(help=__doc__)
@click.option("--device", default="cuda", show_default=True, help="Where the checks compute.")
@click.option("--quick", is_flag=True, help="Small sizes, to try the checks themselves on a CPU.")
@click.option("--only", multiple=True, type=click.Choice(list(CHECKS)), help="Only this check; may be repeated.")
@click.option("--json", "output", type=click.Path(dir_okay=False, path_type=Path), help="Write a list to this file.")
def main(device: str, quick: bool, only: tuple[str, ...], output: Path | None) -> None:
    """Do the checks one by one."""
    if device.startswith("cuda") and not torch.cuda.is_available():
        click.echo("there is no GPU that torch can use; --device cpu --quick tries the checks themselves", err=True)
        raise click.exceptions.Exit(2)
    place = Place(torch.device(device), little() if quick else full())
    done: list[Found] = []
    for name in only or CHECKS:
        done.append(checked(name, place))
        if output is None:
            click.echo(json.dumps(done[-1]))
        else:
            output.write_text(json.dumps(done, indent=2) + "\n")
            click.echo(f"{name}: {'passed' if done[-1]['passed'] else 'FAILED'} in {done[-1]['seconds']} s", err=True)
    if not all(found["passed"] for found in done):
        raise click.exceptions.Exit(1)


if __name__ == "__main__":
    main()
