"""The files by which a driver and jobs work together: late, damaged, half written, or of another run."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from dataclasses import replace
from itertools import product
from pathlib import Path

import pytest
import records
import toys
from hypothesis import given
from local_scheduler import Local

from collapsebench import Method
from collapsebench.errors import CollapsebenchError, UsageError
from collapsebench.experiment import events, job
from collapsebench.experiment.jobs import Batch, JobFiles, Ticket, tail
from collapsebench.experiment.plans import FILE, FrozenPlan
from collapsebench.experiment.relay import EventFile, packed, unpacked

RECORD = records.record("skip+sa-vae[steps=20]")
RUN = RECORD.run_id
TOLD = (
    events.Started(RECORD),
    events.Warned(RUN, "the disk is \x00 full"),
    events.Resumed(RUN, 3),
    events.Stepped(RUN, 4, 0.5, float("-inf"), 1.0),
    events.Evaluated(RUN, records.point()),
    events.Testing(RUN),
    events.Finished(RECORD),
)


@pytest.fixture
def files(tmp_path: Path) -> JobFiles:
    return JobFiles.below(tmp_path)


def plan(store: Path, *methods: str, **given: object) -> FrozenPlan:
    setup = toys.setup(*methods, store=store, **given)
    return FrozenPlan(setup.runs, setup.plan.specs, threads=1)


def written(tmp_path: Path, *told: events.Event) -> EventFile:
    file = EventFile(tmp_path / "events.jsonl")
    for event in told:
        file.append(event)
    return file


@given(records.records())
def test_a_record_passes_a_file_unchanged(record):
    assert unpacked(packed(record)).model_dump_json() == record.model_dump_json()


def test_the_labels_of_a_record_pass_a_file_too():
    assert unpacked(packed(RECORD)).spec.contender.label == "skip+sa-vae[steps=20]"


def test_texts_that_no_file_can_have_cost_no_record(files):
    broken = RECORD.model_copy(update={"message": "a\ud800\x00b", "traceback": "\udfff"})
    files.write_record(broken)
    assert files.read_record(RUN).message == "a?\x00b"


def test_events_pass_a_file_in_their_order_and_once(tmp_path):
    file = written(tmp_path, *TOLD)
    assert list(file.news()) == list(TOLD)
    assert list(file.news()) == []
    file.append(TOLD[-1])
    assert list(file.news()) == [TOLD[-1]]


def test_a_half_written_line_is_read_when_it_is_whole(tmp_path):
    whole = written(tmp_path / "..", *TOLD[2:3])
    line = (tmp_path / ".." / "events.jsonl").read_bytes()
    path = tmp_path / "late.jsonl"
    path.write_bytes(line[:9])
    file = EventFile(path)
    assert list(file.news()) == []
    path.write_bytes(line)
    assert list(file.news()) == list(whole.news())


@pytest.mark.parametrize(
    "line", [b"\n", b"[1]\n", b"3\n", b"\xff\n", b'{"event": "Nothing"}\n', b'{"event": "Resumed"}\n']
)
def test_lines_that_are_no_events_are_passed_over(tmp_path, line):
    file = written(tmp_path, TOLD[2])
    path = tmp_path / "events.jsonl"
    path.write_bytes(line + path.read_bytes())
    assert list(file.news()) == [TOLD[2]]


@pytest.mark.parametrize("story", ["".join(each) for n in range(4) for each in product("SLx", repeat=n)])
def test_a_run_is_abandoned_if_its_last_process_began_it_and_said_nothing(tmp_path, story):
    """S is a beginning, L a farewell, x anything else."""
    file = written(tmp_path)
    for letter in story:
        file.leave("told to") if letter == "L" else file.append(TOLD[0] if letter == "S" else TOLD[2])
    assert file.abandoned() == ("S" in story and "L" not in story[story.rindex("S") :])


def test_a_ticket_passes_a_file_and_is_dropped(files):
    ticket = Ticket(RUN, "plan-7", 3, "slurm[partition=gpu]", lost=1, stopped=True)
    files.write_ticket(ticket)
    assert files.ticket(RUN) == ticket
    assert list(files.tickets()) == [ticket]
    files.drop_ticket(RUN)
    assert files.ticket(RUN) is None


@pytest.mark.parametrize(
    "change",
    [
        {"batch": "nowhere"},
        {"batch": 3},
        {"task": "1"},
        {"lost": None},
        {"executor": 1},
        {"executor": "slurm["},
        {"executor": ""},
        {"batch": "../plan-7"},
        {"batch": "/plan-7"},
        {"batch": "..-7"},
        {"batch": "-7"},
        {"run_id": "0" * 16},
        {"new": 1},
    ],
    ids=str,
)
def test_a_ticket_that_nobody_can_read_is_none(files, change):
    files.write_ticket(Ticket(RUN, "plan-7", 3, "slurm"))
    path = files.folder / "runs" / f"{RUN}.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    assert files.ticket(RUN) is None
    files.forget(RUN)
    assert not path.exists()


@pytest.mark.parametrize("content", [b"", b"{", b"[]", packed(records.record("skip", seed=9))])
def test_a_record_that_is_damaged_or_of_another_run_is_set_aside(files, content):
    files.write_record(RECORD)
    files.record(RUN).write_bytes(content)
    assert files.read_record(RUN) is None
    assert files.arrived() == set()
    assert files.record(RUN).with_suffix(".set-aside").read_bytes() == content


def test_a_record_that_cannot_be_read_now_stays_where_it_is(files):
    files.write_record(RECORD)
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    with files.record(RUN).open() as last:
        resource.setrlimit(resource.RLIMIT_NOFILE, (last.fileno() + 1, limits[1]))
        try:
            assert files.read_record(RUN) is None
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    assert files.arrived() == {RUN}
    assert files.read_record(RUN).run_id == RUN


@pytest.mark.parametrize("make", [Path.mkdir, os.mkfifo, lambda path: path.symlink_to("/dev/zero")])
def test_what_is_no_file_in_place_of_a_record_is_set_aside(files, make):
    files.records.mkdir()
    make(files.record(RUN))
    assert files.read_record(RUN) is None
    assert files.arrived() == set()


def test_batches_are_numbered_and_the_number_of_a_refused_one_is_not_given_again(files, tmp_path):
    batches = [files.new_batch(tmp_path, [[RUN]]) for _ in range(2)]
    assert [batch.number for batch in batches] == [0, 1]
    assert Batch.read(tmp_path, 1) == batches[1]
    batches[1].discard()
    with pytest.raises(ValueError, match="Expecting value"):
        Batch.read(tmp_path, 1)
    assert files.new_batch(tmp_path, [[RUN]]).number == 2


def test_which_runs_of_a_batch_have_begun_is_one_look_at_a_folder(files, tmp_path):
    (files.folder / "plan").mkdir(parents=True)
    batch = files.new_batch(files.folder / "plan", [[RUN], ["other"]])
    tickets = [
        Ticket(RUN, batch.name, 0, "slurm"),
        Ticket("other", batch.name, 1, "slurm"),
        Ticket("x", "gone-3", 0, ""),
    ]
    assert files.begun(tickets) == set()
    EventFile(batch.progress(RUN)).append(TOLD[0])
    assert files.begun(tickets) == {RUN}


def test_equal_plans_have_one_folder_which_is_written_once(tmp_path):
    folder = plan(tmp_path / "s.sqlite", "skip").freeze()
    before = (folder / FILE).stat()
    assert plan(tmp_path / "s.sqlite", "skip").freeze() == folder
    assert (folder / FILE).stat().st_ino == before.st_ino


def test_other_labels_threads_or_folders_of_data_make_other_plans(tmp_path, monkeypatch):
    one = plan(tmp_path / "s.sqlite", "skip")
    spec = one.specs[0]
    named = spec.model_copy(update={"contender": spec.contender.model_copy(update={"label": "mine"})})
    assert named.run_id == spec.run_id
    folders = {one.freeze(), replace(one, threads=2).freeze(), replace(one, specs=(named, *one.specs[1:])).freeze()}
    monkeypatch.chdir(tmp_path)
    folders.add(plan(tmp_path / "s.sqlite", "skip").freeze())
    assert len(folders) == 4


def test_a_plan_keeps_the_labels_of_a_sweep(tmp_path):
    swept = plan(tmp_path / "s.sqlite", "skip+sa-vae[steps=1|2]", settings=("latent_dim=3",))
    kept = FrozenPlan.read(swept.freeze())
    assert kept.specs == swept.specs
    for before, after in zip(swept.specs, kept.specs, strict=True):
        assert after.contender.label == before.contender.label
        assert after.protocol.track_label == before.protocol.track_label


@pytest.mark.parametrize("content", [None, b"", b"nothing", b"\x80\x04K\x01.", b"cnowhere\nNothing\n."])
def test_a_task_without_its_plan_is_one_line(tmp_path, capsys, content):
    if content is not None:
        (tmp_path / FILE).write_bytes(content)
    assert job.main([str(tmp_path), "0", "0"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ")
    assert str(tmp_path) in line


def test_a_plan_that_others_could_have_written_is_not_read(tmp_path, capsys):
    folder = plan(tmp_path / "s.sqlite", "skip").freeze()
    before = os.umask(0)
    try:
        assert plan(tmp_path / "t.sqlite", "skip").freeze().stat().st_mode & 0o777 == 0o700
    finally:
        os.umask(before)
    for path in (folder, folder / FILE):
        kept = path.stat().st_mode
        path.chmod(kept | 0o020)
        assert job.main([str(folder), "0", "0"]) == 1
        said = capsys.readouterr().err
        assert said == f"error: others can write the plan of jobs '{path}': give another --work-dir\n"
        assert plan(tmp_path / "s.sqlite", "skip").freeze() == folder
        assert (path.stat().st_mode & 0o777) == (kept & 0o777)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_a_plan_of_another_user_is_refused_and_nothing_is_written_to_it(tmp_path):
    mine = plan(tmp_path / "s.sqlite", "skip")
    folder = mine.freeze()
    planted = folder / FILE
    planted.write_bytes(b"cos\n_exit\n(I3\ntR.")
    for path in (folder, planted):
        os.chown(path, 12345, 12345)
    with pytest.raises(CollapsebenchError, match="others can write"):
        FrozenPlan.read(folder)
    with pytest.raises(CollapsebenchError, match="others can write"):
        mine.freeze()
    assert planted.read_bytes() == b"cos\n_exit\n(I3\ntR."


def test_a_task_without_its_batch_is_one_line(tmp_path, capsys):
    folder = plan(tmp_path / "s.sqlite", "skip").freeze()
    assert job.main([str(folder), "5", "0"]) == 1
    assert capsys.readouterr().err == f"error: there is no task 0 of batch 5 in '{folder}'\n"


@pytest.mark.torch
@pytest.mark.slow
def test_a_job_needs_no_store():
    """It imports no database."""
    modules = ", ".join(f"collapsebench.experiment.{name}" for name in ("job", "runner", "training", "guarding"))
    program = f"import sys, {modules}; print('sqlalchemy' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_the_tail_of_a_file_is_bounded(tmp_path):
    path = tmp_path / "log"
    assert tail(path) == ""
    path.write_bytes(b"\xff first\n" + b"x" * 5000 + b"\nlast")
    assert tail(path).endswith("x\nlast")
    assert len(tail(path)) <= 4000
    assert tail(path, lines=1) == "last"


def test_a_class_of_a_script_is_refused_in_one_line(tmp_path):
    class Mine(Method):
        name = "mine"

    setup = toys.setup("skip", store=tmp_path / "s.sqlite", components=(Mine,))
    with pytest.raises(UsageError, match=r"^method 'mine' is defined in this notebook or script, .* save it to a file"):
        Local(folder=".").check(setup)
