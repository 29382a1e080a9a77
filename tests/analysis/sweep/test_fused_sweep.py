"""Every vector at every fusion of its stages, against PyTerrier's stages, fused by ``fuse``, in ``pt.Experiment``."""

from __future__ import annotations

from fractions import Fraction
from itertools import combinations
from math import comb, ldexp
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest
from hypothesis import Phase, example, given, settings
from hypothesis import strategies as st
from toys.judges import Judge
from toys.rankers import ToyRetriever
from toys.strategies import CUTOFFS, JUDGES, RETRIEVERS
from toys.tables import KERNEL, TOPICS, chain, experiment, make_qrels, tabulate

import pt_cascade as ptc
from pt_cascade.analysis.fusion.stage_fusion import StageFusion, fusions
from pt_cascade.analysis.sweep.sweep import sweep
from pt_cascade.analysis.table.data import Column, Path
from pt_cascade.errors import CascadeError, SweepError
from pt_cascade.execution.score_table import ScoreTable

if TYPE_CHECKING:
    from collections.abc import Sequence

pytestmark = pytest.mark.filterwarnings("ignore::pt_cascade.errors.CascadeWarning")  # cut-offs that cannot cut are tried, too
MEASURES = [*KERNEL, "Bpref", "P(judged_only=True)@3"]
RULES = [
    {"method": "rrf"},
    {"method": "rrf", "k": 1},
    *({"normalise": how} for how in ("min-max", "z-score", "max", "sum", "rank", "none")),
]
WEIGHTS = st.sampled_from([0.0, 0.1, 0.2, 0.5, 1.0, 3.0])


@st.composite
def drawn_fusions(draw: st.DrawFn, stages: int) -> StageFusion:
    """Draw weights and a rule."""
    weights = draw(st.lists(WEIGHTS, min_size=stages, max_size=stages).filter(any))
    names = ["first", *(f"stage{n}" for n in range(2, stages + 1))]
    return StageFusion(dict(zip(names, weights, strict=True)), **draw(st.sampled_from(RULES)))


def fuse_by_hand(first: ToyRetriever, judges: Sequence[Judge], cutoffs: Sequence[int | None], fusion: StageFusion) -> pd.DataFrame:
    """Let PyTerrier run the cascade up to each stage, restrict each run to what the last stage ranks, and fuse the runs."""
    runs = [chain(first, judges[:n], (*cutoffs[:n], None)).transform(TOPICS) for n in range(len(cutoffs))]
    pairs = runs[-1][["qid", "docno"]]
    weights = [dict(fusion.weights).get(name, 0.0) for name in ["first", *(f"stage{n}" for n in range(2, len(cutoffs) + 1))]]
    ordered = [run.merge(pairs, on=["qid", "docno"]).sort_values(["qid", "rank"], kind="stable") for run in runs]
    options = {"k": fusion.k} if fusion.method == "rrf" else {"normalise": fusion.normalise}
    fused = ptc.fuse(ordered[::-1], fusion.method, weights=weights[::-1], topics=TOPICS, **options)
    return fused[fused["rank"] < (cutoffs[-1] or np.inf)]


@settings(max_examples=12, phases=[Phase.generate])
@given(RETRIEVERS, st.lists(JUDGES, min_size=1, max_size=3), st.data(), st.integers(0, 99))
def test_every_row_is_what_experiment_says(first: ToyRetriever, judges: list[Judge], data: st.DataObject, seed: int) -> None:
    """Golden: pt.Experiment on the runs of the plain stages, restricted and fused; heavy ties, all rules and measures."""
    if not len(first.transform(TOPICS)):
        return
    stages = len(judges) + 1
    vectors = data.draw(st.lists(st.tuples(*[CUTOFFS] * stages), min_size=1, max_size=3, unique=True))
    several = data.draw(st.lists(drawn_fusions(stages), min_size=1, max_size=3, unique=True))
    table, qrels = tabulate(first, judges, TOPICS), make_qrels(seed)
    got = sweep(table, qrels, MEASURES, grid=vectors, fusion=[None, *several])
    wanted = [
        chain(first, judges, vector) if fusion is None else fuse_by_hand(first, judges, vector, fusion)
        for vector in got.grid
        for fusion in got.fusions
    ]
    expected = experiment(wanted, TOPICS, qrels, got.measures)
    for name in got.measures:
        np.testing.assert_allclose(got.frame[name], expected[name], rtol=0, atol=1e-12, err_msg=name)


@settings(max_examples=25, phases=[Phase.generate])
@given(RETRIEVERS, st.lists(JUDGES, min_size=1, max_size=3), st.data())
def test_a_replayed_fusion_is_the_fused_runs(first: ToyRetriever, judges: list[Judge], data: st.DataObject) -> None:
    """Golden: the runs of the plain stages, restricted and fused by ``fuse``: rows, ranks and scores to the last bit."""
    stages = len(judges) + 1
    cutoffs, fusion = data.draw(st.tuples(*[CUTOFFS] * stages)), data.draw(drawn_fusions(stages))
    replayed = tabulate(first, judges, TOPICS).replay(cutoffs, fusion=fusion)
    wanted = fuse_by_hand(first, judges, cutoffs, fusion)
    columns = ["qid", "docno", "score", "rank"]
    pd.testing.assert_frame_equal(
        replayed[columns].reset_index(drop=True),
        wanted[columns].astype({"qid": str, "docno": str, "score": float, "rank": np.int64}).reset_index(drop=True),
    )


def toy(**scores: list[float]) -> ScoreTable:
    """Make a table of one query with documents a, b, c, ... in the first stage's order."""
    names = tuple(scores)
    docnos = [chr(97 + n) for n in range(len(scores[names[0]]))]
    frame = pd.DataFrame({"qid": "1", "docno": docnos, "rank": range(len(docnos)), **scores})
    columns = tuple(map(Column, names))
    path = Path(names, (None,) * len(names), (None,) * (len(names) - 1))
    return ScoreTable(frame, pd.DataFrame({"qid": ["1"], "query": ["q"]}), columns, (path,))


def test_by_hand() -> None:
    """Three documents reach t5: bm25 gives 1, .5, 0, t5 0, 1, .5 after min-max; .5/.5 adds to .5, .75, .25; d never counts."""
    table = toy(bm25=[10.0, 8.0, 6.0, 0.0], t5=[-3.0, -1.0, -2.0, 9.0])
    fused = table.replay((3, None), fusion=StageFusion({"bm25": 1, "t5": 1}))
    assert dict(zip(fused["docno"], fused["score"], strict=True)) == {"b": 0.75, "a": 0.5, "c": 0.25}
    kept = table.replay((3, 1), fusion=StageFusion({"bm25": 1, "t5": 1}), tail="keep")
    assert kept["docno"].tolist() == ["b", "a", "c", "d"]  # cut after the fusion, then by bm25
    assert kept["cut_by"].tolist() == ["", "t5", "t5", "bm25"]


def test_a_failed_document_follows_below_by_hand() -> None:
    """t5 failed on a: b and c are 1 + 0 and 0 + 1, tied, in t5's order c, b; a follows 1 below the lowest sum, .5.

    Without a weight of t5 nothing failed: bm25 gives 1, .5, 0. Where t5 failed on all, its ranking stays, that of bm25.
    """
    both = StageFusion({"bm25": 1, "t5": 1})
    table = toy(bm25=[10.0, 8.0, 6.0], t5=[-np.inf, 1.0, 2.0])
    fused = table.replay((3, None), fusion=both)
    assert list(zip(fused["docno"], fused["score"], strict=True)) == [("c", 0.5), ("b", 0.5), ("a", -0.5)]
    first = table.replay((3, None), fusion=StageFusion({"bm25": 1}))
    assert list(zip(first["docno"], first["score"], strict=True)) == [("a", 1.0), ("b", 0.5), ("c", 0.0)]
    none = toy(bm25=[10.0, 8.0, 6.0], t5=[-np.inf] * 3).replay((3, 2), fusion=both)
    assert list(zip(none["docno"], none["score"], strict=True)) == [("a", -1.0), ("b", -2.0)]
    qrels = pd.DataFrame({"qid": ["1"], "docno": ["a"], "label": [1]})
    found = sweep(table, qrels, ["RR"], grid=[(3, 2), (3, 3)], fusion=[both, StageFusion({"bm25": 1})])
    assert found.frame["RR"].tolist() == [0.0, 1.0, 1 / 3, 1.0]
    kept = sweep(table, qrels, ["RR"], grid=[(2, 1), (3, 2)], fusion=both, tail="keep")
    assert kept.frame["RR"].tolist() == [1 / 2, 1 / 3]  # b, then a: cut after the fusion; c, b, then a


def test_equal_sums_are_in_the_order_of_the_last_stage() -> None:
    """Mirrored scores add up to the same, whatever the order of the weights."""
    table = toy(bm25=[2.0, 1.0], t5=[1.0, 2.0])
    for weights in ({"bm25": 1, "t5": 1}, {"t5": 1, "bm25": 1}):
        assert table.replay((2, 2), fusion=StageFusion(weights))["docno"].tolist() == ["b", "a"]


@given(st.lists(st.sampled_from([0.0, 0.5, 1.0]), min_size=8, max_size=8), st.sampled_from(RULES))
def test_all_weight_on_a_stage_gives_its_ranking(scores: list[float], rule: dict[str, str]) -> None:
    """One weight 1 ranks what reaches the last stage as that stage does, but for scores that it ties."""
    table = toy(bm25=[4.0, 3.0, 2.0, 1.0], bi=scores[:4], t5=scores[4:])
    last = table.replay((4, 3, None), fusion=StageFusion({"t5": 1}, **rule))
    assert last["docno"].tolist() == table.replay((4, 3, None)).sort_values("rank")["docno"].tolist()
    first = table.replay((4, 3, None), fusion=StageFusion({"bm25": 1}, **rule))
    assert first["docno"].tolist() == sorted(last["docno"])


@given(st.integers(1, 6), st.integers(2, 5))
def test_fusions_are_the_whole_simplex(parts: int, stages: int) -> None:
    """Golden: the number of compositions, C(parts + stages - 1, stages - 1); each adds up to 1, once."""
    found = fusions([f"s{n}" for n in range(stages)], 1 / parts)
    assert len(set(found)) == len(found) == comb(parts + stages - 1, stages - 1)
    assert all(sum(dict(one.weights).values()) == pytest.approx(1) for one in found)
    assert dict(found[0].weights) == {f"s{stages - 1}": 1.0}


@given(st.integers(2, 6))
def test_subsets_are_all_sets_of_stages(stages: int) -> None:
    """Golden: the 2^n - 1 sets that are not empty, of equal weights; the last stage alone comes first, all stages last."""
    names = [f"s{n}" for n in range(stages)]
    found = [{name: weight for name, weight in one.weights if weight} for one in fusions(names, "subsets")]
    assert {tuple(one) for one in found} == {(*some,) for size in range(1, stages + 1) for some in combinations(names, size)}
    assert len(found) == 2**stages - 1
    assert all(weight == pytest.approx(1 / len(one)) for one in found for weight in one.values())
    assert (found[0], [*found[-1]]) == ({names[-1]: 1}, names)


def test_what_is_refused() -> None:
    """Each with its reason."""
    table, qrels = toy(bm25=[2.0, 1.0], t5=[1.0, 2.0]), pd.DataFrame({"qid": ["1"], "docno": ["a"], "label": [1]})
    for weights in ({}, {"bm25": 0}, {"bm25": -1, "t5": 2}, {"bm25": np.nan}, {"bm25": "1"}, 0.5):
        with pytest.raises(CascadeError, match="weight"):
            StageFusion(weights)
    with pytest.raises(CascadeError, match="normalise is 'minmax'"):
        StageFusion({"bm25": 1}, normalise="minmax")
    with pytest.raises(CascadeError, match=r"no stage 'bm52'.*bm25"):
        table.replay((2, 2), fusion=StageFusion({"bm52": 1}))
    with pytest.raises(SweepError, match="one stage, bm25"):
        sweep(table, qrels, ["RR"], stages=["bm25"], fusion=StageFusion({"bm25": 1, "t5": 1}))
    with pytest.raises(CascadeError, match=r"step is 0\.3"):
        fusions(["a", "b"], 0.3)
    with pytest.raises(CascadeError, match=r"step is 'all', expected .* or \"subsets\""):
        fusions(["a", "b"], "all")


def test_the_frame_has_the_weights() -> None:
    """A row for each vector and fusion; what is not fused has no weights."""
    table, qrels = toy(bm25=[2.0, 1.0], t5=[1.0, 2.0]), pd.DataFrame({"qid": ["1"], "docno": ["a"], "label": [1]})
    swept = sweep(table, qrels, ["RR"], grid=[(2, 2)], fusion=[None, *fusions(["bm25", "t5"], 0.5)])
    assert swept.frame.fillna(-1).to_numpy().tolist() == [
        [2, 2, -1, -1, 0.5],
        [2, 2, 0, 1, 0.5],
        [2, 2, 0.5, 0.5, 0.5],
        [2, 2, 1, 0, 1],
    ]
    assert swept.per_query((2, 2), StageFusion({"bm25": 1}))["RR"].tolist() == [1.0]


@settings(max_examples=10, phases=[Phase.generate])
@given(RETRIEVERS, st.lists(JUDGES, min_size=1, max_size=2), st.data(), st.integers(0, 99))
def test_losses_are_those_of_the_fused_ranking(first: ToyRetriever, judges: list[Judge], data: st.DataObject, seed: int) -> None:
    """Golden: the relevant documents of what fuse gives before and after the last cut-off, and its nDCG by pt.Experiment."""
    if not len(first.transform(TOPICS)):
        return
    stages = len(judges) + 1
    cutoffs, fusion = data.draw(st.tuples(*[CUTOFFS] * stages)), data.draw(drawn_fusions(stages))
    qrels = make_qrels(seed)
    loss = sweep(tabulate(first, judges, TOPICS), qrels, ["RR"], grid=[cutoffs]).loss(cutoffs, fusion=fusion)
    relevant = qrels[qrels["label"] > 0]
    reach, kept = (fuse_by_hand(first, judges, (*cutoffs[:-1], last), fusion) for last in (None, cutoffs[-1]))
    found = [len(run.merge(relevant, on=["qid", "docno"])) for run in (reach, kept)]
    assert loss["at"].iloc[-2:].str.contains("the fusion").all()
    assert loss["lost"].iloc[-2] == found[0] - found[1]
    assert loss["ndcg"].iloc[-1] == pytest.approx(experiment([kept], TOPICS, qrels, ["nDCG@10"])["nDCG@10"][0], abs=1e-12)


def test_a_fusion_of_one_vector_is_checked_as_that_of_a_sweep() -> None:
    """What is no fusion is refused, also beside a sweep that has none."""
    table, qrels = toy(bm25=[2.0, 1.0], t5=[1.0, 2.0]), pd.DataFrame({"qid": ["1"], "docno": ["a"], "label": [1]})
    swept = sweep(table, qrels, ["RR"], grid=[(2, 2)])
    for call in (swept.per_query, swept.loss):
        with pytest.raises(SweepError, match="is no fusion"):
            call((2, 2), fusion={"bm25": 1})


def test_equal_fusions_are_one_and_are_shown_exactly() -> None:
    """In any order of the weights; a third is read back as it is; weights do not overflow."""
    table, qrels = toy(bm25=[2.0, 1.0], t5=[1.0, 2.0]), pd.DataFrame({"qid": ["1"], "docno": ["a"], "label": [1]})
    both = [StageFusion({"bm25": 1, "t5": 2}), StageFusion({"t5": 2, "bm25": 1})]
    assert len(sweep(table, qrels, ["RR"], grid=[(2, 2)], fusion=both).fusions) == 1
    shown = dict(part.split("=") for part in repr(both[0])[6:-1].split(", "))
    assert StageFusion({name: float(weight) for name, weight in shown.items()}) == both[0]
    assert str(both[0]) == "fused(bm25=0.333333, t5=0.666667)"  # as explain() and tables show it
    assert StageFusion({"a": 1e308, "b": 1e308}) == StageFusion({"a": 1, "b": 1})
    assert repr(StageFusion({"a": 1}, "rrf", k=np.float64(30))) == "fused(a=1, method='rrf', k=30)"


@given(st.lists(st.floats(1e-3, 1e3), min_size=1, max_size=5), st.integers(-300, 300))
@example([1 / 7, 1 / 7, 1.5 / 7], 1)  # divided by their sum, these add up to 1 but for a rounding
def test_weights_are_proportions(weights: list[float], power: int) -> None:
    """As fractions give them; a power of 2 scales them without rounding, and what is divided once stays as it is."""
    named = {f"s{n}": weight for n, weight in enumerate(weights)}
    fusion, total = StageFusion(named), sum(map(Fraction, weights))
    assert dict(fusion.weights) == pytest.approx({name: float(Fraction(one) / total) for name, one in named.items()})
    assert StageFusion({name: ldexp(one, power) for name, one in named.items()}) == fusion
    again = StageFusion({name: ldexp(one, power) for name, one in dict(fusion.weights).items()})
    assert again == fusion == StageFusion(fusion.weights)


@pytest.mark.parametrize("stages", [[], ["a"], ["a", "a"], "ab"])
def test_a_simplex_needs_two_stages(stages: object) -> None:
    """Each once; and a step that is not too fine."""
    with pytest.raises(CascadeError, match="expected two or more, each once"):
        fusions(stages)
    with pytest.raises(CascadeError, match="step is 1e-320"):
        fusions(["a", "b"], 1e-320)
    for weights in (("a", "b"), (1, 2)):
        with pytest.raises(CascadeError, match="expected a dict of stage names"):
            StageFusion(weights)
