"""What a reader is shown runs and exists: the quickstart, the notebooks, and the examples, links and tables of README.md and docs/.

All examples read the same vectors, which the first one builds: so they are in one file, which one worker runs. By default they
read the short documents of pydocs, which are encoded in seconds; the slow tests read all of it.
"""

from __future__ import annotations

import ast
import inspect
import operator
import pydoc
import re
import shlex
import shutil
import subprocess
import sys
import textwrap
from dataclasses import replace
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import nbformat
import numpy as np
import pandas as pd
import pyterrier
import pytest
import ranx
from toys.folders import write_folder
from toys.lines import paragraphs

import pt_cascade
from pt_cascade import cli

ROOT = Path(__file__).parents[2]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
# what a notebook is to have shown, beside running
SHOWN = {
    "01_design_a_cascade": "bm25 → 500 · bi_encoder → 50 · late_interaction → 10",
    "02_explore_every_cutoff": "95,050 vectors",  # 1 + 2 + ... + 100, and 900 × 100
    "03_an_honest_choice": "149.0",  # 0.98 ** 149 < 0.05 < 0.98 ** 148
    "04_calibrate_fuse_prune": "except in 10 % of samples of 200 queries",
    "05_reproduce_a_table": "AP(rel=2): 0.404429, expected 0.4044 ± 5e-05",  # 0.4044 by trec_eval
}
DOCS = sorted((ROOT / "docs").glob("*.md"))
PAGES = [ROOT / "README.md", *DOCS, ROOT / "pt_cascade" / "pt_docs" / "index.rst"]
MARKDOWN = [*sorted(ROOT.glob("*.md")), *DOCS, *(ROOT / folder / "README.md" for folder in ("experiments", "notebooks"))]
# a block that starts so is compiled and its names are checked, but it does not run
TABLES = ("README.md", "docs/stages.md", "docs/command-line.md", "docs/errors.md")
NOT_RUN = ("# needs the model hub", "# needs a server")


def read(page: Path) -> str:
    """The text of a page."""
    return page.read_text(encoding="utf-8")


def blocks(page: Path, language: str = "python") -> list[str]:
    """The code blocks of a page in one language, or the cells of a notebook that are plain Python."""
    if page.suffix == ".ipynb":
        cells = [cell.source for cell in nbformat.read(page, as_version=4).cells if cell.cell_type == "code"]
        return [cell for cell in cells if not re.search(r"^ *%", cell, flags=re.MULTILINE)]
    if page.suffix == ".rst":
        found = re.findall(rf"^\.\. code-block:: {language}\n(?:   :.*\n)*\n((?:   .*\n|\n)+)", read(page), flags=re.MULTILINE)
        return [textwrap.dedent(block) for block in found]
    return re.findall(rf"^```{language}\n(.*?)^```$", read(page), flags=re.DOTALL | re.MULTILINE)


def prose(page: Path) -> str:
    """A page without its code blocks."""
    return re.sub(r"^```.*?^```$", "", read(page), flags=re.DOTALL | re.MULTILINE)


def find(name: ast.expr) -> Any:
    """What an example calls ``ptc.name``."""
    return operator.attrgetter(ast.unparse(name).removeprefix("ptc."))(pt_cascade)


_SCREEN = 30  # lines
_SHORT = 400  # characters


def named(page: Path) -> str:
    """The name of a page in a test's id."""
    return page.stem


@pytest.fixture(scope="session")
def part(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The folder of a part of pydocs: all topics and qrels, and the short documents."""
    whole, path = pt_cascade.open_collection("pydocs"), tmp_path_factory.mktemp("pydocs") / "part"
    short = [document for document in whole.docs() if len(document["text"]) < _SHORT]
    write_folder(replace(whole, documents=short), path)
    return str(path)


@pytest.mark.slow
@pytest.mark.usefixtures("minilm")
def test_the_quickstart_of_pydocs_beats_its_first_stage() -> None:
    """As it is printed for everybody, with real vectors: the cascade's nDCG@10 is above BM25's, and both are as we measured."""
    told = "\n".join(paragraphs("quickstart"))
    assert told.startswith(f"pydocs:numpy=={np.__version__}: ")
    assert "documents, 200 judged queries\n" in told
    rows = re.findall(
        r"^ *(bm25 → 1000|· .*?\S) +(\d\.\d{3}) +(?:(< 0\.001|\d\.\d{3}) +)?\d\.\d{3} +[\d.,]+$", told, flags=re.MULTILINE
    )
    assert [name for name, *_ in rows] == ["bm25 → 1000", "· bi_encoder", "· late_interaction → 20", "· fused(0.4, 0.3, 0.3)"]
    assert len(told.splitlines()) <= _SCREEN
    values = [float(ndcg) for _, ndcg, _ in rows]
    assert values[3] > values[0]
    assert re.search(r"third\s+stage", told)
    if np.__version__ != "2.4.6":
        pytest.skip(f"nDCG@10 was measured on the docstrings of NumPy 2.4.6, not {np.__version__}")
    assert values == pytest.approx([0.498, 0.475, 0.520, 0.568], abs=0.02)
    assert rows[3][2] == "< 0.001"


@pytest.mark.slow
@pytest.mark.parametrize("name", [path.stem for path in NOTEBOOKS])
def test_a_notebook_runs(name: str, tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every cell runs without a warning, and shows what it is about."""
    if name.startswith("05"):
        monkeypatch.setenv("PT_CASCADE_DATA", str(request.getfixturevalue("dl19_folder").parent))
    shown = run_notebook(name, tmp_path)
    assert SHOWN[name] in shown
    assert "FAIL" not in shown


@pytest.mark.slow
def test_the_notebook_of_published_runs_does_without_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It says that pydocs stands in."""
    monkeypatch.delenv("PT_CASCADE_DATA", raising=False)
    assert "50 queries of pydocs stand in" in run_notebook("05_reproduce_a_table", tmp_path)


def run_notebook(name: str, folder: Path) -> str:
    """Run a copy of a notebook as ``make notebooks`` does, and return its outputs."""
    copied = shutil.copy(ROOT / "notebooks" / f"{name}.ipynb", folder)
    subprocess.run([sys.executable, ROOT / "notebooks" / "execute.py", copied], check=True)
    outputs = [output for cell in nbformat.read(copied, as_version=4).cells for output in cell.get("outputs", ())]
    assert [output.text for output in outputs if output.get("name") == "stderr"] == []
    return " ".join(map(str, outputs))


@pytest.mark.parametrize("collection", ["part", pytest.param("pydocs", marks=pytest.mark.slow)])
@pytest.mark.parametrize("page", [*(page for page in PAGES if blocks(page)), NOTEBOOKS[0]], ids=named)
def test_the_python_of_a_page_runs(
    page: Path, collection: str, request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The blocks of a page run one after the other in one session, and values are those in the comments after an arrow."""
    name = "pydocs" if collection == "pydocs" else request.getfixturevalue(collection)
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    with pd.option_context("display.precision", 6):  # which the notebook sets
        for block in blocks(page):
            # where a page takes more queries, 20 are enough to see that its lines run
            few = re.sub(r"\.judged\((50|80)?\)(?=[,\n])", ".judged(20)", block)
            text = block if name == "pydocs" else re.sub(r"\bpydocs\b", name, few)
            code = compile(text, page.name, "exec")
            if block.startswith(NOT_RUN):
                continue
            exec(code, names)  # noqa: S102 - our own page
            for expression, shown in re.findall(r"^(\w[^#\n]*?) +# → (.+)$", text, flags=re.MULTILINE):
                assert str(eval(expression, names)) == shown  # noqa: S307 - our own page


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page)], ids=named)
def test_the_names_and_arguments_of_a_page_exist(page: Path) -> None:
    """Each ``ptc.name`` is there and takes the keywords it is called with, also in blocks that do not run."""
    for node in (node for block in blocks(page) for node in ast.walk(ast.parse(block))):
        if isinstance(node, ast.Attribute) and re.fullmatch(r"ptc(\.\w+)+", ast.unparse(node)):
            assert find(node) is not None
        if isinstance(node, ast.Call) and re.fullmatch(r"ptc(\.\w+)+", ast.unparse(node.func)):
            inspect.signature(find(node.func)).bind_partial(**{one.arg: None for one in node.keywords if one.arg})


@pytest.mark.parametrize("page", MARKDOWN, ids=named)
def test_the_links_of_a_page_lead_somewhere(page: Path) -> None:
    """The file of each internal link is there, and has the heading that the link names, by the rule of code forges."""
    for link in re.findall(r"\]\((?!https?:)([^)]+)\)", prose(page)):
        file, _, anchor = link.partition("#")
        target = (page.parent / file).resolve() if file else page
        assert target.exists(), f"{page.name}: {link}"
        if anchor:
            headings = re.findall(r"^#+ (.+)$", prose(target), flags=re.MULTILINE)
            assert anchor in {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}, link


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page, "sh")], ids=named)
def test_the_commands_of_a_page_parse(page: Path) -> None:
    """Every shell line names a make target that is there, or is a line that ``pt-cascade`` takes."""
    makefile = read(ROOT / "Makefile")
    for line in "".join(blocks(page, "sh")).splitlines():
        program, *words = shlex.split(line, comments=True) or [""]
        if program == "pt-cascade":
            cli.parse_arguments(words)
        elif program == "make":
            assert f"\n{words[0]}:" in makefile
        else:
            assert program in ("", "pip", "mkdir", "shtab")


def test_the_readme_is_one_page() -> None:
    """At most 150 lines; its commands, and the targets that it names in the text, are there."""
    text = read(ROOT / "README.md")
    assert len(text.splitlines()) <= 150
    assert {"quickstart", "test", "docs"} <= set(re.findall(r"(?:^|`)make ([a-z]+)", text, flags=re.MULTILINE))
    commands = set(re.findall(r"(?:^|`)pt-cascade ([a-z]+)", text, flags=re.MULTILINE))
    assert commands
    assert commands <= set(cli.COMMANDS)


def test_the_pages_name_every_stage_command_and_error() -> None:
    """The tables of stages, commands and errors have a row for each there is, and no other."""
    rows = {page: set(re.findall(r"^\| `(\w+)", read(ROOT / page), flags=re.MULTILINE)) for page in TABLES}
    stages = {name for name in pt_cascade.stages.__all__ if not re.match("build_|list_stages|text_loader", name)}
    assert stages <= rows["README.md"]
    assert stages <= rows["docs/stages.md"]
    assert set(cli.COMMANDS) <= rows["docs/command-line.md"]
    assert {name for name, kind in vars(pt_cascade.errors).items() if name.endswith("Error") and name != "CascadeError"} == rows[
        "docs/errors.md"
    ]


def test_the_api_page_has_every_public_name() -> None:
    """Names of the package, its stages, the TREC files, the frames and the errors: each once; and nothing that is not there."""
    modules = {name: getattr(pt_cascade, name) for name in ("stages", "trec", "frames", "errors", "plots")}
    public = {f"pt_cascade.{name}" for name in pt_cascade.__all__ if name not in modules}
    public |= {f"pt_cascade.{folder}.{name}" for folder in ("stages", "trec") for name in modules[folder].__all__}
    public |= {f"pt_cascade.reporting.plots.{name}" for name in modules["plots"].__all__}
    for folder in ("frames", "errors"):
        own = {name for name, value in vars(modules[folder]).items() if getattr(value, "__module__", "") == f"pt_cascade.{folder}"}
        own -= {name for name in own if folder == "errors" and not isinstance(getattr(modules[folder], name), type)}
        public |= {f"pt_cascade.{folder}.{name}" for name in own if not name.startswith("_") and name not in pt_cascade.__all__}
    listed = re.findall(r"^\.\. auto(?:class|function|exception):: (\S+)$", read(ROOT / "docs" / "api.md"), flags=re.MULTILINE)
    assert len(listed) == len(set(listed))
    assert public - set(listed) == set()
    assert [name for name in listed if pydoc.locate(name) is None] == []


def test_the_comparison_names_what_is_there() -> None:
    """Of pt_cascade, PyTerrier and ranx each name and each option that a table gives; the versions are those installed."""
    text = read(ROOT / "docs" / "comparison.md")
    named = (("PyTerrier", "pyterrier"), ("pt_cascade", "pt_cascade"), ("ranx", "ranx"))
    assert [version(package) for _, package in named] == [re.search(rf"{name} (\d[\d.]*\d)", text)[1] for name, package in named]  # type: ignore[index]
    rows = [line.split(" | ")[1:] for line in text.splitlines() if line.count(" | ") == 7 and not line.startswith("| | ")]
    assert len(rows) > 15
    own = (pt_cascade, pt_cascade.Cascade, pt_cascade.ScoreTable, pt_cascade.stages, pt_cascade.errors)
    for column, homes in ((0, own), (1, (pyterrier,)), (6, (ranx, ranx.data_structures))):
        for call in re.findall(r"`([A-Z][\w.]*(?:\([^`]*\))?|[a-z_]+(?:\([^`]*\))?)`", " ".join(row[column] for row in rows)):
            name, _, options = call.rstrip(")").partition("(")
            found = [operator.attrgetter(name)(home) for home in homes if hasattr(home, name.partition(".")[0])]
            assert found or name == "mrt" or find_spec(name), call  # or a plugin
            if options:
                inspect.signature(found[0]).bind_partial(**dict.fromkeys(re.findall(r"(\w+)=", options)))


def test_the_map_of_the_package_is_true() -> None:
    """Each file and folder that CONTRIBUTING.md names is there, and it names each folder of the package."""
    paths = set(re.findall(r"`((?:pt_cascade|tests|experiments|docs)/[\w./-]*)`", read(ROOT / "CONTRIBUTING.md")))
    assert [path for path in paths if not (ROOT / path).exists()] == []
    folders = {f"{file.parent.relative_to(ROOT)}/" for file in (ROOT / "pt_cascade").rglob("__init__.py")}
    above = {"pt_cascade/", "pt_cascade/analysis/"}
    assert {folder for folder in folders - above if not any(path.startswith(folder) for path in paths)} == set()
