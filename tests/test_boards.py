"""The boards of stored runs without the command line: one call with plain values, and rendering as a second one."""

from __future__ import annotations

import pytest
from records import point, record, score_records, spec

from collapsebench.errors import StoreError, UsageError
from collapsebench.reporting.boards import BoardView, boards
from collapsebench.reporting.leaderboard import DIALECTS, FORMATS, Cut, render
from collapsebench.reporting.queries import ProtocolQuery
from collapsebench.store import Store

LABELS = ("vae", "a", "skip")
LAYERS = {"overrides": {"decoder.layers": 3}, "setting": spec().protocol.setting.model_copy(update={"latent_dim": 3})}


@pytest.fixture
def path(tmp_path):
    """A file with one protocol of three contenders, and two of one."""
    path = tmp_path / "runs.sqlite"
    with Store.open(path) as store:
        store.add(
            record(label, seed, columns={"neg_elbo": 30.0 - len(label) - seed, "kl": 1.0})
            for label in LABELS
            for seed in (1, 2)
        )
        store.add([record("vae", protocol={"dataset": "ptb"}), record("vae", protocol=LAYERS)])
    return path


@pytest.fixture
def store(path):
    with Store.open(path) as store:
        yield store


def test_every_protocol_has_a_board(store):
    found = list(boards(store))
    assert [(board.protocol.dataset.name, board.protocol.track_label) for board in found] == [
        ("digits", "quick"),
        ("digits", "quick[decoder.layers=3]"),
        ("ptb", "quick"),
    ]
    assert [row.label for row in found[0].rows] == list(LABELS)


def test_a_board_is_that_of_its_records(store):
    (board,) = boards(store, ProtocolQuery(dataset="digits", protocol=record().protocol_id[:6]))
    expected = score_records(store.find(protocol=record().protocol_id))
    assert (board.rows, board.columns, board.reference) == (expected.rows, expected.columns, {})


@pytest.mark.parametrize(
    ("query", "tracks"),
    [
        (ProtocolQuery("digits"), ["quick", "quick[decoder.layers=3]"]),
        (ProtocolQuery("digits", "quick[decoder.layers=3]"), ["quick[decoder.layers=3]"]),
        (ProtocolQuery("ptb", "quick"), ["quick"]),
        (ProtocolQuery(protocol=record(protocol=LAYERS).protocol_id[:8]), ["quick[decoder.layers=3]"]),
    ],
)
def test_a_question_chooses_protocols(store, query, tracks):
    assert [board.protocol.track_label for board in boards(store, query)] == tracks


def test_a_view_compares_sorts_and_selects(store):
    view = BoardView(against=" skip ", sort="neg_elbo", columns=["kl", "neg_elbo"])
    (board,) = boards(store, ProtocolQuery("digits", protocol=record().protocol_id), view)
    assert [column.key for column in board.columns] == ["kl", "neg_elbo"]
    assert [row.label for row in board.rows] == ["skip", "vae", "a"]
    assert board.difference(board.rows[1], "neg_elbo").mean == 1.0


def test_a_view_cuts_trajectories(store):
    (board,) = boards(store, ProtocolQuery("ptb"), BoardView(Cut("steps", 200.0)))
    assert (board.at, board.rows[0].sample("neg_elbo").mean) == ("steps=200", point().values["neg_elbo"].value)


@pytest.mark.parametrize(
    ("query", "view", "error", "message"),
    [
        (ProtocolQuery("mnist"), BoardView(), StoreError, r"no runs of dataset 'mnist' in the store \(it has: digits"),
        (ProtocolQuery(), BoardView(Cut("steps", 9e9)), StoreError, "evaluated both before and after steps=9000000000"),
        (
            ProtocolQuery(),
            BoardView(DIALECTS["he2019"]),
            StoreError,
            "no finished run was scored in the dialect he2019",
        ),
        (ProtocolQuery(), BoardView(against="skop"), UsageError, "unknown contender 'skop'. Did you mean 'skip'?"),
        (ProtocolQuery(), BoardView(against="skip["), UsageError, "cannot read 'skip\\['"),
        (ProtocolQuery(), BoardView(sort="kll"), UsageError, "unknown column 'kll'"),
        (ProtocolQuery(), BoardView(columns=["kll"]), UsageError, "unknown column 'kll'"),
    ],
)
def test_what_is_wrong_with_a_question_shows_before_the_first_board_is_taken(store, query, view, error, message):
    with pytest.raises(error, match=message):
        boards(store, query, view)


@pytest.mark.parametrize("format_", FORMATS)
def test_the_command_prints_what_the_library_renders(store, path, command, format_):
    rendered = render(boards(store, view=BoardView(sort="kl")), format_)
    assert command("leaderboard", "--sort", "kl", "--format", format_, "--store", path).out == rendered
