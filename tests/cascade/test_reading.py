"""Pipelines of stock and foreign transformers read into stages: no stage too many, none too few, and no model loaded."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pandas as pd
import pyterrier as pt
import pytest
from pyterrier_caching import Lazy, ScorerCache
from toys.rankers import ToyReranker

from pt_cascade import Cascade, Runner, profile, run, score
from pt_cascade.cascade import Stage
from pt_cascade.errors import CascadeError, FrameError, PipelineError, StageError

FOUND = pd.DataFrame({"qid": "1", "query": "q", "docno": ["a", "b", "c"], "score": [3.0, 2.0, 1.0], "rank": [0, 1, 2]})
SOURCE, ASKED = pt.Transformer.from_df(FOUND), pd.DataFrame({"qid": ["1"], "query": ["q"]})

NEGATED = pt.apply.generic(lambda df: pt.model.add_ranks(df.assign(score=-df["score"])))
SUMS = pt.apply.doc_score(lambda row: float(row["features"].sum()))


class Iterating(pt.Transformer):
    """A re-ranker that PyTerrier cannot inspect: it has no more than ``transform_iter``."""

    def transform_iter(self, inp: Iterable[dict[str, object]]) -> Iterator[dict[str, object]]:
        """Turn the list around."""
        for rank, row in enumerate(reversed(list(inp))):
            yield {**row, "score": -float(rank), "rank": rank}


class Closed(pt.Transformer):
    """Holds a transformer."""

    def __init__(self, inner: pt.Transformer) -> None:
        """Take it."""
        self.inner = inner

    def transform(self, inp: pd.DataFrame) -> pd.DataFrame:
        """Let it rank."""
        return self.inner.transform(inp)


UNINSPECTABLE = {
    "a function that looks at its first row": pt.apply.by_query(
        lambda df: df.assign(score=df["score"] - 2 * df["score"] * (df.iloc[0]["score"] > 0))
    ),
    "a generic function": pt.apply.generic(
        lambda df: pt.model.add_ranks(df.assign(score=-df["score"] * (df.iloc[0]["score"] > 0)))
    ),
    "an iterating class": Iterating(),
}


@pytest.mark.parametrize("case", UNINSPECTABLE)
def test_what_fails_on_no_rows_is_read_by_a_sample(case: str) -> None:
    """PyTerrier inspects by an empty frame; what fails on that is run on a few made-up rows. All three turn the list around."""
    pipeline = SOURCE % 3 >> UNINSPECTABLE[case] % 2
    cascade = Cascade.of(pipeline)
    assert cascade.cutoffs == (3, 2)
    assert cascade.transform(ASKED).sort_values("rank")["docno"].tolist() == ["c", "b"]
    assert pipeline.transform(ASKED).sort_values("rank")["docno"].tolist() == ["c", "b"]


def test_a_transformer_that_cannot_be_read_is_named_with_what_it_raised() -> None:
    """It knows its own documents only, and looks at the first row: both cures that the error prints work."""
    scores = {"a": 1.0, "b": 2.0, "c": 3.0}
    opaque = pt.apply.by_query(lambda df: df.assign(score=df["docno"].map(scores.__getitem__) * df.iloc[0]["score"]))
    with pytest.raises(PipelineError) as error:
        Cascade.of(SOURCE % 3 >> opaque % 2)
    assert str(error.value) == (
        "this pipeline cannot be read as a cascade: the role of pt.apply.by_query() with columns qid, query, docno, score, rank "
        "is unknown: it raised KeyError: 'docno 0'. Fix: declare that it re-ranks its input: "
        'transformer.documents = "reranks"; or write the stages yourself: '
        'Cascade((Stage("bm25", (bm25,), cutoff=100), Stage("name", (transformer,))))'
    )
    by_hand = Cascade((Stage("bm25", (SOURCE,), cutoff=3), Stage("name", (opaque,), cutoff=2)))
    opaque.documents = "reranks"
    for cascade in (by_hand, Cascade.of(SOURCE % 3 >> opaque % 2)):
        assert cascade.transform(ASKED).sort_values("rank")["docno"].tolist() == ["c", "b"]


PHANTOMS = {
    "features": (
        SOURCE % 3 >> (pt.Transformer.identity() ** ToyReranker() ** NEGATED) >> SUMS % 2,
        "run → 3 · doc_score → 2",
    ),
    "a column": (SOURCE % 3 >> pt.apply.generic(lambda df: df.assign(twice=df["score"] * 2)) % 2, "run → 2"),
    "a threshold": (SOURCE % 3 >> pt.apply.generic(lambda df: df[df["score"] > 1.5]) % 2, "run → 2"),
    "an unknown rescorer": (
        SOURCE % 3 >> NEGATED,
        "run → 3 · generic",
    ),
}


@pytest.mark.parametrize("case", PHANTOMS)
def test_a_transformer_that_does_not_change_the_score_is_not_a_stage(case: str) -> None:
    """A feature union and its learner are one stage; a new column or a threshold is none; another score is one."""
    pipeline, text = PHANTOMS[case]
    cascade = Cascade.of(pipeline)
    assert repr(cascade) == text
    live = pipeline.transform(ASKED).sort_values("rank")["docno"].tolist()
    assert cascade.transform(ASKED).sort_values("rank")["docno"].tolist() == live


def test_a_cutoff_of_passages_is_not_shown_as_one_of_documents() -> None:
    """The stage whose passages are cut has their name, also for with_cutoffs; what cuts documents keeps the scorer's name."""
    text = pt.apply.text(lambda row: " ".join(row["docno"] * 9))
    passages = text >> pt.text.sliding("text", length=4, stride=2, prepend_attr=None)
    with pytest.raises(FrameError, match="stage 'run_sliding' returned results that are not usable: rank is not") as error:
        Cascade.of(SOURCE >> passages % 5).transform(ASKED)
    assert error.value.fix == 'results = pt.model.add_ranks(results.drop(columns="rank"))'
    ranked = passages >> pt.apply.generic(lambda results: pt.model.add_ranks(results.drop(columns="rank")))
    cascade = Cascade.of(SOURCE >> ranked % 5 >> ToyReranker() >> pt.text.max_passage() % 2)
    assert repr(cascade) == "run_sliding → 5 · toy_reranker → 2"
    assert cascade.describe()["transformers"][1].endswith(" >> max_passage")
    with pytest.raises(StageError, match=r"stage 'run_sliding' cannot run: sliding needs columns text, title"):
        Cascade.of(SOURCE >> pt.text.sliding("text") % 5).transform(ASKED)
    assert len(cascade.with_cutoffs(run_sliding=2).prefix(1).transform(ASKED)) == 2
    assert repr(Cascade.of(SOURCE % 3 >> passages >> ToyReranker() >> pt.text.max_passage() % 2)) == "run → 3 · toy_reranker → 2"
    assert repr(Cascade.of(SOURCE >> text % 3 >> ToyReranker() % 2)) == "run → 3 · toy_reranker → 2"


def test_a_model_behind_lazy_is_not_loaded_by_reading(tmp_path: Path) -> None:
    """Neither bare nor behind a cache; the stage is named after the class, where Lazy is given one."""
    loaded: list[str] = []

    def load() -> pt.Transformer:
        loaded.append("loaded")
        return ToyReranker()

    bare, cached = SOURCE % 3 >> Lazy(load) % 2, SOURCE % 3 >> ScorerCache(str(tmp_path / "scores"), Lazy(load)) % 2
    assert [repr(Cascade.of(pipeline)) for pipeline in (bare, cached)] == ["run → 3 · lazy → 2"] * 2
    assert repr(Cascade.of(SOURCE % 3 >> Lazy(ToyReranker) % 2)) == "run → 3 · toy_reranker → 2"
    assert loaded == []
    assert Cascade.of(bare).transform(ASKED)["docno"].tolist() == bare.transform(ASKED)["docno"].tolist()


def test_a_query_rewriter_behind_lazy_is_refused_until_it_is_loaded() -> None:
    """Before, it is taken for a scorer. Golden for the cure: the plain pipeline."""
    lazy = Lazy(lambda: pt.apply.query(lambda row: row["query"] + " more"))
    pipeline = lazy >> SOURCE % 3 >> ToyReranker() % 2
    with pytest.raises(StageError, match=r"stage 'lazy' does not rank: .* was read as a scorer before it was loaded") as error:
        run(pipeline, ASKED)
    assert error.value.fix == "load it and read the pipeline again: lazy.load(); Cascade.of(pipeline)"
    lazy.load()
    cascade = Cascade.of(pipeline)
    assert cascade.cutoffs == (3, 2)
    live = pipeline.transform(ASKED)
    assert run(cascade, ASKED).results["docno"].tolist() == live["docno"].tolist()
    assert score(cascade, ASKED).replay((3, 2))["docno"].tolist() == live["docno"].tolist()


def test_a_cutoff_that_changes_after_reading_is_refused() -> None:
    """GridScan changes the cut-off of the pipeline, which a cascade would not see: it says so, and its two cures work."""
    cutoff = pt.RankCutoff(1)
    pipeline, qrels = SOURCE >> cutoff, pd.DataFrame({"qid": ["1"], "docno": ["b"], "label": [1]})
    cascade = Cascade.of(pipeline)
    with pytest.raises(PipelineError) as error:
        pt.GridScan(cascade, {cutoff: {"k": [1, 2, 3]}}, ASKED, qrels, ["recall_2"], verbose=False)
    assert str(error.value) == (
        "a cut-off changed after the pipeline was read with Cascade.of(pipeline): RankCutoff(2) was 1. "
        "Fix: GridScan over pipeline, or without GridScan: ptc.sweep, Cascade.of(pipeline).with_cutoffs(50)"
    )
    scanned = pt.GridScan(pipeline, {cutoff: {"k": [1, 2, 3]}}, ASKED, qrels, ["recall_2"], verbose=False)
    assert scanned["recall_2"].tolist() == [0.0, 1.0, 1.0]
    again = Cascade.of(pipeline)
    assert [len(again.with_cutoffs(k).transform(ASKED)) for k in (1, 2, 3)] == [1, 2, 3]


def test_transformers_that_hold_one_another_too_deeply_are_refused() -> None:
    """Python ends at about a thousand levels; one that holds itself is only looked at once, and the printed cure is flat."""
    deep: pt.Transformer = ToyReranker()
    for _ in range(2000):
        deep = Closed(deep)
    with pytest.raises(PipelineError, match="its transformers hold one another too deeply") as error:
        Cascade.of(SOURCE % 3 >> deep)
    assert error.value.fix == "pt.Compose(*transformers)"
    assert len(Cascade.of(pt.Compose(SOURCE, *(ToyReranker(seed=n) for n in range(100))))) == 101
    itself = Closed(ToyReranker())
    itself.documents, itself.mine = "reranks", itself
    assert repr(Cascade.of(SOURCE % 3 >> itself % 2)) == "run → 3 · closed → 2"


DERIVED: dict[str, Callable[[Cascade], pt.Transformer]] = {
    "itself": lambda cascade: cascade,
    "with_cutoffs": lambda cascade: cascade.with_cutoffs(3),
    "with_stage": lambda cascade: cascade.with_stage(0, name="first"),
    "prefix": lambda cascade: cascade.prefix(1),
    "without": lambda cascade: cascade.without(1),
    "a cut-off after it": lambda cascade: Cascade.of(cascade % 5),
    "a stage after it": lambda cascade: Cascade.of(cascade >> ToyReranker(seed=2)),
    "a cascade of it": lambda cascade: Cascade.of(Cascade.of(cascade % 2) >> ToyReranker(seed=2)),
    "Runner": Runner,
    "a sum": lambda cascade: cascade + SOURCE,
}
CALLS: dict[str, Callable[[pt.Transformer], object]] = {
    "transform": lambda cascade: cascade.transform(ASKED),
    "run": lambda cascade: run(cascade, ASKED),
    "score": lambda cascade: score(cascade, ASKED),
    "profile": lambda cascade: profile(cascade, ASKED, repeats=1, warmup=1),
    "of": Cascade.of,
}


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("case", DERIVED)
def test_a_changed_cutoff_is_refused_by_every_use_of_the_cascade(case: str, call: str) -> None:
    """All would go on with the old value; before the change all work."""
    cutoff = pt.RankCutoff(3)
    derived = DERIVED[case](Cascade.of(SOURCE >> cutoff >> ToyReranker() % 2))
    if call == "transform":
        assert len(derived.transform(ASKED))
    cutoff.k = 1
    with pytest.raises(CascadeError, match=r"a cut-off changed after the pipeline was read .*: RankCutoff\(1\) was 3"):
        CALLS["transform" if case in ("Runner", "a sum") else call](derived)


def test_the_stages_are_seen_by_inspection() -> None:
    """``pt.inspect.subtransformers`` shows every transformer of every stage."""
    first, second = ToyReranker(), ToyReranker(seed=2)
    assert pt.inspect.subtransformers(Cascade.of(SOURCE % 3 >> first % 2 >> second)) == {"transformers": [SOURCE, first, second]}
