"""Checkpoints: whole or not there, of use only where they fit; claims; runs that go on."""

from __future__ import annotations

import errno
import io
import json
import os
import signal
import stat
import threading
from types import SimpleNamespace
from typing import ClassVar
from uuid import UUID

import pytest
import torch
import toys
from killing import comparable
from test_runner import Listener

from collapsebench import files
from collapsebench.errors import StoreError
from collapsebench.experiment import checkpoint, events
from collapsebench.experiment.checkpoint import Checkpoint, Checkpoints
from collapsebench.experiment.executors import InProcess
from collapsebench.experiment.grids import prepare, run_grid
from collapsebench.record import Guard, Outcome
from collapsebench.store import Store

RUN = "0123456789abcdef"
STATE = {"weights": torch.arange(6.0).reshape(2, 3), "position": (1, 2, False), "best": float("inf"), "chosen": None}


@pytest.fixture
def warnings():
    return []


@pytest.fixture
def kept(tmp_path, warnings):
    """A checkpoint that is written."""
    made = Checkpoints(tmp_path).of(RUN, {"threads": 1}, warnings.append)
    made.save(STATE)
    return made


def test_what_is_saved_is_loaded(kept, tmp_path, warnings):
    found = kept.load()
    assert torch.equal(found.pop("weights"), STATE["weights"])
    assert found == {name: value for name, value in STATE.items() if name != "weights"}
    assert [path.name for path in tmp_path.iterdir()] == [f"{RUN}.pt"]
    assert warnings == []


def test_none_is_none(tmp_path, warnings):
    assert Checkpoints(tmp_path / "new").of(RUN, {}, warnings.append).load() is None
    assert warnings == []


@pytest.mark.parametrize(
    ("saved", "device", "moved"),
    [("cpu", "cpu", []), ("cpu", "cuda:1", []), ("cuda:0", "cpu", []), ("cuda:0", "cuda:1", ["cuda:1"])],
)
def test_what_a_gpu_held_comes_back_to_the_gpu_of_the_run(saved, device, moved):
    class Memory:
        def to(self, *, device):
            found.append(device)
            return self

    found, memory = [], Memory()
    assert checkpoint._placed(device, memory, saved) is memory
    assert found == moved


def damage(content: bytes, how: str) -> bytes:
    head, _, body = content.partition(b"\n")
    if "=" in how:
        key, value = how.split("=")
        return json.dumps(json.loads(head) | {key: value}).encode() + b"\n" + body
    damaged = {
        "empty": b"",
        "no header": head[:20],
        "no object": b"[1]\n" + body,
        "torn": content[: len(content) // 2],
        "last byte": content[:-1] + bytes([content[-1] ^ 1]),
        "longer": content + b"\0",
    }
    return damaged[how]


@pytest.mark.parametrize(
    ("how", "reason"),
    [
        ("empty", "is damaged"),
        ("no header", "is damaged"),
        ("no object", "is damaged"),
        ("torn", "is damaged"),
        ("last byte", "is damaged"),
        ("longer", "is damaged"),
        ("sha256=0", "is damaged"),
        ("format=0", f"was written with format 0, not {checkpoint.FORMAT}"),
        ("run_id=other", f"was written with run_id other, not {RUN}"),
        ("threads=9", "was written with threads 9, not 1"),
    ],
)
def test_what_cannot_be_used_is_set_aside_with_one_line(kept, tmp_path, warnings, how, reason):
    path = tmp_path / f"{RUN}.pt"
    damaged = damage(path.read_bytes(), how)
    path.write_bytes(damaged)
    assert kept.load() is None
    (line,) = warnings
    assert reason in line
    assert "\n" not in line
    assert not path.exists()
    assert path.with_suffix(".set-aside").read_bytes() == damaged


def test_nothing_but_tensors_and_plain_values_is_loaded(tmp_path, warnings):
    made = Checkpoints(tmp_path).of(RUN, {}, warnings.append)
    made.save({"command": os.system})
    assert made.load() is None
    assert "set aside" in warnings[0]


@pytest.mark.parametrize("function", ["fsync", "replace"])
def test_a_full_disk_is_one_warning_and_the_last_checkpoint_stays(kept, tmp_path, warnings, monkeypatch, function):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(*((os, "fsync") if function == "fsync" else (checkpoint.Path, "replace")), full)
    kept.save({"weights": torch.zeros(1)})
    kept.save({"weights": torch.zeros(1)})
    assert warnings == [
        f"cannot write the checkpoint '{tmp_path / RUN}.pt': No space left on device; the run goes on without"
    ]
    assert [path.name for path in tmp_path.iterdir()] == [f"{RUN}.pt"]
    monkeypatch.undo()
    assert torch.equal(kept.load()["weights"], STATE["weights"])


@pytest.mark.parametrize(
    ("value", "reason"), [(lambda: 1, "pickle"), (threading.Lock(), "cannot pickle"), (os, "cannot pickle")]
)
def test_a_state_that_cannot_be_saved_is_one_warning(kept, tmp_path, warnings, value, reason):
    kept.save({"methods": [{"_kept": value}]})
    kept.save({"methods": [{"_kept": value}]})
    (warning,) = warnings
    assert warning.startswith(f"cannot write the checkpoint '{tmp_path / RUN}.pt': ")
    assert reason in warning
    assert warning.endswith("; the run goes on without")
    assert torch.equal(kept.load()["weights"], STATE["weights"])


def test_the_next_is_due_a_minute_after_the_last(tmp_path):
    now = [0.0]
    made = Checkpoint(tmp_path / "a.pt", {}, print, clock=lambda: now[0])
    assert not made.due()
    now[0] = 60
    assert made.due()
    made.save({})
    assert not made.due()


def test_files_are_private_and_lead_nowhere_else(tmp_path, warnings):
    made = Checkpoints(tmp_path / "new").of(RUN, {}, warnings.append)
    made.save(STATE)
    path = tmp_path / "new" / f"{RUN}.pt"
    assert [stat.S_IMODE(each.stat().st_mode) for each in (path, path.parent)] == [0o600, 0o700]
    elsewhere = tmp_path / "elsewhere"
    path.replace(elsewhere)
    path.symlink_to(elsewhere)
    assert made.load() is None
    assert "is set aside" in warnings[0]
    before = elsewhere.read_bytes()
    made.save({"weights": torch.zeros(1)})
    assert elsewhere.read_bytes() == before
    assert not path.is_symlink()


def test_an_unfinished_file_that_is_planted_as_a_link_is_not_followed(kept, tmp_path, warnings, monkeypatch):
    victim = tmp_path / "victim"
    victim.write_text("precious")
    monkeypatch.setattr(files, "uuid4", lambda: UUID(int=0))
    (tmp_path / f"{RUN}.pt.{UUID(int=0).hex}.part").symlink_to(victim)
    kept.save(STATE)
    assert victim.read_text() == "precious"
    assert "File exists" in warnings[0]


def test_another_environment_is_used_where_that_is_wanted_and_every_move_is_noted(kept, tmp_path, warnings):
    def checkpoints(*, anywhere, **conditions):
        return Checkpoints(tmp_path, anywhere=anywhere).of(RUN, conditions, warnings.append)

    second = checkpoints(anywhere=True, threads=2)
    assert torch.equal(second.load()["weights"], STATE["weights"])
    assert second.notes == ["threads 1, now 2"]
    second.save(STATE)
    third = checkpoints(anywhere=True, threads=2)
    assert third.load() is not None
    assert third.notes == ["threads 1, now 2"]
    fourth = checkpoints(anywhere=True, threads=4, gpu="H200")
    assert fourth.load() is not None
    assert fourth.notes == ["threads 1, now 2", "threads 2, now 4, gpu None, now H200"]
    assert warnings == []
    assert checkpoints(anywhere=False, threads=4).load() is None
    assert "(--resume-anywhere goes on all the same)" in warnings[0]


def test_other_code_is_set_aside_everywhere(tmp_path, warnings):
    Checkpoints(tmp_path).of(RUN, {"code": "a"}, warnings.append).save(STATE)
    assert Checkpoints(tmp_path, anywhere=True).of(RUN, {"code": "b"}, warnings.append).load() is None
    assert "was written with code a, not b" in warnings[0]


@pytest.mark.parametrize("keep", [False, True])
def test_a_settled_run_leaves_nothing_or_what_was_asked_for(kept, tmp_path, keep):
    (tmp_path / f"{RUN}.pt.0123.part").touch()
    Checkpoints(tmp_path, keep).settle(RUN)
    Checkpoints(tmp_path).settle(RUN)
    assert [path.name for path in tmp_path.iterdir()] == ([f"{RUN}.kept.pt"] if keep else [])


class Bench:
    """Runs one contender on the toy dataset, and stops it where a test wants to."""

    def __init__(self, folder, monkeypatch):
        self.folder, self.monkeypatch = folder, monkeypatch

    def run(self, method, *, store="store", stop_at=None, observe=None, **given):
        """The record; stopped with the checkpoint of the given number, counted from 1, if that is reached."""
        setup = toys.setup(method, store=self.folder / f"{store}.sqlite", baseline=False, **given)
        saves, save = [], Checkpoint.save

        def stopping(kept, state):
            save(kept, state)
            saves.append(state["position"])
            if len(saves) == stop_at:
                signal.raise_signal(signal.SIGINT)

        self.monkeypatch.setattr(Checkpoint, "save", stopping)
        try:
            (record,) = run_grid(prepare(setup), EveryStep(), observe or Listener())
        finally:
            self.monkeypatch.undo()
            keep_every_step(self.monkeypatch)
        return record


class EveryStep(InProcess):
    """Reports every step."""

    name: ClassVar[str] = "every-step"

    def submit(self, setup, specs, observe):
        yield from map(setup.runner(observe, pulse=0.0).run, specs)


def keep_every_step(monkeypatch):
    """Runs look at every report of steps if a checkpoint is due, and one always is."""
    monkeypatch.setattr(checkpoint, "INTERVAL", 0.0)


@pytest.fixture
def bench(tmp_path, monkeypatch):
    keep_every_step(monkeypatch)
    return Bench(tmp_path, monkeypatch)


DECAY = ("optimizer.name=sgd", "optimizer.learning_rate=0.5", "optimizer.decay.after=0")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("method", "settings"),
    [
        ("vae", ()),
        ("skip", DECAY),
        ("sa-vae[steps=2]", ()),
        ("kl-annealing", ("batch_size=7",)),
        ("remember", ()),
        ("free-bits+control-vae[nats=1]+mae+bow+word-dropout", ()),
        ("mdr[nats=1]+geco[goal=5]+critic[critic=networks]", DECAY),
        ("kl-annealing[schedule=cyclical-restarts,cycles=2]+beta-vae", DECAY),
        ("info-vae+mixture-prior[components=3,weights=learned]", DECAY),
        ("dg-vae", ()),
        ("power-spherical", ()),
        ("bn-vae+skip+lagging[window=1,limit=3]", ()),
        ("pretraining+capacity[nats=1]+du-vae+delta-vae", ()),
        ("twr+kl-annealing", ()),
        ("iwae[gradient=dreg]+bn-vae", ()),
        ("lagging[window=1,limit=1]+vmf[kappa=5]", ()),
        ("vamp-prior[components=3,pseudo=features]+bn-vae+iaf[width=4]", ()),
        ("lidvae[width=4]+tilted[tau=2]", ()),
    ],
)
def test_stopped_again_and_again_the_record_is_the_same_to_the_bit(bench, method, settings):
    """Whole runs of contenders that keep something of every kind. The conformance test resumes every single method."""
    check_stopping(bench, method, settings=settings)


def check_stopping(bench, method, **given):
    """A run that is stopped again and again has the record of the whole one."""
    whole = bench.run(method, store="whole", **given)
    assert whole.outcome is Outcome.FINISHED
    for _ in range(20):
        try:
            record = bench.run(method, stop_at=3, **given)
        except KeyboardInterrupt:
            continue
        break
    assert comparable(record) == comparable(whole)


FEW = ("evaluation.every=3steps", "evaluation.metrics.iw-nll.samples=2", "batch_size=500")


@pytest.mark.slow
def test_pseudo_inputs_go_on_to_the_bit(bench):
    check_stopping(bench, "vamp-prior[components=3]", dataset="linear-gaussian", budget="5steps", settings=FEW)


def test_a_divergence_after_a_stop_is_the_same_divergence(bench):
    whole = bench.run("explode[at=4]", store="whole")
    with pytest.raises(KeyboardInterrupt):
        bench.run("explode[at=4]", stop_at=3)
    record = bench.run("explode[at=4]")
    assert record.outcome is Outcome.DIVERGED
    assert comparable(record) == comparable(whole)


def test_stopped_in_the_evaluation_it_goes_straight_on_to_it(bench):
    with pytest.raises(KeyboardInterrupt):
        bench.run("skip", observe=Listener(interrupted_at=events.Testing))
    listener = Listener()
    record = bench.run("skip", observe=listener)
    assert listener.kinds == [events.Started, events.Resumed, events.Testing, events.Finished]
    assert comparable(record) == comparable(bench.run("skip", store="whole"))


def test_a_full_disk_does_not_stop_a_run(bench, monkeypatch):
    whole = bench.run("skip", store="whole")

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    listener = Listener()
    record = bench.run("skip", observe=listener)
    said = [event.message for event in listener.events if isinstance(event, events.Warned)]
    assert [text.partition(" '")[0] for text in said] == ["cannot write the checkpoint", "cannot write the weights"]
    assert comparable(record) == comparable(whole)


def test_a_signal_that_torch_covers_by_an_error_ends_the_grid_and_fails_no_run(bench, monkeypatch):
    class Stopped(io.BytesIO):
        writes = 0

        def write(self, content):
            Stopped.writes += 1
            if Stopped.writes == 2:
                signal.raise_signal(signal.SIGINT)
            return super().write(content)

    whole = bench.run("skip", store="whole")
    monkeypatch.setattr(checkpoint, "io", SimpleNamespace(BytesIO=Stopped))
    with pytest.raises(KeyboardInterrupt):
        bench.run("skip")
    with Store.reading(bench.folder / "store.sqlite") as store:
        assert [record.outcome for record in store.find()] == [Outcome.INTERRUPTED]
    assert comparable(bench.run("skip")) == comparable(whole)


@pytest.mark.parametrize("how", ["torn", "format=0", "code=edited", "last byte"])
def test_a_bad_checkpoint_poisons_nothing(bench, how):
    with pytest.raises(KeyboardInterrupt):
        bench.run("skip", stop_at=3)
    (path,) = (bench.folder / "store.sqlite.checkpoints").glob("*.pt")
    path.write_bytes(damage(path.read_bytes(), how))
    listener = Listener()
    record = bench.run("skip", observe=listener)
    assert listener.kinds.count(events.Warned) == 1
    assert events.Resumed not in listener.kinds
    assert comparable(record) == comparable(bench.run("skip", store="whole"))


def edited(path, change):
    """Let a saved state be another one, with a header that fits it."""
    header, _, body = path.read_bytes().partition(b"\n")
    state = torch.load(io.BytesIO(body), weights_only=True)
    change(state)
    fields = {key: value for key, value in json.loads(header).items() if key not in {"sha256", "notes"}}
    Checkpoint(path, fields, print).save(state)


def test_a_state_that_says_trained_below_the_budget_is_set_aside(bench):
    with pytest.raises(KeyboardInterrupt):
        bench.run("skip", stop_at=3)
    (path,) = (bench.folder / "store.sqlite.checkpoints").glob("*.pt")
    edited(path, lambda state: state.update(position=(*state["position"][:2], True)))
    listener = Listener()
    record = bench.run("skip", observe=listener)
    (warned,) = (event for event in listener.events if isinstance(event, events.Warned))
    assert "says that training is over after 3 steps, below the budget" in warned.message
    assert comparable(record) == comparable(bench.run("skip", store="whole"))


def test_a_run_that_moved_says_so_in_its_record(bench):
    with pytest.raises(KeyboardInterrupt):
        bench.run("skip", stop_at=3)
    (path,) = (bench.folder / "store.sqlite.checkpoints").glob("*.pt")
    header, _, body = path.read_bytes().partition(b"\n")
    path.write_bytes(json.dumps(json.loads(header) | {"cpu_capability": "AVX0"}).encode() + b"\n" + body)
    record = bench.run("skip", resume_anywhere=True)
    (finding,) = record.findings
    now = record.environment["cpu_capability"]
    assert finding.guard is Guard.ENVIRONMENT
    assert finding.text == f"went on from a checkpoint that was written with cpu_capability AVX0, now {now}"


def test_a_state_of_another_model_is_set_aside(bench):
    with pytest.raises(KeyboardInterrupt):
        bench.run("skip", stop_at=3)
    (path,) = (bench.folder / "store.sqlite.checkpoints").glob("*.pt")
    header = json.loads(path.read_bytes().partition(b"\n")[0])
    Checkpoint(path, {k: v for k, v in header.items() if k not in {"sha256", "notes"}}, print).save(
        {"vae": {"none": torch.ones(1)}}
    )
    listener = Listener()
    record = bench.run("skip", observe=listener)
    assert listener.kinds.count(events.Warned) == 1
    assert comparable(record) == comparable(bench.run("skip", store="whole"))


def test_a_store_that_cannot_take_the_result_costs_no_training(bench):
    """The run is trained, its checkpoint is kept, and the same command only evaluates and stores."""

    def full(store, record):
        raise StoreError("the store 'store.sqlite' cannot grow: the disk is full")

    bench.monkeypatch.setattr(Store, "finish", full)
    with pytest.raises(StoreError, match="the disk is full"):
        bench.run("skip")
    listener = Listener()
    record = bench.run("skip", observe=listener)
    assert listener.kinds == [events.Started, events.Resumed, events.Testing, events.Finished]
    assert comparable(record) == comparable(bench.run("skip", store="whole"))
