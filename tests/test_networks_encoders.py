"""Encoders against an independent re-computation in float64."""

from __future__ import annotations

import numpy as np
import torch

from collapsebench.examples import TextSpec
from collapsebench.networks.encoders import GRUEncoder

TEXT = TextSpec(7)


def arrays(module):
    """The parameters of a module as float64 arrays."""
    return {name: parameter.detach().double().numpy() for name, parameter in module.named_parameters()}


def tokens():
    return torch.randint(TEXT.vocabulary, (3, 5), generator=torch.Generator().manual_seed(0))


def sigmoid(a):
    return 1 / (1 + np.exp(-a))


def test_the_gru_is_that_of_cho_et_al():
    """Equations 5 to 8, with the reset gate behind the product, as all libraries have it."""
    encoder = GRUEncoder(embedding=3, hidden=4).build(TEXT).double()
    values, x = arrays(encoder), tokens()
    h = np.zeros((3, 4))
    for step in range(5):
        word = values["embedding.weight"][x[:, step].numpy()]
        by_word = word @ values["gru.weight_ih_l0"].T + values["gru.bias_ih_l0"]
        by_state = h @ values["gru.weight_hh_l0"].T + values["gru.bias_hh_l0"]
        (r_x, z_x, n_x), (r_h, z_h, n_h) = (np.split(each, 3, axis=1) for each in (by_word, by_state))
        update = sigmoid(z_x + z_h)
        h = update * h + (1 - update) * np.tanh(n_x + sigmoid(r_x + r_h) * n_h)
    torch.testing.assert_close(encoder(x), torch.from_numpy(h), rtol=1e-12, atol=1e-14)
