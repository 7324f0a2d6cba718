"""A track in a file of a user: its content decides, and not its name."""

from __future__ import annotations

import tomllib

import pytest
import toys

from collapsebench.errors import UsageError
from collapsebench.spec import FILE_TRACK, RunSpec
from collapsebench.store.labels import label_of, with_labels

TRACK = """
description = "a track of my own"
budget = "4steps"
latent_dim = 3
batch_size = 8
encoder = "lstm"
decoder = { name = "lstm", embedding = 3, hidden = 4 }
optimizer = { name = "adam", learning_rate = 1e-2 }
evaluation = { every = "2steps", metrics = { neg-elbo = {}, kl = {} } }
"""


@pytest.fixture
def planned(tmp_path):
    """The protocol of a track in a file."""

    def planned(text=TRACK, name="mine.toml", **request):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return toys.planned(track=str(path), **request).specs[0].protocol

    return planned


def test_the_content_is_the_protocol_and_the_name_is_its_label(planned):
    mine, other, moved = planned(), planned(name="other.toml"), planned(name="folder/mine.toml")
    assert mine.protocol_id == other.protocol_id == moved.protocol_id
    assert [each.track_label for each in (mine, other, moved)] == ["mine", "other", "mine"]
    assert mine.setting.latent_dim == 3
    assert planned(TRACK.replace("latent_dim = 3", "latent_dim = 4")).protocol_id != mine.protocol_id
    written_otherwise = "# the same\n" + TRACK.replace('encoder = "lstm"', "encoder.name = 'lstm'")
    assert planned(written_otherwise).protocol_id == mine.protocol_id


def test_it_is_no_track_of_the_dataset(planned):
    mine, quick = planned(), toys.planned().specs[0].protocol
    assert (mine.track, quick.track) == (FILE_TRACK, "quick")
    assert mine.track_source == "mine.toml"
    assert quick.track_source == "quick"


def test_it_can_be_overridden_as_others_can(planned):
    changed = planned(settings=("decoder=lstm[embedding=3,hidden=4,layers=2]",), budget="2steps")
    assert changed.track_label == "mine[decoder.layers=2]"
    assert str(changed.budget) == "2steps"
    assert changed.setting.decoder.params["layers"] == 2


def test_a_stored_spec_gets_its_label_back(planned, tmp_path):
    planned()
    spec = toys.planned("skip", track=str(tmp_path / "mine.toml"), settings=("latent_dim=2",)).specs[1]
    read = with_labels(RunSpec.model_validate_json(spec.model_dump_json()), "skip", "mine[latent_dim=2]")
    assert read.run_id == spec.run_id
    assert read.protocol.file_name == "mine"
    assert (label_of(read.contender), read.protocol.track_label) == ("skip", "mine[latent_dim=2]")
    strange = with_labels(read, "skip", "no [label")
    assert (label_of(strange.contender), strange.protocol.track_label) == ("skip", "file")


def test_every_shipped_table_is_such_a_file(tmp_path):
    """The body of a table [tracks.NAME] is a file, and gives the same setting."""
    table = tomllib.loads(toys.PLUGIN.with_suffix(".toml").read_text(encoding="utf-8"))["tracks"]["quick"]
    text = (
        toys.PLUGIN.with_suffix(".toml")
        .read_text(encoding="utf-8")
        .partition("[tracks.quick]\n")[2]
        .partition("\n[")[0]
    )
    assert tomllib.loads(text) == table
    (tmp_path / "copy.toml").write_text(text, encoding="utf-8")
    copy = toys.planned(track=str(tmp_path / "copy.toml")).specs[0].protocol
    assert copy.setting == toys.planned().specs[0].protocol.setting


@pytest.mark.parametrize(
    ("text", "name", "expected"),
    [
        ("latent_dim = ", "mine.toml", "cannot read the track file"),
        (f"latent_dim = {'9' * 5000}", "mine.toml", "cannot read the track file"),
        (f"latent_dim = {'[' * 3000}", "mine.toml", "its lists or tables are nested too deeply"),
        ("latent_dim = 3", "mine.toml", "mine.toml': description: Field required"),
        (f"[tracks.mine]{TRACK}", "mine.toml", "write the entries of [tracks.NAME] alone, without this head"),
        (TRACK + "method = 'skip'", "mine.toml", "unknown parameter 'method'"),
        (TRACK.replace("latent_dim = 3", "latent_dim = 0"), "mine.toml", "latent_dim: Input should be greater than 0"),
        (TRACK.replace('encoder = "lstm"', 'encoder = "ltsm"'), "mine.toml", "unknown encoder 'ltsm'. Did you mean"),
        (TRACK, "Mine.toml", "Mine.toml': it needs a name of small letters, digits and dashes, as in mine.toml"),
        (TRACK, "quick.toml", "dataset 'toy' has a track 'quick': give it another name"),
    ],
)
def test_a_file_that_is_no_track_is_one_line(planned, text, name, expected):
    with pytest.raises(UsageError) as caught:
        planned(text, name)
    assert expected in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_not_there_is_one_line(tmp_path):
    with pytest.raises(UsageError, match=r"cannot read the track file '.*none\.toml'"):
        toys.planned(track=str(tmp_path / "none.toml"))


@pytest.mark.torch
def test_its_runs_are_stored_and_have_a_board_that_names_the_file(command, tmp_path):
    plugin = ("--plugin", toys.PLUGIN)
    (tmp_path / "mine.toml").write_text(TRACK, encoding="utf-8")
    (tmp_path / "copy.toml").write_text(TRACK, encoding="utf-8")
    first = command("run", "--dataset", "toy", "--track", "mine.toml", *plugin)
    assert first.code == 0, first.err
    assert "1 already stored, 0 to run" in command("run", "--dataset", "toy", "--track", "copy.toml", *plugin).out
    board = command("leaderboard", "--dataset", "toy", "--track", "mine", "--format", "markdown")
    assert board.code == 0, board.err
    assert "toy · mine (of a file) · 4steps" in board.out
    assert "--track mine.toml" in board.out
    missing = command("run", "--dataset", "toy", "--track", "none.toml", *plugin)
    assert (missing.code, missing.err.count("\n")) == (2, 1)
