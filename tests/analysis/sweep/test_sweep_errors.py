"""What a sweep refuses, whole message by whole message."""

from __future__ import annotations

import warnings
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pandas as pd
import pytest
from ir_measures import RR
from toys.judges import Judge
from toys.rankers import ToyRetriever
from toys.tables import TOPICS, assert_equal, chain, make_qrels, tabulate

from pt_cascade.analysis.grid.grids import grid
from pt_cascade.analysis.replay.measures import match_labels
from pt_cascade.analysis.sweep.sweep import sweep
from pt_cascade.cascade import Cascade
from pt_cascade.errors import CascadeError, CascadeWarning, SweepError, TableError
from pt_cascade.execution.comparison import compare
from pt_cascade.execution.runner import run
from pt_cascade.execution.score_table import ScoreTable
from pt_cascade.execution.scoring.score import score

if TYPE_CHECKING:
    from pt_cascade.analysis.sweep.result import Sweep

pytestmark = pytest.mark.filterwarnings("ignore::pt_cascade.errors.CascadeWarning")  # cut-offs that cannot cut are tried, too


def swept(**options: Any) -> Sweep:
    """Sweep a table of three stages, all scored, with one option spoilt."""
    table = options.pop("table", None) or tabulate(ToyRetriever(docs=6), [Judge(1), Judge(2)], TOPICS)
    return sweep(table, options.pop("qrels", make_qrels(1)), options.pop("measures", ["RR"]), **options)


def over(got: Sweep, table: ScoreTable) -> Sweep:
    """Return the same sweep over another table."""
    return replace(got, replayer=replace(got.replayer, table=table, judged=match_labels(table, got.replayer.judged.qrels)))


THREE = "first, stage2, stage3"
GRID = "Fix: grid([10, 100, 1000], [10, 100])"
BAD = {
    "empty qrels": (
        {"qrels": make_qrels(1).head(0)},
        "the qrels are not usable for these measures: they are empty. Fix: pass a Frame[qid, docno, label] with "
        "a row for each judgment",
    ),
    "no topic is judged": (
        {"qrels": make_qrels(1).assign(qid="other").drop_duplicates("docno")},
        "the qrels are not usable for these measures: no topic has a judgment: the topics have qids such as q0, "
        "the qrels qids such as other. "
        "Fix: pass the qrels of these topics",
    ),
    "a grade beyond int32": (
        {"qrels": make_qrels(1).assign(label=2**31)},
        "the qrels are not usable for these measures: label 2147483648 is out of range, expected -1,000,000 to 1,000,000. "
        'Fix: qrels["label"] = qrels["label"].clip(-1000000, 1000000)',
    ),
    "a pair judged twice": (
        {"qrels": pd.DataFrame({"qid": ["q0"] * 2, "docno": ["d1"] * 2, "label": [0, 1]})},
        "qrels are not usable: (qid, docno) repeats an earlier row in 1 of 2 rows (qid 'q0', docno 'd1'). "
        'Fix: qrels = qrels.drop_duplicates(["qid", "docno"])',
    ),
    "no measure": ({"measures": []}, 'cannot compute the measures: no measure was given. Fix: ["nDCG@10", "R@100"]'),
    "odd measures": (
        {"measures": ["nDCG@10", "nope@3", "nDGC@10", "R", "P@0", 3, "AP(foo=1)"]},
        "cannot compute the measures:\n"
        "  - 'nope@3' is unknown to ir_measures: measure not found: nope\n"
        "  - 'nDGC@10' is unknown to ir_measures: measure not found: nDGC; did you mean 'nDCG@10'?\n"
        "  - 'R' needs a cutoff, as in P@10 or SDCG(max_rel=3)@10\n"
        "  - 'P@0' has a cutoff out of range, expected 1 to 1,000,000\n"
        "  - 3 (int) is not a measure\n"
        "  - 'AP(foo=1)' is unknown to ir_measures: unsupported params found: ['foo']\n"
        'Fix: ["nDCG@10", "R@100"]',
    ),
    "an odd tail": ({"tail": "cut"}, "tail is 'cut': expected one of drop, keep"),
    "a grid of another length": (
        {"grid": grid([2], [1])},
        f"the grid does not fit the cascade: its vectors have 2 cut-offs, expected one for each of {THREE}",
    ),
    "a number for a grid": ({"grid": 5}, f"this is not a grid: it is 5 (int), expected vectors of cut-offs. {GRID}"),
    "an empty grid": ({"grid": []}, f"this is not a grid: it has no vector. {GRID}"),
    "one vector for a grid": (
        {"grid": (5, 3, 2)},
        f"this is not a vector of cut-offs: 5 (int), expected one cut-off for each of {THREE}. Fix: (100, 100, 100)",
    ),
    "a short vector": (
        {"grid": [(5, 3)]},
        f"this is not a vector of cut-offs: 2 cut-offs (5, 3) for 3 stages {THREE}. "
        "Fix: pass one cut-off for each stage, None for no cut",
    ),
    "no cut-offs": (
        {"grid": [(5, 0, "x")]},
        "this is not a vector of cut-offs:\n"
        "  - cut-off of stage 'stage2' is 0 (int), expected a whole number, 1 or more, or None for no cut\n"
        "  - cut-off of stage 'stage3' is 'x' (str), expected a whole number, 1 or more, or None for no cut",
    ),
    "an unknown stage": (
        {"stages": ("first", "t5")},
        f"the table has no cascade first → t5: its stages are {THREE}; every cascade begins with 'first'",
    ),
    "no cost": (
        {"cost": 3},
        "cost has the wrong type: it is a int, expected a Cost or a list with a StageCost for each stage. Fix: cost=timings.cost()",
    ),
}


@pytest.mark.parametrize(("options", "message"), BAD.values(), ids=BAD)
def test_what_makes_no_sense_is_refused(options: dict[str, Any], message: str) -> None:
    """The whole message: what was found, what was expected, what to write."""
    with pytest.raises(CascadeError) as caught:
        swept(**options)
    assert str(caught.value) == message


def test_questions_that_make_no_sense_are_refused() -> None:
    """Of a sweep that is there: its stages, cut-offs and numbers."""
    got = swept(grid=[(5, 3, 2)])
    for ask, message in (
        (lambda: got.position(3), f"there is no stage 3: the stages are {THREE}"),
        (lambda: got.recall("t5"), f"there is no stage 't5': the stages are {THREE}"),
        (
            lambda: got.recall("first", (5,)),
            "recall needs one cut-off for each stage before: 1 cut-off (5,) for the 0 stages before "
            "'first'. Fix: sweep.recall('first', ())",
        ),
        (
            lambda: got.loss((5, 3, 2), rel=0, depth=0),
            "an argument is out of range:\n  - rel is 0, expected a whole number, 1 or more\n"
            "  - depth is 0, expected a whole number, 1 or more",
        ),
        (lambda: got.recall(rel=0), "an argument is out of range: rel is 0, expected a whole number, 1 or more"),
        (
            lambda: got.per_query((5, 3)),
            f"this is not a vector of cut-offs: 2 cut-offs (5, 3) for 3 stages {THREE}. "
            "Fix: pass one cut-off for each stage, None for no cut",
        ),
    ):
        with pytest.raises(SweepError) as caught:
            ask()
        assert str(caught.value) == message


FAR = "the table does not cover these cut-offs: toy → judge → judge_2 at"
DEPTHS = "the table was made with depths=(4, 2). Fix: score(cascade, topics, depths="
BEYOND = "needs documents beyond the first 4 of each query scored by 'toy'"


def test_what_is_not_covered_is_refused_with_the_call_that_would_cover_it() -> None:
    """Whoever asks: the call in the message makes a table that answers."""
    cascade = chain(ToyRetriever(docs=6), [Judge(1), Judge(2)], (4, 2, None))
    table = score(cascade, TOPICS)
    got = swept(table=table)
    lacks = "needs qid q1, docno d4 scored by 'judge_2'"
    for ask, message in (
        (lambda table: swept(table=table, grid=[(4, 2, 1), (4, 3, 1)]), f"{FAR} (4, 3, 1) {lacks}; {DEPTHS}(4, 3))"),
        (lambda table: swept(table=table, grid=[(5, 2, 1)]), f"{FAR} (5, 2, 1) {BEYOND}; {DEPTHS}(5, 2))"),
        (lambda table: swept(table=table, grid=[(None, 2, 1)]), f"{FAR} (None, 2, 1) {BEYOND}; {DEPTHS}(None, 2))"),
        (lambda table: swept(table=table, measures=["Bpref"], grid=[(5, 1, 1)]), f"{FAR} (5, 1, 1) {BEYOND}; {DEPTHS}(5, 2))"),
        (
            lambda table: over(got, table).loss((4, 3, 1)),
            f"{FAR} (4, 3, 1) {lacks}; {DEPTHS}(4, 3))",
        ),
        (
            lambda table: over(got, table).recall(2, (4, 3)),
            f"{FAR} (4, 3, None) {lacks}; {DEPTHS}(4, 3))",
        ),
        (
            lambda table: over(got, table).recall("judge", (5,)),
            f"{FAR} (5,) {BEYOND}; {DEPTHS}(5, 2))",
        ),
        (
            lambda table: table.replay((4, 3, 1)),
            f"{FAR} (4, 3, 1) needs 2 pairs, e.g. qid q1, docno d4, scored by 'judge_2'; {DEPTHS}(4, 3))",
        ),
    ):
        with pytest.raises(TableError) as caught:
            ask(table)
        assert str(caught.value) == message
        ask(eval(caught.value.fix, {"score": score, "cascade": cascade, "topics": TOPICS}))  # noqa: S307 - our own message


def test_tables_of_other_kinds_say_what_they_need() -> None:
    """One stage, a path that is not the table's own, runs made elsewhere."""
    alone = score(ToyRetriever(docs=6) % 3, TOPICS)
    with pytest.raises(TableError) as caught:
        alone.replay((5,))
    expected = "needs documents beyond the first 3 of each query scored by 'toy'. Fix: score(cascade, topics), with toy % 5"
    assert str(caught.value) == f"the table does not cover these cut-offs: toy at (5,) {expected}"
    table = score(chain(ToyRetriever(docs=6), [Judge(1), Judge(2)], (4, 2, None)), TOPICS)
    with pytest.raises(TableError, match=r"Fix: score\(cascade, topics, depths=\(4,\)\)$"):
        table.replay((4, 2), stages=("toy", "judge_2"))
    found = ToyRetriever(docs=6).transform(TOPICS)
    runs = {"first": found, "second": found.drop(index=found.index[-1]).assign(score=1.0).drop(columns="rank")}
    with pytest.raises(TableError) as caught:
        ScoreTable.from_runs(runs, missing="leave").replay((None, 1))
    assert caught.value.fix == (
        "give deeper runs, or ScoreTable.from_runs(..., missing=\"last\"), which ranks pairs that run 'second' lacks last"
    )


def test_a_kept_tail_is_not_measured_deeper_than_the_table_knows_it() -> None:
    """The live cascade would go on with what the first stage found beyond; up to the depth, both agree."""
    cascade = chain(ToyRetriever(docs=14), [Judge(1)], (4, 2))
    table = score(cascade, TOPICS)
    with pytest.raises(SweepError) as caught:
        swept(table=table, measures=["AP", "nDCG@10", "RR@4"], tail="keep")
    assert str(caught.value) == (
        "cannot compute the measures: AP, nDCG@10 with tail='keep', but the table has only the first 4 documents of each query. "
        "Fix: score(cascade, topics, depths=(None,)), or measures with a cut-off of at most 4"
    )
    got = swept(table=table, measures=["nDCG@4", "RR@4", "AP@4"], tail="keep", grid=[(4, 2), (3, 1)])
    live = [run(chain(ToyRetriever(docs=14), [Judge(1)], vector), TOPICS, tail="keep").results for vector in got.grid]
    assert_equal(got, live, TOPICS, make_qrels(1))


def test_topics_of_other_queries_are_refused_and_some_others_warned_of() -> None:
    """Letter case and punctuation do not count; a table of runs without topics knows no query."""
    table, qrels = tabulate(ToyRetriever(docs=6), [Judge(1)], TOPICS), make_qrels(1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        sweep(table, qrels, ["RR"], topics=TOPICS.assign(query=TOPICS["query"].str.upper() + "?"))
    some = TOPICS.assign(query=["other", *TOPICS["query"].iloc[1:]])
    found = f"qid 'q0' is {TOPICS['query'].iloc[0]!r} in the table and 'other' in the topics"
    with pytest.warns(CascadeWarning) as told:
        sweep(table, qrels, ["RR"], topics=some)
    assert str(told[0].message) == f"1 of {len(TOPICS)} queries differ, e.g. {found}: are they of the same collection?"
    assert told[0].filename == __file__
    others = TOPICS.assign(query="other")
    cascade = Cascade.of(chain(ToyRetriever(docs=6), [Judge(1)], (6, 6)))
    for ask in (
        lambda: sweep(table, qrels, ["RR"], topics=others),
        lambda: cascade.finish(score(cascade, TOPICS), topics=others),
        lambda: compare(cascade, others, qrels, [RR], table=table),
    ):
        with pytest.raises(TableError) as error:
            ask()
        problem = f"{len(TOPICS)} of {len(TOPICS)} queries differ, e.g. {found}"
        assert str(error.value) == (
            f"the topics are of another collection than the table: {problem}. "
            "Fix: pass the topics and judgments that the table was made for"
        )
    runs = ScoreTable.from_runs({"toy": table.frame.assign(score=table.frame[table.stages[0]])})
    assert sweep(runs, qrels, ["RR"], topics=others).measures == ("RR",)


def test_judgments_of_documents_that_are_not_in_the_table_are_warned_of() -> None:
    """Every measure would be 0, in silence."""
    table, qrels = tabulate(ToyRetriever(docs=6), [], TOPICS), make_qrels(1)
    foreign = qrels.assign(docno="FT911-" + qrels["docno"])
    with pytest.warns(
        CascadeWarning, match=r"^only 0 of the \d+ judged documents of these queries are in the table, docnos such as 'FT911-d\d+'"
    ) as told:
        assert sweep(table, foreign, ["RR"]).means.max() == 0
    assert told[0].filename == __file__
    qid, docno = table.frame[["qid", "docno"]].iloc[0]
    chance = pd.DataFrame(
        {"qid": qid, "docno": [docno, *(f"x{n}" for n in range(300))], "label": 1}
    )  # ids of both are numbers, say
    with pytest.warns(CascadeWarning, match="^only 1 of the 301 judged documents of these queries are in the table"):
        sweep(table, chance, ["RR"])
