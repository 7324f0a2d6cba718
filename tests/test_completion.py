"""A Tab offers the names that the program knows, without torch, and is silent where it knows none."""

from __future__ import annotations

import os
import subprocess
import sys

import click
import pytest
import toys
from click.shell_completion import ShellComplete

from collapsebench.cli import COMMANDS, cli, completing
from collapsebench.cli.completion import SHELLS, VARIABLE
from collapsebench.components import discovery
from collapsebench.experiment.suites import suite_names
from collapsebench.facts import dataset_facts, dataset_names

METHODS = discovery.load((), {"method"}).names("method")


def offered(*words):
    """What the shell offers for the last of these words."""
    items = ShellComplete(cli, {}, "collapsebench", VARIABLE).get_completions(list(words[:-1]), words[-1])
    return [item.value for item in items if item.type == "plain"]


def test_all_commands_are_offered():
    assert offered("") == list(COMMANDS)


NAMED = {
    "dataset": completing.datasets,
    "track": completing.tracks,
    "suite": completing.suites,
    "methods": completing.contenders,
    "contender": completing.contenders,
    "contenders": completing.contenders,
    "against": completing.contenders,
    "columns": completing.columns,
    "sort": completing.columns,
    "run_id": completing.runs,
    "run_ids": completing.runs,
    "kind": completing.kinds,
    "collapsebench new kind": completing.templates,
    "collapsebench compare first": completing.contenders,
    "collapsebench compare second": completing.contenders,
    "collapsebench diff first": completing.runs,
    "collapsebench diff second": completing.runs,
    "collapsebench components name": completing.components,
    "collapsebench check target": completing.components,
    "collapsebench league against": completing.models,
    "collapsebench methods name": completing.methods,
    "collapsebench suite show name": completing.suites,
    "collapsebench suite run name": completing.suites,
    "collapsebench data show name": completing.datasets,
    "collapsebench data verify names": completing.datasets,
}
"""What completes the parameters of these names, in whichever command, or those of one command."""


def parameters(command, name):
    """The parameters of a command and of all below it, each with a name for messages."""
    context = click.Context(command)
    yield from ((f"{name} {parameter.name}", parameter) for parameter in command.params)
    if isinstance(command, click.Group):
        for child in command.list_commands(context):
            yield from parameters(command.get_command(context, child), f"{name} {child}")


def test_parameters_of_one_name_are_completed_alike_in_all_commands():
    every = dict(parameters(cli, "collapsebench"))
    wanted = {where: NAMED.get(where, NAMED.get(parameter.name)) for where, parameter in every.items()}
    found = {where: every[where]._custom_shell_complete for where, completer in wanted.items() if completer}
    assert found == {where: completer for where, completer in wanted.items() if completer}
    assert set(NAMED) <= {*every, *(parameter.name for parameter in every.values())}


def test_the_methods_are_offered_alone_and_after_a_plus():
    assert sorted(offered("run", "--method", "")) == sorted(["vae", *METHODS])
    others = {f"skip+{name}" for name in METHODS} - {"skip+skip"}
    assert set(offered("run", "--method", "skip+")) == others
    assert offered("methods", "sk") == ["skip"]


def test_what_stands_before_the_plus_is_kept():
    assert offered("run", "-m", "kl-annealing[warmup=0.5]+sk") == ["kl-annealing[warmup=0.5]+skip"]


@pytest.mark.parametrize("word", ["kl-annealing[warmup=1e+", "+", "skip++", "Nobody"])
def test_nothing_is_offered_where_no_name_can_stand(word):
    assert offered("run", "--method", word) == []


def test_the_names_of_a_plugin_file_are_read_and_the_file_is_not_run(tmp_path):
    file = tmp_path / "mine.py"
    file.write_text(toys.PLUGIN.read_text(encoding="utf-8") + "\nraise SystemExit\n", encoding="utf-8")
    assert offered("run", "--plugin", str(file), "--dataset", "to") == ["toy"]
    assert offered("run", "--plugin", str(file), "--method", "skip+ex") == ["skip+explode"]


@pytest.mark.parametrize("content", ["class (", "\0"])
def test_a_plugin_file_that_is_no_python_offers_nothing(tmp_path, content):
    file = tmp_path / "mine.py"
    file.write_text(content)
    assert offered("run", "--plugin", str(file), "--method", "exp") == []


def test_datasets_and_their_tracks_are_offered_those_that_a_user_added_too(command, tmp_path, monkeypatch):
    (tmp_path / "all.txt").write_text("a b\nb c\na c\n" * 10)
    assert command("data", "add", "mine", "--text", "all.txt", "--split", "0.8,0.1,0.1", "--data-dir", ".").code == 0
    monkeypatch.setenv("COLLAPSEBENCH_DATA", str(tmp_path))
    assert offered("run", "--dataset", "") == sorted([*dataset_names(), "mine"])
    assert offered("data", "show", "mi") == ["mine"]
    assert offered("run", "--dataset", "mine", "--track", "") == ["quick", "paper"]
    assert offered("leaderboard", "-d", "yahoo", "--track", "") == list(dataset_facts("yahoo").tracks)


@pytest.mark.parametrize(
    "words", [("run", "--track", "mi"), ("run", "--dataset", "none", "--track", ""), ("suite", "run", "mine.")]
)
def test_a_file_is_offered_where_no_name_fits(words):
    completions = ShellComplete(cli, {}, "collapsebench", VARIABLE).get_completions(list(words[:-1]), words[-1])
    assert [item.type for item in completions] == ["file"]


def test_components_of_every_kind_are_offered_to_be_checked():
    assert {*METHODS, *dataset_names(), "lstm", "kl"} <= set(offered("check", ""))
    assert offered("check", "--kind", "decoder", "ls") == offered("components", "decoder", "ls") == ["lstm"]
    assert offered("components", "en") == ["encoder"]
    assert offered("new", "me") == ["method", "metric"]


def test_suites_are_offered():
    assert offered("suite", "show", "") == suite_names()
    assert offered("leaderboard", "--suite", "fi") == ["field/images", "field/text"]
    assert offered("league", "lea") == ["league/small"]


def test_the_cells_of_the_suite_before_the_cursor_are_offered():
    assert offered("league", "league/small", "--cell", "d") == ["digits", "digits, PixelCNN"]
    assert offered("suite", "run", "dieng-2019/table-3", "--cell", "2") == ["2 layers"]
    assert offered("plot", "depth", "--suite", "dieng-2019/table-3", "--cell", "3") == ["3 layers"]
    assert offered("league", "--cell", "") == []
    assert offered("league", "league/small", "--division", "i") == ["iso-kl"]


def test_the_models_of_the_suite_before_the_cursor_are_offered():
    assert offered("league", "league/small", "--against", "KL") == ["KL annealing"]
    assert offered("league", "--against", "") == []


def test_columns_are_offered_one_after_the_other():
    assert offered("leaderboard", "--columns", "kl,mi_lo") == ["kl,mi_lower"]
    assert {"neg_elbo", "perplexity", "parameters", "flops"} <= set(offered("leaderboard", "--sort", ""))


@pytest.mark.torch
def test_stored_runs_are_offered(command):
    assert command("run", "--plugin", toys.PLUGIN, "--dataset", "toy", "--budget", "1steps").code == 0
    (run_id,) = offered("runs", "show", "")
    assert f"{run_id[:4]}" in command("runs", "list").out
    assert offered("runs", "delete", run_id[:5]) == [run_id]
    assert offered("runs", "show", "--store", "postgresql://nowhere/runs", "") == []


def test_without_a_store_no_run_is_offered(command):
    assert offered("runs", "show", "") == []


def environment(tmp_path):
    """An environment in whose path `collapsebench` stands."""
    program = tmp_path / "bin" / "collapsebench"
    program.parent.mkdir()
    program.write_text(f"#!{sys.executable}\nfrom collapsebench.cli import main\nmain()\n")
    program.chmod(0o755)
    return os.environ | {"PATH": f"{program.parent}{os.pathsep}{os.environ['PATH']}"}


BASH = """
source <(collapsebench completion bash)
COMP_WORDS=(collapsebench run --method skip+s) COMP_CWORD=3
_collapsebench_completion collapsebench
printf '%s\\n' "${COMPREPLY[@]}"
"""


def test_bash_completes(tmp_path):
    done = subprocess.run(
        ["bash", "--norc", "-c", BASH], capture_output=True, text=True, check=True, env=environment(tmp_path)
    )
    assert done.stdout.split() == [f"skip+{name}" for name in METHODS if name.startswith("s") and name != "skip"]
    assert done.stderr == ""


@pytest.mark.parametrize(
    "words", ["run --method skip+", "run --dataset y", "leaderboard --columns kl,", "suite run ", "check ls"]
)
def test_no_completion_imports_what_computes(tmp_path, words):
    asked = {
        VARIABLE: "bash_complete",
        "COMP_WORDS": f"collapsebench {words}",
        "COMP_CWORD": str(len(words.split(" "))),
    }
    program = (
        "import atexit, sys; from collapsebench.cli import main; atexit.register(lambda: print(*sys.modules)); main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, env=os.environ | asked
    )
    *found, modules = done.stdout.splitlines()
    assert found
    assert not {"torch", "numpy", "sqlalchemy", "rich", "matplotlib"} & set(modules.split())


@pytest.mark.parametrize("shell", SHELLS)
def test_the_script_of_every_shell_asks_this_program(command, shell):
    answer = command("completion", shell)
    assert answer.code == 0
    assert f"{VARIABLE}={shell}_complete" in answer.out
