"""The plain programs that whole runs are compared with do what they say, on small arrays."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner

ROOT = Path(__file__).parents[1]


@pytest.fixture(autouse=True)
def _checkout(monkeypatch):
    monkeypatch.syspath_prepend(ROOT)


@pytest.fixture
def scored(monkeypatch):
    """The log-likelihoods that a program computes, in its order."""
    found, compute = [], torch.logsumexp

    def logsumexp(*arguments):
        found.append(compute(*arguments))
        return found[-1]

    monkeypatch.setattr(torch, "logsumexp", logsumexp)
    return found


def documents(rng, number):
    lengths = rng.integers(3, 7, number)
    padded = np.zeros((number, 6), np.int32)
    for row, length in zip(padded, lengths, strict=True):
        row[:length] = [2, *rng.integers(4, 9, length - 2), 3]
    return padded, lengths


def test_the_text_program_scores_every_document(tmp_path, monkeypatch, scored):
    from bench import peers

    monkeypatch.setattr(peers, "STEPS", 3)
    monkeypatch.setattr(peers, "TEXT_SAMPLES", 4)
    rng = np.random.default_rng(0)
    (train, train_lengths), (test, test_lengths) = documents(rng, 80), documents(rng, 5)
    arrays = {"train": train, "train_lengths": train_lengths, "test": test, "test_lengths": test_lengths}
    np.savez(tmp_path / "text.npz", **arrays)
    peers.WORK["text"].program(tmp_path / "text.npz")
    assert len(scored) == 5
    assert all(torch.isfinite(each).all() for each in scored)


def test_the_image_program_scores_every_image(tmp_path, monkeypatch, scored):
    from bench import peers

    monkeypatch.setattr(peers, "IMAGE_SAMPLES", 4)
    rng = np.random.default_rng(0)
    np.savez(tmp_path / "images.npz", train=rng.random((60, 16)), test=(rng.random((7, 16)) < 0.5))
    peers.WORK["images"].program(tmp_path / "images.npz")
    assert len(scored) == 7
    assert all(torch.isfinite(each).all() for each in scored)


def test_our_command_says_the_same_work(tmp_path):
    from bench.peers import STEPS, WORK

    command = WORK["text"].ours(tmp_path, tmp_path / "s.sqlite")
    assert f"{STEPS}steps" in command
    assert "evaluation.metrics.iw-nll.samples=100" in command


@pytest.mark.parametrize("name", ["run", "peers"])
def test_no_turn_at_all_is_no_measurement(name, tmp_path):
    main = import_module(f"bench.{name}").main
    answer = CliRunner().invoke(main, ["--repeats", "0", "--data-dir", str(tmp_path)])
    assert answer.exit_code == 2
    assert "0 is not in the range x>=1" in answer.output
