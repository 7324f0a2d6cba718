"""The notebook of the documentation works from its first cell to its last, in a real kernel."""

from __future__ import annotations

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOKS = sorted((Path(__file__).parents[1] / "docs" / "notebooks").glob("*.ipynb"))

pytestmark = [pytest.mark.slow, pytest.mark.torch]


@pytest.fixture(scope="module", params=NOTEBOOKS, ids=lambda path: path.stem)
def executed(request, tmp_path_factory):
    """A notebook with the outputs of this version, executed in an empty folder."""
    notebook = nbformat.read(request.param, as_version=4)
    folder = tmp_path_factory.mktemp("notebook")
    NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(folder)}}).execute()
    return notebook


def shown(notebook, mime):
    """What the cells show as their results, in this format."""
    outputs = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    return [output.data[mime] for output in outputs if output.output_type == "execute_result" and mime in output.data]


def test_runs_and_boards_are_shown_as_tables(executed):
    tables = shown(executed, "text/html")
    assert any("skip+fixed-weight[beta=0.5]" in table and "finished" in table for table in tables)
    assert any("linear-gaussian" in table and "±" in table for table in tables)


def test_a_frame_has_the_values_of_all_runs(executed):
    assert any("kl" in table and "standard_error" in table for table in shown(executed, "text/html"))


def test_progress_is_drawn_below_the_cell_and_removed_at_the_end(executed):
    outputs = [output for cell in executed.cells if cell.cell_type == "code" for output in cell.outputs]
    drawn = [output for output in outputs if output.output_type == "display_data"]
    assert len(drawn) == 1
    assert drawn[0].data["text/html"] == ""
    lines = "".join(output.text for output in outputs if output.output_type == "stream")
    assert lines.count("finished") == 6


def test_notebooks_are_committed_without_outputs():
    for path in NOTEBOOKS:
        assert all(not cell.get("outputs") for cell in nbformat.read(path, as_version=4).cells)
