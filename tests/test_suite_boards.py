"""The boards of a suite without the command line, from the committed records of one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from collapsebench.errors import StoreError, UsageError
from collapsebench.reporting.boards import boards
from collapsebench.reporting.figures import draw_depth, draw_rate_distortion
from collapsebench.reporting.leaderboard import FORMATS
from collapsebench.reporting.queries import ProtocolQuery, SuiteQuery
from collapsebench.reporting.selection import one_protocol
from collapsebench.reporting.suite_boards import suite_boards, suite_page, suite_pieces
from collapsebench.store import Store
from collapsebench.store.interchange import read_lines

RECORDS = Path(__file__).parents[1] / "results" / "leaderboards" / "table-3-small.jsonl"
TABLE_3 = SuiteQuery("dieng-2019/table-3")
CELLS = ["2 layers", "3 layers", "4 layers"]


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    path = tmp_path_factory.mktemp("suite") / "runs.sqlite"
    with Store.open(path) as store, RECORDS.open("rb") as lines:
        store.add(read_lines(lines, RECORDS.name))
    return path


@pytest.fixture
def store(path):
    with Store.open(path) as store:
        yield store


def test_every_cell_has_the_board_of_its_protocol(store):
    found = suite_boards(store, TABLE_3)
    assert [cell.cell.name for cell in found.cells] == CELLS
    for cell in found.cells:
        (board,) = boards(store, ProtocolQuery(protocol=cell.board.protocol_id))
        assert replace(board, presentation=cell.board.presentation) == cell.board
        assert board.protocol.setting.decoder.params["layers"] == int(cell.cell.name[0])
    assert found.boards == tuple(cell.board for cell in found.cells)


def test_measured_numbers_stand_beside_those_of_the_paper(store):
    found = suite_boards(store, TABLE_3)
    pair = next(pair for pair in found.pairs if (pair.cell, pair.model) == ("4 layers", "SKIP-VAE"))
    assert (pair.column.key, pair.published.printed) == ("neg_elbo", "-93.79")
    rows = {row.label: row for row in found.boards[-1].rows}
    assert pair.measured == rows["skip"].sample("neg_elbo")
    assert {pair.column.key for pair in suite_boards(store, TABLE_3, ["iw_nll"]).pairs} == {"iw_nll"}


@pytest.mark.parametrize(
    ("records", "variants", "seeds"), [("table-3-small", (), 3), ("table-3-patient", ("patient",), 1)]
)
def test_the_command_of_a_suite_has_the_seeds_of_its_runs(records, variants, seeds, tmp_path):
    file = RECORDS.with_stem(records)
    with Store.open(tmp_path / "runs.sqlite") as store, file.open("rb") as lines:
        store.add(read_lines(lines, file.name))
        made = suite_page(suite_boards(store, TABLE_3._replace(variants=variants))).command
    assert f" --seeds {seeds} --data-dir DATA" in made
    assert made in file.with_suffix(".md").read_text(encoding="utf-8")


def test_a_question_can_be_of_some_cells(store):
    found = suite_boards(store, TABLE_3._replace(cells=("3 layers",)))
    assert [cell.cell.name for cell in found.cells] == ["3 layers"]
    assert {pair.cell for pair in found.pairs} == {"3 layers"}
    assert [cell.cell.dataset for cell in suite_boards(store, TABLE_3._replace(dataset="mnist")).cells] == ["mnist"] * 3


@pytest.mark.parametrize(
    ("query", "error", "message"),
    [
        (SuiteQuery("dieng-2019/table-9"), UsageError, "unknown suite 'dieng-2019/table-9'"),
        (TABLE_3._replace(scale="large"), UsageError, "unknown scale 'large'"),
        (TABLE_3._replace(variants=("x",)), UsageError, "unknown variant 'x'"),
        (TABLE_3._replace(cells=("5 layers",)), UsageError, "unknown cell '5 layers'"),
        (TABLE_3._replace(dataset="minst"), UsageError, "unknown dataset 'minst'. Did you mean 'mnist'?"),
        (
            TABLE_3._replace(scale="paper"),
            StoreError,
            "nothing of the suite has run; to run it: collapsebench suite run dieng-2019/table-3 --scale paper",
        ),
    ],
)
def test_what_is_not_there_is_one_line(store, query, error, message):
    with pytest.raises(error) as caught:
        suite_boards(store, query)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_runs_of_one_cell(store):
    found = one_protocol(store, TABLE_3._replace(cells=("2 layers",)), ["skip"])
    assert found.title.startswith("dieng-2019/table-3 · small · 2 layers · protocol ")
    assert {(run.contender, run.protocol_id) for run in found.runs} == {("skip", found.protocol_id)}
    with pytest.raises(UsageError, match="this figure is of one protocol; choose one with --cell: '2 layers'"):
        one_protocol(store, TABLE_3)
    with pytest.raises(UsageError, match=r"unknown contender 'skop'\. Did you mean 'skip'\?"):
        one_protocol(store, TABLE_3._replace(cells=("2 layers",)), ["skop"])


def test_figures_are_drawn_of_the_same_question(store):
    drawn = draw_depth(store, TABLE_3, ["vae", "skip"], over="decoder.layers", columns=["kl"])
    assert drawn.what == "kl over decoder.layers at 2, 3, 4"
    (panel,) = drawn.figure.axes
    assert panel.get_xticks().tolist() == [2, 3, 4]
    drawn = draw_rate_distortion(store, TABLE_3._replace(cells=("2 layers",)), ["vae"])
    assert drawn.what == "rate and distortion of vae"


@pytest.mark.parametrize("format_", FORMATS)
def test_the_command_prints_what_the_library_renders(store, path, command, format_):
    rendered = "".join(suite_pieces(suite_boards(store, TABLE_3, ["kl"]), format_))
    arguments = ("--suite", TABLE_3.suite, "--columns", "kl", "--format", format_, "--store", path)
    assert command("leaderboard", *arguments).out == rendered
