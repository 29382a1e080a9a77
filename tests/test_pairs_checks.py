"""What is looked at before duels are shared, or taken over from a call that crashed, and which cascades are refused at once."""

from __future__ import annotations

import warnings
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pyterrier as pt
import pytest
from duellists import Asked, Duellist
from judges import Judge
from test_pairs_costs import Stock
from test_pairs_scoring import Drifting, Reader
from test_replay import assert_same
from toys import ToyRetriever, topics

from pt_cascade import Cascade, Stage
from pt_cascade.errors import CascadeWarning, FrameError, PipelineError, StageError, TableError
from pt_cascade.execution.answers import finish
from pt_cascade.execution.partial import open_partial
from pt_cascade.execution.scoring import score
from pt_cascade.execution.timing import profile

if TYPE_CHECKING:
    from pathlib import Path

    from pt_cascade.ranking import Floats, Ints

FIRST = ToyRetriever(docs=12)


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep each test's chunks to itself."""
    monkeypatch.setenv("PT_CASCADE_CACHE", str(tmp_path / "cache"))


def found(singles: int, queries: int) -> tuple[pt.Transformer, pd.DataFrame]:
    """A retriever that finds one document for each of the first queries, six for each of the others; and the topics."""
    every = ToyRetriever(docs=14, levels=999).transform(topics(queries))
    alone = every["qid"].isin([f"q{n}" for n in range(singles)])
    kept = every[(every["rank"] == 0) | ~alone & (every["rank"] < 6)]
    return pt.Transformer.from_df(kept, uniform=False), topics(queries)


class Nosy(Duellist):
    """Compares by the scores of the stage before it."""

    def compare(self, results: pd.DataFrame, first: Ints, second: Ints) -> Floats:
        """Compare."""
        scores = results["score"].to_numpy(float)
        return np.clip(0.5 + (scores[first] - scores[second]) / 2000, 0, 1)


@pytest.mark.parametrize("singles", [0, 4])
def test_shared_duels_are_looked_at_in_the_first_chunk_that_has_some(singles: int) -> None:
    """Though the first chunks, of queries that find one document each, have none."""
    first, asked = found(singles, 8)
    with pytest.raises(
        PipelineError, match="stage 'duellist' scores the same pair differently after other stages: on the path run"
    ):
        score([first % 6 >> Nosy(), first % 6 >> Judge(2, 50) % 4 >> Nosy()], asked, batch_size=2)


def test_paths_are_looked_at_even_where_no_duel_is_fought() -> None:
    """The stages before a pairwise one are shared as well, and a single document tells of them."""

    @dataclass(frozen=True)
    class Copies(Judge):
        def transform(self, inp: pd.DataFrame) -> pd.DataFrame:
            ranked = super().transform(inp)
            return ranked.assign(score=ranked["score"] + ("mark" in inp))

    mark = pt.apply.generic(lambda results: results.assign(mark=1))
    first, asked = found(3, 3)
    cascades = [first % 6 >> Copies(1) % 4 >> Duellist(), first % 6 >> mark >> Judge(2) % 5 >> Copies(1) % 4 >> Duellist()]
    with pytest.raises(PipelineError, match=r"stage 'judge.*' scores the same pair differently"):
        score(cascades, asked, batch_size=2)


@pytest.mark.parametrize("singles", [0, 2])
def test_finished_duels_are_looked_at_in_the_first_chunk_that_has_some(singles: int, tmp_path: Path) -> None:
    """A model that changed is found out, though the first finished chunk has none."""
    first, asked = found(singles, 8)
    last = Drifting(log=Asked())
    last.log.fail_on("q6")
    with pytest.raises(StageError, match="out of memory"):
        score(first % 6 >> last, asked, batch_size=2, folder=tmp_path / "chunks")
    last.state[1] = 0.25
    with pytest.raises(TableError, match=r"stage 'duellist' is not what it was when the finished chunks .* against d\d+' scored"):
        score(first % 6 >> last, asked, batch_size=2, folder=tmp_path / "chunks")


def test_duels_of_another_chunk_are_refused(tmp_path: Path) -> None:
    """Of as many documents and as well-formed: each chunk knows the hash of its own."""
    last, folder = Duellist(levels=99, log=Asked()), tmp_path / "chunks"
    last.log.fail_on("q7")
    first, asked = found(0, 8)
    with pytest.raises(StageError, match="out of memory"):
        score(first % 6 >> last, asked, batch_size=1, folder=folder)
    one, other = (next(folder.glob(f"duels-00000{n}-*.parquet")) for n in (3, 4))
    held = one.read_bytes()
    one.write_bytes(other.read_bytes())
    with pytest.raises(TableError) as caught:
        score(first % 6 >> last, asked, batch_size=1, folder=folder)
    chunk = next(folder.glob("000003-*.parquet"))
    problem = f"{one.name} has {len(other.read_bytes()):,} bytes, not those of the SHA-256 in its name"
    assert str(caught.value) == f"a finished chunk is damaged: {chunk}: ValueError: {problem}. Fix: rm -r {chunk}, and score again"
    one.write_bytes(held)
    assert score(first % 6 >> last, asked, batch_size=1, folder=folder).covers((6, None))


def test_any_damage_of_a_chunk_is_told(tmp_path: Path) -> None:
    """Whatever bit flips: the chunk is read as it was, or a TableError names it; never an error of Arrow's own."""
    folder, parts = tmp_path / "chunks", {"stages": "1"}
    last = Duellist(log=Asked())
    last.log.fail_on("q2")
    with pytest.raises(StageError, match="out of memory"):
        score(FIRST % 5 >> last, topics(4), batch_size=2, folder=folder)
    partial = open_partial(tmp_path / "other", parts)
    (chunk,), (duels,) = (list(folder.glob(f"{stem}000000-*.parquet")) for stem in ("", "duels-"))
    data, random = duels.read_bytes(), np.random.default_rng(0)
    (partial.folder / chunk.name).write_bytes(chunk.read_bytes())
    for at in random.integers(0, len(data), 50):
        spoilt = bytearray(data)
        spoilt[at] ^= 1 << int(random.integers(8))
        (partial.folder / duels.name).write_bytes(bytes(spoilt))
        with pytest.raises(TableError, match=r"duels-000000-.* bytes, not those of the SHA-256 in its name"):
            partial.sheets()
    (partial.folder / duels.name).write_bytes(data)
    assert len(partial.sheets()) == 1
    data, refused = chunk.read_bytes(), 0
    for at in random.integers(0, len(data), 150):
        spoilt = bytearray(data)
        spoilt[at] ^= 1 << int(random.integers(8))
        (partial.folder / chunk.name).write_bytes(bytes(spoilt))
        try:
            partial.sheets()
        except TableError:
            refused += 1
    assert refused > 20


def test_a_comparer_that_stands_first_and_last_is_refused() -> None:
    """Its column would be another's: both stages are named, before anything runs."""
    last = Duellist(log=Asked())
    given = FIRST.transform(topics(3))
    for cascade, other in ((last % 6 >> Judge(2) % 4 >> last, "duellist_2"), (last % 6 >> last, "duellist_2")):
        with pytest.raises(PipelineError, match=f"stages 'duellist' and '{other}' are the same, in "):
            score(cascade, given)
    assert last.log.duels == []


def test_a_stock_pairwise_stage_behind_a_loader_is_run_live() -> None:
    """A loader of which nobody knows anything does not hide that its scorer compares; it is priced by the duel as well."""
    shout = pt.apply.text(lambda row: row["docno"].upper())
    cascade = Cascade.of(FIRST % 6 >> shout >> Stock() % 3)
    assert cascade[-1].depends == "unknown"
    table = score(cascade, topics(3))
    assert (table.stages, table.paths[0].live) == (("toy",), "stock")
    assert_same(finish(table, cascade), cascade.transform(topics(3)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CascadeWarning)  # few queries
        assert profile(cascade, topics(2), repeats=1, warmup=1).pairwise == ("stock",)
    with pytest.raises(PipelineError, match=r"stage 'stock' depends on the whole list \(pair\), so it may only stand last"):
        score(FIRST % 6 >> shout >> Stock() % 3 >> Judge(1), topics(3))


def test_a_text_that_is_missing_is_refused_before_anything_is_compared() -> None:
    """As the live stage refuses it: an answer about nothing would be kept, of a query that nothing else looks at."""
    load = pt.apply.generic(lambda results: results.assign(text=results["docno"].where(results["qid"] != "q2")))
    last = Reader("sum", log=Asked())
    cascade = Cascade((*Cascade.of(FIRST % 12), Stage("duellist", (load, last), None, "pair", "same")))
    for ask in (lambda: score(cascade, topics(3)), lambda: cascade.transform(topics(3))):
        with pytest.raises(
            FrameError, match=r"stage 'duellist' cannot read its documents: text is missing or not text in .*qid 'q2'"
        ):
            ask()


def test_many_duels_are_warned_of() -> None:
    """Beyond 100 documents, or as many as there are: the stage, how many, and what to do."""
    last = Duellist()
    for cascade, said in (
        (
            FIRST % 101 >> last,
            "stage 'duellist' may compare each two of 101 documents a query, 10,100 duels: cut before it, e.g. % 20",
        ),
        (FIRST >> last, "stage 'duellist' may compare each two of all documents that a query finds, n(n - 1) duels: cut before it"),
    ):
        with pytest.warns(CascadeWarning) as caught:
            score(cascade, topics(1))
        assert next(str(one.message) for one in caught if "duels" in str(one.message)).startswith(said)
        assert {one.filename for one in caught if "duels" in str(one.message)} == {__file__}
    score(FIRST % 100 >> last, topics(1))
    score(FIRST % 12 >> Judge(1) >> last, topics(1))


def test_below_single_precision_the_tolerance_is_named() -> None:
    """Both refusals say what a stage of bf16 or int8 needs."""

    class Rough(Duellist):
        def compare(self, results: pd.DataFrame, first: Ints, second: Ints) -> Floats:
            return np.clip(super().compare(results, first, second) + len(first) % 7 / 1e3, 0, 1)

    with pytest.raises(StageError, match=r"if it computes in bf16, fp16 or int8, .*: score\(\.\.\., tolerance=0\.05\)$"):
        score(FIRST % 9 >> Rough("sum", 3, 2), topics(3))
    assert score(FIRST % 9 >> Rough("sum", 3, 2), topics(3), tolerance=0.05).covers((9, None))


def test_what_is_looked_at_is_little(tmp_path: Path) -> None:
    """After a crash up to 2 queries of 4 documents each are compared once more, documents that were compared with each other."""
    last, folder = Duellist(levels=9, log=Asked()), tmp_path / "chunks"
    last.log.fail_on("q4")
    cascade = ToyRetriever(docs=30) % 12 >> Judge(1, 9) % 5 >> last
    with pytest.raises(StageError, match="out of memory"):
        score(cascade, topics(6), batch_size=4, folder=folder)
    last.log.calls.clear()
    score(cascade, topics(6), batch_size=4, folder=folder)
    again = Counter(qid for qid, _, _ in last.log.duels if qid in {"q0", "q1", "q2", "q3"})
    assert len(again) == 2
    assert max(again.values()) == 12
