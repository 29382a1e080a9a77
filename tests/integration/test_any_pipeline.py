"""Random pipelines: plain PyTerrier, the cascade, ``run`` and every replay rank alike; or a refusal prints a cure that works."""

from __future__ import annotations

import re
import tempfile
import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import get_args

import pandas as pd
import pyterrier as pt
import pytest
from hypothesis import HealthCheck, Phase, given, reject, settings
from hypothesis import strategies as st
from pyterrier_caching import Lazy, RetrieverCache, ScorerCache
from toys.judges import Judge
from toys.rankers import ToyReranker, ToyRetriever, topics, toss

from pt_cascade import Cascade, run, score, stages
from pt_cascade.analysis.table.tie_rules import Order
from pt_cascade.errors import CascadeError, CascadeWarning, FrameError, TableError

TOPICS = topics(3)
TEXT = pt.apply.text(lambda row: " ".join(["word"] * (1 + toss(row["docno"], sides=5))))
SEEDS = st.integers(1, 5)


class Iterating(pt.Transformer):
    """A re-ranker with no more than ``transform_iter``."""

    def transform_iter(self, inp: Iterable[dict[str, object]]) -> Iterator[dict[str, object]]:
        """Score by a hash; rows by rank within each query."""
        rows = sorted(
            ({**row, "score": float(toss(row["docno"], sides=3))} for row in inp), key=lambda row: (row["qid"], -row["score"])
        )
        for n, row in enumerate(rows):
            first = next(m for m, other in enumerate(rows) if other["qid"] == row["qid"])
            yield {**row, "rank": n - first}


def hashed(seed: int) -> Callable[[pd.DataFrame], list[float]]:
    """A pointwise score with ties."""
    return lambda df: [float(toss(seed, query, docno, sides=3)) for query, docno in zip(df["query"], df["docno"], strict=True)]


def by_query(seed: int) -> pt.Transformer:
    """A function that fails on no rows: it looks at the first one."""
    return pt.apply.by_query(lambda df: df.assign(score=hashed(seed)(df), first=df.iloc[0]["docno"]).drop(columns="first"))


def passages(aggregate: pt.Transformer) -> pt.Transformer:
    """Score passages of a loaded text, and put them together."""
    sliding = pt.text.sliding(text_attr="text", length=2, stride=1, prepend_attr=None)
    return TEXT >> sliding >> pt.apply.doc_score(lambda row: float(toss(row["docno"], sides=4))) >> aggregate


RERANKERS = st.one_of(
    st.builds(ToyReranker, levels=st.integers(1, 3), seed=SEEDS, sort=st.booleans()),
    st.builds(Judge, SEEDS, st.integers(1, 3), st.sampled_from(get_args(Order)), st.sampled_from(get_args(Order))),
    SEEDS.map(lambda seed: pt.apply.doc_score(hashed(seed), batch_size=100)),
    SEEDS.map(lambda seed: pt.apply.generic(lambda df: pt.model.add_ranks(df.assign(score=hashed(seed)(df))))),
    SEEDS.map(by_query),
    st.just(pt.apply.by_query(lambda df: df.assign(score=df["score"] - df.iloc[0]["score"] - df["rank"].max()))),  # listwise
    st.builds(Iterating),
    st.builds(lambda w, a, b: w * ToyReranker(seed=a) + (1 - w) * ToyReranker(seed=b), st.sampled_from([0.3, 0.5]), SEEDS, SEEDS),
    st.sampled_from([pt.text.max_passage, pt.text.mean_passage, pt.text.first_passage]).map(lambda make: passages(make())),
    st.just(passages(pt.text.kmaxavg_passage(2))),
    SEEDS.map(lambda seed: TEXT >> stages.passages(pt.apply.doc_score(hashed(seed), batch_size=9), length=2, stride=1)),
    SEEDS.map(
        lambda seed: (
            (pt.Transformer.identity() ** ToyReranker(seed=seed) ** ToyReranker())
            >> pt.apply.doc_score(lambda row: float(row["features"][1:].sum()))
            >> pt.apply.features(drop=True)
        )
    ),
    SEEDS.map(lambda seed: ScorerCache(tempfile.mkdtemp() + "/scores", ToyReranker(seed=seed))),
    SEEDS.map(lambda seed: Lazy(lambda: ToyReranker(seed=seed))),
)
EXTRAS = st.sampled_from(
    [
        TEXT,
        pt.apply.query(lambda row: row["query"] + " more"),
        pt.apply.generic(lambda df: df.assign(twice=df["score"] * 2)),
        pt.apply.generic(lambda df: df[df["score"] >= 1.0]),
        pt.Transformer.identity(),
    ]
)
ENDINGS = st.sampled_from(
    [
        TEXT,
        pt.apply.generic(lambda df: df[df["score"] >= 1.0]),
        pt.apply.generic(lambda df: df[df["rank"] < 2]),
        pt.apply.generic(lambda df: pt.model.add_ranks(df.assign(score=df["score"].clip(upper=1.0)))),
        pt.apply.generic(lambda df: pt.model.add_ranks(df.assign(score=df["score"] + 9.0 * (df["docno"] == "d3")))),
        pt.apply.generic(lambda df: df[df.get("text", df["docno"]) != "word"]),
    ]
)
RETRIEVERS = st.builds(ToyRetriever, docs=st.integers(4, 14), levels=st.integers(1, 4), seed=SEEDS)
FIRST = st.one_of(
    RETRIEVERS,
    RETRIEVERS.map(lambda toy: pt.Transformer.from_df(toy.transform(TOPICS))),
    RETRIEVERS.map(lambda toy: RetrieverCache(tempfile.mkdtemp() + "/found", toy)),
    RETRIEVERS.map(lambda toy: Lazy(lambda: toy)),
    st.builds(lambda one, other: (one | other) >> by_query(1), RETRIEVERS, RETRIEVERS),
    st.builds(lambda one, other: (one & other) >> TEXT >> ToyReranker(), RETRIEVERS, RETRIEVERS),
    st.builds(
        lambda one, other, k: one % k >> pt.apply.generic(lambda df: df[["qid", "query"]].drop_duplicates()) >> other,
        RETRIEVERS, RETRIEVERS, st.integers(1, 3),
    ),
)  # fmt: skip


@st.composite
def pipelines(draw: st.DrawFn) -> pt.Transformer:
    """A first stage, and up to three more, with cut-offs and other transformers between and after, some nested as cascades."""
    pipe = draw(FIRST)
    for _ in range(draw(st.integers(0, 3))):
        pipe = pipe % draw(st.integers(1, 12)) if draw(st.booleans()) else pipe
        pipe = pipe >> draw(EXTRAS) if draw(st.integers(0, 3)) == 0 else pipe
        stage = draw(RERANKERS) % draw(st.integers(1, 9))
        pipe = pipe >> (Cascade.of(stage) if draw(st.integers(0, 5)) == 0 else stage)
    return pipe >> draw(ENDINGS) if draw(st.integers(0, 2)) == 0 else pipe


def rows(results: pd.DataFrame) -> list[list[object]]:
    """A ranking by qid and rank."""
    types = {"qid": str, "docno": str, "rank": int, "score": float}
    return results.sort_values(["qid", "rank"])[list(types)].astype(types).to_numpy().tolist()


def apply_cure(error: CascadeError, cascade: Cascade) -> Cascade:
    """Do what the error says."""
    if found := re.search(r"cascade\.with_stage\('(\w+)', depends='listwise'\)", error.fix):
        return cascade.with_stage(found[1], depends="listwise")
    if found := re.search(r"score\(cascade\.prefix\((\d)\), topics\)", error.fix):
        return cascade.prefix(int(found[1]))
    raise AssertionError(f"no cure in: {error}") from error


@settings(max_examples=12, phases=[Phase.generate], suppress_health_check=[HealthCheck.too_slow])
@given(pipelines(), st.integers(1, 3), st.data())
def test_plain_cascade_run_and_replay_rank_alike(pipeline: pt.Transformer, chunk: int, data: st.DataObject) -> None:
    """At the pipeline's own cut-offs, and at others below; live stages that depend on the list are finished."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CascadeWarning)  # of cut-offs that cannot cut
        try:
            plain = rows(pipeline.transform(TOPICS))
        except (AssertionError, IndexError):  # a threshold left nothing, which the next function cannot rank
            reject()
        cascade = Cascade.of(pipeline)
        if len({(qid, docno) for qid, docno, *_ in plain}) < len(plain):  # | with apply.query: PyTerrier repeats documents
            with pytest.raises(FrameError, match="repeats an earlier row"):
                cascade.transform(TOPICS)
            return
        assert rows(cascade.transform(TOPICS)) == plain
        assert rows(run(cascade, TOPICS, query_batch_size=chunk).results) == plain
        ending = cascade.ending
        for _ in range(2 * len(cascade) + 1):
            try:
                table = score(cascade, TOPICS, query_batch_size=chunk)
                break
            except CascadeError as error:
                cured = apply_cure(error, cascade)
                ending = ending if len(cured) == len(cascade) else ()  # which is finished
                cascade = cured
        cascade = replace(cascade, ending=ending)
        lower = [None if k is None else data.draw(st.integers(1, k)) for k in cascade.cutoffs]
        for cutoffs in (cascade.cutoffs, lower):
            other = cascade.with_cutoffs(*cutoffs)
            live = rows(other.pipeline().transform(TOPICS))
            try:
                done = cascade.finish(table, cutoffs)
            except TableError as error:  # a live stage after passages
                assert error.fix == "run(cascade, topics)"  # noqa: PT017 - the cure that is tried
                done = run(other, TOPICS).results
            assert rows(done) == live
