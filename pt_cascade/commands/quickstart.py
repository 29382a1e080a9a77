"""``pt-cascade quickstart``: a three-stage cascade on a collection, compared with its first stage."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pt_cascade.commands.cascades import add_collection, add_models
from pt_cascade.errors import CascadeWarning
from pt_cascade.reporting.tables import cost_table, effectiveness_table

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    import pandas as pd

    from pt_cascade.cascade import Cascade
    from pt_cascade.execution.score_table import ScoreTable
    from pt_cascade.stages.indexing.engines import Engine

TIMED = 20
FOLDS = 5
LINES = """\
import pyterrier as pt, pt_cascade as ptc
from ir_measures import R, RR, nDCG

collection = ptc.open_collection({collection!r})
index      = ptc.stages.build_index(collection.docs(), "quickstart.index", engine={engine!r})
vectors    = ptc.stages.build_vectors(collection.docs(), ptc.default_model(), "quickstart.vectors",
                                       tokens=True, max_length={max_length})

bm25, bi   = ptc.stages.bm25(index), ptc.stages.bi_encoder(vectors)
precise    = {precise}
cascade    = ptc.Cascade.of(bm25 % 1000 >> bi % 100 >> precise % 20)

topics     = collection.judged({queries!r})
pt.Experiment([bm25, bm25 % 1000 >> bi, cascade], topics, collection.qrels, [nDCG@10, RR@10, R@100], baseline=0)
ptc.run(cascade, topics.head({timed}), query_batch_size=1).trace.groupby("stage", sort=False)[["pairs", "ms"]].mean()"""
CHOOSING = """\


table      = ptc.score(cascade, topics)  # every pair once, for all cut-off vectors
cost       = ptc.profile(cascade, topics.head({timed}), repeats=1).cost()
sweep      = ptc.sweep(table, collection.qrels, [nDCG@10, R@100], cost)
budget     = cost.latency(cascade.cutoffs, [95]).joint_ms[0]
choice     = ptc.choose(sweep, nDCG@10, budget_ms=budget, folds={folds})
print(choice.explain())
cascade    = cascade.with_cutoffs(*choice.cutoffs)"""


@dataclass(frozen=True)
class Options:
    """The options of the command line."""

    collection: str = "pydocs"
    engine: Engine | None = None
    queries: int | None = None
    reranker: str | None = None


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    add_collection(parser)
    add_models(parser)
    parser.add_argument("--queries", type=int, help="how many judged queries (default: all)")


def execute(arguments: argparse.Namespace) -> Iterator[str]:
    """Run the quickstart; yield the paragraphs of its output."""
    yield from show(Options(arguments.collection, arguments.engine, arguments.queries, arguments.reranker), verbose=True)


def show(options: Options, *, verbose: bool = False) -> Iterator[str]:
    """Run the quickstart; yield the paragraphs of its output."""
    from ir_measures import RR, R, nDCG  # noqa: PLC0415 - loaded when the command runs

    from pt_cascade.collections import open_collection  # noqa: PLC0415 - likewise
    from pt_cascade.execution.comparison import compare  # noqa: PLC0415 - likewise
    from pt_cascade.execution.defaults import default_cascade, score_collection  # noqa: PLC0415 - likewise

    collection = open_collection(options.collection)
    topics = collection.judged(options.queries)
    yield f"{collection.name}: {len(collection):,} documents, {len(topics):,} judged queries\n"
    cascade = default_cascade(collection, engine=options.engine, reranker=options.reranker, verbose=verbose)
    table = score_collection(collection, cascade, topics, verbose=verbose)
    measures = [nDCG @ 10, RR @ 10, R @ 100]
    compared = compare(cascade, topics, collection.qrels, measures, timed=TIMED, table=table, verbose=verbose)
    yield f"{effectiveness_table(compared.effectiveness)}\n"
    last = cascade.cutoffs[-1]
    tested = f"p: paired t-test over {compared.queries} queries against {cascade.prefix(1)!r}, Holm-corrected."
    yield (
        f"{tested if compared.queries > 1 else 'One query cannot be tested.'}\n"
        f"The cascade returns {last} documents, so its R@100 is R@{last}; ptc.Runner(cascade, tail='keep') appends the others.\n"
    )
    yield f"{cost_table(compared.cost)}\n"
    yield (
        f"Means over the first {min(TIMED, len(topics))} queries, one at a time, on this machine, vectors read from disk.\n"
        "Model pairs are the (query, document) pairs that a model scored.\n"
    )
    if compared.queries > 1:
        yield from _choose(table, cascade, topics, collection.qrels)
    yield f"In Python:\n\n{_lines(options, compared.queries)}"


def _choose(table: ScoreTable, cascade: Cascade, topics: pd.DataFrame, qrels: pd.DataFrame) -> Iterator[str]:
    """Sweep all cut-offs, and choose within the time that the cascade takes."""
    from ir_measures import R, nDCG  # noqa: PLC0415 - loaded when the command runs

    from pt_cascade.analysis.choice.choose import choose  # noqa: PLC0415 - likewise
    from pt_cascade.analysis.sweep.sweep import sweep  # noqa: PLC0415 - likewise
    from pt_cascade.execution.profiling import profile  # noqa: PLC0415 - likewise
    from pt_cascade.reporting.sweeps import recall_table, top_table  # noqa: PLC0415 - likewise

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CascadeWarning)  # of few timed queries: the output says so
        cost = profile(cascade, topics.head(TIMED), repeats=1).cost()
        swept = sweep(table, qrels, [nDCG @ 10, R @ 100], cost)
        budget = cost.latency(cascade.cutoffs, [95]).joint_ms[0]
        yield f"{swept!r}\nEach pair was scored once; every cut-off vector is evaluated from these scores.\n"
        yield f"{recall_table(swept)}\n\n{top_table(swept, 'nDCG@10')}\n"
        choice = choose(swept, nDCG @ 10, budget_ms=budget, folds=min(FOLDS, len(swept.qids)))
    yield f"The best within the {budget:.0f} ms (p95) that {cascade!r} takes:\n\n{choice.explain()}\n"
    yield f"Times are of {min(TIMED, len(topics))} queries on this machine: the percentiles are rough.\n"


def _lines(options: Options, queries: int) -> str:
    """Return Python code that does the same; with one query, without the choice."""
    from pt_cascade.execution.defaults import MAX_LENGTH  # noqa: PLC0415 - loaded when the command runs
    from pt_cascade.stages.indexing.engines import default_engine  # noqa: PLC0415 - likewise

    precise = "ptc.stages.late_interaction(vectors=vectors)"
    if options.reranker is not None:
        precise = f"load_reranker(collection, {options.reranker!r})"
    lines = (LINES + CHOOSING * (queries > 1)).format(
        collection=options.collection,
        engine=options.engine or default_engine(),
        max_length=MAX_LENGTH,
        precise=precise,
        queries=options.queries,
        timed=TIMED,
        folds=min(FOLDS, queries),
    )
    needed = "from pt_cascade.execution.defaults import load_reranker\n"
    return (needed if options.reranker is not None else "") + lines
