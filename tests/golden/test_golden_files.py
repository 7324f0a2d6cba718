"""The folder of vectors is complete, every case has a test, and the comparison notices a wrong digit."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from golden.vectors import CASES, FOLDER, TOLERANCE, assert_equal, load, mismatch, names


def test_the_folder_holds_exactly_the_cases():
    assert {file.stem for file in FOLDER.glob("*.npz")} == names()


def test_every_case_is_of_a_test_module():
    for module, cases in CASES.items():
        source = (Path(__file__).parent / f"test_golden_{module}.py").read_text()
        assert f'CASES["{module}"]' in source or all(f'"{case}"' in source for case in cases), module


def test_a_missing_case_fails():
    with pytest.raises(FileNotFoundError, match="no_such_case"):
        load("no_such_case")


@pytest.mark.parametrize("name", sorted(names()))
def test_one_wrong_entry_is_noticed(name):
    case = load(name)
    for key in (key for key, array in case.arrays.items() if key.startswith("out/") and array.dtype.kind == "f"):
        array = case[key]
        if not array.any():
            continue
        wrong = array.clone()
        wrong.view(-1)[array.abs().argmax()] *= 1 + 1e-4
        assert mismatch(array, array) == "", key
        assert mismatch(array, wrong), key


def test_every_kind_of_mistake_is_noticed():
    right = torch.tensor([[1.0, -2.0], [0.5, 0.0]], dtype=torch.float64)
    assert mismatch(right * (1 + TOLERANCE / 2), right) == ""
    assert mismatch(right * (1 + 10 * TOLERANCE), right)
    assert mismatch(right.T, right)
    assert mismatch(right[0], right)
    assert mismatch(torch.full_like(right, torch.nan), right)
    assert mismatch(torch.ones(3, dtype=torch.int64), torch.tensor([1, 1, 2]))
    assert mismatch(torch.full((2,), 1e-12), torch.zeros(2))
    assert mismatch(torch.full((2,), 1e-12), torch.zeros(2), scale=1.0) == ""
    with pytest.raises(AssertionError, match="off by"):
        assert_equal({"a": right + 1}, {"a": right})
    with pytest.raises(AssertionError):
        assert_equal({}, {"a": right})
    with pytest.raises(AssertionError):
        assert_equal({"a": right, "b": right}, {"a": right})
