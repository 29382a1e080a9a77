"""``pt-cascade profile``: what it shows is the profile's own, what it keeps loads, what would fail fails before the wait."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest
from toys.folders import write_folder
from toys.lines import paragraphs
from toys.rankers import FakeClock, ToyReranker, ToyRetriever

from pt_cascade import Cascade
from pt_cascade.analysis.cost.timings import Timings
from pt_cascade.collections import make_collection
from pt_cascade.commands import profile
from pt_cascade.errors import CascadeError
from pt_cascade.execution import defaults, profiling

if TYPE_CHECKING:
    from pathlib import Path

CASCADE = Cascade.of(ToyRetriever(docs=30) % 20 >> ToyReranker() % 5)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A collection of three judged queries whose default cascade is of toys, under a clock that goes on by one each reading."""
    asked = pd.DataFrame({"qid": ["1", "2", "3"], "query": ["query 1", "query 2", "query 3"]})
    qrels = pd.DataFrame({"qid": ["1", "2", "3"], "docno": "d1", "label": 1})
    docs = [{"docno": f"d{n}", "text": f"text {n}"} for n in range(30)]
    path = tmp_path / "toys"
    write_folder(make_collection("toys", asked, qrels, docs), path)
    monkeypatch.setattr(defaults, "default_cascade", lambda *_, **__: CASCADE)
    monkeypatch.setattr(profile, "profile", partial(profiling.profile, clock=FakeClock()))
    return str(path)


def test_it_shows_what_the_profile_found(folder: str) -> None:
    """Golden: each reading of the clock is a second, so a stage takes 2 s with its cut-off, whatever it is given."""
    text = "\n".join(paragraphs("profile", "--collection", folder, "--queries", 2, "--repeats", 2))
    assert text.startswith(f"{folder}: 30 documents, 2 of its judged queries\n\ntoy → 20 · toy_reranker → 5\n")
    rows = {
        line.split()[0]: line.split()[1:] for line in text.splitlines() if line.startswith(("toy ", "toy_reranker ", "cascade "))
    }
    assert rows["toy"][-4:] == ["2,000.00", "-", "2,000.00", "2,000.00"]
    assert rows["toy_reranker"] == ["20.0", "2,000.00", "0.0000", "2,000.00", "2,000.00"]
    assert rows["cascade"] == ["-", "-", "-", "4,000.00", "4,000.00"]
    assert "p95 ms" not in text  # of two queries
    assert "\n2 queries, 2 times at each of 4 depths, one query at a time.\n" in text
    assert "In Python" not in text


def test_it_keeps_what_it_found(folder: str, tmp_path: Path) -> None:
    """--out writes timings that load, and the line it prints runs."""
    path = str(tmp_path / "timings.parquet")
    text = "\n".join(paragraphs("profile", "--collection", folder, "--out", path))
    kept = Timings.load(path)
    assert (kept.queries, kept.mode, kept.stages) == (3, "interactive", ("toy", "toy_reranker"))
    assert text.endswith(f"\nIn Python:\n\nptc.Timings.load({path!r}).cost().latency((20, 5))")
    assert kept.cost().latency((20, 5)).ms == pytest.approx(4000)


def test_throughput_shows_means(folder: str, tmp_path: Path) -> None:
    """No percentile, and the line it prints asks for none."""
    path = str(tmp_path / "timings.parquet")
    text = "\n".join(paragraphs("profile", "--collection", folder, "--mode", "throughput", "--out", path))
    assert "p95 ms" not in text
    assert "all queries at once, which gives no percentiles" in text
    assert text.endswith(".latency((20, 5), percentiles=())")
    assert np.isfinite(Timings.load(path).cost().latency((20, 5), ()).ms)


def test_what_would_fail_after_the_wait_fails_before(tmp_path: Path) -> None:
    """With the exact message, and before the collection is opened."""
    out = tmp_path / "no folder" / "t.parquet"
    with pytest.raises(CascadeError) as error:
        paragraphs("profile", "--collection", "no such collection", "--out", out)
    assert str(error.value) == f"cannot write {out}: its folder does not exist. Fix: mkdir -p '{out.parent}'"
