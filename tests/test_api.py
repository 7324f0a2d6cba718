"""From Python the harness does what the command line does: the same runs, boards and refusals."""

from __future__ import annotations

import subprocess
import sys
from textwrap import dedent
from threading import Thread
from types import ModuleType
from typing import ClassVar

import pytest
from pydantic import Field
from test_data_own_pictures import Mine as OwnPictures

import collapsebench
from collapsebench import Column, Direction, Estimate, Method, Metric, UsageError, hookimpl
from collapsebench.data.generated import LinearGaussian
from collapsebench.experiment.events import Finished

pytestmark = pytest.mark.torch

FEW = {"batch_size": 500, "evaluation.metrics.iw-nll.samples": 2}
GRID = {"dataset": "linear-gaussian", "budget": "3steps", "settings": FEW, "progress": False}


class HalfKL(Method):
    """A constant weight of the KL term."""

    name: ClassVar[str] = "half-kl"
    weight: float = Field(0.5, description="the weight")

    @hookimpl
    def kl_weight(self):
        return self.weight


class Nameless(Method):
    """Somebody forgot its name."""


class Examples(Metric):
    """The size of the test split."""

    name: ClassVar[str] = "examples"
    columns: ClassVar[tuple[Column, ...]] = (Column("examples", "", Direction.NONE, "N"),)
    unit: int = Field(1, description="how many examples count as one")

    def evaluate(self, split):
        return {"examples": Estimate(len(split) / self.unit)}


@pytest.fixture
def store(tmp_path):
    return tmp_path / "runs.sqlite"


@pytest.mark.slow
def test_the_same_runs_as_on_the_command_line(command, store, tmp_path):
    runs = collapsebench.run(["skip", "kl-annealing[warmup=0.5]"], seeds=2, store=store, **GRID)
    other = tmp_path / "other.sqlite"
    arguments = ["--method", "skip", "--method", "kl-annealing[warmup=0.5]", "--seeds", 2, "--budget", "3steps"]
    arguments += [word for name, value in FEW.items() for word in ("--set", f"{name}={value}")]
    assert command("run", *arguments, "--dataset", "linear-gaussian", "--store", other, "-q").code == 0
    theirs = {run.run_id: run.values for run in collapsebench.runs(store=other)}
    assert {run.run_id: run.values for run in runs} == theirs
    assert len(runs) == 6


def test_what_is_stored_is_not_run_again(store):
    heard = []
    grid = GRID | {"progress": heard.append}
    first = collapsebench.run(store=store, **grid)
    assert any(isinstance(event, Finished) for event in heard)
    heard.clear()
    assert [run.record for run in collapsebench.run(store=store, **grid)] == [run.record for run in first]
    assert heard == []


@pytest.mark.slow
def test_seeds_settings_and_contenders_as_values(store):
    runs = collapsebench.run(
        [HalfKL(weight=0.25), ["skip", HalfKL()]],
        seeds=(3, 5),
        baseline=False,
        store=store,
        **GRID | {"settings": FEW | {"decoder.learn_variance": False, "batch_size": 200}},
    )
    assert [(run.contender, run.seed) for run in runs] == [
        (contender, seed) for seed in (3, 5) for contender in ("half-kl[weight=0.25]", "skip+half-kl")
    ]
    assert runs[0].record.spec.protocol.setting.batch_size == 200
    assert [entry.outcome.value for entry in runs] == ["finished"] * 4


def test_a_metric_of_a_script_is_measured(store):
    grid = GRID | {"settings": FEW | {"evaluation.metrics.examples.unit": 10}}
    (run,) = collapsebench.run(components=[Examples], store=store, **grid)
    assert run.values["examples"] == 100


def test_a_dataset_as_a_value_brings_its_parameters(store):
    grid = GRID | {"dataset": LinearGaussian(test=50)}
    (run,) = collapsebench.run(store=store, **grid)
    assert run.record.spec.protocol.dataset.params["test"] == 50


def test_workers_run_classes_of_modules_that_can_be_imported_and_refuse_others(store):
    class Local(HalfKL):
        """Nobody else can import it."""

        name: ClassVar[str] = "local"

    with pytest.raises(UsageError, match="method 'local' is defined in this notebook or script"):
        collapsebench.run([Local()], workers=2, store=store, **GRID)
    runs = collapsebench.run(["skip"], workers=2, store=store, **GRID)
    assert [run.outcome.value for run in runs] == ["finished"] * 2


def test_a_class_of_a_module_that_no_file_has_is_refused_for_workers(store, monkeypatch):
    monkeypatch.setitem(sys.modules, "ghost", ModuleType("ghost"))
    monkeypatch.setattr(HalfKL, "__module__", "ghost")
    with pytest.raises(UsageError, match="workers cannot import it"):
        collapsebench.run([HalfKL()], workers=2, store=store, **GRID)


def test_a_class_whose_source_is_not_kept_runs(store):
    names = {"Method": Method, "hookimpl": hookimpl, "__name__": "made"}
    exec("class Made(Method):\n    name = 'made'\n    @hookimpl\n    def kl_weight(self): return 0.5", names)  # noqa: S102
    runs = collapsebench.run([names["Made"]()], store=store, **GRID)
    assert [run.outcome.value for run in runs] == ["finished"] * 2


@pytest.mark.slow
def test_threads_take_turns_and_get_the_results_of_one_after_the_other(store, tmp_path):
    grid = GRID | {"dataset": "digits"}
    expected = {run.run_id: run.values for run in collapsebench.run(seeds=3, store=tmp_path / "serial.sqlite", **grid)}
    threads = [
        Thread(target=collapsebench.run, kwargs={"seeds": [seed], "store": store, "workers": 1 + (seed == 3), **grid})
        for seed in (1, 2, 3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {run.run_id: run.values for run in collapsebench.runs(store=store)} == expected


def test_two_classes_of_one_name_are_refused(store):
    class Skip(Method):
        """Another skip."""

        name: ClassVar[str] = "skip"

        @collapsebench.hookimpl
        def kl_weight(self):
            return 1.0

    with pytest.raises(collapsebench.PluginError, match="method 'skip' is registered twice"):
        collapsebench.run([Skip()], store=store, **GRID)


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ({"methods": ["skpi"]}, "unknown method 'skpi'. Did you mean 'skip'"),
        ({"seeds": [1, 1]}, "seed '1' is given twice"),
        ({"seeds": 0}, "seeds must be at least 1 and at most 10000, got 0"),
        ({"seeds": "3"}, "seeds must be a number of seeds, or a list of them, got '3'"),
        ({"seeds": ["3"]}, "a seed is a whole number from 0 to"),
        ({"workers": 0}, "workers must be at least 1 and at most 1024, got 0"),
        ({"methods": "skip"}, r"methods must be a list, got 'skip': write \['skip'\]"),
        ({"plugins": "mine.py"}, "plugins must be a list"),
        ({"components": Examples}, "components must be a list"),
        ({"methods": [3]}, "a contender is a text, a method or a list of these, got 3"),
        ({"methods": [["skip", 3]]}, "a contender is a text, a method or a list of these, got 3"),
        ({"dataset": "digit"}, "unknown dataset 'digit'. Did you mean 'digits'"),
        ({"track": "quack"}, "unknown track 'quack'"),
        ({"methods": HalfKL()}, "methods must be a list"),
        ({"seeds": []}, "seeds must be at least one"),
        ({"components": ["x"]}, "x must be a complete subclass of a kind of component"),
        ({"methods": [Nameless()]}, "Nameless needs a class variable `name`"),
        ({"seeds": [2**63]}, "a seed is a whole number from 0"),
        ({"workers": "2"}, "workers must be at least 1 and at most 1024, got '2'"),
        ({"dataset": LinearGaussian}, "dataset cannot be"),
        ({"store": None}, "store cannot be None"),
        ({"progress": "yes"}, "progress cannot be 'yes'"),
        ({"settings": ["latent_dim=3"]}, "settings cannot be"),
        ({"budget": "fast"}, "cannot read budget 'fast'"),
        ({"budget": 5}, "cannot read budget '5': write an amount and a unit"),
        ({"methods": [HalfKL]}, "a contender is a text, a method or a list of these, got <class"),
        ({"threads": 0}, "threads must be at least 1 and at most 1024, got 0"),
        ({"settings": {"decoder.layerz": 3}}, "layerz"),
        ({"device": "gpu"}, "unknown device 'gpu'"),
        ({"plugins": ["none.py"]}, "plugin file 'none.py' does not exist"),
        ({"dataset": OwnPictures()}, "mine"),
    ],
)
def test_what_is_wrong_is_one_line_before_anything_runs(arguments, complaint, store):
    with pytest.raises(collapsebench.CollapsebenchError, match=complaint) as caught:
        collapsebench.run(**({"store": store} | GRID | arguments))
    assert "\n" not in str(caught.value)
    assert not store.exists()


@pytest.fixture(scope="module")
def filled(tmp_path_factory):
    store = tmp_path_factory.mktemp("api") / "runs.sqlite"
    collapsebench.run(["skip"], seeds=2, store=store, **GRID)
    return store


@pytest.mark.parametrize("format_", ["table", "markdown", "latex", "html", "csv", "json"])
def test_boards_are_those_of_the_command_line(format_, filled, command):
    shown = command("leaderboard", "--dataset", "linear-gaussian", "--store", filled, "--format", format_).out
    assert collapsebench.board(dataset="linear-gaussian", store=filled).render(format_) == shown


def test_the_choices_of_a_board_are_those_of_the_command_line(filled, command):
    place = ("leaderboard", "--store", filled, "--format", "latex")
    every = collapsebench.board(columns="all", sort="kl", store=filled).render("latex")
    assert every == command(*place, "--columns", "all", "--sort", "kl").out
    chosen = collapsebench.board(
        columns=["kl", "iw_nll"], contenders=[" skip "], labels={"skip ": "Skip"}, print_differences=True, store=filled
    )
    options = ("--columns", "kl,iw_nll", "--contender", "skip", "--label", "skip=Skip", "--differences")
    assert chosen.render("latex") == command(*place, *options).out
    assert "Skip" in repr(chosen)
    assert "Skip" in chosen._repr_html_()
    assert set(chosen.frame()["contender"]) == {"vae", "skip", "best possible"}
    with pytest.raises(UsageError, match="unknown contender 'skop'"):
        collapsebench.board(labels={"skop": "S"}, store=filled)
    with pytest.raises(UsageError, match="suite does not go with contenders, labels"):
        collapsebench.board(suite="dieng-2019/table-3", contenders=["vae"], labels={"vae": "V"}, store=filled)


def test_a_notebook_shows_a_board_as_tables_without_a_style_for_the_whole_page(filled):
    shown = collapsebench.board(store=filled)._repr_html_()
    assert "<table>" in shown
    assert "<style>" not in shown
    assert collapsebench.runs(store=filled)._repr_html_().startswith("<table>")


def test_arguments_that_mean_nothing_together_are_refused(filled):
    with pytest.raises(UsageError, match="suite does not go with track, against"):
        collapsebench.board(suite="dieng-2019/table-3", track="quick", against="skip", store=filled)
    with pytest.raises(UsageError, match="dialect does not go with at"):
        collapsebench.board(dialect="he2019", at="steps=3", store=filled)
    with pytest.raises(UsageError, match=r"unknown dialect 'he2018'\. Did you mean 'he2019'"):
        collapsebench.board(dialect="he2018", store=filled)
    with pytest.raises(UsageError, match="unknown format 'text'"):
        collapsebench.board(store=filled).render("text")


def test_a_frame_has_a_row_for_each_run_and_column(filled):
    runs = collapsebench.runs(store=filled)
    frame = runs.frame()
    assert set(frame["run_id"]) == {run.run_id for run in runs}
    assert not frame.duplicated(["run_id", "metric", "column"]).any()
    kl = frame[(frame["metric"] == "kl") & (frame["column"] == "kl")].set_index("run_id")["value"]
    assert {run.run_id: run.values["kl"] for run in runs} == kl.to_dict()
    steps = frame[(frame["metric"] == "") & (frame["column"] == "steps")]
    assert set(steps["value"]) == {3.0}


def test_the_frame_of_a_board_has_its_means(filled):
    frame = collapsebench.board(columns=["kl"], store=filled).frame()
    means = frame.set_index("contender")["mean"]
    skip = [run.values["kl"] for run in collapsebench.runs(contender="skip", store=filled)]
    assert means["skip"] == pytest.approx(sum(skip) / 2)


def test_without_pandas_a_frame_says_how_to_get_it(filled, monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(UsageError, match=r"pip install 'collapsebench\[pandas\]'"):
        collapsebench.runs(store=filled).frame()


SCRIPT = """
from typing import ClassVar
import collapsebench
from collapsebench import Method, hookimpl

class OfAScript(Method):
    "Half of the KL."
    name: ClassVar[str] = "of-a-script"

    @hookimpl
    def kl_weight(self):
        return 0.5

from mine import Quarter

print("the script runs")
here = collapsebench.run([OfAScript()], dataset="linear-gaussian", budget="2steps", store="a.sqlite")
workers = collapsebench.run([Quarter()], dataset="linear-gaussian", budget="2steps", workers=2, store="a.sqlite")
print([run.outcome.value for run in (*here, *workers)])
"""


MINE = """
from typing import ClassVar
from collapsebench import Method, hookimpl

class Quarter(Method):
    "A quarter of the KL."
    name: ClassVar[str] = "quarter"

    @hookimpl
    def kl_weight(self):
        return 0.25
"""


@pytest.mark.slow
def test_a_script_without_a_guard_runs_once_with_its_own_classes_and_with_workers(tmp_path):
    (tmp_path / "script.py").write_text(dedent(SCRIPT))
    (tmp_path / "mine.py").write_text(dedent(MINE))
    done = subprocess.run([sys.executable, "script.py"], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.count("the script runs") == 1
    assert done.stdout.splitlines()[-1] == str(["finished"] * 4)
