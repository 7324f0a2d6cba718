"""`collapsebench run`, `methods`, `plugins`, and what every command owes its user."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from unittest import mock

import pytest
import toys

from collapsebench.cli import COMMANDS
from collapsebench.components.interfaces import Family
from collapsebench.store import Store

MINE = """
from collapsebench import Method, hookimpl

class Mine(Method):
    \"\"\"Mine.\"\"\"
    name = "mine"

    @hookimpl
    def kl_weight(self):
        return 1.0

@hookimpl
def collapsebench_components():
    return [Mine]
"""

TOY = ("run", "--plugin", toys.PLUGIN, "--dataset", "toy")


@pytest.mark.torch
def test_a_run_is_stored_and_the_same_command_fills_only_gaps(command, tmp_path):
    first = command(*TOY, "--method", "skip", "--seeds", 2)
    assert first.code == 0
    assert "4 runs, 0 already stored, 4 to run" in first.out
    assert first.out.count("finished  ") == 4
    assert first.err == ""
    assert "next: collapsebench leaderboard --dataset toy" in first.out
    again = command(*TOY, "--method", "skip", "--seeds", 3)
    assert "6 runs, 4 already stored, 2 to run" in again.out
    with Store.open(tmp_path / "results" / "collapsebench.sqlite") as store:
        assert store.count() == 6


@pytest.mark.torch
def test_quiet_says_nothing_and_verbose_every_evaluation(command):
    assert command(*TOY, "-q").out == ""
    spoken = command(*TOY, "-v", "--seed", 7).out
    assert "vae seed 7: step 3, " in spoken
    assert "vae seed 7: step 6, " in spoken


@pytest.mark.torch
def test_a_dry_run_starts_nothing(command, tmp_path):
    command(*TOY, "-q")
    plan = command(*TOY, "--method", "skip", "--dry-run")
    assert plan.code == 0
    assert "toy · quick · 6steps · protocol " in plan.out
    lines = plan.out.splitlines()
    assert next(line for line in lines if " vae " in line).endswith("stored: finished")
    assert next(line for line in lines if " skip " in line).endswith("to run")
    with Store.open(tmp_path / "results" / "collapsebench.sqlite") as store:
        assert store.count() == 1


def test_a_dry_run_without_a_store_makes_none(command, tmp_path):
    command(*TOY, "--dry-run")
    assert not (tmp_path / "results").exists()


def test_json_is_that_of_a_plan(command):
    answer = command(*TOY, "--json")
    assert (answer.code, answer.out) == (2, "")
    assert answer.err == "error: --json prints the plan: it goes with --dry-run\n"


def test_a_dry_run_as_json(command):
    plan = json.loads(command(*TOY, "--dry-run", "--json", "--set", "decoder.layers=2").out)
    assert plan["protocol"]["setting"]["decoder"]["params"]["layers"] == 2
    assert [run["status"] for run in plan["runs"]] == ["to run"]


@pytest.mark.torch
def test_a_failed_run_is_exit_code_one_and_the_others_are_run(command):
    answer = command(*TOY, "--method", "crash", "--method", "skip")
    assert answer.code == 1
    assert "ZeroDivisionError: division by zero (toy_plugin.py:" in answer.err
    assert "its traceback: collapsebench runs show " in answer.err
    assert answer.out.count("finished  ") == 2


@pytest.mark.torch
def test_the_command_that_shows_a_traceback_finds_the_store(command):
    answer = command(*TOY, "--method", "crash", "--no-baseline", "--store", "other.sqlite")
    shown = answer.err.partition("its traceback: collapsebench ")[2].split()
    assert "ZeroDivisionError" in command(*shown).out


@pytest.mark.torch
def test_a_divergence_is_exit_code_one_and_never_silent(command):
    answer = command(*TOY, "--method", "explode", "--no-baseline")
    assert answer.code == 1
    assert "diverged  " in answer.out
    quiet = command(*TOY, "--method", "explode", "--no-baseline", "--seed", "2", "--quiet")
    assert (quiet.code, quiet.out) == (1, "")
    assert quiet.err.startswith("diverged  ")


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("--method", "skp"), "unknown method 'skp'. Did you mean 'skip'?"),
        (("--method", "skip["), "cannot read 'skip['"),
        (("--method", "sa-vae[steps=x]"), "method 'sa-vae': steps: Input should be a valid integer"),
        (("--method", "sa-vae+svi"), "both give inference"),
        (("--track", "quik"), "unknown track 'quik'"),
        (("--budget", "lots"), "cannot read budget 'lots'"),
        (("--seeds", "2", "--seed", "1"), "give --seeds N or --seed S, not both"),
        (("--seed", "2", "--seed", "2"), "seed '2' is given twice"),
        (("--set", "decoder.layerz=2"), "unknown parameter 'layerz'. Did you mean 'layers'?"),
        (("--device", "gpu"), "unknown device 'gpu'"),
        (("--plugin", "nowhere.py"), "plugin file 'nowhere.py' does not exist"),
        (("--seeds", "0"), "0 is not in the range 1<=x<=10000"),
        (("--seeds", "1000000000"), "1000000000 is not in the range 1<=x<=10000"),
        (("--seed", str(2**63)), f"{2**63} is not in the range 0<=x<={2**63 - 1}"),
        (("--threads", "100000"), "100000 is not in the range 1<=x<=1024"),
        (("--workers", "100000"), "100000 is not in the range 1<=x<=1024"),
        (("--timeout", "soon"), "cannot read the time 'soon': write it as in 90s, 30m or 2h"),
        (("--timeout", "0"), "cannot read the time '0'"),
        (("--no-baseline",), "nothing to run"),
        (("--frobnicate",), "No such option"),
    ],
)
def test_wrong_usage_is_one_line_and_exit_code_two(command, arguments, expected):
    answer = command(*TOY, *arguments)
    assert answer.code == 2
    assert answer.out == ""
    assert answer.err.startswith("error: ")
    assert answer.err.count("\n") == 1
    assert expected in answer.err


@pytest.mark.parametrize("dry", [[], ["--dry-run"]])
def test_wrong_usage_is_told_before_what_reads_stores_is_imported(tmp_path, dry):
    arguments = ["run", "--dataset", "digits", "--method", "skp", "--store", str(tmp_path / "store.sqlite"), *dry]
    program = (
        f"import sys\nfrom collapsebench import cli\ntry:\n    cli.main({arguments!r})\n"
        "except SystemExit as stopped:\n    assert stopped.code == 2\n"
        "assert not {'torch', 'sqlalchemy'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_unknown_dataset_and_command(command):
    assert "unknown dataset 'yaho'. Did you mean 'yahoo'?" in command("run", "--dataset", "yaho").err
    answer = command("frobnicate")
    assert answer.code == 2
    assert answer.err.startswith("error: No such command 'frobnicate'")


def test_a_broken_plugin_file_is_one_line(command, tmp_path):
    (tmp_path / "broken.py").write_text("import nothing_of_this_name\n")
    answer = command("run", "--dataset", "toy", "--plugin", "broken.py")
    assert answer.code == 1
    assert answer.err == (
        "error: plugin file 'broken.py' failed: ModuleNotFoundError: No module named 'nothing_of_this_name'\n"
    )


EXIT = """
import sys
from collapsebench import Dataset, hookimpl

class Gone(Dataset):
    name = "gone"
    facts = {facts!r}

    def load(self, folder):
        sys.exit(0)

@hookimpl
def collapsebench_components():
    return [Gone]
"""


def test_what_a_plugin_raises_while_the_grid_is_planned_is_one_line(command, tmp_path):
    facts = "__import__('pathlib').Path('toy_plugin.toml')"
    (tmp_path / "gone.py").write_text(EXIT.format(facts="").replace("facts = ''", f"facts = {facts}"))
    (tmp_path / "toy_plugin.toml").write_text(toys.PLUGIN.with_suffix(".toml").read_text())
    answer = command("run", "--dataset", "gone", "--plugin", "gone.py")
    assert answer.code == 1
    assert answer.err == "error: SystemExit: 0 (gone.py:10, in load of dataset 'gone')\n"


@pytest.mark.torch
def test_debug_shows_where_a_run_failed(command):
    answer = command("--debug", *TOY, "--method", "crash", "--no-baseline")
    assert "Traceback" in answer.err
    assert "return 1 / (progress.step - 1)" in answer.err


def test_debug_shows_the_traceback(command):
    answer = command("--debug", *TOY, "--method", "skp")
    assert answer.code == 2
    assert "Traceback" in answer.err


@pytest.mark.parametrize("content", [b"this is no database, but long enough to have a header" * 30])
def test_a_store_that_is_no_database(command, tmp_path, content):
    (tmp_path / "notes.txt").write_bytes(content)
    answer = command(*TOY, "--store", "notes.txt")
    assert answer.code == 1
    assert answer.err.startswith("error: ")
    assert "notes.txt" in answer.err
    assert (tmp_path / "notes.txt").read_bytes() == content


def test_methods_are_listed_by_family(command, tmp_path):
    (tmp_path / "mine.py").write_text(MINE)
    heads, listed = [], {}
    for line in command("methods", "--plugin", tmp_path / "mine.py").out.splitlines():
        if line.startswith("  "):
            listed[line.split()[0]] = heads[-1]
        elif line:
            heads.append(line)
    facts = json.loads(command("methods", "--json", "--plugin", tmp_path / "mine.py").out)
    assert listed == {method["name"]: method["family"] for method in facts}
    assert heads[0].startswith("vae: ")
    assert heads[1:] == [family.value for family in Family if family in listed.values()]
    assert listed["mine"] == "other"


def test_a_family_that_is_none_is_refused(command, tmp_path):
    (tmp_path / "mine.py").write_text(MINE.replace('"mine"', '"mine"; family = "objectiv"'))
    answer = command("methods", "--plugin", tmp_path / "mine.py")
    assert answer.code == 1
    assert "Mine: unknown family 'objectiv'. Did you mean 'objective'?" in answer.err


def test_methods_lists_and_shows_hyperparameters(command):
    assert "no-latent" in command("methods").out
    shown = command("methods", "sa-vae").out
    assert "Kim, Wiseman" in shown
    assert "steps  (integer >= 0; default 10; tuned 10|20)" in shown
    assert "hvp  (exact|finite-difference; default exact)" in shown
    assert "learning_rate_logvar  (number > 0 or none; default none)" in shown
    facts = json.loads(command("methods", "skip", "--json").out)
    assert facts[0]["hooks"] == ["connect_latent"]
    assert "Did you mean 'skip'" in command("methods", "skp").err


def test_plugins_shows_where_everything_comes_from(command):
    rows = json.loads(command("plugins", "--json", "--plugin", toys.PLUGIN).out)["components"]
    skip = next(row for row in rows if row["name"] == "skip")
    assert skip["plugin"] == "skip"
    assert skip["hooks"] == ["connect_latent"]
    toy = next(row for row in rows if row["name"] == "toy")
    assert toy["file"].endswith("toy_plugin.py")
    assert "collapsebench_plugins/skip.py" in command("plugins").out


@pytest.mark.parametrize("name", ["", *COMMANDS])
def test_help_is_there_and_imports_no_torch(name):
    program = (
        "import sys\nfrom collapsebench import cli\n"
        f"try:\n    cli.main({[*name.split(), '--help']!r})\nexcept SystemExit as stopped:\n"
        "    assert not stopped.code\nassert 'torch' not in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "Usage: collapsebench" in done.stdout


@pytest.mark.slow
@pytest.mark.torch
def test_ctrl_c_leaves_a_clean_store(tmp_path):
    """A real process, interrupted while it trains: exit code 130, the run stored as interrupted, nothing else."""
    file = tmp_path / "store.sqlite"
    arguments = [*map(str, TOY), "--budget", "600seconds", "--store", str(file), "-v"]
    program = f"from collapsebench import cli; cli.main({arguments!r})"
    environment = os.environ | {"PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    ) as process:
        for line in process.stdout:
            if "step" in line:
                break
        time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert err.strip().endswith("interrupted")
    assert "Traceback" not in err
    with Store.open(file) as store:
        assert [summary.outcome.value for summary in store.summaries()] == ["interrupted"]


def test_a_bug_of_ours_is_one_line_too(command, monkeypatch):
    broken = mock.Mock(side_effect=RuntimeError("the sky\nfell"))
    monkeypatch.setattr("collapsebench.experiment.planning.plan", broken)
    answer = command(*TOY)
    assert answer.code == 1
    assert answer.err == "error: RuntimeError: the sky fell (a bug; --debug shows where)\n"
    assert "Traceback" in command("--debug", *TOY).err
