"""A cascade run in chunks, with its trace, and the tail dropped or kept."""

from __future__ import annotations

import pandas as pd
import pyterrier as pt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ir_measures import R, nDCG
from pyterrier_caching import Lazy
from toys.rankers import FakeClock, ToyReranker, ToyRetriever, topics

from pt_cascade import Cascade, Runner, run
from pt_cascade.errors import CascadeError


@st.composite
def cascades(draw: st.DrawFn) -> Cascade:
    """One to three stages with cut-offs and heavy ties."""
    pipe = ToyRetriever(docs=draw(st.integers(1, 15)), levels=draw(st.integers(1, 4))) % draw(st.integers(1, 15))
    for seed in range(draw(st.integers(0, 2))):
        pipe = pipe >> ToyReranker(levels=draw(st.integers(1, 4)), seed=seed, sort=draw(st.booleans())) % draw(st.integers(1, 15))
    return Cascade.of(pipe)


def ranking(results: pd.DataFrame) -> list[tuple[str, int, str, float]]:
    """Read a frame as its ranking."""
    rows = results[["qid", "rank", "docno", "score"]].itertuples(index=False, name=None)
    return sorted(rows)


@given(cascades(), st.integers(1, 6), st.one_of(st.none(), st.integers(1, 7)))
@pytest.mark.filterwarnings("ignore::pt_cascade.errors.CascadeWarning")
def test_any_chunking_ranks_as_the_plain_pipeline(cascade: Cascade, queries: int, chunk: int | None) -> None:
    """run(tail='drop') gives the plain pipeline's ranking, whatever the size of the chunks."""
    asked = topics(queries)
    done = run(cascade, asked, query_batch_size=chunk)
    assert ranking(done.results) == ranking(cascade.pipeline().transform(asked))
    assert list(done.results["qid"].unique()) == [qid for qid in asked["qid"] if qid in set(done.results["qid"])]


@settings(max_examples=30)
@given(cascades(), st.integers(1, 4))
@pytest.mark.filterwarnings("ignore::pt_cascade.errors.CascadeWarning")
def test_a_kept_tail_has_everything_and_leaves_the_head_alone(cascade: Cascade, queries: int) -> None:
    """tail='keep' returns each retrieved document once: first the dropped run's ranking, then each stage's cut in its own order."""
    asked = topics(queries)
    kept = run(cascade, asked, tail="keep").results
    head = kept[kept["cut_by"] == ""]
    assert ranking(head) == ranking(run(cascade, asked).results)
    everything = cascade.prefix(1).with_cutoffs(None).transform(asked)
    assert sorted(zip(kept["qid"], kept["docno"], strict=True)) == sorted(zip(everything["qid"], everything["docno"], strict=True))
    for _, query in kept.sort_values("rank").groupby("qid"):
        order = query["cut_by"].map({"": -1, **{stage.name: -n for n, stage in enumerate(cascade, start=1)}}.get)
        depth = query["cut_by"].map({"": 99, **{stage.name: n for n, stage in enumerate(cascade)}})
        assert depth.is_monotonic_decreasing, order
        tail = query.loc[query["cut_by"] != "", "score"].astype("float32")
        assert (tail.diff().dropna() < 0).all()
        if len(tail) and (query["cut_by"] == "").any():
            assert tail.iloc[0] < query.loc[query["cut_by"] == "", "score"].astype("float32").min()


@settings(max_examples=30)
@given(cascades(), st.integers(1, 4))
@pytest.mark.filterwarnings("ignore::pt_cascade.errors.CascadeWarning")
def test_cut_rows_keep_the_order_of_the_stage_that_cut_them(cascade: Cascade, queries: int) -> None:
    """Among what one stage cut, the order is that stage's own ranking."""
    asked = topics(queries)
    kept = run(cascade, asked, tail="keep").results
    for n, stage in enumerate(cascade):
        own = cascade.prefix(n + 1).with_cutoffs(**{stage.name: None}).transform(asked).set_index(["qid", "docno"])["rank"]
        for qid, cut in kept[kept["cut_by"] == stage.name].sort_values("rank").groupby("qid"):
            assert [own[qid, docno] for docno in cut["docno"]] == sorted(own[qid, docno] for docno in cut["docno"])


def test_a_kept_tail_keeps_the_types_of_columns() -> None:
    """Large integers keep their digits, and Booleans stay Booleans."""
    docids = pt.apply.docid(lambda row: 2**60 + int(row["docno"][1:]))
    flags = pt.apply.flag(lambda row: row["rank"] > 0)
    pipeline = ToyRetriever(docs=4) >> docids >> flags >> pt.RankCutoff(2)
    kept = run(pipeline, topics(1), tail="keep").results
    assert (kept["docid"].dtype, kept["flag"].dtype) == ("int64", "bool")
    assert (kept["docid"] - 2**60).tolist() == kept["docno"].str[1:].astype(int).tolist()


def test_a_kept_tail_evaluates_in_its_order() -> None:
    """trec_eval's float32 sees the tail below the head: R@100 with the tail is the first stage's R@100, nDCG@2 the cascade's."""
    cascade = Cascade.of(ToyRetriever(docs=30, levels=2) % 20 >> ToyReranker(levels=2) % 2)
    asked = topics(5)
    qrels = pd.DataFrame([(f"q{q}", f"d{d}", d % 2) for q in range(5) for d in range(30)], columns=["qid", "docno", "label"])
    systems = [cascade, Runner(cascade, tail="keep"), cascade.prefix(1).with_cutoffs(None)]
    table = pt.Experiment(systems, asked, qrels, [nDCG @ 2, R @ 100], names=["drop", "keep", "first"]).set_index("name")
    assert table.loc["keep", "R@100"] == pytest.approx(table.loc["first", "R@100"], abs=1e-12)
    assert table.loc["keep", "R@100"] > table.loc["drop", "R@100"] + 0.1
    assert table.loc["keep", "nDCG@2"] == pytest.approx(table.loc["drop", "nDCG@2"], abs=1e-12)


@given(cascades(), st.integers(1, 5), st.integers(1, 6))
@pytest.mark.filterwarnings("ignore::pt_cascade.errors.CascadeWarning")
def test_the_trace_accounts_for_every_document(cascade: Cascade, queries: int, chunk: int) -> None:
    """One row a stage and query; what goes out of a stage goes into the next; pairs are what re-rankers were given."""
    asked = topics(queries)
    done = run(cascade, asked, query_batch_size=chunk)
    trace = done.trace
    assert len(trace) == len(cascade) * queries
    wide = trace.pivot_table(index="qid", columns="stage", values=["docs_in", "docs_out", "pairs"])
    for before, after in zip(list(cascade)[:-1], list(cascade)[1:], strict=True):
        assert (wide["docs_out", before.name] == wide["docs_in", after.name]).all()
        assert (wide["pairs", after.name] == wide["docs_in", after.name]).all()
    assert (wide["pairs", cascade[0].name] == 0).all()
    assert trace.loc[trace["stage"] == cascade[-1].name, "docs_out"].sum() == len(done.results)


def test_times_are_shared_out_and_sum_up() -> None:
    """A chunk's time is divided by the queries that ran in it; the sum is what the clock said, and single queries are marked."""
    cascade = Cascade.of(ToyRetriever() % 5)
    together = run(cascade, topics(4), query_batch_size=4, clock=FakeClock()).trace
    assert (together["ms"].tolist(), together["shared_by"].tolist()) == ([500.0] * 4, [4] * 4)
    alone = run(cascade, topics(4), query_batch_size=1, clock=FakeClock()).trace
    assert (alone["ms"].tolist(), alone["shared_by"].tolist()) == ([2000.0] * 4, [1] * 4)


def test_results_to_re_rank_are_chunked_by_whole_queries() -> None:
    """A results frame whose queries are interleaved is split by query, never within one."""
    results = ToyRetriever(docs=6).transform(topics(5)).sample(frac=1, random_state=1).drop(columns=["score", "rank"])
    cascade = Cascade.of(ToyReranker() % 3)
    assert ranking(run(cascade, results, query_batch_size=2).results) == ranking(cascade.transform(results))


def test_queries_without_results_stay_in_the_trace() -> None:
    """A query that finds nothing has a row with zeros for every stage, and the run goes on."""
    asked = pd.DataFrame({"qid": ["a", "b"], "query": ["nothing", "query 1"]})
    done = run(ToyRetriever() % 5 >> ToyReranker() % 2, asked, query_batch_size=1)
    assert done.trace.loc[done.trace["qid"] == "a", "docs_out"].tolist() == [0, 0]
    assert set(done.results["qid"]) == {"b"}


def test_a_progress_bar_counts_queries(capsys: pytest.CaptureFixture[str]) -> None:
    """Verbose shows a bar that reaches the number of queries; without it nothing is printed."""
    run(ToyRetriever() % 5, topics(3), verbose=True)
    assert "3/3" in capsys.readouterr().err
    run(ToyRetriever() % 5, topics(3))
    assert capsys.readouterr().err == ""


def test_what_follows_the_last_cutoff_runs_in_every_chunk() -> None:
    """A loader after the last cut-off adds its column whatever the tail."""
    pipeline = ToyRetriever() % 2 >> pt.apply.text(lambda _: "t")
    for tail in ("drop", "keep"):
        assert (run(pipeline, topics(2), tail=tail).results["text"] == "t").all()


FIX = 'Fix: run(cascade, topics, tail="drop", query_batch_size=100)'
BAD = {
    "tail": ({"tail": "append"}, "the cascade cannot be run: tail is 'append', expected one of drop, keep. " + FIX),
    "chunk": (
        {"query_batch_size": 0},
        "the cascade cannot be run: query_batch_size is 0, expected 1 or more queries, or None for all. " + FIX,
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_arguments_are_refused(case: str) -> None:
    """Each with its exact message, before anything runs."""
    arguments, message = BAD[case]
    with pytest.raises(CascadeError) as error:
        run(ToyRetriever() % 5, topics(1), **arguments)
    assert str(error.value) == message


def test_a_runner_is_a_transformer() -> None:
    """It inspects as the cascade does, and a kept tail shows its extra column."""
    cascade = Cascade.of(ToyRetriever() % 5)
    assert pt.inspect.subtransformers(Runner(cascade)) == {"cascade": cascade}
    assert pt.inspect.transformer_inputs(Runner(cascade)) == [["qid", "query"]]
    assert pt.inspect.transformer_outputs(Runner(cascade, tail="keep"), ["qid", "query"])[-1] == "cut_by"
    assert "cut_by" in Runner(cascade, tail="keep").transform(topics(1))


def test_a_kept_tail_has_no_document_twice() -> None:
    """Where a later stage retrieves anew, what it finds again is not appended below."""
    again = pt.apply.generic(lambda df: df[["qid", "query"]].drop_duplicates("qid"))
    kept = run(ToyRetriever(docs=10) % 4 >> again >> ToyRetriever(docs=10, seed=3) % 5, topics(3), tail="keep").results
    assert not kept.duplicated(["qid", "docno"]).any()
    assert kept["cut_by"].isin(["", "toy", "toy_2"]).all()


@pytest.mark.parametrize("size", [1e-30, 1e6, 1e30, -1e30, 3e38])
def test_a_kept_tail_stays_below_scores_of_any_size(size: float) -> None:
    """However small or large the scores are, the tail is finite and below."""
    huge = pt.apply.doc_score(lambda row: size * (1 + len(row["docno"]) / 10))
    kept = run(ToyRetriever(docs=30) % 20 >> huge % 3, topics(2), tail="keep").results
    head, tail = kept[kept["cut_by"] == ""], kept[kept["cut_by"] != ""]
    assert (tail.groupby("qid")["score"].max() < head.groupby("qid")["score"].min()).all()


def test_topics_that_are_no_frame_are_refused() -> None:
    """A list of queries is told what topics are."""
    with pytest.raises(CascadeError, match="topics are not usable: they are a list, expected a DataFrame of qid, query"):
        run(ToyRetriever() % 5, ["a query"])  # type: ignore[arg-type]


def test_without_chunks_a_stage_may_look_at_all_queries() -> None:
    """Golden: the plain pipeline, with a function that normalises over all queries and 150 of them; chunks are opt-in."""
    most = pt.apply.generic(lambda df: pt.model.add_ranks(df.assign(score=df["score"] / df["score"].max())))
    asked = topics(150)
    found = ToyRetriever(docs=4).transform(asked)
    found = pt.model.add_ranks(found.assign(score=[float(n) for n in range(len(found))]))
    pipeline = pt.Transformer.from_df(found) % 4 >> most % 3
    live = ranking(pipeline.transform(asked))
    for done in (run(pipeline, asked).results, Runner(Cascade.of(pipeline)).transform(asked)):
        assert ranking(done) == live
    assert ranking(run(pipeline, asked, query_batch_size=100).results) != live


@pytest.mark.java
def test_chunks_are_refused_when_what_is_loaded_reads_all_rows() -> None:
    """``pt.text.scorer`` takes its statistics from the frame; behind Lazy that is seen late, and the cure gives all queries."""
    text = pt.apply.text(lambda row: f"{row['docno']} {row['query']}")
    scorer = Lazy(lambda: pt.text.scorer(body_attr="text", wmodel="BM25", verbose=False))
    pipeline = ToyRetriever(docs=4) % 3 >> text >> scorer % 2
    with pytest.raises(
        CascadeError, match="the cascade cannot be run in batches of queries: stage 'lazy', once loaded, scores by all rows"
    ) as error:
        run(pipeline, topics(4), query_batch_size=2)
    assert error.value.fix == "run(cascade, topics)"
    live = ranking(pipeline.transform(topics(4)))
    assert ranking(run(pipeline, topics(4)).results) == live
    scorer.unload()
    assert ranking(run(pipeline, topics(4)).results) == live
