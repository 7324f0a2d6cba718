"""The aggressive phase of He et al.: its decisions, and its steps in the harness's own loop."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from golden.vectors import assert_equal, build, mismatch

from collapsebench.components.composition import compose
from collapsebench.examples import Batch
from collapsebench.experiment import training
from collapsebench.experiment.training import TrainingSetup, TrainingState
from collapsebench.inference.amortized import Amortized
from collapsebench.model.progress import Progress
from collapsebench.model.vae import Terms
from collapsebench.spec import Budget, Optimizer
from collapsebench_plugins.beta_vae import BetaVAE
from collapsebench_plugins.lagging import Lagging
from golden_zoo.zoo import GivenNoise, load

RULES = {"text": {"window": 15, "stop": "fall"}, "image": {"window": 10, "stop": "patience", "patience": 5}}


def words(case, kind):
    """An example of as many words as the file says, or an image."""
    return torch.zeros(1, case.meta["words_per_row_in_decisions"] + 1, dtype=torch.int64 if kind == "text" else None)


@pytest.mark.parametrize("kind", RULES)
def test_the_inner_loop_ends_where_theirs_does(kind):
    case = load("lagging_inner")
    counts = []
    for losses in case["in/losses"]:
        method, used = Lagging(**RULES[kind]), {False: 0, True: 0}
        while not (used[True] and not method._decoder_next):
            loss, decoder = losses[used[False]], method._decoder_next
            terms = Terms(loss[None], loss[None, None], 1.0, loss)
            method.after_step(words(case, kind), terms, Progress(0.0, sum(used.values())))
            used[decoder] += 1
        counts.append((used[False], used[True]))
    encoder, decoder = torch.tensor(counts).T
    found = {"encoder_steps": encoder, "inner_losses_used": encoder, "decoder_steps": decoder}
    found["sub_iter"] = encoder + (encoder == Lagging().limit)  # theirs counts on where the loop ran out
    assert_equal(found, {name: case[f"out/{kind}/{name}"] for name in found})


@pytest.mark.parametrize("kind", RULES)
def test_the_phase_ends_where_theirs_does(kind):
    case = load("lagging_inner")
    flags = []
    for row in case["in/mi"]:
        method, found = Lagging(**RULES[kind]), []
        for number, information in enumerate(row.tolist()):
            progress = Progress(0.0, number, {"mi_lower": information}, number + 1)
            found.append(int(method.aggressive(progress)))
            loss = torch.zeros(1)
            method.after_step(words(case, kind), Terms(loss, loss[None], 1.0, loss[0]), progress)
            assert method.aggressive(progress) == found[-1]
        flags.append(found)
    flags = torch.tensor(flags)
    theirs = case[f"out/{kind}/flag"]
    assert torch.equal(flags.cummin(1).values, flags)
    assert torch.equal(flags, theirs)
    lasting = flags.sum(1)
    assert torch.equal(lasting.where(lasting < flags.shape[1], torch.tensor(-1)), case[f"out/{kind}/stop_epoch"])


def test_the_steps_are_theirs_in_the_loop_of_the_harness(monkeypatch):
    """Theirs takes padding index -1 for the last word, whose decoder embedding never learns."""
    case = load("lagging_inner")
    meta = case.meta
    sizes = {"vocab": meta["V"], "ni": meta["ni"], "enc_nh": meta["nh"], "dec_nh": meta["nh"], "nz": meta["D"]}
    model = build(replace(case, meta=meta | {"model": "VAE(LSTMEncoder, LSTMDecoder)", "sizes": sizes, "buffers": []}))
    embedding = model.vae.decoder.embedding.weight
    embedding.register_hook(lambda gradient: torch.cat((gradient[:-1], torch.zeros_like(gradient[-1:]))))
    methods = (BetaVAE(beta=meta["kl_weight"]), Lagging(limit=meta["max_sub_iter"] - 1, window=meta["window"]["text"]))
    number = int(case["out/step/n_inner"])
    assert int(case["out/step/sub_iter"]) == number + (number == methods[1].limit)
    noise = [*case["in/step/eps"], case["in/step/eps_final"]]
    monkeypatch.setattr(training, "run_noise", lambda seed, purpose, step: GivenNoise({"z": noise[step]}))
    norms, clip = [], torch.nn.utils.clip_grad_norm_
    monkeypatch.setattr(torch.nn.utils, "clip_grad_norm_", lambda *given: norms.append(clip(*given)) or norms[-1])
    setup = TrainingSetup(
        vae=model.vae,
        methods=methods,
        hooks=compose(methods),
        inference=Amortized(),
        splits=SimpleNamespace(train=range(1000)),
        setting=SimpleNamespace(
            optimizer=Optimizer(name="sgd", learning_rate=meta["lr"], clip=meta["clip"]),
            evaluation=SimpleNamespace(every=Budget.parse("1000steps")),
        ),
        budget=Budget.parse("1000steps"),
        seed=0,
        device=torch.device("cpu"),
    )
    state = TrainingState.start(setup)
    order = [0, *case["in/step/next_batch"].tolist()[: number - 1], 0]
    losses, after_inner = [], {}
    for step, batch in enumerate(order):
        if step == number:
            after_inner = {name: parameter.detach().clone() for name, parameter in model.vae.named_parameters()}
        x = case[f"in/step/batch{batch}"].numpy()
        terms = training.step(setup, state, Batch(x, np.arange(len(x))))
        losses.append(terms.reconstruction + meta["kl_weight"] * terms.kl.sum(1))
    assert mismatch(torch.stack(losses[:-1]), case["out/step/loss"]) == ""
    assert mismatch(losses[-1], case["out/step/final_loss"]) == ""
    assert mismatch(torch.stack(norms[:-1]), case["out/step/grad_norm"]) == ""
    assert mismatch(norms[-1], case["out/step/final_grad_norm"]) == ""
    after = {name: parameter.detach() for name, parameter in model.vae.named_parameters()}
    for prefix, ours in (("after_inner", after_inner), ("after", after)):
        found = {theirs: torch.cat([ours[part] for part in parts]) for theirs, parts in model.names.items()}
        assert_equal(found, case.group(f"out/step/{prefix}/"))
