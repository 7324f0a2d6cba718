"""What every part of a contender must do, whatever it does. A check is a function that raises if it is not so.

Methods, encoders, posteriors, decoders, rules of first values and strategies of inference are tried in tiny contenders.
"""

from __future__ import annotations

import inspect
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import torch
from pydantic import ValidationError
from torch import Tensor

from collapsebench.components.descriptions import required
from collapsebench.components.discovery import check_component, load
from collapsebench.components.interfaces import Component, Initialization, Method
from collapsebench.errors import CollapsebenchError
from collapsebench.experiment.checkpoint import Checkpoints
from collapsebench.experiment.guarding import check_distributions
from collapsebench.experiment.meter import Meter
from collapsebench.experiment.training import TrainingState, step
from collapsebench.guards.audits import work_while_building
from collapsebench.guards.causality import check_causality
from collapsebench.guards.traces import digest, without_trace
from collapsebench.metrics.evaluation import EvaluatedSplit
from collapsebench.model.seeding import Purpose, own_generators, run_noise, seed_torch
from collapsebench.spec import Unit
from collapsebench.testing.subjects import Refused, Subject, Trained, steps, train
from collapsebench.testing.tiny import BATCH, SEED, STEPS, Model
from collapsebench.validation import describe

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from torch import nn

    from collapsebench.experiment.training import TrainingSetup
    from collapsebench.model.vae import VAE
    from collapsebench.testing.tiny import Family

COMPANIONS = ("skip", "free-bits", "kl-annealing", "iaf", "sa-vae[steps=1]", "word-dropout")
"""The shipped contenders beside which a component is tried: one for each way in which methods meet."""

BUDGETS = {
    Unit.STEPS: "5steps",
    Unit.EPOCHS: "2epochs",
    Unit.EXAMPLES: "20examples",
    Unit.SECONDS: "600seconds",
    Unit.FLOPS: "1e12flops",
}
"""A budget of each unit that the steps of a trial do not spend."""


class CheckError(CollapsebenchError, AssertionError):
    """A component does not do what it must. The text says what is wrong, and often what to do about it."""


def expect(holds: bool, problem: str) -> None:
    """Raise CheckError with the problem unless something holds."""
    if not holds:
        raise CheckError(problem)


def described(subject: Subject) -> None:
    """Name, docstring and every field say what they are, and a method says who made it."""
    component = subject.component
    check_component(component, component.__module__)
    docstring = inspect.cleandoc(vars(component).get("__doc__") or "")
    expect(bool(docstring), f"class {component.__qualname__} has no docstring: its first line is what a list shows")
    if issubclass(component, Method):
        cited = bool(component.citation.strip())
        expect(cited, f"class {component.__qualname__} has no `citation`: say whose method it is, yours as well")
        _can_be_tuned(component)
    subject.make()


def _can_be_tuned(method: type[Method]) -> None:
    """Both ends of each range that `tune` searches are values of the field."""
    for field, searched in method.search.items():
        for value in (searched.at(0), searched.at(1)):
            try:
                method(**(required(method) | {field: value}))
            except ValidationError as error:
                problem = f"{method.__qualname__}.search has {field}={value}: {describe(error, method)}"
                raise CheckError(problem) from None


def trains(subject: Subject) -> None:
    """It trains on some kind of data, and refuses the others by a UsageError of one line that names it."""
    for data, trial in subject.trials.items():
        if isinstance(trial, Refused):
            expect("\n" not in trial.reason, f"on {data} it is refused in several lines: {trial.reason!r}")
            name = subject.component.name
            expect(f"'{name}'" in trial.reason, f"on {data} it is refused without its name '{name}': {trial.reason}")
    refusals = (f"{data}: {trial.reason}" for data, trial in subject.trials.items() if isinstance(trial, Refused))
    expect(bool(subject.fitting), f"it trains on no kind of data ({'; '.join(refusals)})")


def has_effect(subject: Subject) -> None:
    """On some data the training of a method differs from that of the baseline."""
    if not issubclass(subject.component, Method):
        return
    plain = {data: train(_plain(subject, family)) for data, family in subject.fitting.items()}
    same = [data for data, trained in plain.items() if _alike(subject.trials[data], trained)]
    expect(
        len(same) < len(subject.fitting),
        f"{STEPS} steps on {' and '.join(same)} are to the bit those of the baseline: does each hook return something?",
    )


def gradients_reach(subject: Subject) -> None:
    """Every parameter that a component adds gets a gradient, and a method leaves no network without one."""
    for data, family in subject.fitting.items():
        idle = _forgotten(subject, family)
        expect(
            not idle,
            f"on {data} {len(idle)} parameters get no gradient in {STEPS} steps, such as "
            f"'{min(idle, default='')}': use them, or freeze them with requires_grad_(False)",
        )


def _forgotten(subject: Subject, family: Family) -> set[str]:
    """Return the parameters that should have had a gradient. What a method adds is its own; the rest is the model's."""
    idle, wanted = _idle(subject.model(family))
    if not issubclass(subject.component, Method):
        return idle
    shared = {name for name, _ in _plain(subject, family).build().named_parameters()}
    left = set(map(_network, wanted)) - set(map(_network, wanted - idle))
    excused = subject.component.without_gradient
    return {each for each in idle if (each not in shared or _network(each) in left) and not each.endswith(excused)}


def _network(name: str) -> str:
    """Return the network of a parameter: `encoder` of `encoder.layers.0.weight`."""
    return name.partition(".")[0]


def _idle(model: Model) -> tuple[set[str], set[str]]:
    """Return the names of the parameters that have had no gradient but zero in any step, and of all that want one."""
    setup = model.setup()
    state, moved = TrainingState.start(setup), set()
    wanted = {name: each for name, each in setup.vae.named_parameters() if each.requires_grad and each.numel()}

    def note(name: str) -> Callable[[Tensor], None]:
        return lambda parameter: moved.add(name) if _moved(parameter) else None

    for name, parameter in wanted.items():
        parameter.register_post_accumulate_grad_hook(note(name))  # type: ignore[no-untyped-call]
    for batch in model.batches():
        step(setup, state, batch)
        moved |= {name for name, parameter in wanted.items() if _moved(parameter)}
    return wanted.keys() - moved, set(wanted)


def _moved(parameter: Tensor) -> bool:
    return parameter.grad is not None and bool(parameter.grad.any())


def repeats(subject: Subject) -> None:
    """The same seed gives the same bits, and another seed gives others on some data."""
    same: list[str] = []
    for data, family in subject.fitting.items():
        first, again, other = (subject.train(family, seed) for seed in (1, 1, 2))
        expect(
            first.alike(again),
            f"on {data} two runs of one seed differ: draw random numbers from the `noise` of the harness, and keep "
            "nothing in globals",
        )
        if first.alike(other):
            same.append(data)
    expect(len(same) < len(subject.fitting), f"two seeds give the same bits on {' and '.join(same)}")


def runs_under_every_budget(subject: Subject) -> None:
    """It trains under a budget of any unit, and each is spent by the steps."""
    family = _first(subject)
    for unit in Unit:
        setup = subject.setup(family, budget=BUDGETS[unit])
        state = TrainingState.start(setup)
        expect(state.meter.affords((BATCH,)), f"a budget in {unit} affords no step")
        steps(setup, state, subject.model(family))
        expect(0 < state.meter.spent(unit) < setup.budget.amount, f"steps spend nothing of a budget in {unit}")


def resumes(subject: Subject) -> None:
    """Stopped after any step and gone on from its checkpoint, it ends with the same bits as uninterrupted."""
    for data, family in subject.fitting.items():
        model = subject.model(family)
        whole = subject.setup(family)
        wanted = TrainingState.start(whole)
        losses = steps(whole, wanted, model)
        for stop in range(1, STEPS):
            found, parts = _resumed(subject, family, stop)
            expect(
                losses == found and parts == _kept(wanted),
                f"on {data}, stopped after step {stop}, it does not go on as if it had not been: keep what changes in "
                "modules of the model or in private attributes of pydantic",
            )


def _resumed(subject: Subject, family: Family, stop: int) -> tuple[list[float], list[str]]:
    """Return the losses of a training that was stopped, and what its state keeps in the end."""
    model = subject.model(family)
    killed, resumed = (subject.setup(family) for _ in range(2))
    first, second = map(TrainingState.start, (killed, resumed))
    done = steps(killed, first, model, slice(stop))
    with TemporaryDirectory() as folder:
        checkpoint = Checkpoints(Path(folder)).of(f"{stop:016}", {}, _refused)
        checkpoint.save(first.state())
        second.load(checkpoint.load() or {})
    return [*done, *steps(resumed, second, model, slice(stop, None))], _kept(second)


def _refused(line: str) -> None:
    raise CheckError(
        "no checkpoint can hold what it keeps: keep tensors, numbers, texts, and lists, dicts and sets of them, in "
        f"modules or in private attributes ({line})"
    )


def _kept(state: TrainingState) -> list[str]:
    """Return digests of what a state keeps that must be equal, bit for bit."""
    kept = state.state()
    return [digest(kept[part]) for part in ("vae", "methods", "optimizer", "losses", "kl_weight")]


def is_metered(subject: Subject) -> None:
    """Its work is on the meter: FLOPs and passes are counted, and the audits of all steps find nothing else."""
    flops: list[float] = []
    for data, family in subject.fitting.items():
        setup = subject.setup(family)
        state = TrainingState.start(setup)
        state.meter = Meter(setup.budget, len(setup.splits.train), setup.device, following=lambda done: done + 1)
        steps(setup, state, subject.model(family))
        counted = state.meter.counters()
        flops.append(counted["flops"])
        expect(counted["decoder_evaluations"] > 0, f"on {data} the meter counts no pass through the decoder")
        building = work_while_building(setup.building_flops, counted["flops"] / STEPS)
        found = [finding.text for finding in (building, *state.meter.findings()) if finding is not None]
        expect(not found, f"on {data}: {'; '.join(found)}")
    expect(any(flops), f"the meter counts no FLOPs on {' and '.join(subject.fitting)}")


def is_paired(subject: Subject) -> None:
    """What it shares with the baseline starts equal, and it leaves the batches as they are."""
    for data, family in subject.fitting.items():
        setup, model = subject.setup(family), subject.model(family)
        unequal = _unequal(_plain(subject, family).build(), setup.vae, rule=subject.component)
        expect(not unequal, f"on {data} module '{min(unequal, default='')}' starts other than in the baseline")
        state, batches = TrainingState.start(setup), model.batches()
        for batch, wanted in zip(batches, model.batches(), strict=True):
            step(setup, state, batch)
            same = bool((batch.x == wanted.x).all())
            expect(same, f"on {data} it writes into the examples, so that others see other data: copy them first")


def _unequal(plain: VAE, own: VAE, rule: type[Component]) -> list[str]:
    """Return the names of the modules of equal shapes that start with other values, which is what a rule is for."""
    if issubclass(rule, Initialization):
        return []
    one, other = dict(plain.named_modules()), dict(own.named_modules())
    return [
        name
        for name in one
        if name in other
        and _shapes(one[name]) == _shapes(other[name])
        and not all(torch.equal(a, b) for a, b in zip(_own(one[name]), _own(other[name]), strict=True))
    ]


def _own(module: nn.Module) -> list[Tensor]:
    return list(module.parameters(recurse=False))


def _shapes(module: nn.Module) -> Mapping[str, torch.Size]:
    return {name: parameter.shape for name, parameter in module.named_parameters(recurse=False)}


def is_causal(subject: Subject) -> None:
    """The likelihood is one: no factor of it looks ahead, at other examples, or at what the encoder was shown."""
    for family in subject.fitting.values():
        setup, x = _trained(subject, family)
        check_causality(setup.vae, x, run_noise(SEED, Purpose.EVALUATION, "causality"))


def has_densities(subject: Subject) -> None:
    """Prior and posterior are densities: they integrate to one, and their samples and KL are theirs."""
    for family in subject.fitting.values():
        setup, x = _trained(subject, family)
        check_distributions(setup, x, run_noise(SEED, Purpose.EVALUATION, "densities"))


def leaves_no_trace(subject: Subject) -> None:
    """An evaluation changes neither model nor method, and says the same when it is repeated."""
    for data, family in subject.fitting.items():
        setup, _ = _trained(subject, family)
        with own_generators(setup.device), without_trace(setup.vae, setup.keepers):
            first, again = (_bound(setup) for _ in range(2))
        expect(first == again, f"on {data} the bound is {first} and then {again}: draw from the `noise` that is given")


def _bound(setup: TrainingSetup) -> float:
    """Return the bound on the validation split, as a run computes it."""
    seed_torch(SEED, Purpose.EVALUATION, "valid")
    noise = run_noise(SEED, Purpose.EVALUATION, "valid")
    split = EvaluatedSplit(setup.vae, setup.inference, setup.splits.valid, noise, BATCH, setup.device)
    return split.neg_elbo


def is_neutral(subject: Subject) -> None:
    """At the settings that it declares `neutral`, it trains as the plain VAE, bit for bit."""
    if not (issubclass(subject.component, Method) and subject.component.neutral is not None):
        return
    neutral = Subject(subject.component, subject.component.neutral, dtype=subject.dtype)
    for data, family in neutral.fitting.items():
        same = _alike(neutral.trials[data], train(_plain(subject, family)))
        expect(same, f"on {data} its neutral setting {dict(subject.component.neutral)} does not train as the plain VAE")


def composes(subject: Subject) -> None:
    """Beside shipped methods it trains, or is refused by name, in one line."""
    for written, methods in _companions().items():
        name = subject.component.name
        if name in {method.name for method in methods}:
            continue
        for data, family in subject.fitting.items():
            joint = Subject(subject.component, subject.settings, methods, subject.dtype)
            try:
                trial = joint.tried(family)
            except Exception as error:
                raise CheckError(f"beside '{written}' on {data}: {error}") from error
            if isinstance(trial, Refused):
                named = any(f"'{each}'" in trial.reason for each in (name, *(method.name for method in methods)))
                said = f"beside '{written}' the refusal is not one line that names it: {trial.reason!r}"
                expect("\n" not in trial.reason and named, said)


@cache
def _companions() -> Mapping[str, tuple[Method, ...]]:
    """Return those of the companions that are installed."""
    catalog = load(kinds={"method"})
    known = catalog.names("method")
    return {text: tuple(catalog.contender(text)[1]) for text in COMPANIONS if text.partition("[")[0] in known}


def _plain(subject: Subject, family: Family) -> Model:
    """Return the plain VAE beside which a component is looked at."""
    return Model(family, dtype=subject.dtype)


def _alike(trial: Trained | Refused, plain: Trained) -> bool:
    return isinstance(trial, Trained) and trial.alike(plain)


def _first(subject: Subject) -> Family:
    """Return the first family that fits. Raises CheckError if there is none."""
    expect(bool(subject.fitting), "it fits no kind of data")
    return next(iter(subject.fitting.values()))


def _trained(subject: Subject, family: Family) -> tuple[TrainingSetup, Tensor]:
    """Return what a contender is after its steps, and examples that it has not seen."""
    setup = subject.setup(family)
    steps(setup, TrainingState.start(setup), subject.model(family))
    return setup, torch.from_numpy(next(iter(setup.splits.valid.batches(BATCH))).x)
