"""The guards of one run: what is looked at before the first step, and when the parameters are chosen."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from collapsebench.experiment.assembly import kl_weight_at
from collapsebench.experiment.keeping import load_private, private_state
from collapsebench.experiment.training import TrainingSetup, TrainingState
from collapsebench.guards.agreement import check_agreement
from collapsebench.guards.audits import work_while_building
from collapsebench.guards.causality import check_causality
from collapsebench.guards.patches import check_unpatched
from collapsebench.guards.posteriors import EXAMPLES, check_posterior
from collapsebench.guards.priors import check_prior
from collapsebench.guards.schedules import unfinished_schedule
from collapsebench.guards.traces import without_trace
from collapsebench.metrics.estimators import evenly_spaced
from collapsebench.metrics.evaluation import evaluation_mode, own_posterior
from collapsebench.model.distributions import on_processor
from collapsebench.model.seeding import Noise, Purpose, own_generators, run_noise, seed_torch
from collapsebench.spec import Unit

if TYPE_CHECKING:
    from collapsebench.components.catalog import Catalog
    from collapsebench.model.progress import Progress
    from collapsebench.record import Finding, Point
    from collapsebench.spec import RunSpec


def check_before_training(spec: RunSpec, setup: TrainingSetup, catalog: Catalog) -> None:
    """Raise PluginError or DataError if the run is not what its spec says, or its decoder is no likelihood."""
    check_agreement(spec, setup.splits, catalog)
    check_model(setup, catalog)


def findings_after_training(
    setup: TrainingSetup, state: TrainingState, points: tuple[Point, ...], catalog: Catalog
) -> list[Finding]:
    """Return what the guards found in training. Raises PluginError if the model is no longer what it has to be."""
    check_model(setup, catalog)
    building = work_while_building(setup.building_flops, state.meter.spent(Unit.FLOPS) / max(1, state.meter.steps))
    return [*filter(None, (building,)), *state.meter.findings(), *_schedule(setup, state, points)]


def check_after_testing(spec: RunSpec, setup: TrainingSetup, catalog: Catalog) -> None:
    """Raise PluginError or DataError if something was replaced or overwritten while the test split was evaluated."""
    check_agreement(spec, setup.splits, catalog)
    check_unpatched(catalog.files, setup.vae)


def check_model(setup: TrainingSetup, catalog: Catalog) -> None:
    """Raise PluginError if the harness is patched, or decoder, prior or posterior are no density.

    The examples are of the validation split.
    """
    check_unpatched(catalog.files, setup.vae)
    first = next(iter(setup.splits.valid.batches(setup.setting.batch_size))).x
    with own_generators(setup.device):
        seed_torch(setup.seed, Purpose.EVALUATION, "causality")
        noise = run_noise(setup.seed, Purpose.EVALUATION, "causality")
        x = torch.from_numpy(first).to(setup.device)
        check_causality(setup.vae, x, noise)
        check_distributions(setup, x[evenly_spaced(len(x), min(EXAMPLES, len(x)))], noise)


def check_distributions(setup: TrainingSetup, x: Tensor, noise: Noise) -> None:
    """Raise PluginError if prior or posterior are no density at some examples, or if looking at them leaves a trace."""
    with torch.no_grad(), evaluation_mode(setup.vae):
        prior = on_processor(setup.vae.prior)
        check_prior(prior, noise.child("prior"))
        with without_trace(setup.vae, setup.keepers, setup.plugin_modules()):
            posterior = own_posterior(setup.vae, setup.inference, x, noise.child("inference"))
        check_posterior(posterior.at(posterior.parameters.cpu()), prior, noise.child("posterior"))


def _schedule(setup: TrainingSetup, state: TrainingState, points: tuple[Point, ...]) -> tuple[Finding, ...]:
    """Return what is to be said of the KL weight. What methods keep is that of the selected point, and stays so."""
    chosen = next((point for point in points if point.selected), None)
    if chosen is None or math.isnan(float(chosen.values["kl_weight"])):
        return ()

    def weight(progress: Progress) -> float:
        kept = private_state(setup.keepers)
        found = kl_weight_at(setup.hooks, progress)
        load_private(setup.keepers, kept)
        return found

    end, spent = state.progress(), chosen.counters[setup.budget.unit] / setup.budget.amount
    selected = replace(end, fraction=min(1.0, spent), step=int(chosen.counters[Unit.STEPS]))
    return unfinished_schedule(weight, selected, replace(end, fraction=1.0))
