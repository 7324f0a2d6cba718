"""Runs: what they leave behind, whatever becomes of them."""

from __future__ import annotations

import math
import re
import signal

import pytest
import torch
import toys

from collapsebench.experiment import events
from collapsebench.experiment.executors import InProcess
from collapsebench.experiment.grids import PlannedGrid, prepare, run_grid
from collapsebench.metrics.dialects import DIALECTS
from collapsebench.metrics.probe import Probe
from collapsebench.record import Guard, Outcome
from collapsebench.store import Store


class Listener:
    """An observer that keeps the events it is told, and is interrupted at the first one of a kind."""

    def __init__(self, interrupted_at=()):
        self.events, self.interrupted_at = [], interrupted_at

    def __call__(self, event):
        self.events.append(event)
        if isinstance(event, self.interrupted_at):
            signal.raise_signal(signal.SIGINT)

    @property
    def kinds(self):
        """What was told, but for the steps."""
        return [type(event) for event in self.events if not isinstance(event, events.Stepped)]


@pytest.fixture
def store(tmp_path):
    with Store.open(tmp_path / "store.sqlite") as opened:
        yield opened


@pytest.fixture
def run(store, tmp_path):
    """Run contenders on the toy dataset; the records, in order, without the runs that had a result."""

    def runs(*methods, observe=None, **given):
        setup = toys.setup(*methods, store=tmp_path / "store.sqlite", **({"baseline": False} | given))
        return run_grid(prepare(setup), InProcess(), observe or Listener())

    return runs


def values(record):
    return {(value.metric, value.column): float(value.estimate) for value in record.values}


def test_a_run_leaves_a_trajectory_and_every_metric(run, store):
    listener = Listener()
    (record,) = run("skip", observe=listener)
    assert record.outcome is Outcome.FINISHED
    assert [point.counters["steps"] for point in record.points] == [3, 6]
    assert sum(point.selected for point in record.points) == 1
    best = min(record.points, key=lambda point: float(point.values["neg_elbo"]))
    assert best.selected
    assert set(best.values) == {"neg_elbo", "kl", "loss", "mi_lower", "mi_upper", "active_units", "kl_weight"}
    assert record.counters["examples"] == 48
    assert record.counters["epochs"] == 2
    assert record.counters["decoder_evaluations"] == 48
    found = values(record)
    assert {metric for metric, _ in found} == {"neg-elbo", "iw-nll", "kl", "active-units"}
    assert all(math.isfinite(value) for value in found.values())
    assert record.parameters > 0
    assert listener.kinds == [events.Started, events.Evaluated, events.Evaluated, events.Testing, events.Finished]
    assert {event.run_id for event in listener.events} == {record.run_id}
    assert [event.point.counters for event in listener.events if isinstance(event, events.Evaluated)] == [
        point.counters for point in record.points
    ]
    assert listener.events[-1] == events.Finished(record)
    assert store.get(record.run_id) == record


def test_a_schedule_that_had_not_ended_is_found_and_a_weight_by_feedback_is_not(run):
    annealed, feedback = run("kl-annealing[warmup=1]", "geco[goal=1,step_size=0.1]", budget="9steps")
    assert [finding.guard for finding in annealed.findings] == [Guard.SCHEDULE] * (not annealed.points[-1].selected)
    assert feedback.findings == ()
    assert len({float(point.values["kl_weight"]) for point in feedback.points}) == 3


def test_metrics_are_added_by_a_setting_and_know_where_the_model_comes_from(run):
    settings = ("evaluation.metrics.time-to-collapse.epsilon=1e9", "evaluation.metrics.gap.steps=2")
    (record,) = run("skip", settings=settings)
    found = values(record)
    assert found["time-to-collapse", "time_to_collapse"] == 3, "the first evaluation, in steps"
    assert found["gap", "neg_elbo_own"] == found["gap", "neg_elbo_encoder"]
    assert found["gap", "iw_nll_refined"] < found["gap", "neg_elbo_encoder"]
    assert {"neg-elbo", "iw-nll", "kl", "active-units"} < {metric for metric, _ in found}


def test_the_model_of_a_probes_control_is_the_one_before_the_first_step(run, monkeypatch):
    seen = []

    def kept(metric, split):
        weights = (
            model.state_dict() for model in (split.provenance.assemble(), split.provenance.assemble(), split.vae)
        )
        seen.extend(torch.cat([tensor.flatten() for tensor in state.values()]) for state in weights)
        return {}

    monkeypatch.setattr(Probe, "evaluate", kept)
    run("skip", settings=("evaluation.metrics.probe.examples=5",))
    first, again, trained = seen
    assert torch.equal(first, again)
    assert not torch.equal(first, trained)


def test_the_same_seed_gives_the_same_numbers_and_another_seed_does_not(run, store):
    (first,) = run("skip")
    store.delete([first.run_id])
    (again,) = run("skip")
    (other,) = run("skip", seeds=(2,))
    assert values(again) == values(first)
    trajectory = [point.values for point in first.points]
    assert [point.values for point in again.points] == trajectory
    assert values(other) != values(first)


def test_contenders_of_one_seed_start_equal_and_see_the_same_batches(run):
    """With a KL weight that stays 1, annealing from 1 is the plain ELBO, to the last bit."""
    plain, annealed = run("vae", "kl-annealing[start=1]")
    assert values(annealed) == values(plain)


def test_no_latent_has_no_kl_and_its_bound_is_exact(run):
    (record,) = run("no-latent")
    found = values(record)
    assert found["kl", "kl"] == 0
    assert found["active-units", "active_units"] == 0
    assert found["iw-nll", "iw_nll"] == pytest.approx(found["neg-elbo", "neg_elbo"], rel=1e-6)


def test_columns_that_mean_nothing_for_a_contender_are_stored_with_their_reasons(run, store):
    (record,) = run("no-latent", settings=("evaluation.metrics=[kl,collapse,probe,dialects]",))
    told = {(each.metric, each.column): each.reason for each in record.declined}
    dialects = {("dialects", column.name) for dialect in DIALECTS for column in dialect.columns}
    expected = {("collapse", "collapse"), ("probe", "probe"), ("probe", "probe_untrained")} | dialects
    assert told == dict.fromkeys(expected, "no latent units")
    assert not told.keys() & values(record).keys()
    assert store.get(record.run_id).declined == record.declined


def test_torchs_global_generator_and_threads_are_left_alone(run):
    before, threads = torch.get_rng_state(), torch.get_num_threads()
    run("sa-vae[steps=2]")
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.get_num_threads() == threads


def test_a_run_that_got_its_result_meanwhile_is_skipped_and_leaves_no_checkpoint(run, tmp_path):
    setup = toys.setup("skip", store=tmp_path / "store.sqlite", baseline=False)
    (finished,) = run("skip")
    left = setup.checkpoints.folder / f"{finished.run_id}.pt"
    left.touch()
    listener = Listener()
    (record,) = run_grid(PlannedGrid(setup, {}), InProcess(), listener)
    assert record.outcome is Outcome.STARTED
    assert listener.events == [events.Skipped(record, "stored by another process")]
    assert not left.exists()


def test_a_divergence_is_a_result_with_its_step(run, store):
    (record,) = run("explode[at=4]")
    assert record.outcome is Outcome.DIVERGED
    assert record.message.startswith("step 5: loss inf")
    assert record.values == ()
    assert [point.counters["steps"] for point in record.points] == [3]
    assert store.get(record.run_id).outcome is Outcome.DIVERGED
    assert run("explode[at=4]") == []


def test_a_bug_in_a_method_fails_its_run_only_and_is_run_again(run, store):
    crashed, fine = run("crash", "skip")
    assert crashed.outcome is Outcome.FAILED
    assert re.fullmatch(
        r"ZeroDivisionError: division by zero \(toy_plugin.py:\d+, in kl_weight of method 'crash'\)", crashed.message
    )
    assert "kl_weight" in crashed.traceback
    assert fine.outcome is Outcome.FINISHED
    assert [record.contender for record in run("crash", "skip")] == ["crash"]


@pytest.mark.parametrize(
    ("method", "expected"),
    [
        ("no-module", "connect_latent of method 'no-module': returned 3, expected a module with an integer `width`"),
        ("wrong-shape", "forward of Forget, which connect_latent gave at sequence site 0: returned a tensor of shape"),
    ],
)
def test_a_plugin_that_breaks_its_contract_is_named_in_one_line(run, method, expected):
    (record,) = run(method)
    assert record.outcome is Outcome.FAILED
    assert expected in record.message
    assert "\n" not in record.message


def test_an_interrupt_while_training_is_stored_and_the_run_is_run_again(run, store):
    with pytest.raises(KeyboardInterrupt):
        run("interrupt")
    spec = toys.planned("interrupt", baseline=False).specs[0]
    assert store.get(spec.run_id).outcome is Outcome.INTERRUPTED
    with pytest.raises(KeyboardInterrupt):
        run("interrupt")


def test_an_interrupt_while_evaluating_is_stored(run, store):
    with pytest.raises(KeyboardInterrupt):
        run("skip", observe=Listener(interrupted_at=events.Testing))
    assert [summary.outcome for summary in store.summaries()] == [Outcome.INTERRUPTED]
    (record,) = run("skip")
    assert record.outcome is Outcome.FINISHED
