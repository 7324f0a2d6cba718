"""Each file is whole, and what of it is compared with nothing is listed with its reason.

`noticing.py` changes each array, and says which change no test notices.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from golden import vectors

from golden_zoo import test_zoo_more, test_zoo_schedules, test_zoo_weights
from golden_zoo.zoo import FOLDER, load

SHIPPED = Path(__file__).with_name("vectors")
NAMES = sorted(path.stem for path in SHIPPED.glob("*.npz"))

LISTED = {
    "more_losses": test_zoo_more.NOT_SHIPPED
    | dict.fromkeys(("in/nvae/", "in/mim/", "in/eps"), "inputs of what is not compared"),
    "pythae_iw": test_zoo_weights.NOT_SHIPPED,
    "bow_word_dropout": {
        **dict.fromkeys(("in/z", "in/logits", "param/z_to_bow."), "inputs of that bag of words alone"),
        "out/dgvaes/": "the bag of words of DG-VAEs, in the gradient alone and divided by the length, is not shipped",
        "out/word_dropout/deep_generative_lm": "it drops BOS and pads, too; Sentence-VAE's rule is compared",
    },
    "dg_vae": {
        "out/equation/cu_": "counts of unused units by the prior's samples are no metric here",
        **dict.fromkeys(("in/cu/", "in/vmf/"), "inputs of what is not compared"),
        "out/released/": "it adds 1e-6 to densities; equation/ is compared",
    },
    "pythae_mmd": {
        f"out/wae_{kernel}/{name}": "WAE encodes to a point, which has no density; its discrepancy is compared"
        for kernel in ("imq", "rbf")
        for name in ("loss", "recon_loss", "grad/")
    },
    "schedules": {
        "out/cyclical/sigmoid_": test_zoo_schedules.NOT_SHIPPED["sigmoid"],
        "out/cyclical/cosine_": test_zoo_schedules.NOT_SHIPPED["cosine"],
        "out/cyclical/zero_linear_": test_zoo_schedules.NOT_SHIPPED["zero_linear"],
        "out/pid/disentangling_": "the rule for images, whose weight is never below 1, is not shipped",
        "out/pid_low_first/disentangling_": "the same on another sequence",
        "out/mdr/released/": "the released multiplier moves twice in a step, by an oversight; equation/ is compared",
        "out/sfb/": "soft free bits are not shipped",
        "in/sfb/": "their input",
    },
    "tilted_prior": {
        "out/recon": "the norm of a difference is no likelihood",
        "out/grad_x_out": "its gradient",
        "in/x": "inputs of it",
    },
    "power_spherical": dict.fromkeys(
        ("out/log_prob_z", "out/grad_z_loc_raw"),
        "constants of 1e-7 move draws; equation/ is compared, and out/z to 1e-6",
    ),
    "vmf": {
        "in/table/": "inputs of the table",
        "out/sampler/redundant_norm": "a penalty on a length that changes nothing; not shipped",
        **dict.fromkeys(
            ("out/table/inverse_cdf", "out/table/grad_mu"), "a table of cosines rounds them; draws are exact here"
        ),
    },
    "mae_mpd": {"out/du/": "the diagnostics of DU-VAE, which average over all pairs, are no metric here"},
}
"""For each file: the arrays that are compared with nothing, by the beginnings of their names, and why."""


@pytest.mark.parametrize("name", NAMES)
def test_a_file_has_the_arrays_of_the_shipped_one(name):
    """Another folder has the same names."""
    assert {path.stem for path in FOLDER.glob("*.npz")} >= set(NAMES)
    assert load(name).arrays.keys() == vectors.load(name, SHIPPED).arrays.keys()


@pytest.mark.parametrize("name", LISTED)
def test_what_is_listed_is_there(name):
    keys = load(name).arrays
    assert all(any(key.startswith(prefix) for key in keys) for prefix in LISTED[name])
