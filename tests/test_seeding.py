"""One seed per purpose."""

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils._python_dispatch import TorchDispatchMode

from collapsebench.model.seeding import Purpose, SeededNoise, derive, own_generators, run_noise, seed_torch


@given(st.integers(0, 2**63 - 1), st.text(max_size=5), st.text(max_size=5))
def test_seeds_differ_by_label_and_fit_torch(seed, one, other):
    assert 0 <= derive(seed, one) < 2**63
    assert (derive(seed, one) == derive(seed, other)) == (one == other)


def test_seeds_are_stable_over_releases():
    assert derive(1, "data order", 0) == 3589797270741836493


def test_noise_depends_on_its_purpose_alone():
    like = torch.zeros(())
    noise = run_noise(3, Purpose.TRAINING, 7)
    first = noise.child("z").normal((4,), like)
    noise.child("dropout").uniform((9,), like)
    assert torch.equal(noise.child("z").normal((4,), like), first)
    assert not torch.equal(noise.child("other").normal((4,), like), first)
    assert not torch.equal(run_noise(3, Purpose.TRAINING, 8).child("z").normal((4,), like), first)


def test_noise_takes_the_type_of_its_neighbour_and_leaves_the_global_generator_alone():
    before = torch.get_rng_state()
    draw = SeededNoise(1).normal((3,), torch.zeros((), dtype=torch.float64))
    assert draw.dtype is torch.float64
    assert torch.equal(draw, SeededNoise(1).normal((3,), torch.zeros(())).double())
    assert torch.equal(torch.get_rng_state(), before)


class Copies(TorchDispatchMode):
    """Notes the operations that move numbers to another device or type."""

    def __init__(self):
        super().__init__()
        self.found = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func is torch.ops.aten._to_copy.default:
            self.found.append(args)
        return func(*args, **(kwargs or {}))


def test_noise_is_drawn_where_it_is_wanted(monkeypatch):
    """By the generator of that device, so that nothing is copied; no device but the CPU is needed to see it."""
    asked, like = [], torch.zeros((), device="meta")
    monkeypatch.setattr(SeededNoise, "_generator", lambda self, like: asked.append(like.device))
    with Copies() as copies:
        draws = [SeededNoise(1).normal((3,), like), SeededNoise(1).uniform((3,), like)]
    assert [draw.device for draw in draws] == asked == [like.device] * 2
    assert copies.found == []


def test_ordinary_modules_draw_the_same_at_equal_steps_and_leave_no_trace():
    def drawn(step):
        with own_generators(torch.device("cpu")):
            seed_torch(1, Purpose.TRAINING, step)
            return torch.nn.Dropout()(torch.ones(50))

    before = torch.get_rng_state()
    assert torch.equal(drawn(3), drawn(3))
    assert not torch.equal(drawn(3), drawn(4))
    assert torch.equal(torch.get_rng_state(), before)
