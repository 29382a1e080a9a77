"""A cascade scored once: which pairs, how often, in which order, and on again after a crash."""

from __future__ import annotations

from itertools import product
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pandas as pd
import pyterrier as pt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from toys.judges import Judge, Log, simulate
from toys.rankers import Broken, ToyReranker, ToyRetriever, topics

from pt_cascade import Cascade
from pt_cascade.analysis.table.tie_rules import Order, TieRule
from pt_cascade.cascade.fingerprints import fingerprint
from pt_cascade.errors import CascadeError, FrameError, PipelineError, StageError, TableError
from pt_cascade.execution.score_table import ScoreTable
from pt_cascade.execution.scoring.score import score

FIRST = ToyRetriever(docs=8, levels=3)
JUDGES = st.builds(
    Judge,
    seed=st.integers(1, 3),
    levels=st.integers(1, 4),
    rows=st.sampled_from(get_args(Order)),
    ties=st.sampled_from(get_args(Order)),
)


def scored(table: ScoreTable, stage: str) -> set[tuple[str, str]]:
    """The pairs that a stage has scored."""
    rows = table.frame[table.frame[stage].notna()]
    return set(zip(rows["qid"], rows["docno"], strict=True))


@pytest.mark.filterwarnings("ignore::pt_cascade.errors.CascadeWarning")
@settings(max_examples=7)
@given(
    st.lists(JUDGES, min_size=2, max_size=3, unique=True), st.lists(st.integers(1, 5), min_size=3, max_size=3), st.integers(1, 3)
)
def test_exactly_the_pairs_that_some_cutoffs_need_are_scored(judges: list[Judge], depths: list[int], batch_size: int) -> None:
    """Oracle: the cascade worked out by hand at every cut-off vector within the depths; the order of rows and ties is found out."""
    pipeline = FIRST
    depths = depths[: len(judges)]
    for judge, k in zip(judges, depths, strict=True):
        pipeline = pipeline % k >> judge
    table = score(pipeline, topics(3), query_batch_size=batch_size)
    wanted: list[set[tuple[str, str]]] = [set() for _ in judges]
    for cutoffs in product(*(range(1, k + 1) for k in depths)):
        for qid, query in topics(3).itertuples(index=False):
            for n, (rows, _) in enumerate(simulate(FIRST, judges, query, cutoffs)):
                wanted[n] |= {(qid, doc) for doc in rows}
    assert [scored(table, name) for name in table.stages[1:]] == wanted
    for column, judge in zip(table.columns[1:], judges, strict=True):
        pairs = table.frame[table.frame[column.stage].notna()]
        assert pairs[column.stage].tolist() == [
            judge.judge(f"query {qid[1:]}", doc) for qid, doc in zip(pairs["qid"], pairs["docno"], strict=True)
        ]


@settings(max_examples=5)
@given(JUDGES)
def test_how_a_stage_orders_rows_and_ties_is_seen(judge: Judge) -> None:
    """After a retriever whose rows are not in rank order, a stage with ties shows its rule, and the table says it."""
    tied = Judge(judge.seed, 2, judge.rows, judge.ties)
    column = score(ToyRetriever(docs=30) % 30 >> tied, topics(3)).columns[1]
    assert column.rule == TieRule(judge.rows, judge.ties)


@pytest.mark.usefixtures("_no_probes")
@pytest.mark.filterwarnings("ignore::pt_cascade.errors.CascadeWarning")
def test_cascades_that_share_stages_ask_for_each_pair_once() -> None:
    """Two-, three- and four-stage cascades: no stage is asked twice for a pair, and equal stages are one column."""
    cheap, dear, last = (Judge(seed, log=Log()) for seed in (1, 2, 3))
    copy = Judge(1, log=cheap.log)
    cascades = [
        FIRST % 6 >> cheap % 3 >> dear % 2 >> last,
        FIRST % 4 >> dear % 1,
        FIRST % 5 >> copy % 4 >> last % 2,
        FIRST % 5 >> copy % 1,
        FIRST % 3,
    ]
    table = score(cascades, topics(5), query_batch_size=2)
    assert table.stages == ("toy", "judge", "judge_2", "judge_3")
    assert [path.stages for path in table.paths] == [
        ("toy", "judge", "judge_2", "judge_3"),
        ("toy", "judge_2"),
        ("toy", "judge", "judge_3"),
        ("toy", "judge"),
        ("toy",),
    ]
    for judge, name in zip((cheap, dear, last), table.stages[1:], strict=True):
        assert len(judge.log.asked) == len(set(judge.log.asked))
        assert set(judge.log.asked) == scored(table, name)
    alone = [score(cascade, topics(5)) for cascade in cascades]
    for name, parts in {"judge_2": (0, 1), "judge_3": (0, 2)}.items():
        own = [alone[n].stages[table.paths[n].stages.index(name)] for n in parts]
        assert scored(table, name) == set().union(*(scored(alone[n], stage) for n, stage in zip(parts, own, strict=True)))


@settings(max_examples=4)
@given(st.lists(st.permutations([0, 1, 2]), min_size=2, max_size=3), st.data())
@pytest.mark.filterwarnings("ignore::pt_cascade.errors.CascadeWarning")
def test_a_table_of_several_cascades_replays_each(orders: list[list[int]], data: st.DataObject) -> None:
    """Golden: the plain pipelines, at cut-offs up to their own, whichever cascade had a pair scored, in tiny batches."""
    judges = [Judge(seed, draw.levels, draw.rows, draw.ties) for seed in range(3) if (draw := data.draw(JUDGES))]
    cascades = []
    for order in orders:
        pipeline = FIRST % data.draw(st.integers(1, 8))
        for n in order[: data.draw(st.integers(1, 3))]:
            pipeline = pipeline >> judges[n] % data.draw(st.integers(1, 6))
        cascades.append(Cascade.of(pipeline))
    table = score(cascades, topics(3), query_batch_size=2)
    names = {column.fingerprint: column.stage for column in table.columns}
    for cascade in cascades:
        cutoffs = tuple(data.draw(st.integers(1, k)) for k in cascade.cutoffs)
        live = cascade.with_cutoffs(*cutoffs).pipeline().transform(topics(3)).sort_values("qid", kind="stable")
        ours = table.replay(cutoffs, stages=[names[fingerprint(stage)] for stage in cascade])
        columns = ["qid", "docno", "score", "rank"]
        assert ours[columns].to_numpy().tolist() == live[columns].to_numpy().tolist()


def test_ties_between_what_different_cascades_had_scored_are_settled() -> None:
    """Two tied documents, one asked for by each cascade: no call shows how the stage would rank them, so it is asked for both."""
    tied = Judge(1, levels=1, ties="rank", rows="rank")
    found = pd.DataFrame({"qid": "1", "query": "q", "docno": ["a", "b"], "score": [1.0, 2.0], "rank": [1, 0]})
    first = pt.Transformer.from_df(found)
    asked = pd.DataFrame({"qid": ["1"], "query": ["q"]})
    table = score([first % 1 >> tied % 1 >> Judge(2), first % 2 >> tied], asked)
    assert [len(call) for call in tied.log.calls[:2]] == [1, 1]
    assert table.columns[1].rule == TieRule("rank", "rank")


def test_the_extra_calls_are_few_and_change_nothing() -> None:
    """What is scored again to look after the truth is at most 112 pairs a stage and 8 a path, all of which are scored anyway."""
    judge = Judge(log=Log())
    table = score([ToyRetriever(docs=200) % 100 >> judge % 5, ToyRetriever(docs=200) % 100], topics(12), query_batch_size=4)
    asked = judge.log.asked
    assert set(asked) == scored(table, "judge")
    assert 0 < len(asked) - len(set(asked)) <= 3 * 32 + 16 + 8
    assert [qid for qid, _ in asked[-100:]].count("q11") == 100


def test_the_frame_is_as_the_table_wants_it() -> None:
    """Rows in the order of the first stage, its ranks as they were, queries in topic order; depth only where a query fills it."""
    asked = topics(4).iloc[[2, 0, 3, 1]].assign(query=["query 2", "nothing", "query 3", "query 1"])
    table = score(FIRST % 5 >> Judge(), asked, about={"collection": "toys"})
    live = FIRST.transform(asked)
    live = live[live["rank"] < 5]
    assert (
        table.frame[["qid", "docno", "rank", "toy"]].to_numpy().tolist()
        == live[["qid", "docno", "rank", "score"]].to_numpy().tolist()
    )
    assert table.frame["qid"].unique().tolist() == ["q2", "q3", "q1"]
    assert table.topics.to_numpy().tolist() == asked[["qid", "query"]].to_numpy().tolist()
    assert (table.depth, table.paths[0].cutoffs, table.paths[0].depths) == (5, (5, None), (5,))
    assert table.about["collection"] == "toys"
    assert {"python", "pt_cascade", "pyterrier", "pandas", "numpy"} < set(table.about)
    assert table.columns[0].described == "ToyRetriever(docs=8, levels=3, seed=0)"
    assert all(len(column.fingerprint) == 16 for column in table.columns)
    most = int(FIRST.transform(asked)["qid"].value_counts().max())
    assert score(FIRST % (most + 1) >> Judge(), asked).depth is None
    assert score(FIRST % most >> Judge(), asked).depth == most  # it may have more
    assert score(FIRST >> Judge(), asked).depth is None


def test_no_query_finds_anything() -> None:
    """A table of no rows knows its queries and stages."""
    table = score(FIRST % 5 >> Judge(), pd.DataFrame({"qid": ["a", "b"], "query": "nothing"}))
    assert (len(table.frame), table.topics["qid"].tolist(), table.stages) == (0, ["a", "b"], ("toy", "judge"))


def test_a_pipeline_may_start_from_results() -> None:
    """Given documents instead of topics, the first stage re-ranks them; rows stand as they came, queries as they first appear."""
    found = FIRST.transform(topics(3)).drop(columns=["score", "rank"]).sample(frac=1, random_state=1)
    table = score(Judge(1) % 4 >> Judge(2), found.assign(qid=found["qid"].str[1:].astype(int)))
    assert table.topics.sort_values("qid").to_numpy().tolist() == [[str(n), f"query {n}"] for n in range(3)]
    first = table.frame["qid"].unique().tolist()
    assert first == found["qid"].str[1:].unique().tolist()
    rank = Judge(1).transform(found)
    kept = rank[(rank["rank"] < 4) & (rank["qid"] == f"q{first[0]}")]
    assert table.frame.loc[table.frame["qid"] == first[0], "docno"].tolist() == kept["docno"].tolist()
    without = score(ToyLength() % 2, found[["qid", "docno"]])
    assert without.topics["query"].tolist() == [""] * 3


class ToyLength(pt.Transformer):
    """Scores by the docno alone, and wants no query."""

    documents = "reranks"
    depends = "pointwise"

    def transform(self, inp: pd.DataFrame) -> pd.DataFrame:
        """Score by the docno."""
        pt.validate.result_frame(inp, context=self)
        return pt.model.add_ranks(inp.assign(score=inp["docno"].str[1:].astype(float)))


def test_columns_that_a_stage_adds_reach_the_next() -> None:
    """A text that is loaded for the second stage is there for the third, and so is a rewritten query."""
    text = pt.apply.text(lambda row: row["docno"] * 2)
    reads = pt.apply.doc_score(lambda row: float(len(row["text"]) + len(row["query"])))
    rewrite = pt.apply.query(lambda row: row["query"] + " more")
    table = score(FIRST % 6 >> rewrite >> text >> ToyReranker() % 3 >> reads, topics(2), (6, 3))
    got = table.frame.dropna()
    assert (got["doc_score"] == [2 * len(doc) + len("query 0 more") for doc in got["docno"]]).all()


# --- crashes


@pytest.mark.parametrize(
    ("error", "mine"), [(RuntimeError("out of memory"), True), (KeyboardInterrupt(), True), (KeyboardInterrupt(), False)]
)
def test_after_a_crash_only_what_is_missing_is_scored(
    error: BaseException,
    mine: Any,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The next call scores the chunks that are not there, a few pairs of one that is, and cleans up behind it."""
    where = tmp_path / ("mine" if mine else "cache")
    options = {"query_batch_size": 2, "verbose": True, "checkpoint": where if mine else None}
    log = Log(error=error)
    pipeline = FIRST % 6 >> Judge(1) % 3 >> Judge(2, log=log)
    log.fail_at(1 + 2 + 3 + 2 + 1)  # a chunk, two looks at its ties, three at batch invariance, two more chunks; then it fails
    with pytest.raises((StageError, KeyboardInterrupt)):
        score(pipeline, topics(8), **options)
    files = sorted(path.name.partition("-")[0] for path in where.rglob("[!.]*.*"))
    assert files == [*(f"00000{n}" for n in range(3)), "chunks.json"]
    before = set(log.asked)
    assert {qid for qid, _ in before} == {f"q{n}" for n in range(6)}
    log.calls.clear()
    capsys.readouterr()
    table = score(pipeline, topics(8), **options)
    again = [pair for pair in log.asked if pair in before]
    assert len(again) <= 8
    assert {pair for pair in log.asked if pair not in before} == scored(table, "judge_2") - before
    assert before < scored(table, "judge_2")
    assert "6/8" in capsys.readouterr().err
    assert list(where.rglob("*.*")) == []
    pd.testing.assert_frame_equal(table.frame, score(pipeline, topics(8)).frame)


def test_who_watches_sees_the_table_of_the_queries_so_far() -> None:
    """After each batch of a few queries, the first of which has 3."""
    seen: list[ScoreTable] = []
    pipeline = FIRST % 6 >> Judge(1) % 3 >> Judge(2)
    table = score(pipeline, topics(8), query_batch_size=4, watch=seen.append)
    assert [part.topics["qid"].tolist() for part in seen] == [[f"q{n}" for n in range(to)] for to in (3, 7, 8)]
    pd.testing.assert_frame_equal(seen[-1].frame, table.frame)
    pd.testing.assert_frame_equal(seen[0].frame, table.frame[table.frame["qid"].isin(["q0", "q1", "q2"])])


def crash(pipeline: pt.Transformer, folder: Path, log: Log) -> None:
    """Leave a finished chunk behind."""
    log.fail_at(6)
    with pytest.raises(StageError):
        score(pipeline, topics(4), query_batch_size=1, checkpoint=folder)
    assert list(folder.glob("*.parquet"))


def test_finished_chunks_of_another_model_are_refused(tmp_path: Path) -> None:
    """Weights that changed under the same name: the fingerprint does not see it, scoring a few pairs again does."""

    class Weights:
        """What a judge knows, out of the fingerprint's sight."""

        _shift = 0.0

    weights, log = Weights(), Log()

    class Learned(Judge):
        def judge(self, query: str, docno: str) -> float:
            return super().judge(query, docno) + weights._shift

    pipeline = FIRST % 6 >> Learned(log=log)
    crash(pipeline, tmp_path / "c", log)
    weights._shift = 0.5
    with pytest.raises(TableError) as error:
        score(pipeline, topics(4), query_batch_size=1, checkpoint=tmp_path / "c")
    assert str(error.value) == (
        f"stage 'judge' has changed since the finished batches in {tmp_path / 'c'} were scored: "
        "qid 'q0', docno 'd0' scored 2.0, then 2.5; 4 of 4 pairs changed, by up to 0.5. "
        f"Fix: rm -r {tmp_path / 'c'}, and score again"
    )


def test_finished_chunks_of_another_call_are_refused(tmp_path: Path) -> None:
    """A folder of one's own is never mixed: other stages, topics, depths or batch sizes are named."""
    log = Log()
    crash(FIRST % 6 >> Judge(log=log), tmp_path / "c", log)
    for pipeline, asked, size, parts in (
        (FIRST % 6 >> Judge(2), topics(4), 1, "stages"),
        (FIRST % 5 >> Judge(), topics(4), 2, "depths, query_batch_size"),
        (FIRST % 6 >> Judge(), topics(5), 1, "topics"),
    ):
        with pytest.raises(TableError) as error:
            score(pipeline, asked, query_batch_size=size, checkpoint=tmp_path / "c")
        assert str(error.value) == (
            f"{tmp_path / 'c'} cannot be used as a checkpoint: it holds batches of another table, with other {parts}. "
            f"Fix: score(..., checkpoint='a/new/folder'), or rm -r {tmp_path / 'c'} if they are not needed"
        )


# --- bad input

MOST = Judge(5)
BAD = {
    "no cascade": (
        [],
        {},
        "these cascades cannot be scored: [] (list), expected one pipeline or several. "
        "Fix: score(retriever % 1000 >> reranker % 20, topics)",
    ),
    "not a cascade": (
        7,
        {},
        "these cascades cannot be scored: 7 (int), expected one pipeline or several. "
        "Fix: score(retriever % 1000 >> reranker % 20, topics)",
    ),
    "other first stages": (
        [FIRST % 5, ToyRetriever(docs=9) % 5],
        {},
        "these cascades cannot be scored: their first stages differ: toy → 5; toy → 5. "
        "Fix: make one table for each: [score(cascade, topics) for cascade in cascades]",
    ),
    "a list in the middle": (
        Cascade.of(FIRST % 5 >> MOST % 3 >> Judge(2)).with_stage(1, depends="listwise"),
        {},
        "these cascades cannot be scored: the scores of stage 'judge' depend on other documents (listwise), "
        "so it can only be the last stage, "
        "in toy → 5 · judge → 3 · judge_2. Fix: score the stages before it, e.g. score(cascade.prefix(1), topics)",
    ),
    "retrieves anew": (
        Cascade.of(FIRST % 5 >> MOST % 3 >> MOST % 2).with_stage(2, documents="retrieves"),
        {},
        "these cascades cannot be scored:\n"
        "  - stage 'judge_2' retrieves again, so its results depend on the cut-offs before it, "
        "in toy → 5 · judge → 3 · judge_2 → 2\n"
        "  - stages 'judge' and 'judge_2' are the same, in toy → 5 · judge → 3 · judge_2 → 2\n"
        "Fix: score the stages before it, e.g. score(cascade.prefix(2), topics)",
    ),
    "too few depths": (
        [FIRST % 5 >> MOST % 3 >> Judge(2), FIRST % 3],
        {"depths": (5,)},
        "these cascades cannot be scored: depths are (5,), expected one for each stage but the last, 2. Fix: depths=(1000, 100)",
    ),
    "a number as depths": (
        FIRST % 5 >> MOST,
        {"depths": 5},
        "these cascades cannot be scored: depths are 5, expected one for each stage but the last, 1. Fix: depths=(1000,)",
    ),
    "depths below the cut-offs": (
        FIRST % 5 >> MOST % 3 >> Judge(2),
        {"depths": (4, 0)},
        "these cascades cannot be scored:\n  - the depth of stage 'toy' is 4, but toy → 5 · judge → 3 · judge_2 passes on 5\n"
        "  - the depth of stage 'judge' is 0 (int), expected a whole number, 1 or more, or None for no cut\n"
        "Fix: depths=(1000, 100)",
    ),
    "options": (
        FIRST,
        {"query_batch_size": 0, "tolerance": -1},
        "scoring cannot start:\n  - query_batch_size is 0, expected 1 or more queries\n  - tolerance is -1, expected 0 or more\n"
        "Fix: score(cascade, topics, query_batch_size=100, tolerance=1e-4)",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_invalid_cascades_are_reported_before_anything_runs(case: str) -> None:
    """One error with all problems and a cure."""
    cascades, options, message = BAD[case]
    with pytest.raises(CascadeError) as error:
        score(cascades, topics(2), **options)
    assert str(error.value) == message
    assert MOST.log.calls == []


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        (
            ["cats"],
            "topics are not usable: they are a list, expected a DataFrame of qid, query. "
            'Fix: topics = pd.DataFrame({"qid": ["1"], "query": ["..."]})',
        ),
        (topics(0), 'topics are not usable: there is no query. Fix: pd.DataFrame({"qid": ["1"], "query": ["..."]})'),
        (
            pd.concat([topics(1), topics(1)]),
            "topics are not usable: qid repeats an earlier row in 1 of 2 rows (qid 'q0'). "
            'Fix: topics = topics.drop_duplicates("qid")',
        ),
    ],
)
def test_invalid_topics_are_refused(asked: object, message: str) -> None:
    """A list, no query at all, a query twice, even in different batches."""
    with pytest.raises(FrameError) as error:
        score(FIRST, asked, query_batch_size=1)
    assert str(error.value) == message


def test_a_stage_that_changes_the_documents_is_refused() -> None:
    """What a stage drops depends on what it was given: that cannot be replayed; one that may drop, but did not, can."""
    inner = Cascade.of(FIRST % 6 >> pt.apply.doc_score(lambda row: float(len(row["docno"])))).with_stage(1, documents="any")
    assert score(inner, topics(2)).stages == ("toy", "doc_score")
    drops = Broken(lambda frame: pt.model.add_ranks(frame[frame["rank"] > 0].copy()))
    with pytest.raises(PipelineError) as error:
        score(Cascade.of(FIRST % 6 >> drops).with_stage(1, documents="any"), topics(2))
    assert str(error.value) == (
        "stage 'broken' cannot be replayed: it changes the documents: "
        "documents removed in 2 of 12 rows (qid 'q0', docno 'd0'; qid 'q1', docno 'd1'). "
        "Fix: run it as the last stage: cascade.with_stage('broken', depends='listwise'), then cascade.finish(table)"
    )


def test_one_in_the_middle_that_changes_the_documents_is_left_to_the_live_cascade() -> None:
    """Declared as listwise it would still not be the last stage: the prefix before it is named, and can be scored."""
    drops = Broken(lambda frame: pt.model.add_ranks(frame[frame["rank"] > 0].copy()))
    for last in (Judge(2), Cascade.of(Judge(2)).with_stage(0, depends="listwise")):
        cascade = Cascade.of(FIRST % 6 >> Judge(1) % 5 >> drops % 4 >> last % 2).with_stage(2, documents="any")
        with pytest.raises(PipelineError, match="it changes the documents") as error:
            score(cascade, topics(2))
        assert error.value.fix == "score the stages before it, e.g. score(cascade.prefix(2), topics)"
        assert score(cascade.prefix(2), topics(2)).stages == ("toy", "judge")


def test_a_stage_that_adds_to_the_score_before_is_not_shared() -> None:
    """After other stages it gives another score: one column cannot hold both, and the error says on which path it differs."""
    adds = pt.apply.doc_score(lambda row: row["score"] + 1.0)
    with pytest.raises(PipelineError, match="scores the same pair differently after other stages") as error:
        score([FIRST % 6 >> Judge(1, levels=7) % 3 >> adds, FIRST % 6 >> adds], topics(3))
    assert "on the path toy → doc_score: qid 'q0', docno " in str(error.value)
    assert str(error.value).endswith("Fix: make one table for each: [score(cascade, topics) for cascade in cascades]")
    assert np.isfinite(score(FIRST % 6 >> adds, topics(3)).frame["doc_score"]).all()
