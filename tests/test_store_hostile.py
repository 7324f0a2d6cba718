"""Stores and lines that somebody has broken, by hand or on purpose: each costs its own run and no other."""

from __future__ import annotations

import gzip
import io
import json
import sqlite3
import subprocess
import sys
import tracemalloc
import zlib
from contextlib import closing

import pytest
from records import SETTING, point, record, spec, trial_record, values

from collapsebench.errors import CollapsebenchError, StoreError, UsageError
from collapsebench.estimates import Estimate
from collapsebench.store import Store, Written
from collapsebench.store.deletion import delete_runs, delete_unreadable
from collapsebench.store.interchange import import_runs, write_line
from collapsebench.store.streams import EMPTY, LONGEST, PIECE, lines

RUNS = sorted((record(seed=seed) for seed in (1, 2, 3)), key=lambda run: run.run_id)
"""In the order of an export, as they began at the same time."""
VICTIM = RUNS[1].run_id


@pytest.fixture
def path(tmp_path):
    """A store of three runs."""
    with Store.open(tmp_path / "runs.sqlite") as store:
        store.add(RUNS)
    return tmp_path / "runs.sqlite"


def broken(path, statement, *parameters):
    """Change a store as no program of ours would."""
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("PRAGMA ignore_check_constraints = ON")
        assert connection.execute(statement, parameters).rowcount > 0


def packed(*points, **changes) -> bytes:
    """The points of a damaged run; a change replaces a part of the last one."""
    own = [json.loads(each.model_dump_json()) for each in RUNS[1].points]
    own[-1] |= changes
    return zlib.compress(json.dumps([*own, *points]).encode())


PACKED = {
    "more than 67,108,864 bytes": zlib.compress(b"[" + b" " * 2**30 + b"]"),
    "its points are damaged": packed()[:-9],
    "its points are {}": zlib.compress(b"{}"),
    "a point of it is 3": packed(3),
    "a point of it is {'counters': {}}": packed({"counters": {}}),
    "nested too deeply": zlib.compress(b"[" * 100_000 + b"]" * 100_000),
    "the selection of a point is yes": packed(selected="yes"),
    "its counter steps is": packed(counters={"steps": -1.0}),
    "its point is 3": packed(values=3),
    "a number of it is finite None": packed(values={"kl": {"kind": "finite", "value": None}}),
}
"""Trajectories that are none, by the reason that is given."""

KINDS = {
    "its outcome is exploded": "UPDATE runs SET outcome = 'exploded'",
    "its start is yesterday": "UPDATE runs SET started_at = 'yesterday'",
    "its end is 2026-01-01": "UPDATE runs SET finished_at = '2026-01-01'",
    "its seed is -1": "UPDATE runs SET seed = -1",
    f"its id is '{VICTIM}', but its spec gives '{spec(seed=9).run_id}'": "UPDATE runs SET seed = 9",
    "its parameters are many": "UPDATE runs SET parameters = 'many'",
    "its protocol is b'\\x00', not 16 hexadecimal digits": "UPDATE runs SET protocol_key = x'00'",
    "its protocol 0000000000000000 is not in the store": "UPDATE runs SET protocol_key = '0000000000000000'",
    "its contender 0000000000000000 is not in the store": "UPDATE runs SET contender_key = '0000000000000000'",
    "its contender is '', not 16 hexadecimal digits": "UPDATE runs SET contender_key = ''",
    "its environment is []": "UPDATE runs SET environment = '[]'",
    "should be a valid string": """UPDATE runs SET code = '{"method skip": 1}'""",
    "0.guard": """UPDATE runs SET findings = '[{"guard": "luck", "text": "x"}]'""",
    "0.reason": """UPDATE runs SET declined = '[{"metric": "kl", "column": "kl"}]'""",
    "a reason is one line": """UPDATE runs SET declined = '[{"metric": "kl", "column": "kl", "reason": "a\\nb"}]'""",
    "should be a valid tuple": "UPDATE runs SET declined = 'null'",
    "its counter steps is inf": """UPDATE runs SET counters = '{"steps": Infinity}'""",
    "its counters is []": "UPDATE runs SET counters = '[]'",
    "its counters is not JSON": "UPDATE runs SET counters = '{'",
    "but its points end with": """UPDATE runs SET counters = '{"steps": 1}'""",
    "its counters are None, but its points end with": "UPDATE runs SET counters = NULL",
    "its points are damaged": "UPDATE trajectories SET points = x'00'",
    "its points are abc": "UPDATE trajectories SET points = 'abc'",
    "its points are 7": "UPDATE trajectories SET points = 7",
    **{reason: f"UPDATE trajectories SET points = x'{made.hex()}'" for reason, made in PACKED.items()},  # noqa: S608
    "a number of it is huge": "UPDATE metric_values SET kind = 'huge'",
    "a number of it is finite abc": "UPDATE metric_values SET value = 'abc'",
    "sideways": "UPDATE metric_values SET direction = 'sideways'",
    "the board of a value is 7": "UPDATE metric_values SET board = 7",
    "its message is b'": "UPDATE runs SET message = x'ff'",
}


@pytest.mark.parametrize("reason", KINDS)
def test_a_damaged_row_is_named_left_out_and_deleted(path, reason, command):
    broken(path, f"{KINDS[reason]} WHERE run_id = ?", VICTIM)
    stored = ("--store", path)
    export = command("runs", "export", "-", *stored)
    assert [json.loads(line)["run_id"] for line in export.out.splitlines()] == [RUNS[0].run_id, RUNS[2].run_id]
    assert f"1 run cannot be read: {VICTIM} (" in export.err
    assert reason in export.err
    assert f"`collapsebench runs delete {VICTIM}` removes it" in export.err
    for words in ("leaderboard", "leaderboard --format html", "leaderboard --format csv", "runs list"):
        answer = command(*words.split(), *stored)
        assert answer.code == 0, answer.err
        if words == "runs list" and "runs SET" not in KINDS[reason]:
            continue  # a list reads no points and no values
        if "trajectories" not in KINDS[reason] and "points end" not in reason:  # a board reads the last counters alone
            assert VICTIM in answer.out + answer.err
    shown = command("runs", "show", VICTIM, *stored)
    assert (shown.code, len(shown.err.splitlines())) == (1, 1)
    assert reason in shown.err
    assert command("runs", "delete", VICTIM[:10], "--yes", *stored).err == "1 runs deleted\n"
    assert command("runs", "export", "-", *stored).err == "2 runs exported\n"


SHARED = {
    "its protocol is not JSON": "UPDATE protocols SET content = '{'",
    "with a protocol that this version cannot read: unknown field 'moon'": (
        "UPDATE protocols SET content = json_set(content, '$.moon', 'full')"
    ),
    "its dataset is 'mnist', but its spec gives 'digits'": "UPDATE protocols SET dataset = 'mnist'",
    "its track is 'x', but its spec gives 'quick'": "UPDATE protocols SET track = 'x'",
    "its budget is '1steps', but its spec gives '350steps'": "UPDATE protocols SET budget = '1steps'",
    "version: a version is two numbers, as in 1.1, got 'abc'": (
        "UPDATE protocols SET content = json_set(content, '$.version', 'abc')"
    ),
    "its protocol is '0000000000000000', but its spec gives": "UPDATE protocols SET protocol_id = '0000000000000000'",
    "its protocol is x, not 16": "UPDATE protocols SET protocol_id = 'x'",
    "is not in the store": "DELETE FROM protocols WHERE dataset != ''",
    "its contender is not JSON": "UPDATE contenders SET content = '{'",
    "with a contender that this version cannot read": "UPDATE contenders SET content = '[]'",
    "its contender is 'x', but its spec gives 'skip'": "UPDATE contenders SET label = 'x'",
}


@pytest.mark.parametrize("reason", SHARED)
def test_damage_to_what_runs_share_costs_these_runs_and_is_mended_by_the_next_that_is_stored(path, reason, command):
    others = [record("vae", seed, protocol={"dataset": "ptb"}) for seed in (1, 2)]
    with Store.open(path) as store:
        store.add(others)
    row = "dataset = 'digits'" if "protocols" in SHARED[reason] else "label = 'skip'"
    broken(path, f"{SHARED[reason]} {'AND' if 'WHERE' in SHARED[reason] else 'WHERE'} {row}")
    with Store.reading(path) as store:
        assert {each.run_id for each in store.find()} == {each.run_id for each in others}
        assert {each.run_id for each in store.unreadable} == {each.run_id for each in RUNS}
        assert all(reason in each.reason for each in store.unreadable)
        assert len(list(store.observations())) == len(store.summaries()) == 2
        assert sum(each.runs for each in store.protocols()) in {2, 5}
    for words in ("leaderboard", "runs list"):
        answer = command(*words.split(), "--store", path)
        assert answer.code == 0
        assert "3 runs cannot be read" in (answer.out + answer.err).replace("\n", " ")
    with Store.open(path) as store:
        store.add([record(seed=77)])
        assert {each.run_id for each in store.find()} == {each.run_id for each in (*RUNS, *others, record(seed=77))}
        assert store.unreadable == ()


def test_a_text_that_is_not_utf_8_costs_nothing_but_itself(path):
    broken(path, "UPDATE runs SET message = CAST(x'61c328' AS TEXT) WHERE run_id = ?", VICTIM)
    with Store.reading(path) as store:
        assert [each.message for each in store.find()] == ["", "a\ufffd(", ""]
        assert store.unreadable == ()


def test_a_board_without_a_readable_run_is_one_line(path, command):
    broken(path, "UPDATE protocols SET content = '{'")
    for words in ("leaderboard", "plot --dataset digits", "plot depth --dataset digits"):
        answer = command(*words.split(), "--store", path)
        assert answer.code in {1, 2}
        assert len(answer.err.splitlines()) == 1
        assert "(a bug" not in answer.err
    assert "3 runs cannot be read: " in command("leaderboard", "--store", path).err
    assert command("runs", "delete", "--unreadable", "--yes", "--store", path).err == "3 runs deleted\n"


def test_a_row_whose_protocol_is_damaged_is_named_on_the_first_board(path, command):
    broken(path, "UPDATE runs SET protocol_key = x'00' WHERE run_id = ?", VICTIM)
    answer = command("leaderboard", "--store", path)
    assert answer.code == 0
    assert f"1 run cannot be read: {VICTIM} (its protocol is b'\\x00'" in answer.out.replace("\n", " ")


@pytest.mark.parametrize("id_", ["../victim/thesis", "a*", "A" * 16, "0" * 17, "", "--yes", "%", b"\xff"])
def test_a_row_without_an_id_removes_no_file_but_itself(path, id_, tmp_path):
    (tmp_path / "victim").mkdir()
    precious = [tmp_path / "victim" / "thesis.tex", tmp_path / "a.tex", tmp_path / "A.pt"]
    for folder in ("codes", "weights", "checkpoints"):
        kept = path.with_name(f"{path.name}.{folder}")
        kept.mkdir()
        precious += [kept / f"{RUNS[0].run_id}.pt", kept / f"{'A' * 16}.pt", kept / "a.pt"]
    for file in precious:
        file.write_text("precious")
    for table in ("trajectories", "metric_values", "runs"):
        with closing(sqlite3.connect(path)) as connection, connection:
            connection.execute("PRAGMA foreign_keys = OFF")
            connection.execute(f"UPDATE {table} SET run_id = ? WHERE run_id = ?", (id_, VICTIM))  # noqa: S608
    if isinstance(id_, str):
        assert delete_runs(path, [id_]) == 1
    else:
        assert delete_unreadable(path) == 1
    assert all(file.exists() for file in precious)
    with Store.reading(path) as store:
        assert {each.run_id for each in store.find()} == {RUNS[0].run_id, RUNS[2].run_id}
        assert store.unreadable == ()


def test_deletion_does_not_follow_a_folder_that_is_a_link(path, tmp_path):
    (tmp_path / "victim").mkdir()
    thesis = tmp_path / "victim" / f"{VICTIM}.tex"
    thesis.touch()
    path.with_name(f"{path.name}.codes").symlink_to(tmp_path / "victim")
    assert delete_runs(path, [VICTIM]) == 1
    assert thesis.exists()


def test_a_damaged_row_of_a_run_without_a_result_is_computed_again(path):
    broken(path, "UPDATE runs SET outcome = 'exploded' WHERE run_id = ?", VICTIM)
    with Store.open(path) as store:
        assert VICTIM not in store.outcomes([VICTIM])
        assert store.begin(RUNS[1]) is Written.STORED


def test_a_damaged_result_is_not_overwritten_by_an_import(path):
    broken(path, "UPDATE runs SET environment = '{' WHERE run_id = ?", VICTIM)
    with Store.open(path) as store, pytest.raises(StoreError, match=f"runs delete {VICTIM}"):
        store.add([RUNS[1]])


def line(**changes) -> bytes:
    """An exported run with other fields, in which a function changes what is there."""
    content = json.loads(write_line(record(columns={"neg_elbo": Estimate(30.0, 0.1), "kl": 1.0})))
    for field, value in changes.items():
        content[field] = value(content[field]) if callable(value) else value
    return json.dumps(content).encode()


def entry(column, number, **fields) -> dict:
    value = values(kl=number)[0].model_copy(update={"column": column, "board": False, **fields})
    return json.loads(value.model_dump_json())


def first(**fields):
    """A change of the first entry of a list."""
    return lambda entries: [entries[0] | fields, *entries[1:]]


def counted(*counters):
    return lambda points: [point | {"counters": count} for point, count in zip(points, counters, strict=True)]


def declining(metric="probe", column="probe", reason="no labels", **fields) -> dict:
    return {"metric": metric, "column": column, "reason": reason} | fields


def versioned(version):
    return line(spec=lambda own: own | {"protocol": own["protocol"] | {"version": version}})


def tried(**changes) -> bytes:
    """An exported trial, whose ids are those of its spec, with other fields."""
    evaluation = {"every": "10steps", "selection": ["elbo"]}
    made = trial_record("skip", protocol={"setting": SETTING | {"evaluation": evaluation}})
    return json.dumps(json.loads(write_line(made.model_copy(update={"values": ()}))) | changes).encode()


HOSTILE = {
    **{
        f"spec.protocol.version: a version is two numbers, as in 1.1, got '{version}'": versioned(version)
        for version in ("abc", "1.x", "", "1", "1.1.1", "-1.0", "1.1 ", "1_0.1", "١.١", "9" * 50 + ".1")
    },
    "it is a trial, which rules choose without a look at the test split": tried(values=[entry("kl", 1.0)]),
    "a trial, which rules choose without a look": tried(declined=[declining()]),
    "declined.0.reason: Input should be a valid string": line(declined=[declining(reason=3)]),
    "declined.0.reason: Field required": line(declined=[{"metric": "kl", "column": "kl"}]),
    "a reason is one line of 1 to 100 visible characters": line(declined=[declining(reason="x" * 101)]),
    "visible characters, got ''": line(declined=[declining(reason="")]),
    "visible characters, got 'a\\u200bb'": line(declined=[declining(reason="a\u200bb")]),
    "the text \\x1b[2J has a control character": line(declined=[declining(reason="\x1b[2J")]),
    "the text a\\nb has a control character": line(declined=[declining(reason="a\nb")]),
    "declined.0: Input should be a valid dictionary": line(declined=["no labels"]),
    "declined: Input should be a valid tuple": line(declined={"probe": "no labels"}),
    "unknown field 'declined.0.seed'": line(declined=[declining(seed=1)]),
    "Probe is no name of a component": line(declined=[declining(metric="Probe")]),
    "it declines 'probe' 'probe' twice": line(declined=[declining(), declining(reason="one class alone")]),
    "it declines 'kl' 'kl' twice, or beside a value": line(declined=[declining("kl", "kl")]),
    "a declined column of 'probe' has 1 to 100 characters": line(declined=[declining(column="x" * 101)]),
    "its mi_examples are 0": line(values=lambda own: [*own, entry("mi_examples", 0.0)]),
    "its mi_examples are 2.5": line(values=lambda own: [*own, entry("mi_examples", 2.5)]),
    "its tokens are inf": line(values=lambda own: [*own, entry("tokens", float("inf"))]),
    "has no column": line(values=first(column="")),
    "have at most 100 characters": line(values=first(title="x" * 101)),
    "is no name of a component": line(values=first(metric="Neg ELBO")),
    "the standard error of 'elbo' 'neg_elbo' is -1": line(
        values=first(standard_error={"kind": "finite", "value": -1.0})
    ),
    "is inf": line(values=first(standard_error={"kind": "+inf", "value": None})),
    "two values of one metric and column": line(values=lambda own: [*own, own[0]]),
    "the counter steps of point 1 is -5.0": line(points=counted({"steps": -5.0}, {"steps": 1.0})),
    "the counter steps of point 1 is inf": line(points=counted({"steps": "Infinity"}, {"steps": "Infinity"})),
    "the counter steps goes back from 9 to 8 at point 2": line(points=counted({"steps": 9.0}, {"steps": 8.0})),
    "points 1 and 2 are both of step 9": line(points=counted({"steps": 9.0}, {"steps": 9.0})),
    "is no name of a counter": line(points=counted({"a b": 1.0}, {"a b": 1.0})),
    "points 1 and 2 have different counters": line(points=counted({"steps": 1.0}, {"steps": 2.0, "seconds": 1.0})),
    "two selected points": line(points=lambda own: [each | {"selected": True} for each in own]),
    "is too large": line(parameters=2**70),
    "the number 1e999 is too large": line(parameters=987_654).replace(b"987654", b"1e999"),
    "it is nested too deeply": b'{"a": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "nested too deeply": line(environment={"a": json.loads("[" * 80 + "]" * 80)}),
    "a control character or half a character": line(message="\x1b[2J"),
    "half a character": line(environment={"a": "\ud800"}),
    "has a control character": line(values=first(unit="na\nts")),
    "message is given twice": line().replace(b'"message"', b'"message": "", "message"'),
    "its times have no time zone": line(started_at="2026-01-01T00:00:00"),
    "its times lie outside of the calendar": line(started_at="0001-01-01T00:00:00+14:00"),
    "it is not JSON": b"\xff\xff",
}


@pytest.mark.parametrize("reason", HOSTILE)
def test_a_line_that_boards_could_not_show_is_refused_with_its_reason(path, tmp_path, reason):
    file = tmp_path / "runs.jsonl"
    file.write_bytes(line() + b"\n\n" + HOSTILE[reason])
    with pytest.raises(UsageError) as refused:
        import_runs(path, {"runs.jsonl": file})
    message = str(refused.value)
    assert message.startswith("cannot import 'runs.jsonl', line 3: ")
    assert reason in message
    assert message.isprintable()
    with Store.reading(path) as store:
        assert store.count() == 3


def test_what_is_unusual_but_true_is_imported(tmp_path):
    """An estimator of one sample has a standard error that is none, a metric may be infinite, a message has lines."""
    made = record(
        columns={"neg_elbo": Estimate(30.0, float("nan")), "kl": float("inf")},
        message="naïve 🙂\n\tnext",
        traceback="a\nb\n",
        points=(point(1, selected=False, neg_elbo=float("nan")),),
    )
    (tmp_path / "a").write_text(write_line(made))
    assert import_runs(tmp_path / "runs.sqlite", {"a": tmp_path / "a"}) == (1, 0)
    with Store.reading(tmp_path / "runs.sqlite") as store:
        assert [write_line(each) for each in store.find()] == [write_line(made)]


def test_a_trial_without_values_of_the_test_split_is_imported(tmp_path):
    (tmp_path / "a").write_bytes(tried())
    assert import_runs(tmp_path / "runs.sqlite", {"a": tmp_path / "a"}) == (1, 0)


def test_a_run_that_is_given_twice_with_different_content_is_told(path, tmp_path):
    """Be it in one file or in two. Nothing of them is stored, and no stored run is said to be in the way."""
    one, other = (write_line(record(seed=9, columns={"kl": kl})).encode() + b"\n" for kl in (1.0, 2.0))
    (tmp_path / "both").write_bytes(one + other)
    (tmp_path / "one").write_bytes(one)
    (tmp_path / "other").write_bytes(other)
    for names in (("both",), ("one", "other")):
        with pytest.raises(UsageError, match=f"run {record(seed=9).run_id} is given twice with different content"):
            import_runs(path, {name: tmp_path / name for name in names})
    with Store.reading(path) as store:
        assert store.count() == 3
    assert import_runs(path, {"one": tmp_path / "one"}) == (1, 0)
    with pytest.raises(StoreError, match="is already stored with other content"):
        import_runs(path, {"other": tmp_path / "other"})


@pytest.mark.parametrize("content", [b"", gzip.compress(b"", mtime=0), b"\n\n"], ids=["empty", "gzipped", "lines"])
@pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.gz"])
def test_files_without_a_run_are_told_whatever_their_form(command, tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    answer = command("runs", "import", tmp_path / name)
    assert (answer.code, answer.err) == (0, "0 runs imported, 0 skipped: what was given has no runs\n")


TEXT = b"".join(write_line(record(seed=seed)).encode() + b"\r\n" for seed in (7, 8))
FORMS = {
    "plain": TEXT,
    "gzipped": gzip.compress(TEXT),
    "in two parts": gzip.compress(TEXT[: len(TEXT) // 2]) + gzip.compress(TEXT[len(TEXT) // 2 :]),
    "marked": b"\xef\xbb\xbf" + TEXT,
    "gzipped and marked": gzip.compress(b"\xef\xbb\xbf" + TEXT),
    "of Windows": TEXT.decode().encode("utf-16"),
}


@pytest.mark.parametrize("form", FORMS)
def test_forms_of_files(tmp_path, form):
    for name in ("a.jsonl", "b"):
        (tmp_path / name).write_bytes(FORMS[form])
    one = write_line(record(seed=9)).encode()
    (tmp_path / "c").write_bytes(one)
    sources = {name: tmp_path / name for name in ("a.jsonl", "b", "c")}
    assert import_runs(tmp_path / "runs.sqlite", sources) == (3, 2)
    with (tmp_path / "a.jsonl").open("rb") as stream:
        assert import_runs(tmp_path / "runs.sqlite", {"-": stream}) == (0, 2)


def test_a_long_line_of_windows_text_is_read_piece_by_piece(tmp_path):
    """It is small as a gzip file, and is not held in memory as a whole."""
    (tmp_path / "a").write_bytes(gzip.compress(b"\xff\xfe" + b" \0" * (LONGEST + PIECE), 1))
    tracemalloc.start()
    with pytest.raises(UsageError, match="line 1: it is longer than"):
        import_runs(tmp_path / "runs.sqlite", {"a": tmp_path / "a"})
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 3 * LONGEST
    assert not (tmp_path / "runs.sqlite").exists()


def test_windows_text_that_ends_within_a_letter_is_text_all_the_same():
    found = b"".join(lines(io.BytesIO("é\n\U0001f40d".encode("utf-16") + b"\0"), "a"))
    assert found.decode() == "é\n\U0001f40d\N{REPLACEMENT CHARACTER}"


def test_a_file_of_empty_lines_is_not_read_to_its_end(tmp_path):
    for blank in (b"\n" * (EMPTY + 1), b" " * EMPTY + b"\n"):
        (tmp_path / "a").write_bytes(gzip.compress(blank + TEXT))
        with pytest.raises(UsageError, match="more than 1,048,576 bytes of empty lines"):
            import_runs(tmp_path / "runs.sqlite", {"a": tmp_path / "a"})


def test_files_that_cannot_be_read(tmp_path):
    whole = gzip.compress(TEXT)
    for content in (whole[:-9], whole[:40] + b"\0" * 40 + whole[80:], b"\x1f\x8b\x08nothing"):
        (tmp_path / "a.gz").write_bytes(content)
        with pytest.raises(CollapsebenchError, match=r"cannot (read|import) 'a.gz'"):
            import_runs(tmp_path / "runs.sqlite", {"a.gz": tmp_path / "a.gz"})
    with pytest.raises(CollapsebenchError, match="cannot read 'none'"):
        import_runs(tmp_path / "runs.sqlite", {"none": tmp_path / "none"})
    assert not (tmp_path / "runs.sqlite").exists()


def test_several_files_are_imported_all_or_none(path, tmp_path, command):
    for name, content in (("a", TEXT), ("b", TEXT + b"{}")):
        (tmp_path / name).write_bytes(content)
    answer = command("runs", "import", tmp_path / "a", tmp_path / "b", "--store", path)
    assert answer.code == 2
    assert f"cannot import '{tmp_path / 'b'}', line 3" in answer.err
    (tmp_path / "b").write_bytes(TEXT)
    answer = command("runs", "import", tmp_path / "a", tmp_path / "b", "--store", path)
    assert answer.err == "2 runs imported, 2 skipped\n"


def test_importing_a_record_runs_no_code(tmp_path):
    """Whatever a record names: not even what plugins are loaded by is imported."""
    (tmp_path / "a").write_bytes(TEXT)
    script = (
        "import sys\nfrom pathlib import Path\nfrom collapsebench.store.interchange import import_runs\n"
        "import_runs(sys.argv[1], {'a': Path(sys.argv[2])})\n"
        "sys.exit(any(name.partition('.')[0] in {'torch', 'pluggy', 'collapsebench_plugins'} for name in sys.modules))"
    )
    words = [sys.executable, "-c", script, tmp_path / "runs.sqlite", tmp_path / "a"]
    assert subprocess.run(words, check=False).returncode == 0
