"""Weights: the selected parameters of a run, in files that torch reads without running code."""

from __future__ import annotations

from typing import Any, ClassVar

import pytest
import tiny
import torch
import toys
from pydantic import PrivateAttr
from test_runner import Listener
from torch import nn

from collapsebench.components.interfaces import Method
from collapsebench.errors import DataError
from collapsebench.experiment.engines import executor_for
from collapsebench.experiment.events import Warned
from collapsebench.experiment.grids import prepare, run_grid
from collapsebench.experiment.keeping import model_state
from collapsebench.experiment.weights import WeightFiles

RUN = "0123456789abcdef"


class Keeper(Method):
    """It keeps plain values."""

    name: ClassVar[str] = "keeper"
    _kept: Any = PrivateAttr(None)


class Hoarder(Keeper):
    """Another one, which keeps an optimizer."""

    name: ClassVar[str] = "hoarder"


class Loose(nn.Module):
    """A module with a buffer that is no part of its state dict."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(2, 3)
        self.register_buffer("mean", torch.zeros(2), persistent=False)


def ran(setup):
    """The files of the runs of a grid, by contender, and the lines for the user."""
    listener = Listener()
    records = run_grid(prepare(setup), executor_for(1, threads=1), listener)
    folder = setup.weights_folder or setup.checkpoints.folder
    files = {record.contender: WeightFiles(folder, record.run_id) for record in records}
    return files, [event.message for event in listener.events if isinstance(event, Warned)]


def test_a_run_keeps_the_parameters_of_its_best_point_as_a_plain_state_dict(tmp_path):
    setup = toys.setup("skip", store=tmp_path / "runs.sqlite", baseline=False)
    files, warned = ran(setup)
    kept = torch.load(files["skip"].parameters, weights_only=True)
    assert warned == []
    assert files["skip"].parameters == tmp_path / "runs.sqlite.weights" / files["skip"].parameters.name
    assert files["skip"].present == (files["skip"].parameters,)
    vae = setup.runs.runner(Listener()).training_setup(setup.plan.specs[0]).vae
    drawn = {name: tensor.clone() for name, tensor in vae.state_dict().items()}
    assert {name: (tensor.shape, tensor.dtype) for name, tensor in kept.items()} == {
        name: (tensor.shape, torch.float32) for name, tensor in drawn.items()
    }
    vae.load_state_dict(kept)
    assert any(not torch.equal(drawn[name], kept[name]) for name in kept)


def test_equal_runs_keep_equal_bytes_and_what_methods_keep_beside_them(tmp_path):
    """That workers and killed runs keep them, too, is seen wherever runs are killed (`killing.Killer`)."""
    files = [ran(toys.setup("remember", store=tmp_path / f"{name}.sqlite"))[0] for name in ("one", "two")]
    one, two = ({path.name: path.read_bytes() for each in found.values() for path in each.present} for found in files)
    assert one == two
    assert [len(each.present) for each in files[0].values()] == [1, 2]


def test_weights_lie_in_the_work_folder_or_are_not_kept(tmp_path):
    work = tmp_path / "work"
    files, _ = ran(toys.setup(store=tmp_path / "a.sqlite", work_folder=work))
    assert [path.parent for path in files["vae"].present] == [work / "weights"]
    ran(toys.setup(store=tmp_path / "b.sqlite", weights=False))
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_dir()) == ["b.sqlite.checkpoints", "work"]


def test_weights_that_cannot_be_written_cost_a_warning(tmp_path):
    (tmp_path / "runs.sqlite.weights").write_text("in the way")
    files, warned = ran(toys.setup(store=tmp_path / "runs.sqlite"))
    assert warned == [f"cannot write the weights '{files['vae'].parameters}': File exists"]


def trained(*keepers, folder, seed=1):
    model = tiny.vae("mlp", keepers, seed=seed)
    WeightFiles(folder, RUN).write(model, keepers)
    return model


@pytest.mark.parametrize("kept", [3, {"a": [torch.arange(3.0), None]}, (torch.ones(2, dtype=torch.float64), "text")])
def test_what_is_written_is_loaded_to_the_bit(kept, tmp_path):
    keeper, fresh = Keeper(), Keeper()
    keeper._kept = kept
    model, other = trained(keeper, folder=tmp_path), tiny.vae("mlp", seed=2)
    assert WeightFiles(tmp_path, RUN).load(other, [fresh]) == ()
    torch.testing.assert_close(dict(model.state_dict()), dict(other.state_dict()), rtol=0, atol=0)
    assert repr(fresh._kept) == repr(kept)


def test_what_no_file_of_plain_values_can_have_is_named(tmp_path):
    plain, hoarder = Keeper(), Hoarder()
    plain._kept, hoarder._kept = 3, torch.optim.SGD([nn.Parameter(torch.ones(1))])
    trained(plain, hoarder, folder=tmp_path)
    keepers = [Keeper(), Hoarder()]
    assert WeightFiles(tmp_path, RUN).load(tiny.vae("mlp"), keepers) == ("hoarder",)
    assert [each._kept for each in keepers] == [3, None]


def test_buffers_that_torch_leaves_out_come_back(tmp_path):
    model, other = Loose(), Loose()
    model.mean += 5
    WeightFiles(tmp_path, RUN).write(model, ())
    assert WeightFiles(tmp_path, RUN).load(other, ()) == ()
    assert all(torch.equal(tensor, model_state(other)[name]) for name, tensor in model_state(model).items())


def flip(path):
    """Flip a bit of the first tensor."""
    content = bytearray(path.read_bytes())
    content[content.index(b"/data/0") + 100] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("found", "message"),
    [
        ([1], "TypeError"),
        ({}, "KeyError: 'buffers'"),
        ({"buffers": {}, "components": [1]}, "TypeError"),
        ({"buffers": {}, "components": [("other", {})]}, r"private attributes of \['other'\], and its components are"),
        ({"buffers": {}, "components": [("keeper", {"_odd": 1})]}, "'keeper' has no private attribute '_odd'"),
        ({"buffers": {}, "components": [("keeper", 3)]}, "AttributeError"),
    ],
)
def test_private_attributes_of_other_components_are_one_line(found, message, tmp_path):
    trained(folder=tmp_path)
    files, keeper = WeightFiles(tmp_path, RUN), Keeper()
    torch.save(found, files.private)
    with pytest.raises(DataError, match=f"are not those of this model: .*{message}"):
        files.load(tiny.vae("mlp"), [keeper])
    assert keeper._kept is None


def test_what_a_killed_process_left_is_removed_by_the_next_one(tmp_path):
    (tmp_path / f"{RUN}.pt.0.part").touch()
    (tmp_path / "fedcba9876543210.pt.0.part").touch()
    trained(folder=tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"{RUN}.pt", "fedcba9876543210.pt.0.part"]


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (
            lambda path: path.unlink(),
            "has no weights: '.*' is not there; runs but trials keep them unless --no-weights is given, and a --",
        ),
        (lambda path: path.write_bytes(b""), "cannot read the weights '.*': "),
        (lambda path: path.write_bytes(path.read_bytes()[:-200]), "cannot read the weights '.*': "),
        (lambda path: torch.save({"no": torch.ones(1)}, path), "the weights '.*' are not those of this model: "),
        (lambda path: torch.save({"run": Loose()}, path), "cannot read the weights '.*': it has more than tensors and"),
        (lambda path: path.write_text("hello world"), "cannot read the weights '.*': BadZipFile: "),
        (flip, "cannot read the weights '.*': ValueError: '.*/data/0' in it does not have its checksum"),
        (lambda path: torch.save([1], path), "the weights '.*' are not those of this model: "),
        (
            lambda path: torch.save({name: each.half() for name, each in torch.load(path).items()}, path),
            "are not those of this model: TypeError: '.*' is of torch.float16, and that of the model of torch.float64",
        ),
    ],
    ids=["missing", "empty", "cut", "of another model", "with code", "a text", "a bit", "a list", "half precision"],
)
def test_files_that_are_no_weights_of_the_model_are_one_line(harm, message, tmp_path):
    trained(folder=tmp_path)
    files = WeightFiles(tmp_path, RUN)
    harm(files.parameters)
    with pytest.raises(DataError, match=message) as raised:
        files.load(tiny.vae("mlp"), ())
    assert "\n" not in str(raised.value)
