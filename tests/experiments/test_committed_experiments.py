"""The experiments of the repository: their files are valid, their numbers hold, and what is generated from them is current."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from conftest import shared

import pt_cascade as ptc
from pt_cascade.cli import main
from pt_cascade.experiments.documents import Document
from pt_cascade.experiments.lock import hash_settings
from pt_cascade.experiments.matrix import format_html, insert_markdown
from pt_cascade.experiments.schema import ExperimentFile
from pt_cascade.experiments.verification import verify_numbers

FOLDER = Path(__file__).parents[2] / "experiments"
FILES = {path.stem: Document(path).read(ExperimentFile) for path in sorted(FOLDER.glob("*.yaml"))}
RUN_HERE = [name for name, file in FILES.items() if not file.needs]
MARKED = [pytest.param(name, marks=[pytest.mark.slow] * FILES[name].slow) for name in RUN_HERE]


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::pt_cascade.errors.CascadeWarning")
@pytest.mark.parametrize("name", MARKED)
def test_the_numbers_hold(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As ``make experiments`` runs them; those that take more than seconds are marked slow."""
    source = FILES[name].collection or FILES[name].qrels or (FOLDER / FILES[name].script[0]).read_text(encoding="utf-8")
    if "pydocs" in source and np.__version__ != "2.4.6":
        pytest.skip(f"measured on the docstrings of NumPy 2.4.6, not {np.__version__}")
    if "PT_CASCADE_MODELS" in source:
        shared("PT_CASCADE_MODELS", "models", "t5-tokenizer")
    if "PT_CASCADE_DATA" in source:
        part = source.split("/")[1] if source.startswith("$") else "dl19"
        monkeypatch.setenv("PT_CASCADE_DATA", str(shared("PT_CASCADE_DATA", "data", part).parent))
    assert main(["experiment", "verify", str(FOLDER / f"{name}.yaml"), "--out", str(tmp_path)]) == 0


@pytest.mark.parametrize("name", RUN_HERE)
def test_the_committed_results_are_those_that_are_expected(name: str) -> None:
    """Every experiment that needs no hub has numbers, and all of them were within their tolerance."""
    done = ptc.open_experiment(FOLDER / f"{name}.yaml").last_results()
    assert done is not None
    assert done.lock["experiment"] == hash_settings(FILES[name])  # not of an earlier state of the file
    states = [one.state for one in verify_numbers(FILES[name], done.numbers)]
    assert states
    assert set(states) == {"OK"}


@pytest.mark.parametrize("name", [name for name in FILES if name not in RUN_HERE])
def test_what_needs_a_hub_is_complete_and_expects_nothing_yet(name: str) -> None:
    """A number that was not measured is not expected."""
    assert FILES[name].expected == {}
    assert FILES[name].profile is not None


def test_the_lists_are_current() -> None:
    """``make experiments`` writes them from the files and the committed results."""
    experiments = [ptc.open_experiment(FOLDER / f"{name}.yaml") for name in FILES]
    readme = FOLDER / "README.md"
    assert insert_markdown(readme, experiments) == readme.read_text(encoding="utf-8")
    assert format_html(experiments) == (FOLDER / "matrix.html").read_text(encoding="utf-8")
