"""`collapsebench runs`, through the command line's own entry."""

from __future__ import annotations

import gzip
import io
import json
import re
import subprocess
import sys
import time

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from records import point, record, records, spec, started, values

from collapsebench.cli import main
from collapsebench.cli import runs as options
from collapsebench.estimates import Estimate
from collapsebench.experiment.pulses import Pulse
from collapsebench.record import DeclinedColumn, Number, Outcome
from collapsebench.reporting.job_states import RunState, State
from collapsebench.reporting.run_list import read_run_list
from collapsebench.store import Store


@pytest.fixture
def path(tmp_path):
    return tmp_path / "runs.sqlite"


@pytest.fixture
def cli(path, capsys):
    """Call a command on the store; gives exit code, output and error output."""

    def call(*arguments: str, store=path):
        with pytest.raises(SystemExit) as left:
            main(["runs", *map(str, arguments), "--store", str(store)])
        out, err = capsys.readouterr()
        return left.value.code or 0, out, err

    return call


@pytest.fixture
def filled(path, cli):
    with Store.open(path) as store:
        store.finish(record("vae", 1, message=""))
        store.finish(record("skip[sites=2]", 1, columns={"neg_elbo": Estimate(30.25, 0.125), "kl": float("nan")}))
        store.finish(record("skip[sites=2]", 2, outcome=Outcome.DIVERGED, message="loss is nan\nat step 40"))
        store.begin(started("vae", 2))
    return cli


def test_list(filled):
    code, out, err = filled("list")
    assert code == 0
    going, over = out.split("\n\n")
    assert going.splitlines()[0].split() == ["run_id", "run", "state", "node", "step", "share", "valid", "−ELBO"]
    assert going.splitlines()[1].split() == [spec("vae", 2).run_id[:8], "vae", "seed", "2", "no", "sign"]
    header, _, *rows = over.splitlines()
    assert header.split() == [
        "run_id",
        "outcome",
        "dataset",
        "track",
        "budget",
        "contender",
        "seed",
        "started_at",
        "message",
    ]
    assert sorted(row.split()[0] for row in rows) == sorted(
        spec(*run).run_id for run in (("vae", 1), ("skip[sites=2]", 1), ("skip[sites=2]", 2))
    )
    assert "loss is nan at step 40" in out
    assert err == "runs 1 to 4 of 4\n"
    said_nothing = filled("list", "--outcome", "finished")[1].splitlines()
    assert said_nothing[0].split() == header.split()[:-1]


def test_list_filters_and_pages(filled):
    assert filled("list", "--contender", "skip[sites=2]", "--outcome", "diverged")[1].count("digits") == 1
    assert filled("list", "--dataset", "ptb") == (0, "", "no runs\n")
    assert filled("list", "--limit", 3)[2] == "runs 1 to 3 of 4; more with --offset 3\n"
    assert filled("list", "--limit", 3, "--offset", 3)[2] == "runs 4 to 4 of 4\n"
    pages = [filled("list", "--limit", 2, "--offset", offset, "--json")[1] for offset in (0, 2, 4)]
    assert len({run["run_id"] for page in pages for run in json.loads(page)}) == 4


def test_the_options_name_every_outcome():
    assert tuple(Outcome) == options.OUTCOMES


def test_list_of_exports_is_that_of_the_store_and_needs_none(filled, cli, tmp_path):
    plain, other = tmp_path / "vae.jsonl", tmp_path / "skip.jsonl.gz"
    filled("export", plain, "--contender", "vae")
    with gzip.open(other, "wb") as stream:
        stream.write(filled("export", "-", "--contender", "skip[sites=2]")[1].encode())
    nowhere = tmp_path / "no.sqlite"
    code, out, err = filled("list")
    listed = cli("list", plain, other, store=nowhere)
    assert (listed[0], listed[2]) == (code, err)
    assert set(listed[1].split()) - {"started"} >= set(out.split("\n\n")[1].split()), "no file says what still runs"
    over = ("list", "--outcome", "finished")
    assert cli(*over, plain, other, store=nowhere) == filled(*over)
    assert cli("list", plain, other, "--outcome", "diverged", "--json", store=nowhere) == filled(
        "list", "--outcome", "diverged", "--json"
    )
    assert not nowhere.exists()
    assert cli("list", store=nowhere)[0] == 1
    plain.write_text("{}\n")
    assert cli("list", plain, store=nowhere)[2].startswith(f"error: cannot import '{plain}', line 1:")


def test_list_of_a_wrong_outcome(filled):
    code, out, err = filled("list", "--outcome", "won")
    assert (code, out) == (2, "")
    assert "'finished'" in err
    assert err.count("\n") == 1


def test_show(filled):
    run_id = spec("skip[sites=2]", 1).run_id
    code, out, _ = filled("show", run_id[:9])
    assert code == 0
    assert out.startswith(f"{run_id}  finished  skip[sites=2]  seed 1  digits · quick · 350steps")
    assert re.search(r"elbo +neg_elbo +30.25 +0.125 +nats", out)
    assert re.search(r"kl +kl +nan +nats", out)
    assert re.search(r"encoder evaluations +1400", out)
    assert re.search(r"350 .* 31.5 +selected", out)
    assert re.search(r"protocol.setting.optimizer.learning_rate +0.001", out)
    assert "Linux x86_64" in out


def test_show_has_the_numbers_first_and_then_what_they_cost_and_what_made_them(path, cli):
    entry = values(kl=0.5)[0].model_copy(update={"column": "kl[3]", "board": False})
    reason = DeclinedColumn(metric="probe", column="probe", reason="no labels")
    with Store.open(path) as store:
        store.finish(record(values=(entry, *values(neg_elbo=30.0)), declined=(reason,), message="said"))
    out = cli("show", spec().run_id)[1]
    order = [
        "said",
        "neg_elbo",
        "parameters",
        "probe: no labels",
        "Linux x86_64",
        "protocol.setting",
        "kl[3]",
        "selected",
    ]
    places = [out.index(word) for word in order[:-1]] + [out.rindex(order[-1])]
    assert places == sorted(places)


def test_show_says_where_the_parameters_were_selected_and_what_the_kl_was(path, cli):
    """The KL in the end is the one that a method with a target has reached."""
    early, late = point(70), point(350, selected=False)
    kls = [each.model_copy(update={"values": {"kl": Number.of(kl)}}) for each, kl in ((early, 1.39), (late, 2.68))]
    with Store.open(path) as store:
        store.finish(record().model_copy(update={"points": tuple(kls)}))
    out = cli("show", spec().run_id)[1]
    assert re.search(r"selected at +20% of the budget", out)
    assert re.search(r"valid kl +1.39 where selected, 2.68 at the end", out)


def test_show_json_is_the_record(filled):
    shown = json.loads(filled("show", spec("vae", 1).run_id, "--json")[1])
    assert shown["values"][0]["estimate"] == {"kind": "finite", "value": 30.0}
    assert shown["points"][1]["selected"] is True
    assert shown["artifacts"] == []


def test_show_lists_artifacts(filled, path, tmp_path):
    (tmp_path / "weights").write_bytes(b"abc")
    with Store.open(path) as store:
        store.attach(spec("vae", 1).run_id, "checkpoint", tmp_path / "weights")
    assert re.search(rf"checkpoint +{tmp_path}/weights +ba7816bf\w+ +3", filled("show", spec("vae", 1).run_id)[1])


def test_show_of_failures_gives_the_traceback(path, cli):
    with Store.open(path) as store:
        store.finish(record(outcome=Outcome.FAILED, message="boom", traceback="Traceback\n  line 3\n"))
    assert cli("show", spec().run_id)[1].endswith("Traceback\n  line 3\n")


def test_unknown_run_and_store(filled, tmp_path):
    assert filled("show", "zzz") == (
        2,
        "",
        "error: no run 'zzz' in the store; `collapsebench runs list` shows what there is\n",
    )
    code, _, err = filled("list", store=tmp_path / "other.sqlite")
    assert (code, err.count("\n")) == (1, 1)
    assert "there is no store" in err
    assert not (tmp_path / "other.sqlite").exists()


def test_delete_asks(filled, monkeypatch):
    run_id = spec("vae", 1).run_id
    monkeypatch.setattr("sys.stdin", io.StringIO("n\n"))
    assert filled("delete", run_id)[0] == 130
    assert filled("show", run_id)[0] == 0
    monkeypatch.setattr("sys.stdin", io.StringIO("y\n"))
    code, _, err = filled("delete", run_id)
    assert code == 0
    assert "vae  seed 1" in err
    assert filled("show", run_id)[0] == 2


def test_delete_asks_once_about_a_run_that_is_named_twice(filled, monkeypatch):
    run_id = spec("vae", 1).run_id
    monkeypatch.setattr("sys.stdin", io.StringIO("y\n"))
    err = filled("delete", run_id, run_id[:12])[2]
    assert err.count("vae  seed 1") == 1
    assert "Delete 1 runs?" in err
    assert err.endswith("1 runs deleted\n")


def test_delete_several_at_once_or_none(filled):
    ids = [spec("vae", 1).run_id, spec("vae", 2).run_id[:12]]
    assert filled("delete", "--yes", ids[0], "zzz")[0] == 2
    assert filled("delete", "--yes", *ids, ids[0])[2] == "2 runs deleted\n"
    assert filled("list")[2] == "runs 1 to 2 of 2\n"


def test_delete_takes_the_files_of_the_runs_and_no_others(filled, path):
    gone, kept = spec("vae", 1).run_id, spec("vae", 2).run_id
    folders = {what: path.with_name(f"{path.name}.{what}") for what in ("codes", "weights", "checkpoints")}
    for folder in folders.values():
        folder.mkdir()
    for run_id in (gone, kept):
        endings = {"codes": ["npz"], "weights": ["pt", "private.pt"], "checkpoints": ["pt", "kept.pt"]}
        for what, ending in ((what, ending) for what, own in endings.items() for ending in own):
            (folders[what] / f"{run_id}.{ending}").touch()
    (folders["checkpoints"] / "claims").touch()
    assert filled("delete", "--yes", gone)[2] == "1 runs deleted\n"
    left = {what: sorted(file.name for file in folder.iterdir()) for what, folder in folders.items()}
    assert left == {
        "codes": [f"{kept}.npz"],
        "weights": [f"{kept}.private.pt", f"{kept}.pt"],
        "checkpoints": [f"{kept}.kept.pt", f"{kept}.pt", "claims"],
    }


def test_a_file_that_cannot_be_deleted_is_one_line(filled, path):
    run_id = spec("vae", 1).run_id
    in_the_way = path.with_name(f"{path.name}.codes") / f"{run_id}.npz"
    in_the_way.mkdir(parents=True)
    code, _, err = filled("delete", "--yes", run_id)
    assert (code, err) == (1, f"error: cannot delete '{in_the_way}': Is a directory\n")
    assert filled("show", run_id)[0] == 2


def test_export_import_export_is_byte_identical(filled, tmp_path):
    first, second, other = tmp_path / "1.jsonl", tmp_path / "2.jsonl", tmp_path / "other.sqlite"
    assert filled("export", first)[2] == "4 runs exported\n"
    assert filled("import", first, store=other)[2] == "4 runs imported, 0 skipped\n"
    assert filled("import", first, store=other)[2] == "0 runs imported, 4 skipped\n"
    filled("export", second, store=other)
    assert first.read_bytes() == second.read_bytes()
    assert filled("export", "-")[1].encode() == first.read_bytes()
    assert b"NaN" not in first.read_bytes()
    assert all(json.loads(line)["schema"] == 1 for line in first.read_text().splitlines())
    assert [entry.name for entry in tmp_path.iterdir() if entry.name.startswith(".")] == []


@pytest.mark.slow
@hypothesis_settings(max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(made=st.lists(records(), max_size=3, unique_by=lambda made: made.run_id))
def test_any_record_survives_export_and_import(cli, tmp_path, made):
    stores = tmp_path / "a.sqlite", tmp_path / "b.sqlite"
    for number, store in enumerate(stores):
        with Store.open(store) as opened:
            opened.delete(summary.run_id for summary in opened.summaries())
            opened.add(made if number == 0 else [])
    assert cli("export", tmp_path / "a.jsonl", store=stores[0])[0] == 0
    assert cli("import", tmp_path / "a.jsonl", store=stores[1])[:2] == (0, "")
    cli("export", tmp_path / "b.jsonl", store=stores[1])
    assert (tmp_path / "a.jsonl").read_bytes() == (tmp_path / "b.jsonl").read_bytes()


def test_a_file_that_ends_in_gz_is_gzipped_and_the_same_each_time(filled, tmp_path):
    plain, one, two, again = (
        tmp_path / name for name in ("plain.jsonl", "one.jsonl.gz", "two.jsonl.gz", "again.jsonl")
    )
    for file in (plain, one, two):
        assert filled("export", file)[0] == 0
    assert one.read_bytes() == two.read_bytes()
    assert gzip.decompress(one.read_bytes()) == plain.read_bytes()
    assert filled("import", one, store=tmp_path / "other.sqlite")[2] == "4 runs imported, 0 skipped\n"
    filled("export", again, store=tmp_path / "other.sqlite")
    assert again.read_bytes() == plain.read_bytes()


def test_export_of_a_selection(filled, tmp_path):
    filled("export", tmp_path / "x.jsonl", "--outcome", "diverged")
    (line,) = (tmp_path / "x.jsonl").read_text().splitlines()
    assert json.loads(line)["message"] == "loss is nan\nat step 40"


def test_export_keeps_the_old_file_if_it_fails(filled, tmp_path):
    (tmp_path / "old").write_text("old")
    assert filled("export", tmp_path / "old", store=tmp_path / "none.sqlite")[0] == 1
    assert (tmp_path / "old").read_text() == "old"
    code, _, err = filled("export", "/dev/full")
    assert (code, err) == (1, "error: cannot write '/dev/full': No space left on device\n")


def test_import_from_standard_input(filled, tmp_path):
    exported = filled("export", "-")[1].encode()
    script = "from collapsebench.cli import main; main()"
    arguments = ["runs", "import", "-", "--store", tmp_path / "other.sqlite"]
    done = subprocess.run([sys.executable, "-c", script, *arguments], input=exported, capture_output=True, check=True)
    assert done.stderr == b"4 runs imported, 0 skipped\n"


def edited(line: str, **changes) -> str:
    return json.dumps(json.loads(line) | changes)


def other_seed(line: str) -> str:
    content = json.loads(line)
    content["spec"]["seed"] = "99"
    return json.dumps(content)


BAD = {
    "it is not JSON": lambda line: line[:-20],
    "NaN is not JSON": lambda line: line.replace("31.5", "NaN"),
    "it is not a run": lambda _: "[1, 2]",
    "as `collapsebench runs export` writes it": lambda line: edited(line, schema=None),
    "it has schema 5, this collapsebench reads 4: pip install --upgrade collapsebench": lambda line: edited(
        line, schema=5
    ),
    "parameters: Input should be greater": lambda line: edited(line, parameters=-1),
    "unknown field 'surprise'. Known: code, contender, ": lambda line: edited(line, surprise=1),
    "its run_id is 'ffff'": lambda line: edited(line, run_id="ffff"),
    "its run_id is": other_seed,
    "its protocol_id is 'ffff'": lambda line: edited(line, protocol_id="ffff"),
    "its contender is 'vae', but its spec gives 'skip'": lambda line: edited(line, contender="vae"),
    "its track is 'paper'": lambda line: edited(line, track="paper"),
    "its times have no time zone": lambda line: edited(line, started_at="2026-11-22T08:30:00"),
    "a number is finite and has a value, or neither": lambda line: line.replace('"kind": "finite"', '"kind": "nan"'),
    "two values of one metric": lambda line: line.replace(
        '"metric": "kl", "column": "kl"', '"metric": "elbo", "column": "neg_elbo"'
    ),
}


@pytest.mark.parametrize("complaint", BAD)
def test_import_refuses_a_bad_line_with_its_number_and_writes_nothing(filled, tmp_path, complaint):
    good = filled("export", "-", "--contender", "vae")[1]
    with Store.open(tmp_path / "one.sqlite") as store:
        store.finish(record("skip", 7))
    line = filled("export", "-", store=tmp_path / "one.sqlite")[1]
    broken = BAD[complaint](line)
    assert broken != line
    (tmp_path / "x.jsonl").write_text(f"{good}\n{broken}\n{good}")
    code, out, err = filled("import", tmp_path / "x.jsonl", store=tmp_path / "new.sqlite")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "line 4: " in err
    assert complaint in err
    assert not (tmp_path / "new.sqlite").exists()


def test_import_of_files_that_are_none(cli, tmp_path):
    (tmp_path / "latin").write_bytes(b"\n\xe9\n")
    assert "line 2: it is not JSON" in cli("import", tmp_path / "latin")[2]
    assert cli("import", tmp_path / "none")[2] == f"error: cannot read '{tmp_path}/none': No such file or directory\n"
    (tmp_path / "empty").touch()
    assert cli("import", tmp_path / "empty")[2] == "0 runs imported, 0 skipped: what was given has no runs\n"


def test_import_refuses_another_result_of_a_stored_run(filled, tmp_path):
    with Store.open(tmp_path / "other.sqlite") as store:
        store.add([record("vae", 3), record("vae", 1, values=values(kl=2.0), points=(point(),))])
    filled("export", tmp_path / "other.jsonl", store=tmp_path / "other.sqlite")
    code, _, err = filled("import", tmp_path / "other.jsonl")
    assert code == 1
    assert f"collapsebench runs delete {spec('vae', 1).run_id}" in err
    assert filled("list")[2] == "runs 1 to 4 of 4\n"


@pytest.mark.parametrize("width", [80, 100, 200])
def test_the_table_of_runs_that_are_not_over_is_no_wider_than_the_terminal(path, width):
    runs = [started(f"skip+free-bits[nats={nats}]", seed) for nats in (0.125, 0.25) for seed in (1, 23)]
    pulse = Pulse(
        0.4711, time.time() - (1 if width == 80 else 600), 123456, 1234.5, "a-node-with-a-long-name.of.a.cluster"
    )
    with Store.open(path) as store:
        store.add(runs)
        page = read_run_list(store, limit=9)
    states = {run.run_id: RunState(state, "slurm", pulse.node, pulse) for run, state in zip(runs, State, strict=False)}
    text = page._replace(states=states).as_text(width)
    assert max(map(len, text.splitlines())) <= width
    assert [line.split()[0] for line in text.splitlines()[1:]] == [run.run_id[:8] for run in runs]
    assert {"123456", "1234.50", "47%", "running"} <= set(text.split())
    assert "23 " in text


def test_a_list_is_watched_in_a_store_alone(filled, tmp_path):
    for words in (("--json",), ("--offset", 3), (tmp_path / "x.jsonl",)):
        code, out, err = filled("list", "--watch", *words)
        assert (code, out, err.count("\n")) == (2, "", 1)
    code, out, err = filled("list", "--watch", "--outcome", "finished")
    assert (code, err) == (0, "")
    assert out.splitlines()[-1] == "2 finished", "it ends at once, as nothing runs"
