"""What a reader is shown runs: the quickstart, the notebooks, and the Python of the README.

All three read the vectors of pydocs, which whoever is first makes: so they stand in one file, which one worker runs.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path

import nbformat
import numpy as np
import pytest
from nbclient import NotebookClient

from pt_cascade.commands import quickstart
from pt_cascade.commands.quickstart import Options

ROOT = Path(__file__).parents[2]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
# what a notebook is to have shown, beside running
SHOWN = {"01_first_cascade": "bm25 → 1000 · bi_encoder → 100 · late_interaction → 20", "02_score_once": "on held-out queries"}
README = (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.mark.usefixtures("minilm")
def test_the_quickstart_of_pydocs_beats_its_first_stage() -> None:
    """As it is printed for everybody, with real vectors: the cascade's nDCG@10 is above BM25's, and both are as we measured."""
    told = "\n".join(quickstart.show(Options()))
    assert told.startswith(f"pydocs:numpy=={np.__version__}: ")
    assert "documents, 200 judged queries\n" in told
    rows = re.findall(r"^(bm25 → .*?\S) +(\d\.\d{3}) +\d\.\d{3} +\d\.\d{3}(?: |$)", told, flags=re.MULTILINE)
    assert [name for name, _ in rows] == [
        "bm25 → 1000",
        "bm25 → 1000 · bi_encoder",
        "bm25 → 1000 · bi_encoder → 100 · late_interaction → 20",
    ]
    values = [float(ndcg) for _, ndcg in rows]
    assert values[2] > values[0]
    assert "Sweep(Grid(95,050 vectors: all of k1 1..1000 × k2 1..100, k3 20) of bm25 → bi_encoder → late_interaction;" in told
    assert re.search(r"^The best within the \d+ ms \(p95\) that .* takes:$", told, flags=re.MULTILINE)
    assert re.search(r"third stage .*on held-out queries", told)
    if np.__version__ != "2.4.6":
        pytest.skip(f"nDCG@10 was measured on the docstrings of NumPy 2.4.6, not {np.__version__}")
    assert values == pytest.approx([0.500, 0.475, 0.520], abs=0.02)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning", "ignore::RuntimeWarning")
def test_a_notebook_runs(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every cell runs; cells import and call, none defines; and no output is committed, so that none can be stale."""
    notebook = nbformat.read(path, as_version=4)
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert all(not cell.outputs for cell in cells)
    defined = [
        node for cell in cells for node in ast.walk(ast.parse(cell.source)) if isinstance(node, (ast.FunctionDef, ast.ClassDef))
    ]
    assert defined == []
    monkeypatch.setenv("PYTHONWARNINGS", "ignore")
    NotebookClient(notebook, timeout=300, kernel_name="python3").execute()
    text = " ".join(str(output) for cell in cells for output in cell.outputs)
    assert SHOWN[path.stem] in text
    assert "Traceback" not in text


@pytest.mark.filterwarnings("ignore:.* queries are too few:pt_cascade.CascadeWarning")
def test_the_readme_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The README's Python blocks run one after the other in one session, and print what stands in their comments."""
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
    assert len(blocks) >= 3
    names: dict[str, object] = {}
    for block in blocks:
        exec(compile(block, "README.md", "exec"), names)  # noqa: S102 - our own README
    for expression, shown in re.findall(r"^(\w[^#\n]*?) +# → (.+)$", "\n".join(blocks), flags=re.MULTILINE):
        assert str(eval(expression, names)) == shown  # noqa: S307 - likewise


def test_the_readme_names_what_exists() -> None:
    """Every make target, command and file that the README names is there."""
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = re.findall(r"(?:^|`)make ([a-z]+)", README, flags=re.MULTILINE)
    assert {"quickstart", "test", "check"} <= set(targets)
    assert all(f"\n{target}:" in makefile for target in targets)
    commands = set(re.findall(r"(?:^|`)pt-cascade ([a-z]+)", README, flags=re.MULTILINE))
    assert commands
    assert all((ROOT / "pt_cascade" / "commands" / f"{command}.py").exists() for command in commands)
    assert all((ROOT / link).exists() for link in re.findall(r"\]\((?!http)([^)#]+)\)", README))
