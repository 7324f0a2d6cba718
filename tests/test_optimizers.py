"""Our optimizers have the bits of torch's."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from collapsebench.model.kernels.optimizers import SGD, Adam

PAIRS = {"sgd": (SGD, torch.optim.SGD), "adam": (Adam, torch.optim.Adam)}


def network(dtype):
    torch.manual_seed(3)
    return nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 2)).to(dtype)


def gradients(model, step):
    """The second layer has none at first, and the first layer's bias none at the end."""
    noise = torch.Generator().manual_seed(step)
    first, bias, *second = model.parameters()
    for parameter in [first, *([bias] if step < 6 else []), *(second if step > 2 else [])]:
        parameter.grad = torch.randn(parameter.shape, generator=noise, dtype=parameter.dtype)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", PAIRS)
def test_every_bit_is_that_of_torch(name, dtype):
    ours, theirs = PAIRS[name]
    mine, other = network(dtype), network(dtype)
    optimizer, reference = ours(mine.parameters(), 0.05), theirs(other.parameters(), lr=0.05, fused=True)
    for step in range(10):
        for model, each in ((mine, optimizer), (other, reference)):
            each.zero_grad()
            gradients(model, step)
            each.step()
        if step == 4:
            optimizer.learning_rate *= 0.5
            reference.param_groups[0]["lr"] *= 0.5
        if step in {1, 5}:  # go on in another object
            kept, optimizer = copy.deepcopy(optimizer.state()), ours(mine.parameters(), 0.7)
            optimizer.load(kept)
        assert all(map(torch.equal, mine.parameters(), other.parameters()))


def test_the_moments_of_another_model_are_refused():
    model, other = network(torch.float32), nn.Linear(3, 2)
    optimizer = Adam(model.parameters(), 0.1)
    gradients(model, 4)
    optimizer.step()
    with pytest.raises(ValueError, match="other parameters"):
        Adam(other.parameters(), 0.1).load(optimizer.state())
    with pytest.raises(KeyError):
        Adam(other.parameters(), 0.1).load({"learning_rate": 1.0})


def test_a_state_that_was_loaded_is_a_copy():
    model = network(torch.float32)
    optimizer, later = Adam(model.parameters(), 0.1), Adam(model.parameters(), 0.1)
    gradients(model, 4)
    optimizer.step()
    kept = optimizer.state()
    later.load(kept)
    before = copy.deepcopy(kept)
    gradients(model, 5)
    later.step()
    assert str(kept) == str(before)


LAYOUTS = {
    "transposed": lambda values: values.t().contiguous().t(),
    "with gaps": lambda values: torch.stack([values, values], dim=-1)[..., 0],
    "expanded": lambda values: values[0, 0].expand(values.shape),
}


@pytest.mark.parametrize("name", PAIRS)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_gradients_may_lie_in_memory_as_they_like(layout, name):
    """Torch's fused kernels would take the wrong numbers, and those beyond the end of the memory."""
    compare(name, lambda values: values, LAYOUTS[layout])


@pytest.mark.parametrize("name", PAIRS)
@pytest.mark.parametrize("layout", ["transposed", "with gaps"])
def test_parameters_may_lie_in_memory_as_they_like(layout, name):
    compare(name, LAYOUTS[layout], lambda values: values)


def compare(name, lay_parameter, lay_gradient):
    """Compare with the same numbers, laid row by row."""
    torch.manual_seed(3)
    values, steps = torch.randn(4, 3), [lay_gradient(torch.randn(4, 3)) for _ in range(3)]
    results = []
    for parameter, gradients in (
        (lay_parameter(values).detach().requires_grad_(), steps),
        (values.clone().requires_grad_(), [each.clone(memory_format=torch.contiguous_format) for each in steps]),
    ):
        optimizer = PAIRS[name][0]([parameter], 0.1)
        for parameter.grad in gradients:
            optimizer.step()
        results.append(parameter.detach())
    assert torch.equal(*results)


@pytest.mark.parametrize("changed", [torch.zeros(70_000), torch.zeros(4, dtype=torch.float64)])
def test_a_parameter_that_is_another_than_its_moments_is_an_error(changed):
    parameter = torch.randn(4).requires_grad_()
    optimizer = Adam([parameter], 0.1)
    parameter.grad = torch.ones(4)
    optimizer.step()
    parameter.data = changed
    parameter.grad = torch.ones_like(parameter)
    with pytest.raises(ValueError, match="another shape or type than at its first update"):
        optimizer.step()
