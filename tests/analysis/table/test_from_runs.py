"""Runs made elsewhere as a table: what fits, what is missing, what is left out, and the message for each."""

from __future__ import annotations

import gzip
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import pytrec_eval
from hypothesis import given, settings
from hypothesis import strategies as st

from pt_cascade.analysis.table.data import Column
from pt_cascade.analysis.table.from_runs import Missing, import_runs
from pt_cascade.analysis.table.missing_pairs import (
    count_missing,
    describe_dropped_queries,
    describe_extra,
    describe_missing,
    find_permuted_scores,
    find_unknown_ids,
)
from pt_cascade.analysis.table.tie_rules import TieRule
from pt_cascade.errors import CascadeError, CascadeWarning, FrameError, MissingError, TableError
from pt_cascade.execution.score_table import ScoreTable
from pt_cascade.trec import write_run

Scores = dict[tuple[str, str], float]
SCORE = st.one_of(
    st.sampled_from([0.0, -0.0, 1.0, 2.0, 1e-40]),
    st.floats(-1e30, 1e30, allow_nan=False),
    st.sampled_from([16777216.0, -16777217.0, 1e38, -1.7e38]),
)
PAIRS = st.tuples(st.sampled_from(["1", "2", "NA"]), st.sampled_from(["a", "b", "01", "1", "null"]))
RUNS = st.dictionaries(PAIRS, SCORE, min_size=1)


def run_of(scores: Scores) -> pd.DataFrame:
    """A frame of a run, rows as they come."""
    rows = [(qid, docno, score) for (qid, docno), score in scores.items()]
    return pd.DataFrame(rows, columns=["qid", "docno", "score"]).astype({"score": float})


BM25 = run_of({("2", "x"): 1.0, ("1", "a"): 1.0, ("1", "b"): 3.0, ("1", "c"): 2.0})
T5 = run_of({("1", "c"): 0.9, ("1", "b"): 0.5})
FULL = run_of({("1", "a"): 0.3, ("1", "b"): 0.2, ("1", "c"): 0.1, ("2", "x"): -4.0})
NAN = float("nan")


def scores_of(table: ScoreTable, stage: str) -> list[float | None]:
    """A stage's scores, None where it has none."""
    return [None if np.isnan(score) else score for score in table.frame[stage]]


# what fits


def test_runs_that_fit_make_a_table() -> None:
    """Queries in the order of the first run, documents in its rank order, beside them the other run's scores; written by hand."""
    table = ScoreTable.from_runs({"bm25": BM25, "t5": FULL})
    assert table.frame.to_dict("list") == {
        "qid": ["2", "1", "1", "1"],
        "docno": ["x", "b", "c", "a"],
        "rank": [0, 0, 1, 2],
        "bm25": [1.0, 3.0, 2.0, 1.0],
        "t5": [-4.0, 0.2, 0.1, 0.3],
    }
    assert table.topics.to_dict("list") == {"qid": ["2", "1"], "query": ["", ""]}
    assert table.missing.to_dict("list") == {"stage": ["t5"], "queries": [0], "pairs": [0], "extra": [0]}
    assert (table.depth, table.paths[0].stages, table.paths[0].cutoffs, table.paths[0].depths) == (
        None,
        ("bm25", "t5"),
        (None, None),
        (None,),
    )
    assert table.about == {"made of": "runs", "missing": "refuse", "topics": "those of the first run"}
    assert [(column.stage, column.rule, column.described) for column in table.columns] == [
        ("bm25", TieRule(), "run a frame, 4 rows"),
        ("t5", TieRule(), "run a frame, 4 rows"),
    ]


def test_files_and_frames_are_the_same(tmp_path: Path) -> None:
    """A run read from a file, plain or gzip, gives the table of its frame, and says which file it was."""
    write_run(BM25, tmp_path / "bm25.res.gz")
    write_run(FULL, tmp_path / "t5.res")
    files = ScoreTable.from_runs({"bm25": tmp_path / "bm25.res.gz", "t5": str(tmp_path / "t5.res")})
    frames = ScoreTable.from_runs({"bm25": BM25, "t5": FULL.sort_values(["qid", "score"], ascending=[False, False])})
    assert files.frame.to_dict("list") == frames.frame.to_dict("list")
    assert [column.described for column in files.columns] == ["run bm25.res.gz, 4 rows", "run t5.res, 4 rows"]
    assert files.columns[1].fingerprint == frames.columns[1].fingerprint


def test_one_run_is_a_table() -> None:
    """A first stage alone has cut-offs to choose."""
    table = import_runs({"bm25": BM25})
    assert (table.stages, table.paths[0].cutoffs, table.paths[0].depths) == (("bm25",), (None,), ())


def test_fingerprints_tell_runs_apart() -> None:
    """Another score or another rank among equal scores is another run; another order of the rows is not, nor another name."""
    tied = run_of({("1", "a"): 1.0, ("1", "b"): 1.0, ("2", "x"): 1.0})
    again = {"same": tied, "shuffled": tied.assign(rank=[0, 1, 0]).iloc[[2, 1, 0]]}
    other = {
        "score": tied.assign(score=[2.0, 1.0, 1.0]),
        "rank": tied.assign(rank=[1, 0, 0]),
        "qid": tied.assign(qid=["1", "1", "1"]),
    }
    prints = {name: import_runs({"bm25": run}).columns[0].fingerprint for name, run in {"tied": tied, **again, **other}.items()}
    assert prints["tied"] == prints["same"] == prints["shuffled"]
    assert len({prints[name] for name in ("tied", *other)}) == 4


def test_equal_scores_of_the_first_run_stand_in_its_order() -> None:
    """By its own rank where it has one, else by row."""
    tied = run_of({("1", "a"): 1.0, ("1", "b"): 1.0})
    assert import_runs({"bm25": tied}).frame["docno"].tolist() == ["a", "b"]
    assert import_runs({"bm25": tied.assign(rank=[1, 0])}).frame["docno"].tolist() == ["b", "a"]


def test_topics_give_order_and_text() -> None:
    """Topics that found nothing stay; without topics the text of the first run is taken, if it has any."""
    topics = pd.DataFrame({"qid": [1, 3, 2], "query": ["one", "three", "two"]})
    table = ScoreTable.from_runs({"bm25": BM25, "t5": FULL}, topics)
    assert table.frame["qid"].tolist() == ["1", "1", "1", "2"]
    assert table.topics["qid"].tolist() == ["1", "3", "2"]
    assert table.retrieved.tolist() == [3, 0, 1]
    with_text = BM25.assign(query=["two", "one", "one", "one"])
    assert ScoreTable.from_runs({"bm25": with_text}).topics.to_dict("list") == {"qid": ["2", "1"], "query": ["two", "one"]}


# what is missing


def test_a_gap_is_refused_by_default() -> None:
    """The error counts what each run lacks, shows one, and names the two ways on."""
    with pytest.raises(TableError) as caught:
        ScoreTable.from_runs({"bm25": BM25, "t5": T5, "full": FULL, "again": T5})
    assert str(caught.value) == (
        "the runs do not make a score table:\n"
        "  - run 't5' lacks 2 of 4 pairs, in 2 queries, e.g. qid '2', docno 'x'\n"
        "  - run 'again' lacks 2 of 4 pairs, in 2 queries, e.g. qid '2', docno 'x'\n"
        'Fix: missing="leave" leaves these pairs unscored, and the table refuses cut-offs that need them; '
        'missing="last" ranks them below the pairs that the run scored'
    )


BARRED = "run 't5' lacks the first document of a query, so no cut-offs can be replayed with it"


def test_a_gap_may_be_left() -> None:
    """What was not scored stays so and is counted; a query without any score prevents the replay of the run, with a warning."""
    with pytest.warns(CascadeWarning) as caught:
        table = ScoreTable.from_runs({"bm25": BM25, "t5": T5}, missing="leave")
    assert [str(warning.message) for warning in caught] == [BARRED]
    assert caught[0].filename == __file__
    assert scores_of(table, "t5") == [None, 0.5, 0.9, None]
    assert table.missing.to_dict("list") == {"stage": ["t5"], "queries": [2], "pairs": [2], "extra": [0]}
    assert table.paths[0].depths == (1,)


def test_a_gap_may_be_ranked_last() -> None:
    """Below the run's lowest score of the query, in the order of the first run; from 0 down where the run has none at all."""
    bm25 = run_of({("1", f"d{rank}"): 9.0 - rank for rank in range(5)} | {("2", "x"): 2.0, ("2", "y"): 1.0})
    t5 = run_of({("1", "d3"): 0.25, ("1", "d1"): 4.0, ("3", "z"): 1.0})
    with pytest.warns(CascadeWarning, match="^ignored 1 pair"):
        table = ScoreTable.from_runs({"bm25": bm25, "t5": t5}, missing="last")
    assert scores_of(table, "t5") == [-0.75, 4.0, -1.75, 0.25, -2.75, -1.0, -2.0]
    assert table.missing.to_dict("list") == {"stage": ["t5"], "queries": [2], "pairs": [5], "extra": [1]}
    assert table.paths[0].depths == (None,)


def test_the_top_of_a_run_covers_its_depth() -> None:
    """Re-ranking the top 2 of three, then the best of these, gives depths 2 and 1."""
    bm25 = run_of({(qid, docno): score for qid in "12" for docno, score in (("a", 3.0), ("b", 2.0), ("c", 1.0))})
    t5 = run_of({("1", "a"): 0.1, ("1", "b"): 0.2, ("2", "b"): 0.1, ("2", "a"): 0.2, ("2", "c"): 0.9})
    duo = run_of({("1", "b"): 1.0, ("2", "c"): 1.0, ("2", "a"): 0.0})
    path = ScoreTable.from_runs({"bm25": bm25, "t5": t5, "duo": duo}, missing="leave").paths[0]
    assert (path.depths, path.cutoffs) == ((2, 1), (2, 1, None))


@given(RUNS, RUNS, st.sampled_from(["refuse", "leave", "last"]))
@pytest.mark.filterwarnings("ignore::pt_cascade.errors.CascadeWarning")
def test_every_pair_gets_its_score_or_its_policy(first: Scores, second: Scores, missing: Missing) -> None:
    """Scores are those of the runs; what is missing is refused, left, or ranked last in float32; as a dictionary has it."""
    lacking = [pair for pair in first if pair not in second]
    if not set(first) & set(second) or (lacking and missing == "refuse"):
        with pytest.raises(TableError):
            import_runs({"bm25": run_of(first), "t5": run_of(second)}, missing=missing)
        return
    table = import_runs({"bm25": run_of(first), "t5": run_of(second)}, missing=missing)
    pairs = list(zip(table.frame["qid"], table.frame["docno"], strict=True))
    assert sorted(pairs) == sorted(first)
    assert table.frame["bm25"].tolist() == [first[pair] for pair in pairs]
    found = dict(zip(pairs, scores_of(table, "t5"), strict=True))
    assert {pair: found[pair] for pair in first if pair in second} == {pair: second[pair] for pair in first if pair in second}
    counted = [["t5", len({qid for qid, _ in lacking}), len(lacking), len(set(second) - set(first))]]
    assert table.missing.to_numpy().tolist() == counted
    for qid in {qid for qid, _ in lacking}:
        scored = [np.float32(second[pair]) for pair in pairs if pair[0] == qid and pair in second]
        tail = [found[pair] for pair in pairs if pair[0] == qid and pair in lacking]
        if missing == "leave":
            assert tail == [None] * len(tail)
        else:
            falling = [min(scored), *np.array(tail, np.float32)] if scored else list(np.array(tail, np.float32))
            assert np.isfinite(falling).all()
            assert all(below < above for above, below in pairwise(falling))


@given(RUNS, RUNS)
@settings(max_examples=25)
@pytest.mark.filterwarnings("ignore::pt_cascade.errors.CascadeWarning")
def test_depth_is_the_shortest_scored_top(first: Scores, second: Scores) -> None:
    """Counted by hand: the first rank without a score, the least over the queries."""
    if not set(first) & set(second):
        return
    table = import_runs({"bm25": run_of(first), "t5": run_of(second)}, missing="leave")
    unscored = table.frame["rank"][table.frame["t5"].isna()].tolist()
    assert table.paths[0].depths == ((max(1, min(unscored)) if unscored else None),)


# what is left out


def test_omitted_rows_are_reported() -> None:
    """One warning names queries that are no topics and documents that the first run lacks, each with a count and an example."""
    topics = pd.DataFrame({"qid": ["1"], "query": ["one"]})
    t5 = run_of(
        {("1", "a"): 1.0, ("1", "b"): 0.9, ("1", "c"): 0.8, ("1", "n"): 0.7, ("1", "m"): 0.6, ("8", "a"): 1.0, ("9", "a"): 1.0}
    )
    with pytest.warns(CascadeWarning) as caught:
        table = ScoreTable.from_runs({"bm25": BM25, "t5": t5}, topics)
    assert [str(warning.message) for warning in caught] == [
        "ignored 1 query of run 'bm25' beside the topics, e.g. '2'; "
        "ignored 2 queries of run 't5' beside the topics, e.g. '8'; "
        "ignored 2 pairs of run 't5' that 'bm25' did not retrieve, e.g. qid '1', docno 'n'"
    ]
    assert caught[0].filename == __file__
    assert table.missing.to_dict("list") == {"stage": ["t5"], "queries": [0], "pairs": [0], "extra": [2]}
    assert scores_of(table, "t5") == [0.9, 0.8, 1.0]


def test_scores_of_another_run_are_reported() -> None:
    """A run with the first one's scores in another order was made from whole lists; one with its scores in its order was not."""
    bm25 = run_of({("1", f"d{rank}"): 20.0 - rank for rank in range(10)})
    gpt = bm25.assign(score=bm25["score"].to_numpy()[::-1])
    with pytest.warns(CascadeWarning) as caught:
        ScoreTable.from_runs({"bm25": bm25, "same": bm25, "gpt": gpt})
    assert [str(warning.message) for warning in caught] == [
        "run 'gpt' has the scores of 'bm25' in another order: a listwise ranker seems to have written it, whose "
        "ranking at other cut-offs the run does not show"
    ]


def test_gaps_are_described_where_they_are() -> None:
    """The parts that the warnings and errors are made of, on one frame by hand."""
    frame = pd.DataFrame({"qid": ["1", "1"], "docno": ["a", "b"], "rank": [0, 1], "bm25": [2.0, 1.0], "t5": [0.5, NAN]})
    runs = {"bm25": run_of({("1", "a"): 2.0, ("1", "b"): 1.0}), "t5": run_of({("1", "a"): 0.5, ("1", "c"): 0.4})}
    gaps = count_missing(frame, runs)
    assert describe_missing(frame, gaps) == ["run 't5' lacks 1 of 2 pairs, in 1 query, e.g. qid '1', docno 'b'"]
    assert describe_extra(frame, runs, gaps) == ["ignored 1 pair of run 't5' that 'bm25' did not retrieve, e.g. qid '1', docno 'c'"]
    assert (describe_dropped_queries(runs, runs), find_permuted_scores(frame), find_unknown_ids(frame, runs)) == ([], [], [])


# bad input

ROWS = pd.DataFrame({"qid": ["1"], "docno": ["a"], "score": [NAN]})
ELSEWHERE = pd.DataFrame({"qid": ["9"], "query": ["nine"]})
NO_TABLE = "the runs do not make a score table: "
WRITE = 'Fix: ScoreTable.from_runs({"bm25": "bm25.res.gz", "t5": "t5.res.gz"}, missing="refuse")'
SAME = "Fix: pass runs, and topics, of the same queries over the same collection"
BAD: dict[str, tuple[object, pd.DataFrame | None, object, type[CascadeError], str]] = {
    "no runs": ({}, None, "refuse", TableError, f"{NO_TABLE}they are no runs, expected a dict of runs by stage. {WRITE}"),
    "a list": ([BM25, T5], None, "refuse", TableError, f"{NO_TABLE}they are a list, expected a dict of runs by stage. {WRITE}"),
    "all at once": (
        {1: BM25, "t5": None},
        None,
        "zero",
        TableError,
        f"{NO_TABLE[:-1]}\n"
        "  - missing is 'zero', expected one of refuse, leave, last\n"
        "  - the name of a stage is 1, expected text\n"
        "  - run 't5' is a NoneType, expected a DataFrame or a path\n"
        f"{WRITE}",
    ),
    "a reserved name": (
        {"rank": BM25},
        None,
        "refuse",
        TableError,
        "stage 'rank' cannot be in a table: 'rank' is the name of another column of the table. "
        "Fix: give it another name, such as 'rank_1'",
    ),
    "other queries": (
        {"bm25": BM25, "t5": run_of({("q1", "a"): 1.0})},
        None,
        "last",
        TableError,
        f"{NO_TABLE}run 't5' shares no query with 'bm25': it has e.g. qid 'q1', 'bm25' has '2'. {SAME}",
    ),
    "another collection": (
        {"bm25": BM25, "t5": run_of({("1", "D1"): 1.0, ("2", "D2"): 1.0})},
        None,
        "leave",
        TableError,
        f"{NO_TABLE}run 't5' shares no document of the 2 queries in both with 'bm25': it has e.g. docno "
        f"'D1', 'bm25' has 'x'. {SAME}",
    ),
    "other topics": (
        {"bm25": BM25, "t5": FULL},
        ELSEWHERE,
        "refuse",
        TableError,
        f"{NO_TABLE}run 'bm25' has no result for any of the topics. {SAME}",
    ),
    "an empty first run": (
        {"bm25": BM25.head(0), "t5": FULL},
        None,
        "refuse",
        TableError,
        f"{NO_TABLE}run 'bm25' has no result for any of the topics. {SAME}",
    ),
    "an empty later run": (
        {"bm25": BM25, "t5": BM25.head(0)},
        None,
        "last",
        TableError,
        f"{NO_TABLE}run 't5' has no result for any of the topics. {SAME}",
    ),
    "no file": (
        {"bm25": "nowhere.res"},
        None,
        "refuse",
        MissingError,
        "there is no file nowhere.res. Fix: give the path of an existing file",
    ),
    "a bad frame": (
        {"bm25": BM25, "t5": ROWS},
        None,
        "refuse",
        FrameError,
        "stage 't5' returned results that are not usable: score is not a finite number in 1 of 1 row "
        "(qid '1', docno 'a', score nan). Fix: fix the scorer, or drop those rows: results = results[np.isfinite(results.score)]",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_refused(case: str) -> None:
    """Each with the whole message: what was found, what was expected, what to write instead."""
    runs, topics, missing, kind, message = BAD[case]
    with pytest.raises(CascadeError) as caught:
        import_runs(runs, topics, missing=missing)
    assert (type(caught.value), str(caught.value)) == (kind, message)


def test_runs_are_left_as_they_are() -> None:
    """The frames given are not touched."""
    before = [BM25.copy(), FULL.copy()]
    import_runs({"bm25": BM25, "t5": FULL}, missing="last")
    pd.testing.assert_frame_equal(BM25, before[0])
    pd.testing.assert_frame_equal(FULL, before[1])


# real runs


def real(folder: Path, *names: str) -> dict[str, Path]:
    """Runs by the last part of their names."""
    return {name.split(".", 1)[1]: folder / "runs" / f"{name}.res.gz" for name in names}


def test_real_runs_have_the_scores_of_their_files(dl19_folder: Path) -> None:
    """BM25, ColBERT and vBERT over one candidate set: nothing is missing, and each score is what trec_eval's parser reads."""
    stages = real(dl19_folder, *(f"colbertprf.bm25-doct5q{stage}" for stage in ("", ".colbert", ".vbert")))
    table = ScoreTable.from_runs(stages)
    assert table.missing.to_numpy().tolist() == [["bm25-doct5q.colbert", 0, 0, 0], ["bm25-doct5q.vbert", 0, 0, 0]]
    assert (len(table.frame), len(table.topics), table.paths[0].depths) == (42_005, 43, (None, None))
    assert table.columns == tuple(
        Column(name, fingerprint=column.fingerprint, described=f"run {path.name}, 42,005 rows")
        for (name, path), column in zip(stages.items(), table.columns, strict=True)
    )
    for name, path in stages.items():
        with gzip.open(path, "rt") as lines:
            theirs = pytrec_eval.parse_run(lines)
        rows = zip(table.frame["qid"], table.frame["docno"], table.frame[name], strict=True)
        assert all(theirs[qid][docno] == score for qid, docno, score in rows)


def test_real_runs_that_lack_something_are_counted(dl19_folder: Path) -> None:
    """MonoT5 over the top 100 of another BM25 index: the counts, and the depth down to which all is scored."""
    stages = real(dl19_folder, "colbertprf.bm25-terrier", "gdebasis.bm25.monot5")
    table = ScoreTable.from_runs(stages, missing="leave")
    assert table.missing.to_numpy().tolist() == [["bm25.monot5", 42, 37_800, 0]]
    assert table.paths[0].depths == (59,)
    assert table.frame["bm25.monot5"][table.frame["rank"] < 59].notna().all()
    assert ScoreTable.from_runs(stages, missing="last").frame["bm25.monot5"].notna().all()


def test_a_real_ranker_of_lists_is_reported(dl19_folder: Path) -> None:
    """RankGPT's run has BM25's very scores in another order."""
    with pytest.warns(CascadeWarning, match=r"has the scores of 'bm25-pyserini' in another order: a listwise ranker"):
        ScoreTable.from_runs(real(dl19_folder, "rankllm.bm25-pyserini", "rankllm.bm25-pyserini.rankgpt35.k100.1"))
