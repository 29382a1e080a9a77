"""The committed notebooks teach, and are as they ran; ``test_documents`` runs them."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient
from nbformat.v4 import new_code_cell, new_notebook

ROOT = Path(__file__).parents[2]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
_LARGEST = 200_000  # characters of an output


@pytest.fixture(params=NOTEBOOKS, ids=lambda path: path.stem)
def notebook(request: pytest.FixtureRequest) -> nbformat.NotebookNode:
    """A committed notebook."""
    return nbformat.read(request.param, as_version=4)


def code(notebook: nbformat.NotebookNode) -> list[nbformat.NotebookNode]:
    """The cells of code."""
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def prose(notebook: nbformat.NotebookNode) -> str:
    """The text of all cells of Markdown."""
    return "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")


def test_there_are_five_and_the_list_names_them() -> None:
    """README.md of the folder has a link to each."""
    linked = re.findall(r"\]\((\w+\.ipynb)\)", (ROOT / "notebooks" / "README.md").read_text(encoding="utf-8"))
    assert linked == [path.name for path in NOTEBOOKS]
    assert [name[:2] for name in linked] == ["01", "02", "03", "04", "05"]


def test_a_text_is_before_and_after_each_cell(notebook: nbformat.NotebookNode) -> None:
    """It begins and ends with text, no two cells of code meet, and the last text is about the reader's own collection."""
    kinds = [cell.cell_type for cell in notebook.cells]
    assert kinds == ["markdown", *["code", "markdown"] * (len(kinds) // 2)]
    assert "## Your own collection" in notebook.cells[-1].source


def test_its_cells_import_and_call(notebook: nbformat.NotebookNode) -> None:
    """Nothing is defined in a notebook; the first cell installs only where pt_cascade is absent."""
    first, *cells = code(notebook)
    assert re.search(r'^if not find_spec\("pt_cascade"\):\n    %pip install', first.source, flags=re.MULTILINE)
    nodes = [node for cell in cells for node in ast.walk(ast.parse(cell.source))]
    assert not [node for node in nodes if isinstance(node, (ast.FunctionDef, ast.ClassDef))]


def test_it_ran_from_top_to_bottom_without_a_warning(notebook: nbformat.NotebookNode) -> None:
    """Outputs are those of one run, small, and name no folder of the machine."""
    cells = code(notebook)
    assert [cell.execution_count for cell in cells] == [*range(1, len(cells) + 1)]
    outputs = [output for cell in cells for output in cell.outputs]
    assert {output.output_type for output in outputs} <= {"stream", "execute_result", "display_data"}
    assert [output.text for output in outputs if output.get("name") == "stderr"] == []
    assert max(len(str(output)) for output in outputs) <= _LARGEST
    assert re.findall(r"/(?:home|root|tmp|work|usr)/\w+", str(outputs)) == []


def test_its_text_tells_what_is_shown(notebook: nbformat.NotebookNode) -> None:
    """Each decimal number in the text is in the cells or their outputs, as are numbers of documents."""
    shown = " ".join(cell.source + str(cell.outputs) for cell in code(notebook))
    told = re.findall(r"(?<![\w.])(?:\d+\.\d+|\d{1,3}(?:,\d{3})+)(?![\w.]\d)", re.sub(r"NumPy [\d.]+", "", prose(notebook)))
    assert told
    assert [number for number in told if number not in shown] == []


def test_its_links_lead_somewhere(notebook: nbformat.NotebookNode) -> None:
    """The file of each link is there."""
    links = re.findall(r"\]\((?!https?:)([^)#]+)", prose(notebook))
    assert links
    assert [link for link in links if not (ROOT / "notebooks" / link).exists()] == []


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning", "ignore::RuntimeWarning")
def test_each_cell_shows_its_figure() -> None:
    """The second one, too: the first loads the backend of notebooks, which makes matplotlib interactive."""
    pytest.importorskip("matplotlib", reason="pip install 'pt_cascade[plots]'")
    first = """\
import pandas as pd
import pt_cascade as ptc

run = pd.DataFrame({"qid": [*"1122"], "docno": [*"abab"], "score": [2.0, 1.0] * 2})
topics = pd.DataFrame({"qid": ["1", "2"], "query": ["x", "y"]})
table = ptc.ScoreTable.from_runs({"bm25": run, "t5": run.assign(score=[1.0, 2.0] * 2)}, topics)
sweep = ptc.sweep(table, pd.DataFrame({"qid": ["1", "2"], "docno": ["b", "b"], "label": [1, 1]}), ["RR"])
ptc.plots.draw_front(sweep);"""
    cells = [new_code_cell(first), new_code_cell("ptc.plots.draw_recall(sweep);")]
    notebook = NotebookClient(new_notebook(cells=cells), timeout=300, kernel_name="python3").execute()
    assert [["image/png" in output.get("data", {}) for output in cell.outputs] for cell in notebook.cells] == [[True], [True]]
