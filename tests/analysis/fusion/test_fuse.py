"""Fused runs: against plain Python, ranx and numbers by hand; what a missing score, a tie, a column and an empty run are worth."""

from __future__ import annotations

import math
import statistics
from typing import TYPE_CHECKING, get_args

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pt_cascade.analysis.fusion.fuse import Fusion, Method, Missing, fuse
from pt_cascade.analysis.fusion.normalization import NORMALISERS, Normalise, normalise_lists
from pt_cascade.errors import CascadeError, FrameError
from pt_cascade.trec import read_run

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

Rows = list[tuple[str, str, float]]

# Synthetic scores: BM25's size, log-probabilities, cosines. q2 is short, so that runs miss whole documents.
ONE = {"q1": {"a": 12.5, "b": 11.0, "c": 9.25, "d": 4.0}, "q2": {"x": 3.0}}
TWO = {"q1": {"c": -0.5, "e": -1.0, "a": -2.25}, "q2": {"y": -1.0, "x": -4.0}}
THREE = {"q1": {"e": 0.875, "b": 0.5, "d": 0.25, "f": 0.125}, "q2": {"y": 0.75, "z": 0.5}}
RANX = {  # ranx 0.3.21: fuse([Run(ONE), Run(TWO), Run(THREE)], norm=norm, method="wsum", params={"weights": (0.5, 0.3, 0.2)})
    "min-max": "c 0.6088235294117648 b 0.5117647058823529 a 0.5 e 0.41428571428571426 d 0.03333333333333333 f 0",
    "z-score": (  # norm="zmuv"
        "e 0.407409979403403 b 0.3261170659133141 c 0.31545526431787246 a 0.10862491794601897 f -0.21821789023599242 "
        "d -0.939389337344616; y 0.5 z -0.2 x -0.3"  # z-score and rank have the same rule as ranx for q2's lone hit
    ),
    "sum": "c 0.30150602409638555 e 0.245 b 0.2286746987951807 a 0.20481927710843373 d 0.02 f 0",
    "rank": "a 0.6 c 0.55 b 0.525 e 0.4 d 0.225 f 0.05; x 0.65 y 0.5 z 0.1",
    "none": "b 5.6 a 5.575 c 4.475 d 2.05 f 0.025 e -0.125; x 0.3 z 0.1 y -0.15",  # norm=None
}

SCORES = st.integers(-8, 8).map(lambda n: n / 4)  # few values: ties; sums of them are exact
ROWS = st.lists(st.tuples(st.sampled_from("pqr"), st.sampled_from("abcdefgh"), SCORES), max_size=14, unique_by=lambda row: row[:2])
RUNS = st.lists(ROWS, min_size=1, max_size=4)
NORMS = st.sampled_from(get_args(Normalise))


def frame(rows: Rows) -> pd.DataFrame:
    """Make a run of rows."""
    return pd.DataFrame(rows, columns=["qid", "docno", "score"]).astype({"qid": str, "docno": str, "score": float})


def flat(run: dict[str, dict[str, float]]) -> pd.DataFrame:
    """Make a run of a mapping."""
    return frame([(qid, docno, score) for qid, docs in run.items() for docno, score in docs.items()])


def by_pair(fused: pd.DataFrame) -> dict[tuple[str, str], float]:
    """Give each pair's score."""
    return {(row.qid, row.docno): row.score for row in fused.itertuples()}


def read(expected: str) -> dict[tuple[str, str], float]:
    """Read 'a 0.5 b 0.25; x 1' as the scores of q1 and q2."""
    queries = [query.split() for query in expected.split(";")]
    return {(f"q{n}", docno): float(s) for n, q in enumerate(queries, 1) for docno, s in zip(q[::2], q[1::2], strict=True)}


def norm(scores: list[float], how: Normalise) -> list[float]:
    """Normalise a descending list, in plain Python."""
    n, high, low = len(scores), scores[0], scores[-1]
    above = [score - low for score in scores]
    largest = max(map(abs, scores))
    return {
        "min-max": lambda: [x / (high - low) if high > low else 1.0 for x in above],
        "z-score": lambda: [
            (score - statistics.fmean(scores)) / statistics.pstdev(scores) if high > low else 0.0 for score in scores
        ],
        "max": lambda: [score / largest if largest else 0.0 for score in scores],
        "sum": lambda: [x / sum(above) if high > low else 1 / n for x in above],
        "rank": lambda: [1 - rank / n for rank in range(n)],
        "none": lambda: scores,
    }[how]()


def absent_worth(worth: list[float], how: Normalise) -> float:
    """Say what a document is worth that a list lacks, in plain Python, as the table of ``normalising`` has it."""
    if worth[0] > worth[-1]:
        return worth[-1]
    return {"min-max": 0.0, "sum": 0.0, "rank": 0.0, "none": min(worth[0], 0.0)}.get(how, worth[0] - 1)


def lists(run: Rows) -> dict[str, list[tuple[str, float]]]:
    """Give each query's documents, best first; equal scores in the order of the rows."""
    queries = dict.fromkeys(qid for qid, _, _ in run)
    return {q: sorted([(d, s) for qid, d, s in run if qid == q], key=lambda pair: -pair[1]) for q in queries}


def oracle(
    runs: list[Rows], method: Method, weights: Sequence[float], k: float, how: Normalise, missing: Missing
) -> dict[str, list[tuple[str, float]]]:
    """Fuse in plain Python, as the documentation says it: each query's documents, best first, with their scores."""
    ranked = [lists(run) for run in runs]
    fused: dict[str, list[tuple[str, float]]] = {}
    for qid in dict.fromkeys(qid for run in runs for qid, _, _ in run):
        terms: dict[str, list[float]] = {docno: [] for run in ranked for docno, _ in run.get(qid, [])}
        for run, weight in zip(ranked, weights, strict=True):
            if not (found := run.get(qid, [])):
                continue
            docnos = [docno for docno, _ in found]
            worth = [1 / (k + r) for r in range(1, len(found) + 1)] if method == "rrf" else norm([s for _, s in found], how)
            absent = absent_worth(worth, how) if (method, missing) == ("weighted", "worst") else 0.0
            for docno, term in terms.items():
                term.append(weight * (worth[docnos.index(docno)] if docno in docnos else absent))
        fused[qid] = [(docno, math.fsum(term)) for docno, term in terms.items()]
    return fused


@settings(max_examples=80)
@given(RUNS, st.data())
def test_it_is_what_plain_python_gives(runs: list[Rows], data: st.DataObject) -> None:
    """Brute force: every option, ties, constant lists, empty runs and missing queries give the documented scores and order."""
    method = data.draw(st.sampled_from(get_args(Method)))
    weights = data.draw(st.lists(st.integers(0, 4), min_size=len(runs), max_size=len(runs)).filter(any))
    k = data.draw(st.sampled_from([0, 1, 60])) if method == "rrf" else 60
    how, missing = (
        (data.draw(NORMS), data.draw(st.sampled_from(get_args(Missing)))) if method == "weighted" else ("min-max", "worst")
    )
    fused = fuse([frame(run) for run in runs], method, weights=weights, k=k, normalise=how, missing=missing)
    expected = oracle(runs, method, weights, k, how, missing)
    assert by_pair(fused) == pytest.approx({(q, d): s for q, docs in expected.items() for d, s in docs}, abs=1e-12)
    assert fused["qid"].drop_duplicates().tolist() == list(expected)
    for qid, docs in expected.items():
        ours = fused[fused["qid"] == qid]
        assert ours["rank"].tolist() == list(range(len(docs)))
        place = {docno: n for n, (docno, _) in enumerate(docs)}
        pairs = [(-score, place[docno]) for docno, score in zip(ours["docno"], ours["score"], strict=True)]
        assert pairs == sorted(pairs)  # by score, ties by the first run that has them


@pytest.mark.parametrize("how", RANX)
def test_a_weighted_sum_is_that_of_ranx(how: Normalise) -> None:
    """Golden: ranx 0.3.21 on the same three runs, where a missing score is 0 (the call stands beside the numbers).

    q2 has a lone hit, which is worth 0 to ranx by min-max and sum; ours is the test of lone hits below.
    """
    runs = [flat(run) for run in (ONE, TWO, THREE)]
    fused = by_pair(fuse(runs, "weighted", weights=(0.5, 0.3, 0.2), normalise=how, missing="zero"))
    expected = read(RANX[how])
    assert {pair: fused[pair] for pair in expected} == pytest.approx(expected, abs=1e-12)


def test_the_norm_max_is_that_of_ranx() -> None:
    """Golden: ranx 0.3.21, fuse([Run(ONE), Run(THREE)], norm="max", method="wsum", params={"weights": (0.5, 0.2)})."""
    expected = (
        "b 0.5542857142857143 a 0.5 c 0.37 d 0.21714285714285714 e 0.2 f 0.02857142857142857; x 0.5 y 0.2 z 0.13333333333333333"
    )
    fused = fuse([flat(ONE), flat(THREE)], "weighted", weights=(0.5, 0.2), normalise="max", missing="zero")
    assert by_pair(fused) == pytest.approx(read(expected), abs=1e-12)


def test_reciprocal_ranks_are_those_of_ranx_and_by_hand() -> None:
    """Golden: ranx 0.3.21, fuse([Run(ONE), Run(TWO), Run(THREE)], method="rrf", params={"k": 60}); and ranks counted by hand."""
    expected = (
        "e 0.03252247488101534 a 0.032266458495966696 c 0.032266458495966696 b 0.03225806451612903 d 0.03149801587301587 "
        "f 0.015625; y 0.03278688524590164 x 0.03252247488101534 z 0.016129032258064516"
    )
    fused = fuse([flat(run) for run in (ONE, TWO, THREE)])
    assert by_pair(fused) == pytest.approx(read(expected), abs=1e-15)
    assert by_pair(fused)["q1", "e"] == 1 / 61 + 1 / 62
    assert by_pair(fused)["q2", "x"] == 1 / 61 + 1 / 62
    assert fused["docno"].tolist() == ["e", "a", "c", "b", "d", "f", "y", "x", "z"]
    weighted = fuse([flat(ONE), flat(TWO)], weights=(2, 0.5), k=10)
    assert by_pair(weighted)["q1", "c"] == pytest.approx(2 / 13 + 0.5 / 11, abs=1e-15)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::Warning")  # what ranx compiles
@pytest.mark.parametrize("how", [None, *get_args(Normalise)])
def test_large_runs_are_those_of_ranx(how: Normalise | None) -> None:
    """Golden: ranx itself, on three synthetic runs of 20 queries x 200 documents; RRF, and each norm that it has."""
    ranx = pytest.importorskip("ranx", reason="pip install ranx")
    rng = np.random.default_rng(0)
    runs = [
        frame([(f"q{q}", f"d{d}", s) for q in range(20) for d, s in zip(rng.permutation(900)[:200], rng.random(200), strict=True)])
        for _ in range(3)
    ]
    peers = [ranx.Run.from_df(run.astype({"qid": object, "docno": object}), "qid", "docno", "score") for run in runs]
    if how is None:
        ours, theirs = fuse(runs), ranx.fuse(peers, method="rrf", params={"k": 60})
    else:
        weights = (0.5, 0.3, 0.2)
        ours = fuse(runs, "weighted", weights=weights, normalise=how, missing="zero")
        name = {"z-score": "zmuv", "none": None}.get(how, how)
        theirs = ranx.fuse(peers, norm=name, method="wsum", params={"weights": weights})
    expected = {(qid, docno): score for qid, docs in theirs.run.items() for docno, score in docs.items()}
    assert by_pair(ours) == pytest.approx(expected, abs=1e-12)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::Warning")  # what ranx compiles
def test_tied_runs_are_those_of_ranx_by_rank(dl19_folder: Path) -> None:
    """Golden: ranx itself, on real runs of TREC DL 2019 with ties: by rank its scores; as they are, but for what is tied, too."""
    ranx = pytest.importorskip("ranx", reason="pip install ranx")
    runs = [read_run(dl19_folder / "runs" / f"colbertprf.{name}.res.gz") for name in ("ance", "bm25-terrier")]
    untied = [run.assign(score=-run["rank"].astype(float)) for run in runs]
    assert any(run.duplicated(["qid", "score"]).any() for run in runs)
    tied = pd.concat(run.loc[run.duplicated(["qid", "score"], keep=False), ["qid", "docno"]] for run in runs)
    free = set(zip(tied["qid"], tied["docno"], strict=True))
    for some, excused in ((untied, set()), (runs, free)):
        peers = [ranx.Run.from_df(run.astype({"qid": object, "docno": object}), "qid", "docno", "score") for run in some]
        theirs = ranx.fuse(peers, method="rrf", params={"k": 60}).run
        expected = {(qid, docno): score for qid, docs in theirs.items() for docno, score in docs.items()}
        ours = by_pair(fuse(some))
        assert ours.keys() == expected.keys()
        differ = {pair for pair in ours if abs(ours[pair] - expected[pair]) > 1e-12}
        assert differ <= excused
        assert bool(differ) == bool(excused)


@given(RUNS, st.data())
def test_the_order_of_the_runs_does_not_matter_to_a_score(runs: list[Rows], data: st.DataObject) -> None:
    """Scores are the same to the last bit in every order of the runs and their weights; only ties are broken by it."""
    weights = data.draw(st.lists(st.floats(0.01, 1), min_size=len(runs), max_size=len(runs)))
    method = data.draw(st.sampled_from(get_args(Method)))
    frames = [frame(run) for run in runs]
    first = by_pair(fuse(frames, method, weights=weights))
    order = data.draw(st.permutations(range(len(runs))))
    assert by_pair(fuse([frames[n] for n in order], method, weights=[weights[n] for n in order])) == first


def test_documents_ranked_crosswise_are_tied() -> None:
    """Ranks 1, 2, 7 in one order and 7, 1, 2 in another are one score, though added as they come they are two different floats."""
    assert (1 / 61 + 1 / 62) + 1 / 67 != (1 / 67 + 1 / 61) + 1 / 62
    orders = ("xabcdey", "yxabcde", "aybcdex")
    fused = fuse([frame([("q", docno, -float(n)) for n, docno in enumerate(order)]) for order in orders])
    score = fused.set_index("docno")["score"]
    assert score["x"] == score["y"]
    assert fused["docno"].tolist()[:3] == ["a", "x", "y"]


@given(RUNS, st.randoms(use_true_random=False))
def test_the_rows_of_untied_runs_may_stand_anywhere(runs: list[Rows], random: object) -> None:
    """A run whose scores differ is ranked by them, wherever its rows stand and whatever its rank column says."""
    untied = [[(qid, docno, float(n)) for n, (qid, docno, _) in enumerate(run)] for run in runs]
    topics = pd.DataFrame({"qid": list("pqr"), "query": "-"})
    expected = fuse([frame(run) for run in untied], topics=topics)
    shuffled = [frame(random.sample(run, len(run))).assign(rank=lambda run: range(1, len(run) + 1)) for run in untied]
    pd.testing.assert_frame_equal(fuse(shuffled, topics=topics), expected)


@given(RUNS, st.sampled_from(["min-max", "z-score", "sum"]), st.sampled_from([0.25, 2.0, 8.0]), st.integers(-9, 9))
def test_scale_and_origin_of_a_run_do_not_matter(runs: list[Rows], how: Normalise, scale: float, shift: int) -> None:
    """Min-max, z-score and sum of a * score + b, a > 0, are those of score: BM25 and cosines meet as equals."""
    moved = [[(qid, docno, scale * score + shift) for qid, docno, score in run] for run in runs]
    before, after = (by_pair(fuse([frame(run) for run in some], "weighted", normalise=how)) for some in (runs, moved))
    assert after == pytest.approx(before, abs=1e-9)


@given(RUNS, st.data())
def test_to_rise_in_one_run_never_hurts(runs: list[Rows], data: st.DataObject) -> None:
    """A document put on top of one run's list gains or keeps its score, and by reciprocal ranks no other document gains."""
    rows = [(n, row) for n, run in enumerate(runs) for row in range(len(run))]
    if not rows:
        return
    n, row = data.draw(st.sampled_from(rows))
    qid, docno, _ = runs[n][row]
    raised = [list(run) for run in runs]
    raised[n][row] = (qid, docno, 9.0)
    for method in get_args(Method):
        before, after = (by_pair(fuse([frame(run) for run in some], method)) for some in (runs, raised))
        assert after[qid, docno] >= before[qid, docno] - 1e-12
        assert method == "weighted" or all(after[pair] <= before[pair] for pair in before if pair != (qid, docno))


@given(RUNS, st.sampled_from(get_args(Method)))
def test_what_it_is_given_stays_as_it_was(runs: list[Rows], method: Method) -> None:
    """No run and no topics frame is changed: values, columns, dtypes, index."""
    frames = [frame(run).assign(rank=7, text="t").set_index(pd.Index(range(5, 5 + len(run)))) for run in runs]
    topics = pd.DataFrame({"qid": list("rqp"), "query": ["R", "Q", "P"]}, index=[4, 2, 9])
    kept = [one.copy(deep=True) for one in (*frames, topics)]
    fuse(frames, method, topics=topics)
    for now, before in zip((*frames, topics), kept, strict=True):
        pd.testing.assert_frame_equal(now, before)


@settings(max_examples=100)
@given(st.lists(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=9), max_size=4), NORMS)
def test_normalising_keeps_the_order_and_its_range(given_lists: list[list[float]], how: Normalise) -> None:
    """Each list stays descending and within the range that is documented, whatever the other lists hold."""
    ordered = [sorted(some, reverse=True) for some in given_lists]
    sizes = np.array([len(some) for some in ordered], np.int64)
    worth = normalise_lists(np.array([score for some in ordered for score in some]), sizes, how)
    low, high = {"min-max": (0, 1), "max": (-1, 1), "sum": (0, 1), "rank": (0, 1)}.get(how, (-math.inf, math.inf))
    assert ((worth >= low) & (worth <= high)).all()
    for n, end in enumerate(np.cumsum(sizes)):
        mine = worth[end - sizes[n] : end]
        assert (np.diff(mine) <= 0).all()
        alone = normalise_lists(np.array(ordered[n]), sizes[n : n + 1], how)
        assert mine == pytest.approx(alone, rel=1e-9, abs=1e-9)


def test_each_norm_is_that_of_the_books() -> None:
    """Golden: by hand, for 6, 3, 0 and for lists whose scores are all equal, at 2, -2 and 0."""
    expected = {
        "min-max": [1, 0.5, 0],
        "z-score": [math.sqrt(1.5), 0, -math.sqrt(1.5)],
        "max": [1, 0.5, 0],
        "sum": [2 / 3, 1 / 3, 0],
        "rank": [1, 2 / 3, 1 / 3],
        "none": [6, 3, 0],
    }
    constant = {"min-max": [1, 1, 1], "max": [1, -1, 0], "sum": [1, 1, 1], "rank": [1, 1, 1], "none": [2, -2, 0]}
    assert set(expected) == set(NORMALISERS)
    for how, worth in expected.items():
        assert normalise_lists(np.array([6.0, 3.0, 0.0]), np.array([3]), how).tolist() == pytest.approx(worth, abs=1e-15)
        single = normalise_lists(np.array([2.0, -2.0, 0.0]), np.array([1, 1, 1]), how).tolist()
        assert single == constant.get(how, [0, 0, 0])
    assert normalise_lists(np.array([0.1, 0.1, 0.1]), np.array([3]), "z-score").tolist() == [0, 0, 0]  # their mean is not 0.1


@given(st.lists(st.floats(-1e3, 1e3), min_size=1, max_size=9), st.sampled_from([-1000, -200, 500, 1010]))
def test_a_z_score_has_no_size(scores: list[float], power: int) -> None:
    """Scores times a power of two, however large or small, have the same z-scores to the last bit: no square overflows."""
    ordered, sizes = np.sort(np.array(scores).round(3))[::-1], np.array([len(scores)])
    expected = normalise_lists(ordered, sizes, "z-score").tolist()
    assert normalise_lists(np.ldexp(ordered, power), sizes, "z-score").tolist() == expected


def test_z_scores_of_huge_and_tiny_scores() -> None:
    """Golden: by hand, 1 and -1 for two scores, as far as float64 goes."""
    for size in (1e-320, 1e-200, 1e200, 1.7e308):
        assert normalise_lists(np.array([size, -size]), np.array([2]), "z-score").tolist() == [1, -1]


LONE = [(how, ["d9"]) for how in get_args(Normalise)]
EQUAL = [(how, ["d9", "new"]) for how in get_args(Normalise) if how != "rank"]  # rank tells equal scores apart by row order


@pytest.mark.parametrize(("how", "found"), [*LONE, *EQUAL])
def test_a_lone_hit_counts(how: Normalise, found: list[str]) -> None:
    """BM25's hits, of one score, at weight .9: what it found stands above all that it did not find, whatever the norm."""
    dense = frame([("q", f"d{n}", 1 - n / 100) for n in range(10)])
    bm25 = frame([("q", docno, 7.5) for docno in found])
    fused = fuse({"bm25": bm25, "dense": dense}, "weighted", weights=(0.9, 0.1), normalise=how)
    assert set(fused["docno"].head(len(found))) == set(found)
    assert fused["score"].iloc[len(found) - 1] > fused["score"].iloc[len(found)]


def test_a_lone_hit_is_worth_what_search_engines_give_it() -> None:
    """Golden: min-max in OpenSearch (SINGLE_RESULT_SCORE) and in Elasticsearch (minEqualsMax) gives 1 to every equal score.

    .9 * 1 + .1 * 0 for the lone hit, which dense ranks last; .1 * 1 for what dense ranks first.
    """
    dense = frame([("q", "a", 0.5), ("q", "b", 0.25), ("q", "lone", 0.0)])
    fused = fuse([frame([("q", "lone", 7.5)]), dense], "weighted", weights=(0.9, 0.1))
    assert by_pair(fused) == pytest.approx({("q", "lone"): 0.9, ("q", "a"): 0.1, ("q", "b"): 0.05})


def test_a_missing_score_is_the_worst_of_its_list_and_not_0() -> None:
    """With log-probabilities 0 would be the best score of all: the document that a run did not find would win."""
    one = frame([("q", "found", -1.0), ("q", "last", -3.0)])
    two = frame([("q", "found", -1.0), ("q", "absent", -1.25), ("q", "deep", -2.0)])
    worst = fuse([one, two], "weighted", normalise="none")
    assert worst[["docno", "score"]].to_numpy().tolist() == [["found", -2.0], ["absent", -4.25], ["last", -5.0], ["deep", -5.0]]
    assert fuse([one, two], "weighted", normalise="none", missing="zero")["docno"].iloc[0] == "absent"


def test_a_run_that_found_nothing_for_a_query_adds_nothing() -> None:
    """The other query, and the runs beside it, are as if it had not been there."""
    one = frame([("p", "a", 2.0), ("p", "b", 1.0), ("q", "a", 2.0), ("q", "b", 1.0)])
    two = frame([("p", "b", -1.0), ("p", "c", -2.0)])
    for options in ({}, {"method": "weighted", "normalise": "none"}, {"method": "weighted", "normalise": "z-score"}):
        both, alone = fuse([one, two], **options), fuse([one], **options)
        columns = ["docno", "score", "rank"]
        mine, its = (fused.loc[fused["qid"] == "q", columns].reset_index(drop=True) for fused in (both, alone))
        pd.testing.assert_frame_equal(mine, its)
        pd.testing.assert_frame_equal(fuse([one, two.iloc[:0]], **options), alone)


def test_ties_go_by_the_first_run_then_by_the_next() -> None:
    """Two runs without a common document tie rank by rank: first run's document first; one run's own ties go by row order."""
    one = frame([("q", "b", 5.0), ("q", "a", 5.0)])
    two = frame([("q", "z", 1.0), ("q", "y", 1.0)])
    assert fuse([one, two])["docno"].tolist() == ["b", "z", "a", "y"]
    assert fuse([two, one])["docno"].tolist() == ["z", "b", "y", "a"]
    assert fuse([one, two], "weighted", normalise="max")["docno"].tolist() == ["b", "a", "z", "y"]


def test_the_query_is_that_of_the_topics_and_a_column_the_first_that_has_a_value() -> None:
    """A rewritten query stays within its run; text is taken where it is; where runs disagree the first wins; dtypes stay."""
    one = frame([("1", "a", 2.0), ("1", "b", 1.0)]).assign(query="rewritten", query_0="asked", text=[None, "b by one"], year=[7, 8])
    two = frame([("1", "b", 9.0), ("1", "a", 8.0)]).assign(text=["b by two", "a by two"], year=[8, 7], lang="xx")
    topics = pd.DataFrame({"qid": [2, 1], "query": ["none", "asked"], "lang": ["de", "en"]})
    fused = fuse([one, two], topics=topics)
    assert list(fused) == ["qid", "query", "lang", "docno", "score", "rank", "text", "year"]
    assert fused[["qid", "query", "lang"]].drop_duplicates().to_numpy().tolist() == [["1", "asked", "en"]]
    assert dict(zip(fused["docno"], fused["text"], strict=True)) == {"a": "a by two", "b": "b by one"}
    assert fused["year"].tolist() == [7, 8]
    assert fused["year"].dtype == np.int64
    for runs in ([one, two], [two, one]):  # without topics that of the first run that has one, and what it was before
        assert fuse(runs)[["query", "query_0"]].drop_duplicates().to_numpy().tolist() == [["rewritten", "asked"]]
    assert "query_0" in fuse([one, two], topics=topics.assign(query_0="before"))


def test_a_value_that_no_run_has_is_missing() -> None:
    """Only the run that did not find the document knows the column: the cell is missing, not made up."""
    fused = fuse([frame([("q", "a", 1.0)]).assign(text="t", year=3), frame([("q", "b", 2.0)])])
    assert fused["docno"].tolist() == ["a", "b"]
    assert fused["text"].isna().tolist() == [False, True]
    assert fused["year"].isna().tolist() == [False, True]


def test_the_row_number_of_one_index_is_not_taken_for_anothers() -> None:
    """Docid numbers a document in one index: of several runs it is left out, so that a loader goes by docno; of one it stays."""
    order = {"one": list("abcd"), "two": list("dcba")}  # the same documents, stored in two orders
    one, two = (
        frame([("q", docno, 4.0 - n) for n, docno in enumerate(found)]).assign(docid=[index.index(docno) for docno in found])
        for found, index in (("ab", order["one"]), ("cda", order["two"]))
    )

    def load(run: pd.DataFrame) -> list[str]:  # as pt.text.get_text(TerrierIndex) does: by docid where there is one
        return [order["one"][n] for n in run["docid"]] if "docid" in run else run["docno"].tolist()

    assert load(one) == ["a", "b"]
    assert load(two) != two["docno"].tolist()  # the trap
    for method in get_args(Method):
        for runs in ([one, two], [two, one], [two, one.drop(columns="docid")], [two.iloc[:0], one]):
            fused = fuse(runs, method)
            assert load(fused) == fused["docno"].tolist()
            assert "docid" not in fused
    assert fuse([one])["docid"].tolist() == [0, 1]


def test_arrays_travel_in_a_column() -> None:
    """A query vector, one for the query, and a document vector, one for the document, are cells like any other."""
    one = frame([("q", "a", 2.0)]).assign(query_vec=[np.ones(2)], doc_vec=[np.zeros(2)])
    fused = fuse([frame([("q", "b", 1.0), ("q", "a", 0.0)]), one])
    assert all(vector.tolist() == [1, 1] for vector in fused["query_vec"])
    assert fused["doc_vec"].map(lambda cell: cell.tolist() if isinstance(cell, np.ndarray) else None).tolist() == [[0, 0], None]


@pytest.mark.parametrize("kind", [str, object])
def test_ids_keep_the_runs_own_kind_of_text(kind: type) -> None:
    """Python strings in an object column stay so: nothing is converted there and back."""
    run = frame([("q", "a", 1.0), ("q", "b", 2.0)]).astype({"qid": kind, "docno": kind})
    fused = fuse([run, run])
    assert (fused["qid"].dtype, fused["docno"].dtype) == (run["qid"].dtype, run["docno"].dtype)
    assert (fused["score"].dtype, fused["rank"].dtype) == (np.float64, np.int64)
    assert fused.index.equals(pd.RangeIndex(2))


def test_whole_numbers_are_ids_like_text() -> None:
    """A run with qid 1 and one with qid '1' answer the same query."""
    fused = fuse([frame([("1", "a", 1.0)]).astype({"qid": int}), frame([("1", "a", 1.0)])])
    assert fused[["qid", "docno"]].to_numpy().tolist() == [["1", "a"]]


@pytest.mark.parametrize("method", get_args(Method))
def test_nothing_at_all_is_an_empty_run(method: Method) -> None:
    """Runs without a row, with the float columns that pyterrier_dr gives them, give no row, all columns and their types."""
    nothing = pd.DataFrame({"qid": [], "query": [], "docno": [], "score": [], "rank": [], "text": []})
    topics = pd.DataFrame({"qid": ["1"], "query": ["q"]})
    for asked in (None, topics, topics.iloc[:0]):
        fused = fuse([nothing, nothing], method, topics=asked)
        assert list(fused) == ["qid", "query", "docno", "score", "rank", "text"]
        assert len(fused) == 0
        assert (fused["score"].dtype, fused["rank"].dtype) == (np.float64, np.int64)
        assert fused["docno"].dtype == frame([]).dtypes["docno"]
    fused = fuse([nothing.assign(year=[]), frame([("1", "a", 1.0)]).assign(year=3)], method)
    assert (fused["docno"].tolist(), fused["year"].dtype) == (["a"], np.int64)  # no row, no say in what a column holds


WRONG_RUNS = {
    "a docno twice": (lambda run: run.assign(docno="a"), r"run 2: \(qid, docno\) repeats an earlier row in 1 of 2"),
    "NaN": (
        lambda run: run.assign(score=[1.0, np.nan]),
        r"run 2: score is not a finite number in 1 of 2 rows \(qid '1', docno 'b'",
    ),
    "infinite": (lambda run: run.assign(score=[np.inf, 1.0]), "run 2: score is not a finite number in 1 of 2"),
    "mixed qids": (lambda run: run.assign(qid=pd.Series(["1", 1], dtype=object)), "run 2: qid is a number, but text elsewhere"),
    "no docno": (lambda run: run.drop(columns="docno"), "run 2: missing or repeated column.* docno"),
    "a column twice": (
        lambda run: pd.concat([run, run[["score"]]], axis=1),
        r"run 2: missing or repeated columns: score, expected",
    ),
    "no frame": (lambda run: run.to_dict("records"), "run 2: they are a list, expected a DataFrame"),
    "a strange qid": (lambda run: run.assign(qid="9"), "run 2: 1 qid not in the topics, e.g. '9'"),
    "too large": (lambda run: run.assign(score=[1e308, -1e308]), "the sums of their scores are not finite"),
}


@pytest.mark.parametrize("wrong", WRONG_RUNS)
def test_an_unusable_run_is_named(wrong: str) -> None:
    """Nothing is repaired in silence: the error says which run, what, and where."""
    spoil, message = WRONG_RUNS[wrong]
    run = frame([("1", "a", 2.0), ("1", "b", 1.0)])
    with pytest.raises(FrameError, match=message) as caught:
        fuse([run, spoil(run)], "weighted", topics=pd.DataFrame({"qid": ["1"], "query": ["q"]}))
    assert caught.value.fix or wrong == "no frame"


def test_all_unusable_runs_are_named_at_once() -> None:
    """Two spoilt runs are two problems of one error, under the names that a mapping gives them."""
    run = frame([("1", "a", 2.0), ("1", "b", 1.0)])
    with pytest.raises(FrameError) as caught:
        fuse({"bm25": run.assign(docno="a"), "good": run, "dense": run.assign(score=np.nan)})
    assert [problem.partition(":")[0] for problem in caught.value.problems] == ["bm25", "dense"]
    with pytest.raises(FrameError, match="query is missing"):
        fuse([run], topics=pd.DataFrame({"qid": ["1"], "query": [None]}))
    with pytest.raises(FrameError, match="topics are not usable: they are a list, expected a DataFrame"):
        fuse([run], topics=["1"])  # type: ignore[arg-type]


@pytest.mark.parametrize("runs", [frame([("1", "a", 2.0)]), "runs.res", None, 3])
def test_one_frame_is_not_a_list_of_runs(runs: object) -> None:
    """A frame would be read as its columns, a name as its letters: the error says what was meant."""
    with pytest.raises(CascadeError, match=rf"runs is one {type(runs).__name__}, expected several DataFrames") as caught:
        fuse(runs)  # type: ignore[arg-type]
    assert caught.value.fix == "fuse([one, two])"


WRONG_OPTIONS = [
    ({"method": "max"}, "method is 'max', expected one of rrf, weighted"),
    ({"method": "weighted", "normalise": "softmax"}, "normalise is 'softmax', expected one of min-max, z-score"),
    ({"method": "weighted", "missing": "best"}, "missing is 'best', expected one of worst, zero"),
    ({"weights": (1,)}, r"weights is \(1,\), expected 2 numbers, 0 or more, not all 0"),
    ({"weights": (1, -1)}, "weights is"),
    ({"weights": (0, 0.0)}, "weights is"),
    ({"weights": (1, math.nan)}, "weights is"),
    ({"weights": (1, math.inf)}, "weights is"),
    ({"weights": 0.5}, "weights is"),
    ({"weights": ("1", "2")}, "weights is"),
    ({"k": -1}, "k is -1, expected a finite number, 0 or more"),
    ({"k": True}, "k is True"),
    ({"k": None}, "k is None"),
    ({"normalise": "z-score"}, "normalise='z-score', missing='worst': leave them out, method 'rrf' uses ranks"),
    ({"missing": "zero"}, "leave them out, method 'rrf' uses ranks"),
    ({"method": "weighted", "k": 30}, "k=30: leave it out, method 'weighted' uses scores"),
]


@pytest.mark.parametrize(("options", "message"), WRONG_OPTIONS)
def test_an_option_that_makes_no_sense_is_refused(options: dict[str, object], message: str) -> None:
    """An option that would be ignored, or mean nothing, is an error that says what was expected."""
    run = frame([("1", "a", 2.0)])
    with pytest.raises(CascadeError, match=message):
        fuse([run, run], **options)
    with pytest.raises(CascadeError, match="there is no run to fuse"):
        fuse([])


def test_options_of_all_kinds_of_numbers_are_accepted() -> None:
    """Numpy's numbers, an array of weights, k 0 and a weight 0 are fine; a run of weight 0 still brings its documents."""
    one, two = frame([("1", "a", 2.0)]), frame([("1", "b", 2.0)])
    fused = fuse([one, two], weights=np.array([1.0, 0.0]), k=np.int64(0))
    assert fused[["docno", "score"]].to_numpy().tolist() == [["a", 1.0], ["b", 0.0]]
    assert Fusion(weights=(np.float32(0.5), 1)).find_problems(2) == []
    assert fuse([one, two], weights=pd.Series([1.0, 0.0], index=[7, 3]), k=0).equals(fused)


@pytest.mark.parametrize("make", [lambda n: f"d{n}", lambda n: f"d{n:09}"])
def test_many_queries_are_fused_as_few(make: Callable[[int], str]) -> None:
    """More queries than fit into 8 or 16 bits are each fused by themselves, in topic order."""
    for queries in (255, 256, 257, 65_537):
        qids = [f"{n}" for n in range(queries)]
        one = pd.DataFrame({"qid": qids, "docno": make(1), "score": 1.0})
        two = pd.DataFrame({"qid": qids[::-1], "docno": make(2), "score": 2.0})
        fused = fuse([one, two], weights=(1, 2))
        assert fused["qid"].tolist()[::2] == qids
        assert fused["docno"].tolist() == [make(2), make(1)] * queries
