"""What a reader is shown runs: the notebooks, and the Python of the README."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

ROOT = Path(__file__).parent.parent
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
README = (ROOT / "README.md").read_text(encoding="utf-8")


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
    assert "bm25 → 1000 · bi_encoder → 100 · late_interaction → 20" in text
    assert "Traceback" not in text


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
