"""The checks of `collapsebench.testing`: each fails for a component with the fault that it is for, and says so."""

from __future__ import annotations

import faulty
import numpy as np
import pytest

from collapsebench.testing import CheckError, MethodConformance, Report, Subject, checks_of
from collapsebench.testing.checking import LOADED, MEASURED, NEUTRAL, TRAINED

FAULTS = [
    (faulty.Silent, "description", "class Silent has no `citation`"),
    (faulty.Bare, "description", "class Bare has no docstring"),
    (
        faulty.Unmade,
        "description",
        "method 'unmade' cannot be made with {'word': 1}: word: Input should be a valid str",
    ),
    (faulty.Choosy, "training", "on images it is refused without its name 'choosy': these data do not fit"),
    (faulty.WrongShape, "training", "kl_penalty of method 'wrong-shape': returned a tensor of shape (4, 2)"),
    (faulty.Blind, "training", "build of encoder 'blind': returned a module Linear whose `width` is None"),
    (faulty.Summed, "training", "forward of _Symbols: returned a tensor of shape (1, 4, 4), expected one of"),
    (faulty.Unused, "gradients", "on images 2 parameters get no gradient in 3 steps, such as 'auxiliary.unused.bias'"),
    (faulty.CutOff, "gradients", "such as 'encoder."),
    (faulty.Lottery, "same seed, same bits", "on images two runs of one seed differ"),
    (faulty.Constant, "same seed, same bits", "two seeds give the same bits on images and text and vectors"),
    (faulty.FewSteps, "budgets", "IndexError: list index out of range (faulty.py:"),
    (faulty.Forgetful, "resume", "no checkpoint can hold what it keeps: "),
    (faulty.Fading, "resume", "on images, stopped after step 1, it does not go on as if it had not been"),
    (faulty.Thief, "metering", "on images: the model's count of passes was set back at step 1"),
    (faulty.Builder, "metering", "FLOPs were done while the model was built"),
    (faulty.Vandal, "pairing", "on images it writes into the examples"),
    (faulty.MeddlingPrior, "pairing", "on images module 'decoder.first' starts other than in the baseline"),
    (faulty.Prophet, "causality", "the decoder looks ahead"),
    (faulty.OffPrior, "densities", "prior"),
    (faulty.Nosy, "no trace", "the evaluation changed the model's 'heads.nosy.calls'"),
    (faulty.Moody, "no trace", "on images the bound is "),
    (faulty.Gaussians, "composition", "no attribute 'logvar' (faulty.py:"),
    (faulty.Idle, "effect", "3 steps on images and text and vectors are to the bit those of the baseline"),
    (faulty.Biased, "neutral setting", "on images its neutral setting {'beta': 1} does not train as the plain VAE"),
    (faulty.Untitled, "description", "column 'untitled' has no title"),
    (faulty.Empty, "values", "of 'no-latent' on images entry 'empty' is Estimate(value=nan"),
    (faulty.Promising, "columns", "column 'promised' is declared, but evaluate() gives given"),
    (faulty.Dice, "same seed, same bits", "of 'vae' on images 'dice' differs the second time"),
    (faulty.Tuner, "no trace", "the evaluation changed the model's '"),
]


def problem(component, check):
    """What the check says of the component."""
    (found,) = [each for each in Report(Subject(component)).only(check) if each.name == check]
    return found.problem


@pytest.mark.parametrize(
    ("component", "check", "said"), FAULTS, ids=[f"{fault[0].__name__} {fault[1]}" for fault in FAULTS]
)
def test_a_check_fails_for_the_fault_that_it_is_for(component, check, said):
    assert said in problem(component, check)
    assert "\n" not in problem(component, check)


def points(folder, facts=faulty.FACTS + faulty.TRACK, **changed):
    """A dataset whose facts file has this text."""
    path = folder / "points.toml"
    path.write_text(facts)
    own = {"__module__": __name__, "__doc__": "Points.", "name": "points", "facts": path}
    return type("Points", (faulty.Points,), own | changed)


DATA_FAULTS = [
    ("facts", {"facts": faulty.FACTS}, "its facts declare no track"),
    ("splits", {"seeds": (None, 1, 2)}, "two calls of load() give other splits: fix every seed"),
    ("distinct splits", {"seeds": (0, 1, 1)}, "two of its splits are the same examples"),
    ("batches", {"dtype": np.float64}, "a batch of 'train' is no VectorSpec(dimension=3): examples are float32"),
    ("tracks", {"facts": faulty.FACTS + faulty.TRACK.replace("linear", "liner")}, "unknown encoder 'liner'"),
]


@pytest.mark.parametrize(
    ("check", "changed", "said"), DATA_FAULTS, ids=lambda each: each if isinstance(each, str) else ""
)
def test_a_check_of_a_dataset_fails_for_the_fault_that_it_is_for(check, changed, said, tmp_path):
    assert said in problem(points(tmp_path, **changed), check)


def test_a_dataset_without_a_fault_passes(tmp_path):
    assert [each.problem for each in Report(Subject(points(tmp_path))).run() if each.problem] == []


def test_every_check_has_a_fault_and_a_sentence():
    checks = {*TRAINED, *checks_of(faulty.Idle), NEUTRAL, *MEASURED, *LOADED}
    faults = {(kind_of(component), check) for component, check, _ in FAULTS} | {("dataset", c) for c, *_ in DATA_FAULTS}
    for check in checks:
        assert check.sentence.endswith("."), check.name
        kinds = [kind for kind, some in (("part", TRAINED), ("metric", MEASURED), ("dataset", LOADED)) if check in some]
        assert [kind for kind in kinds or ["part"] if (kind, check.name) in faults or check.name == "description"]


def kind_of(component):
    return component.kind if component.kind in {"metric", "dataset"} else "part"


def test_the_class_for_pytest_raises_what_the_command_prints():
    class TestIdle(MethodConformance):
        component = faulty.Idle

    (effect,) = [check for check in checks_of(faulty.Idle) if check.name == "effect"]
    with pytest.raises(CheckError, match="to the bit those of the baseline"):
        TestIdle().test_it_conforms(effect)
