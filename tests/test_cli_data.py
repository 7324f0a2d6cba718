"""The data command: what a user sees, and the exit codes."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import click
import pytest
from originals import facts_table, write

from collapsebench import cli
from collapsebench.facts import dataset_names

CONTENT = b"one\ntwo\n"
PLUGIN = '''
from pathlib import Path
from collapsebench import hookimpl
from collapsebench.data.texts import PennTreebank

class Mine(PennTreebank):
    """My text."""
    name = "mine"
    stem = "mine"
    facts = Path(__file__).with_suffix(".toml")

@hookimpl
def collapsebench_components():
    return [Mine]
'''


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("COLLAPSEBENCH_DATA", raising=False)


@pytest.fixture
def run(capsys):
    def run(*arguments):
        """The exit code, standard output and standard error of `collapsebench data …`."""
        with pytest.raises(SystemExit) as exited:
            cli.main(["data", *map(str, arguments)])
        return exited.value.code or 0, *capsys.readouterr()

    return run


@pytest.fixture
def mine(tmp_path):
    """The options that bring in a plugin's dataset whose files are here."""
    contents = {f"mine.{split}.txt": CONTENT + split.encode() for split in ("train", "valid", "test")}
    (tmp_path / "mine.py").write_text(PLUGIN)
    (tmp_path / "mine.toml").write_text(facts_table(contents))
    write(tmp_path / "data" / "sub", contents)
    return ["--plugin", tmp_path / "mine.py", "--data-dir", tmp_path / "data"]


def test_list_names_every_dataset(run, tmp_path):
    code, out, err = run("list", "--data-dir", tmp_path)
    assert (code, err) == (0, "")
    rows = {line.split()[0]: line for line in out.splitlines()[2:]}
    assert list(rows) == dataset_names()
    assert "embedded" in rows["digits"]
    assert "1,000 / 400 / 397" in rows["digits"]
    assert all(" fetchable " in rows[name] or " embedded " in rows[name] for name in rows)


def test_list_sees_which_files_are_here(run, mine):
    code, out, _ = run("list", "--json", *mine)
    rows = {row["name"]: row["available"] for row in json.loads(out)}
    assert code == 0
    assert rows["mine"] == "yes"
    assert rows["yahoo"] == "fetchable"
    assert rows["linear-gaussian"] == "embedded"


@pytest.mark.parametrize("name", dataset_names())
def test_show_prints_the_card(run, name):
    code, out, err = run("show", name)
    assert (code, err) == (0, "")
    assert out.startswith(f"{name}: ")
    for part in ("licence:", "comparability:", "parameters:", "sha256", "files", "quick ("):
        assert part in out


def test_show_as_json_has_files_tracks_and_parameters(run, mine, tmp_path):
    code, out, _ = run("show", "mine[max_tokens=7]", "--json", *mine)
    card = json.loads(out)
    assert code == 0
    assert card["name"] == "mine"
    assert card["parameters"]["max_tokens"]["value"] == 7
    assert [Path(file["found"]) for file in card["files"]] == [
        tmp_path / "data" / "sub" / f"mine.{split}.txt" for split in ("train", "valid", "test")
    ]
    assert card["truth"] == {}


def test_show_tells_the_truth_where_it_is_known(run):
    code, out, _ = run("show", "synthetic-text[vocabulary=5,length=3,train=5,valid=5,test=50]", "--json")
    (truth,) = json.loads(out)["truth"].values()
    assert code == 0
    assert 0 < truth["mutual-information"]["value"] < truth["entropy"]["value"]
    labels = json.loads(run("show", "linear-gaussian", "--json")[1])["truth"]
    assert list(labels) == ["linear-gaussian"]
    assert "truth of linear-gaussian, in nats per example: entropy 12.5154" in run("show", "linear-gaussian")[1]


def test_show_says_why_a_truth_is_not_known(run):
    name = "synthetic-text[b=1000,vocabulary=3,length=2,test=2]"
    code, out, _ = run("show", name)
    assert code == 0
    assert "does not settle" in out


@pytest.mark.parametrize(
    ("name", "complaint"),
    [
        ("digitz", "unknown dataset 'digitz'. Did you mean 'digits'?"),
        ("own", "unknown dataset 'own'. One of your own needs --plugin FILE or --data-dir FOLDER. Known: "),
        ("digits[treshold=3]", "dataset 'digits': unknown parameter 'treshold'. Did you mean 'threshold'?"),
        ("digits[threshold=many]", "dataset 'digits': threshold: "),
        ("digits+mnist", "'digits+mnist' names several datasets"),
        ("digits[", "cannot read 'digits['"),
    ],
)
@pytest.mark.parametrize("verb", ["show", "fetch", "verify"])
def test_a_wrong_name_is_one_line_and_exit_code_2(run, verb, name, complaint):
    code, out, err = run(verb, name)
    assert (code, out) == (2, "")
    assert err.startswith(f"error: {complaint}")
    assert err.count("\n") == 1


def test_fetch_needs_a_name(run):
    code, _, err = run("fetch")
    assert code == 2
    assert "name the datasets to fetch" in err


def test_fetch_of_what_is_here_does_nothing(run, mine):
    assert run("fetch", "digits", "mine", *mine) == (0, "digits: needs no files\nmine: all files are here\n", "")
    assert json.loads(run("fetch", "digits", "mine", "--json", *mine)[1]) == {"digits": [], "mine": []}


def test_fetch_without_an_address_says_where_to_get_it_and_goes_on(run, mine, tmp_path):
    (tmp_path / "data" / "sub" / "mine.valid.txt").unlink()
    assert "no: no address of mine.valid.txt" in run("list", *mine)[1]
    code, out, err = run("fetch", "mine", "digits", *mine)
    assert (code, out) == (1, "digits: needs no files\n")
    assert err.startswith("error: dataset 'mine': no address is known of mine.valid.txt; ask the author")
    assert err.count("\n") == 1


def test_verify_passes_what_is_right(run, mine):
    code, out, err = run("verify", "mine", "digits", *mine)
    assert (code, err) == (0, "")
    assert out.count("right") == 4
    assert "no hashes known" in out


def test_verify_calls_nothing_right_of_which_nothing_is_known(run, mine, tmp_path):
    contents = {f"mine.{split}.txt": CONTENT + split.encode() for split in ("train", "valid", "test")}
    (tmp_path / "mine.toml").write_text(facts_table(contents, sha256=None))
    code, out, _ = run("verify", "mine", *mine)
    assert code == 0
    assert "right" not in out
    assert out.count("no checksum known") == 3
    assert hashlib.sha256(contents["mine.test.txt"]).hexdigest() in out
    assert {row["right"] for row in json.loads(run("verify", "mine", "--json", *mine)[1])} == {None}


def test_verify_fails_on_a_wrong_file(run, mine, tmp_path):
    (tmp_path / "data" / "sub" / "mine.valid.txt").write_bytes(b"one\n")
    code, out, err = run("verify", "--json", "mine", *mine)
    assert code == 1
    assert err == "error: 1 of 3 checks failed\n"
    results = {row["what"]: row["right"] for row in json.loads(out)}
    assert results == {"mine.train.txt": True, "mine.valid.txt": False, "mine.test.txt": True}


def test_verify_fails_on_splits_that_are_not_the_card_s(run, mine, tmp_path):
    facts = tmp_path / "mine.toml"
    facts.write_text(facts.read_text() + f'\n[splits]\ntest = {{ examples = 3, sha256 = "{"0" * 64}" }}\n')
    code, out, err = run("verify", "mine", *mine)
    assert code == 1
    assert "test has sha256 " in out
    assert "error: 1 of 4 checks failed" in err


def test_verify_fails_on_files_that_cannot_be_parsed(run, mine, tmp_path):
    contents = {f"mine.{split}.txt": b"\xff\n" for split in ("train", "valid", "test")}
    (tmp_path / "mine.toml").write_text(facts_table(contents))
    write(tmp_path / "data" / "sub", contents)
    code, out, _ = run("verify", "mine", *mine)
    assert code == 1
    assert "'mine.train.txt', line 1: not UTF-8" in out


def test_verify_without_files_is_not_wrong(run, tmp_path):
    code, out, _ = run("verify", "ptb", "--data-dir", tmp_path)
    assert code == 0
    assert "files are missing" in out


def test_the_data_folder_comes_from_the_environment_too(run, mine, tmp_path, monkeypatch):
    monkeypatch.setenv("COLLAPSEBENCH_DATA", str(tmp_path / "data"))
    code, out, _ = run("list", "--json", *mine[:2])
    assert code == 0
    assert {row["name"]: row["available"] for row in json.loads(out)}["mine"] == "yes"


def test_tables_are_drawn_on_a_terminal(run, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "120")
    code, out, _ = run("list")
    assert code == 0
    assert "┃" in click.unstyle(out)
    assert "linear-gaussian" in out


def test_help_names_the_commands(run):
    code, out, _ = run("--help")
    assert code == 0
    assert all(name in out for name in ("list", "show", "fetch", "verify"))


def test_a_tilde_is_the_user_s_home_in_the_option_and_in_the_environment(run, mine, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    for where in ("--data-dir=~/data", None):
        monkeypatch.setenv("COLLAPSEBENCH_DATA", "~/nowhere" if where else "~/data")
        code, out, _ = run("list", "--json", *mine[:2], *([where] if where else []))
        assert code == 0
        assert {row["name"]: row["available"] for row in json.loads(out)}["mine"] == "yes"


@pytest.mark.parametrize("verb", [["list"], ["show", "ptb"], ["verify"], ["fetch", "ptb"]])
def test_a_data_folder_that_is_a_file_is_one_line_and_exit_code_2(run, tmp_path, verb):
    (tmp_path / "file").touch()
    code, out, err = run(*verb, "--data-dir", tmp_path / "file")
    assert (code, out, err) == (2, "", f"error: data folder '{tmp_path / 'file'}' is not a folder\n")


def test_a_run_with_a_data_folder_that_is_a_file_is_one_line_and_exit_code_2(command, tmp_path):
    (tmp_path / "file").touch()
    answer = command("run", "--dataset", "digits", "--data-dir", tmp_path / "file")
    assert (answer.code, answer.err) == (2, f"error: data folder '{tmp_path / 'file'}' is not a folder\n")


def test_an_unreadable_file_is_one_line(run, mine, tmp_path):
    """Root reads what nobody may, but not the memory at address 0 of its own process."""
    path = tmp_path / "data" / "sub" / "mine.valid.txt"
    if os.geteuid() == 0:
        path.unlink()
        path.symlink_to("/proc/self/mem")
    else:
        path.chmod(0)
    code, out, err = run("verify", "mine", *mine)
    assert (code, err) == (1, "error: 1 of 3 checks failed\n")
    assert f"cannot read data file '{path}': " in out


UNKNOWN_USER = """
import pwd

def nobody(uid):
    raise KeyError(uid)

pwd.getpwuid = nobody
from collapsebench.cli import main
main()
"""
"""The command line for a user whom the machine does not know, as in many containers: Python asks `pwd` for his home."""


@pytest.mark.slow
@pytest.mark.torch
def test_embedded_data_need_no_home(tmp_path):
    environment = {key: value for key, value in os.environ.items() if key not in {"HOME", "XDG_CACHE_HOME"}}

    def command(*arguments):
        whole = [sys.executable, "-c", UNKNOWN_USER, *arguments]
        return subprocess.run(whole, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)

    metrics = ("--set", "evaluation.metrics=[neg-elbo]")  # the probes of the track take long
    done = command("run", "--dataset", "digits", "--budget", "1steps", "--store", "runs.sqlite", *metrics)
    assert done.returncode == 0, done.stderr
    assert "finished" in done.stdout
    assert not (tmp_path / "~").exists()
    missing = command("run", "--dataset", "ptb")
    assert missing.returncode == 1
    assert missing.stderr.count("\n") == 1
    assert "in 'collapsebench-data/ptb': get it with 'collapsebench data fetch ptb'" in missing.stderr
