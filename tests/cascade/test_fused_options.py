"""Fused cascades with options: a kept tail, queries that a stage fails on, and documents that it had no time for."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import chain

import numpy as np
import pandas as pd
import pyterrier as pt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from toys.fragile import TICK_MS, Fragile, WorkClock
from toys.rankers import ToyReranker, ToyRetriever, topics

import pt_cascade as ptc
from pt_cascade import Cascade, run
from pt_cascade.cascade import walk
from pt_cascade.errors import CascadeWarning, PipelineError

FIRST = ToyRetriever(docs=12, levels=4)
LAST = ToyReranker(seed=5, levels=4)
QUERIES = 4
WEIGHTS = {"toy": 0.25, "fragile": 0.5, "toy_reranker": 0.25}
CUTS = st.integers(1, 12)
FAILS = st.frozensets(st.sampled_from([f"q{n}" for n in range(QUERIES)]))
quiet = pytest.mark.filterwarnings("ignore::pt_cascade.errors.CascadeWarning")


def ranking(results: pd.DataFrame, qids: frozenset[str] | None = None) -> list[tuple[str, int, str, float]]:
    """Read the rows of some queries, by query and rank."""
    rows = results if qids is None else results[results["qid"].isin(qids)]
    return sorted(rows[["qid", "rank", "docno", "score"]].itertuples(index=False, name=None))


# --- a kept tail


@settings(max_examples=10)
@given(CUTS, CUTS, CUTS)
@quiet
def test_what_the_fusion_cuts_follows_in_fused_order(first: int, second: int, third: int) -> None:
    """By hand: the fused ranking without its cut-off, then what each earlier cut-off removed, the last one's first, by rank."""
    plain = Cascade.of(FIRST % first >> Fragile() % second >> LAST % third).fused(WEIGHTS)
    kept = plain.options(tail="keep")
    fused = plain.with_cutoffs(toy_reranker=None).transform(topics(QUERIES))
    before = [step.ranked[step.ranked["rank"] >= step.stage.cutoff] for step in walk(plain.stages[:2], topics(QUERIES))]
    found = kept.transform(topics(QUERIES))
    for qid, rows in found.sort_values(["qid", "rank"]).groupby("qid"):
        wanted = [one[one["qid"] == qid].sort_values("rank")["docno"].tolist() for one in (fused, *before[::-1])]
        assert rows["docno"].tolist() == [*chain.from_iterable(wanted)]
        cuts = ["" if rank < third else "toy_reranker" for rank in range(len(wanted[0]))]
        assert rows["cut_by"].tolist() == [*cuts, *["fragile"] * len(wanted[1]), *["toy"] * len(wanted[2])]
        assert rows["score"].astype("float32").is_monotonic_decreasing
    assert ranking(found[found["cut_by"] == ""]) == ranking(plain.transform(topics(QUERIES)))
    assert ranking(run(kept, topics(QUERIES), query_batch_size=1).results) == ranking(found)
    assert ranking(run(plain, topics(QUERIES), tail="keep").results) == ranking(found)


@settings(max_examples=10)
@given(CUTS, CUTS, CUTS)
@quiet
def test_a_kept_tail_of_a_fusion_is_finished_from_a_table_as_live(first: int, second: int, third: int) -> None:
    """Documents, ranks and the stage that cut each; the table is of the cascade without fusion, under another name."""
    cascade = Cascade.of(FIRST % first >> Fragile() % second >> LAST % third).fused(WEIGHTS).options(tail="keep")
    table = ptc.score(cascade.fused(None).with_cutoffs(None, None, None).with_stage(0, name="other"), topics(QUERIES))
    columns = ["qid", "rank", "docno", "cut_by"]
    found, live = (one[columns].sort_values(columns) for one in (cascade.finish(table), cascade.transform(topics(QUERIES))))
    pd.testing.assert_frame_equal(found.reset_index(drop=True), live.reset_index(drop=True))


# --- queries that a stage fails on


@settings(max_examples=10)
@given(CUTS, CUTS, CUTS, FAILS)
@quiet
def test_a_query_without_scores_of_a_stage_is_not_fused(first: int, second: int, third: int, fails: frozenset[str]) -> None:
    """Golden: the plain pipeline without the stage; the other queries are fused as where nothing fails."""
    healthy = Cascade.of(FIRST % first >> Fragile() % second >> LAST % third).fused(WEIGHTS)
    cascade = Cascade.of(FIRST % first >> Fragile(fails=fails) % second >> LAST % third).fused(WEIGHTS).options(on_error="keep")
    without = (FIRST % min(first, second) >> LAST % third).transform(topics(QUERIES))
    others = frozenset(f"q{n}" for n in range(QUERIES)) - fails
    for found in (cascade.transform(topics(QUERIES)), run(cascade, topics(QUERIES), query_batch_size=2).results):
        assert ranking(found, fails) == ranking(without, fails)
        assert ranking(found, others) == ranking(healthy.transform(topics(QUERIES)), others)
        assert found.groupby("qid", sort=False)["rank"].apply(list).map(lambda rank: rank == [*range(len(rank))]).all()
    assert found["qid"].drop_duplicates().tolist() == [f"q{n}" for n in range(QUERIES)]


@settings(max_examples=10)
@given(CUTS, CUTS, FAILS)
@quiet
def test_where_the_last_stage_fails_the_ranking_before_it_stays(first: int, last: int, fails: frozenset[str]) -> None:
    """Golden: the first stage's own scores and ranks, cut to the last cut-off."""
    cascade = Cascade.of(FIRST % first >> Fragile(fails=fails) % last).fused({"toy": 1, "fragile": 1}).options(on_error="keep")
    assert ranking(cascade.transform(topics(QUERIES)), fails) == ranking(
        (FIRST % min(first, last)).transform(topics(QUERIES)), fails
    )


@quiet
def test_a_stage_without_a_weight_may_fail() -> None:
    """No score of it is fused, so that the query is fused from the others; golden: the cascade without the stage."""
    pipeline = FIRST % 9 >> Fragile(fails=frozenset({"q1"})) % 6 >> LAST % 4
    cascade = Cascade.of(pipeline).fused({"toy": 1, "toy_reranker": 1}).options(on_error="keep")
    without = Cascade.of(FIRST % 6 >> LAST % 4).fused({"toy": 1, "toy_reranker": 1})
    q1 = frozenset({"q1"})
    assert ranking(cascade.transform(topics(QUERIES)), q1) == ranking(without.transform(topics(QUERIES)), q1)


def test_a_query_that_is_not_fused_is_counted_and_warned_of() -> None:
    """As without a fusion: all its documents in the trace, with the reason, and one warning."""
    cascade = Cascade.of(FIRST % 5 >> Fragile(fails=frozenset({"q1"})) % 3).fused({"toy": 1, "fragile": 1}).options(on_error="keep")
    with pytest.warns(CascadeWarning, match=r"stage 'fragile' failed on 1 query, whose order stays as it was"):
        trace = run(cascade, topics(2)).trace.set_index(["stage", "qid"])
    assert trace["unscored"].to_dict() == {("toy", "q0"): 0, ("toy", "q1"): 0, ("fragile", "q0"): 0, ("fragile", "q1"): 5}
    assert "ConnectionError: no answer" in trace.loc[("fragile", "q1"), "error"]


# --- documents without time


@settings(max_examples=10)
@given(CUTS, st.integers(1, 12), st.integers(1, 4), st.one_of(st.none(), CUTS))
@quiet
def test_late_documents_follow_below_the_fused_ones(depth: int, limit: int, batch: int, last: int | None) -> None:
    """Golden: ``fuse`` of both stages' runs over the scored documents; the others in the order of the first stage."""
    fragile = Fragile(batch_size=batch, levels=4)
    plain = Cascade.of(FIRST % depth >> fragile).with_cutoffs(fragile=last).fused({"toy": 1, "fragile": 3})
    done = run(plain.options(time_limit_ms={"fragile": limit * TICK_MS}), topics(QUERIES), clock=WorkClock(fragile))
    scored = math.ceil(limit / batch) * batch
    before = (FIRST % depth).transform(topics(QUERIES)).sort_values(["qid", "rank"])
    top = before[before["rank"] < scored].reset_index(drop=True)
    again = ToyReranker(levels=4).transform(top).sort_values(["qid", "rank"])
    fused = ptc.fuse([again, top], "weighted", normalise="min-max", weights=[0.75, 0.25], topics=topics(QUERIES))
    for qid, rows in done.results.groupby("qid", sort=False):
        late = before[(before["qid"] == qid) & (before["rank"] >= scored)]
        head = fused[fused["qid"] == qid]
        assert rows["docno"].tolist() == [*head["docno"], *late["docno"]][:last]
        assert rows["rank"].tolist() == [*range(len(rows))]
        assert rows["score"].tolist()[: len(head)] == head["score"].tolist()[:last]
        below = rows["score"].astype("float32").to_numpy()[len(head) - 1 :]
        assert (np.diff(below) < 0).all()
        assert done.trace.set_index(["stage", "qid"]).loc[("fragile", qid), "unscored"] == len(late)


@settings(max_examples=10)
@given(st.integers(1, 12), st.integers(1, 4))
@quiet
def test_late_documents_of_an_earlier_stage_follow_as_the_last_stage_ranks_them(limit: int, batch: int) -> None:
    """By hand: fused in the cascade over the scored documents alone, and the others by the last stage's own scores below."""
    fragile = Fragile(batch_size=batch)
    cascade = Cascade.of(FIRST % 9 >> fragile >> LAST).fused(WEIGHTS)
    done = run(cascade.options(time_limit_ms={"fragile": limit * TICK_MS}), topics(QUERIES), clock=WorkClock(fragile))
    scored = math.ceil(limit / batch) * batch
    head = Cascade.of(FIRST % min(scored, 9) >> Fragile() >> LAST).fused(WEIGHTS).transform(topics(QUERIES))
    ranked = LAST.transform((FIRST % 9).transform(topics(QUERIES)))
    for qid, rows in done.results.groupby("qid", sort=False):
        fused = head[head["qid"] == qid]
        late = ranked[(ranked["qid"] == qid) & ~ranked["docno"].isin(fused["docno"])]
        assert ranking(rows.head(len(fused))) == ranking(fused)
        assert rows["docno"].tolist()[len(fused) :] == late.sort_values("rank")["docno"].tolist()


# --- options and a fusion beside each other


def test_options_and_a_fusion_keep_each_other() -> None:
    """In either order the same cascade; each can be taken away alone; changed copies and longer pipelines keep the options."""
    plain = Cascade.of(FIRST % 9 >> Fragile() % 6 >> LAST % 4)
    options = {"tail": "keep", "on_error": {"fragile": "keep"}, "time_limit_ms": {"fragile": 7}}
    both = plain.fused(WEIGHTS).options(**options)
    assert both == plain.options(**options).fused(WEIGHTS)
    assert both.fused(None) == plain.options(**options)
    assert both.options(tail="drop", on_error="raise", time_limit_ms={"fragile": None}) == plain.fused(WEIGHTS)
    for one in (both.with_cutoffs(8, 5, 3), both.with_stage(2, name="end"), both.without(0), both.prefix(2)):
        assert (one.tail, one["fragile"].on_error, one["fragile"].time_limit_ms) == ("keep", "keep", 7)
    with pytest.raises(PipelineError, match="keeps its tail, so it can only be the whole cascade"):
        Cascade.of(both % 2)
    whole = Cascade.of(both.options(tail="drop") % 2)
    assert (whole.fusion, whole.cutoffs, whole["fragile"].on_error, whole["fragile"].time_limit_ms) == (
        both.fusion,
        (9, 6, 2),
        "keep",
        7,
    )
    assert Cascade.of(both.options(tail="drop").prefix(2) >> LAST)["fragile"] == both["fragile"]


@dataclass(frozen=True)
class _Passages(Fragile):
    """Scores two passages of each document."""

    def count_pairs(self, results: pd.DataFrame) -> list[int]:
        """Two a row."""
        return [2] * len(results)


@quiet
def test_pairs_of_passages_are_counted_where_a_stage_fails_or_is_late() -> None:
    """By hand: two a scored document: all of a query in time, one batch of four of a late one, none of a failed one."""
    given_rows = pd.DataFrame({"qid": ["a"] * 3 + ["b"] * 6 + ["c"] * 2, "docno": [*"xyz", *"uvwxyz", *"xy"]}).assign(query="q")
    passages = _Passages(fails=frozenset({"c"}))
    cascade = Cascade.of(passages).options(on_error="keep", time_limit_ms={"fragile": 4 * TICK_MS})
    trace = run(cascade, given_rows, clock=WorkClock(passages)).trace.set_index("qid")
    assert trace["pairs"].to_dict() == {"a": 6, "b": 8, "c": 0}
    assert trace["unscored"].to_dict() == {"a": 0, "b": 2, "c": 2}


# --- documents that a stage marks as failed


class Unsure(ToyReranker):
    """A re-ranker that cannot score some documents, marks them, and ranks them below with scores of no meaning."""

    failed_column = "unsure"
    on_error = "keep"
    stage_name = "unsure"
    marked = frozenset({"d0", "d3"})

    def transform(self, inp: pd.DataFrame) -> pd.DataFrame:
        """Mark some documents."""
        out = super().transform(inp)
        failed = out["docno"].isin(self.marked)
        below = out["score"].where(~failed, -1000.0 - out["docno"].str[1:].astype(int))
        return pt.model.add_ranks(out.assign(unsure=failed, score=below))


class Doubtful(Unsure):
    """Another one that marks others, in the same column."""

    marked = frozenset({"d1", "d4"})


@pytest.mark.parametrize("first", [3, 8, 12])
@pytest.mark.parametrize("kinds", [(Unsure, ToyReranker), (ToyReranker, Unsure), (Unsure, Doubtful)])
@quiet
def test_documents_that_a_stage_marks_as_failed_are_not_fused(first: int, kinds: tuple[type[ToyReranker], ...]) -> None:
    """Golden: ptc.fuse of the runs without these documents; they follow below, live and in the plain pipeline.

    A mark of one stage counts though another stage writes its own in the same column.
    """
    cascade = Cascade.of(FIRST % first >> kinds[0](seed=3, levels=4) >> kinds[1](seed=5, levels=4))
    names = [stage.name for stage in cascade]
    runs = [step.ranked for step in walk(cascade, topics(QUERIES))]
    cascade = cascade.fused(dict.fromkeys(names, 1))
    marked = frozenset[str]().union(*(kind.marked for kind in kinds if issubclass(kind, Unsure)))
    reach = runs[-1][["qid", "docno"]]
    sure = [run.merge(reach, on=["qid", "docno"]).sort_values(["qid", "rank"]) for run in runs[::-1]]
    sure = [run[~run["docno"].isin(marked)] for run in sure]
    wanted = ptc.fuse(sure, "weighted", weights=[1 / 3] * 3)
    for found in (cascade.transform(topics(QUERIES)), cascade.pipeline().transform(topics(QUERIES))):
        for qid, rows in found.sort_values("rank").groupby("qid"):
            fused = wanted[wanted["qid"] == qid].sort_values("rank")
            if len(fused):
                assert rows["docno"].tolist()[: len(fused)] == fused["docno"].tolist()
                assert rows["score"].tolist()[: len(fused)] == pytest.approx(fused["score"].tolist(), abs=1e-12)
            assert set(rows["docno"].tolist()[len(fused) :]) <= marked
