"""`collapsebench check`, through the command line's own entry."""

from __future__ import annotations

import json

import pytest

from collapsebench.components import discovery
from collapsebench.templates import new_package
from collapsebench.testing import checks_of

pytestmark = pytest.mark.torch

TWO = """
from typing import ClassVar
from collapsebench import Column, Direction, Estimate, Method, Metric, hookimpl


class Idle(Method):
    \"\"\"It changes nothing.\"\"\"

    name: ClassVar[str] = "idle"
    citation: ClassVar[str] = "nobody"

    @hookimpl
    def kl_weight(self):
        return 1.0


class One(Metric):
    \"\"\"It is 1.\"\"\"

    name: ClassVar[str] = "idle"
    columns: ClassVar[tuple[Column, ...]] = (Column("one", "", Direction.NONE, "one"),)

    def evaluate(self, split):
        return {"one": Estimate(1.0)}


@hookimpl
def collapsebench_components():
    return [Idle, One]
"""


@pytest.fixture
def two(tmp_path):
    """A file with a method that fails one check, and a metric of the same name that fails none."""
    (file := tmp_path / "two.py").write_text(TWO)
    return file


def test_all_components_of_a_file_are_checked_and_a_fault_is_exit_code_one(command, two):
    answer = command("check", two, "--json")
    method, metric = json.loads(answer.out)
    assert answer.code == 1
    assert (method["kind"], metric["kind"]) == ("method", "metric")
    wrong = [check for each in (method, metric) for check in each["checks"] if not check["ok"]]
    assert [check["check"] for check in wrong] == ["effect"]
    assert "to the bit those of the baseline" in wrong[0]["problem"]
    assert all(check["sentence"] for check in (*method["checks"], *metric["checks"]))


def test_what_a_component_prints_is_no_part_of_the_json(command, two):
    two.write_text(TWO.replace("        return 1.0\n", "        print('loud')\n        return 1.0\n"))
    answer = command("check", two, "--kind", "method", "--json")
    assert [each["name"] for each in json.loads(answer.out)] == ["idle"]
    assert "loud" in answer.err


def test_a_problem_of_many_checks_is_told_once(command, two):
    two.write_text(TWO.replace("return 1.0", "return self.weight"))
    answer = command("check", "idle", "--plugin", two, "--kind", "method")
    assert answer.code == 1
    assert answer.out.count("no attribute 'weight' (two.py:14, in kl_weight of method 'idle')") == 1
    failed = [line for line in answer.out.splitlines()[1:] if not line.endswith("  ok")]
    assert len(failed) > 3
    assert all(line.endswith("s  as in 'training'") for line in failed[1:])


def test_a_kind_chooses_among_components_of_one_name(command, two):
    answer = command("check", "idle", "--plugin", two)
    assert (answer.code, answer.out) == (2, "")
    assert answer.err == "error: 'idle' is the name of several components: say --kind method or --kind metric\n"
    answer = command("check", "idle", "--plugin", two, "--kind", "metric")
    assert (answer.code, answer.err) == (0, "")
    title, *lines = answer.out.splitlines()
    assert title == "metric 'idle'"
    checks = checks_of(discovery.load([two]).entry("metric", "idle").component)
    assert [line.split("  ")[1].strip() for line in lines] == [check.name for check in checks]


def test_settings_are_tried_as_they_are_written(command, tmp_path):
    module = new_package("metric", "own", tmp_path / "own", ())
    assert command("check", "own", "--plugin", module).code == 0
    answer = command("check", "own[scale=2]", "--plugin", module)
    assert answer.code == 1
    assert "unknown parameter 'scale'" in answer.out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("skpi",), "unknown component 'skpi'. Did you mean 'skip'?"),
        (("skpi", "--kind", "method"), "unknown method 'skpi'. Did you mean 'skip'?"),
        (("skip", "--kind", "methd"), "unknown kind of component 'methd'. Did you mean 'method'?"),
        (("skip+iaf",), "'skip+iaf' is several components: check them one by one"),
        (("nowhere.py",), "plugin file 'nowhere.py' does not exist"),
    ],
)
def test_what_is_no_component_is_one_line(command, arguments, said):
    answer = command("check", *arguments)
    assert (answer.code, answer.out) == (2, "")
    assert answer.err.startswith(f"error: {said}")


def test_a_file_without_the_kind_is_one_line(command, two):
    answer = command("check", two, "--kind", "decoder")
    assert (answer.code, answer.err) == (2, f"error: plugin file '{two}' has no decoder\n")
