"""Stages that fail on a query, or run out of time: what they leave of the ranking, and how it is counted."""

from __future__ import annotations

import math
from dataclasses import dataclass

import pandas as pd
import pyterrier as pt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ir_measures import R
from toys.fragile import TICK_MS, Fragile, WorkClock
from toys.rankers import Broken, ToyReranker, ToyRetriever, topics

from pt_cascade import Cascade, run
from pt_cascade.cascade import Stage
from pt_cascade.errors import CascadeError, CascadeWarning, FrameError, MissingError, PipelineError, QueryError
from pt_cascade.numbers import count_of

FIRST = ToyRetriever(docs=12, levels=4)
LAST = ToyReranker(seed=5)
QUERIES = 4
KEEP = {"fragile": "keep"}


def ranking(results: pd.DataFrame, qids: set[str] | None = None) -> list[tuple[str, int, str, float]]:
    """Read the rows of some queries, by query and rank."""
    rows = results[results["qid"].isin(qids if qids is not None else set(results["qid"]))]
    return sorted(rows[["qid", "rank", "docno", "score"]].itertuples(index=False, name=None))


CUTS = st.integers(1, 12)
SORTED = st.sampled_from(["", "sorted"])
FAILS = st.frozensets(st.sampled_from([f"q{n}" for n in range(QUERIES)]))


@settings(max_examples=20)
@given(CUTS, CUTS, CUTS, FAILS, SORTED)
@pytest.mark.filterwarnings("ignore::pt_cascade.errors.CascadeWarning")
def test_failed_queries_rank_as_without_the_stage_and_others_as_live(
    first: int, second: int, third: int, fails: frozenset[str], order: str
) -> None:
    """Golden: plain pipelines, without the stage but with its cut-off, and with one that does not fail; a query is asked once."""
    fragile = Fragile(fails=fails, sort=bool(order))
    cascade = Cascade.of(FIRST % first >> fragile % second >> LAST % third).options(on_error=KEEP)
    without = FIRST % min(first, second) >> LAST % third
    healthy = FIRST % first >> ToyReranker(sort=bool(order)) % second >> LAST % third
    others = {f"q{n}" for n in range(QUERIES)} - fails
    for results in (run(cascade, topics(QUERIES)).results, cascade.transform(topics(QUERIES))):
        assert ranking(results, set(fails)) == ranking(without.transform(topics(QUERIES)), set(fails))
        assert ranking(results, others) == ranking(healthy.transform(topics(QUERIES)), others)
    asked = [qids[0] for qids in fragile.calls]
    assert sorted(asked) == sorted(2 * [f"q{n}" for n in range(QUERIES)])


@settings(max_examples=20)
@given(CUTS, FAILS)
@pytest.mark.filterwarnings("ignore::pt_cascade.errors.CascadeWarning")
def test_a_failed_last_stage_leaves_the_ranking_of_the_prefix(second: int, fails: frozenset[str]) -> None:
    """Golden: the prefix's own scores and ranks, cut to the stage's cut-off."""
    cascade = Cascade.of(FIRST % 12 >> Fragile(fails=fails) % second).options(on_error="keep")
    prefix = cascade.prefix(1).with_cutoffs(second).pipeline().transform(topics(QUERIES))
    assert ranking(cascade.transform(topics(QUERIES)), set(fails)) == ranking(prefix, set(fails))


def test_failures_are_counted_and_warned_of_once_a_stage() -> None:
    """The trace says where, how much and why; batches of queries give one warning; pairs are those scored."""
    cascade = Cascade.of(FIRST % 5 >> Fragile(fails=frozenset({"q1", "q2"})) % 3).options(on_error="keep")
    with pytest.warns(CascadeWarning) as warned:
        done = run(cascade, topics(QUERIES), query_batch_size=1)
    begin = "stage 'fragile' failed on 2 queries, whose order stays as it was; the first is qid 'q1': "
    (message,) = [str(one.message) for one in warned if issubclass(one.category, CascadeWarning)]
    assert message.startswith(begin)
    trace = done.trace[done.trace["stage"] == "fragile"].set_index("qid")
    assert trace["unscored"].to_dict() == {"q0": 0, "q1": 5, "q2": 5, "q3": 0}
    assert trace["pairs"].to_dict() == {"q0": 5, "q1": 0, "q2": 0, "q3": 5}
    assert (trace["error"] != "").tolist() == [False, True, True, False]
    assert message == begin + trace.loc["q1", "error"]
    assert "ConnectionError: no answer" in trace.loc["q1", "error"]
    assert done.trace.loc[done.trace["stage"] == "toy", "unscored"].tolist() == [0] * QUERIES


@dataclass(frozen=True)
class Ending(Fragile):
    """Fails on the document of rank 8."""

    def transform(self, inp: pd.DataFrame) -> pd.DataFrame:
        """Fail, or re-rank."""
        if 8 in inp["rank"].tolist():
            raise self.error
        return super().transform(inp)


@pytest.mark.filterwarnings("ignore::pt_cascade.errors.CascadeWarning")
def test_pairs_that_were_scored_before_a_failure_are_counted() -> None:
    """Batches of 4: two are scored of 9 documents, then the third fails; none in one call; all of 7."""
    cascade = Cascade.of(FIRST % 10 >> Ending()).options(on_error="keep")
    in_time = cascade.options(time_limit_ms={"fragile": 10**6})
    for one, pairs in ((in_time, 8), (cascade, 0), (in_time.with_cutoffs(toy=7), 7)):
        trace = run(one, topics(1)).trace.set_index("stage")
        assert trace.loc["fragile", "pairs"] == pairs
        assert trace.loc["fragile", "unscored"] == (0 if pairs == 7 else 9)


def test_results_without_scores_keep_their_rows_in_order() -> None:
    """A cascade that starts from results: ranks are kept where given, else the order of the rows; scores fall."""
    given_rows = pd.DataFrame({"qid": "q0", "query": "query 0", "docno": ["b", "a", "c"]})
    cascade = Cascade.of(Fragile(fails=frozenset({"q0"})) % 2).options(on_error="keep")
    with pytest.warns(CascadeWarning, match="failed on 1 query"):
        rows = cascade.transform(given_rows)
    assert (rows["docno"].tolist(), rows["rank"].tolist(), rows["score"].is_monotonic_decreasing) == (["b", "a"], [0, 1], True)
    with pytest.warns(CascadeWarning, match="failed on 1 query"):
        assert cascade.transform(given_rows.assign(rank=[2, 0, 1]))["docno"].tolist() == ["a", "c"]
    with pytest.warns(CascadeWarning, match="failed on 1 query"):
        scored = cascade.transform(given_rows.assign(score=[1.5, 2.5, 2.0]))
    assert scored.set_index("docno")["score"].to_dict() == {"a": 2.5, "c": 2.0}


def test_what_was_loaded_before_the_failure_stays() -> None:
    """The text that the failed stage loaded is there for the next one, which reads it."""
    text = pt.apply.text(lambda row: row["docno"] * 2)
    length = pt.apply.doc_score(lambda row: float(len(row["text"])))
    cascade = Cascade.of(FIRST % 5 >> text >> Fragile(fails=frozenset({"q1"})) % 4 >> length % 3).options(on_error=KEEP)
    with pytest.warns(CascadeWarning, match="stage 'fragile' failed on 1 query"):
        rows = cascade.transform(topics(2))
    assert (rows["text"] == rows["docno"] * 2).all()


NEVER_KEPT = {
    "a column that is missing": (FIRST % 5 >> pt.apply.generic(lambda df: df.drop(columns="query")) >> Fragile() % 2, CascadeError),
    "a score that is NaN": (FIRST % 5 >> Broken(lambda df: df.assign(score=float("nan"))) % 2, FrameError),
    "a function that returns NaN": (FIRST % 5 >> pt.apply.doc_score(lambda _: float("nan")) % 2, CascadeError),
    "documents that are lost": (FIRST % 5 >> Broken(lambda df: df.head(1)) % 2, CascadeError),
    "an interruption": (FIRST % 5 >> Fragile(fails=frozenset({"q0"}), error=KeyboardInterrupt()) % 2, KeyboardInterrupt),
    "a model that is missing": (FIRST % 5 >> Fragile(fails=frozenset({"q0"}), error=MissingError("no model")) % 2, MissingError),
    "a pipeline that is wrong": (FIRST % 5 >> Fragile(fails=frozenset({"q0"}), error=PipelineError("wrong")) % 2, PipelineError),
}


@pytest.mark.parametrize("case", NEVER_KEPT)
def test_a_wrong_pipeline_is_refused_whatever_the_options(case: str) -> None:
    """Only a stage that fails to run is answered with the order before it."""
    pipeline, kind = NEVER_KEPT[case]
    with pytest.raises(kind):
        Cascade.of(pipeline).options(on_error="keep").transform(topics(2))


def test_without_the_option_a_failure_is_an_error() -> None:
    """As before, and the stage gets all queries in one call."""
    fragile = Fragile(fails=frozenset({"q1"}))
    with pytest.raises(QueryError, match="stage 'fragile' failed on 15 row"):
        Cascade.of(FIRST % 5 >> fragile % 2).transform(topics(3))
    assert len(fragile.calls) == 1


@settings(max_examples=20)
@given(CUTS, st.integers(1, 20), st.integers(1, 6), SORTED)
@pytest.mark.filterwarnings("ignore::pt_cascade.errors.CascadeWarning")
def test_late_documents_follow_below_in_their_order(depth: int, limit: int, batch: int, order: str) -> None:
    """By hand: at a tick a document, whole batches until the limit; these as re-ranked, the others as the prefix ranks them."""
    fragile = Fragile(batch_size=batch, sort=bool(order))
    cascade = Cascade.of(FIRST % depth >> fragile).options(time_limit_ms={"fragile": limit * TICK_MS})
    done = run(cascade, topics(QUERIES), clock=WorkClock(fragile))
    scored = math.ceil(limit / batch) * batch
    before = cascade.prefix(1).pipeline().transform(topics(QUERIES))
    top = ToyReranker().transform(before[before["rank"] < scored].reset_index(drop=True)).sort_values(["qid", "rank"])
    before = before.sort_values(["qid", "rank"])
    for qid, found in done.results.sort_values(["qid", "rank"]).groupby("qid"):
        late = before[(before["qid"] == qid) & (before["rank"] >= scored)]
        assert found["docno"].tolist() == [*top.loc[top["qid"] == qid, "docno"], *late["docno"]]
        assert found["score"].head(scored).tolist() == top.loc[top["qid"] == qid, "score"].tolist()
        assert found["score"].tail(len(late) + 1).astype("float32").is_monotonic_decreasing
        row = done.trace.set_index(["stage", "qid"]).loc["fragile", qid]
        assert (row["unscored"], row["pairs"], row["error"]) == (len(late), len(found) - len(late), "")


def test_time_that_suffices_changes_nothing() -> None:
    """Golden: the plain pipeline, rows and ranks, and no warning."""
    fragile = Fragile(batch_size=3)
    cascade = Cascade.of(FIRST % 9 >> fragile % 4).options(time_limit_ms={"fragile": 1000})
    plain = (FIRST % 9 >> ToyReranker() % 4).transform(topics(QUERIES))
    assert ranking(run(cascade, topics(QUERIES), clock=WorkClock(fragile)).results) == ranking(plain)


def test_lateness_is_warned_of_and_a_failure_within_the_time_keeps_the_query() -> None:
    """One warning for what was late and one for what failed; a query that fails in its second batch keeps all of its order."""
    fragile = Fragile()

    @pt.apply.generic
    def fails_second(frame: pd.DataFrame) -> pd.DataFrame:
        if fragile.calls.count(["q1"] * 4) > 1:
            raise TimeoutError("too slow")
        return frame

    stage = Stage("fragile", (fragile, fails_second), None, depends="pointwise", documents="reranks", scorer=0)
    first = Cascade.of(FIRST % 12)
    cascade = Cascade((*first.stages, stage)).options(on_error="keep", time_limit_ms={"fragile": 5 * TICK_MS})
    with pytest.warns(CascadeWarning) as warned:
        done = run(cascade, topics(2), clock=WorkClock(fragile))
    found = first.transform(topics(2))
    sizes = found["qid"].value_counts()
    late, failed = sorted(str(one.message) for one in warned if issubclass(one.category, CascadeWarning))
    assert late == (
        f"stage 'fragile' did not score {count_of(sizes['q0'] - 8, 'document')} of 1 query in its time limit; "
        "they follow below in the order that they had"
    )
    assert failed.startswith("stage 'fragile' failed on 1 query")
    assert "TimeoutError: too slow" in failed
    assert ranking(done.results, {"q1"}) == ranking(found, {"q1"})


REFUSED = {
    "a stage that is not there": ({"on_error": {"fragil": "keep"}}, "there is no stage 'fragil'; did you mean 'fragile'?"),
    "a retriever": ({"on_error": {"toy": "keep"}}, "stage 'toy': on_error='keep' needs an order to keep, but it retrieves"),
    "another word": ({"on_error": "ignore"}, "stage 'toy': on_error is 'ignore', expected one of raise, keep"),
    "no time": ({"time_limit_ms": {"fragile": 0}}, "stage 'fragile': time_limit_ms is 0, expected milliseconds above 0, or None"),
    "a list": (
        {"time_limit_ms": {"lists": 10}},
        "stage 'lists': time_limit_ms needs a stage that is pointwise and reranks, as it scores some documents without others; "
        "it is listwise and reranks",
    ),
    "a tail": ({"tail": "append"}, "this is not a cascade: tail is 'append', expected one of drop, keep"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_options_that_a_stage_cannot_have_are_refused(case: str) -> None:
    """By the stage's name, before anything runs."""
    options, message = REFUSED[case]
    cascade = Cascade.of(FIRST % 5 >> Fragile() % 3 >> LAST % 2).with_stage(2, name="lists", depends="listwise")
    with pytest.raises(PipelineError) as error:
        cascade.options(**options)
    assert message in str(error.value)


def test_all_wrong_options_are_named_at_once() -> None:
    """Two stages and an unknown name in one message."""
    with pytest.raises(PipelineError) as error:
        Cascade.of(FIRST % 5 >> Fragile() % 3).options(on_error={"toy": "keep", "x": "keep"}, time_limit_ms={"fragile": -1})
    assert len(error.value.problems) == 3


def test_options_stay_with_the_cascade_until_changed() -> None:
    """Other cut-offs, a prefix, a renamed stage keep them; None leaves an option and ``raise`` or a limit of None takes it away."""
    cascade = Cascade.of(FIRST % 5 >> Fragile() % 3).options(tail="keep", on_error=KEEP, time_limit_ms={"fragile": 7})
    for same in (cascade.with_cutoffs(4, 2), cascade.prefix(2), cascade.with_stage(1, name="other"), cascade.options()):
        assert (same.tail, same[1].on_error, same[1].time_limit_ms) == ("keep", "keep", 7)
    plain = cascade.options(tail="drop", on_error="raise", time_limit_ms={"fragile": None})
    assert plain == Cascade.of(FIRST % 5 >> Fragile() % 3)
    assert Cascade.of(cascade.pipeline()) == plain


def test_a_cascade_with_a_kept_tail_is_a_system_of_an_experiment() -> None:
    """R@100 of all that was retrieved, by hand 1, where the cascade alone has 2 of 12; it cannot be part of a longer cascade."""
    cascade = Cascade.of(ToyRetriever(docs=12) % 12 >> LAST % 2).options(tail="keep")
    found = cascade.prefix(1).pipeline().transform(topics(2))
    qrels = found[["qid", "docno"]].assign(label=1)
    table = pt.Experiment([cascade, cascade.pipeline()], topics(2), qrels, [R @ 100], names=["keep", "plain"]).set_index("name")
    assert table.loc["keep", "R@100"] == 1
    assert table.loc["plain", "R@100"] < 0.5
    assert pt.inspect.transformer_outputs(cascade, ["qid", "query"])[-1] == "cut_by"
    with pytest.raises(PipelineError, match="toy → 12 · toy_reranker → 2 keeps its tail, so it can only be the whole cascade"):
        Cascade.of(cascade >> LAST)
