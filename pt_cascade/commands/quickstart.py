"""``pt-cascade quickstart``: a cascade on a collection, compared with its shorter versions, and its cut-offs chosen."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from ir_measures import RR, R, nDCG

from pt_cascade.analysis.choice.choose import choose
from pt_cascade.analysis.sweep.sweep import sweep
from pt_cascade.collections import open_collection
from pt_cascade.commands.cascades import add_cascade, build_cascade, count
from pt_cascade.execution.comparison import compare
from pt_cascade.execution.defaults import score_collection
from pt_cascade.execution.profiling import profile
from pt_cascade.reporting.sweeps import recall_table, top_table
from pt_cascade.reporting.tables import cost_table, effectiveness_table

if TYPE_CHECKING:
    import argparse
    from collections.abc import Generator, Iterator

    import pandas as pd

    from pt_cascade.analysis.choice.result import Choice
    from pt_cascade.analysis.cost.timings import Timings
    from pt_cascade.cascade import Cascade
    from pt_cascade.execution.score_table import ScoreTable

TIMED = 20
FOLDS = 5
DEEPEST = 100  # of the measures
LINES = """\
import pt_cascade as ptc
from ir_measures import R, RR, nDCG

collection = ptc.open_collection({collection!r})
cascade    = {cascade}
topics     = collection.judged({queries})
qrels      = collection.qrels
timings    = ptc.profile(cascade, topics.head({timed}), repeats=1)
measures   = [nDCG@10, RR@10, R@100]
compared   = ptc.compare(cascade, topics, qrels, measures, timings=timings)
print(compared.effectiveness, compared.cost, sep="\\n")"""
CHOOSING = """

table      = ptc.score(cascade, topics)  # each pair once, for all cut-offs
cost       = timings.cost()
sweep      = ptc.sweep(table, qrels, [nDCG@10, R@100], cost)
choice     = ptc.choose(sweep, nDCG@10, method="certified", folds={folds})
print(choice.explain())
cascade    = cascade.with_cutoffs(*choice.cutoffs)"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    add_cascade(parser)
    parser.add_argument("--queries", type=count, help="how many judged queries (default: all)")


def execute(arguments: argparse.Namespace) -> Iterator[str]:
    """Run the quickstart; yield the paragraphs of its output."""
    collection = open_collection(arguments.collection)
    topics = collection.judged(arguments.queries)
    qrels = collection.qrels[collection.qrels["qid"].isin(topics["qid"])]
    yield f"{collection.name}: {len(collection):,} documents, {len(topics):,} judged queries\n"
    cascade = build_cascade(collection, arguments)
    table = score_collection(collection, cascade, topics, verbose=True)
    measures = [nDCG @ 10, RR @ 10, R @ 100]
    timings = profile(cascade, topics.head(TIMED), repeats=1, verbose=True)
    compared = compare(cascade, topics, qrels, measures, table=table, timings=timings)
    yield f"{effectiveness_table(compared.effectiveness)}\n"
    if notes := list(_notes(cascade, compared.queries)):
        yield "\n".join([*notes, ""])
    yield f"{cost_table(compared.cost)}\n"
    yield (
        f"Means over the first {min(TIMED, len(topics))} queries, one at a time, on this machine, vectors read from disk.\n"
        "Model pairs are the (query, document) pairs that a model scored.\n"
    )
    if compared.queries > 1:
        choice = yield from _choose(table, timings, qrels)
        if arguments.cascade is None and arguments.reranker is None:
            line = " >> ".join(f"{stage} % {k}" for stage, k in zip(choice.stages, choice.cutoffs, strict=True))
            words = ["pt-cascade", "search", "your query", "--collection", arguments.collection]
            yield f"At the command line:\n\n{shlex.join(words)} \\\n  --cascade {shlex.quote(line)}\n"
    yield f"In Python:\n\n{_lines(arguments, compared.queries)}"


def _notes(cascade: Cascade, queries: int) -> Iterator[str]:
    """Explain the table of measures."""
    if queries == 1:
        yield "One query cannot be tested."
    elif len(cascade) > 1:
        yield f"p: paired t-test over {queries} queries against {cascade.prefix(1)!r}, Holm-corrected."
    last = cascade.cutoffs[-1]
    if last is not None and last < DEEPEST:
        added = "cascade.options(tail='keep') appends the others"
        yield f"The cascade returns {last} documents, so its R@100 is R@{last}; {added}."


def _choose(table: ScoreTable, timings: Timings, qrels: pd.DataFrame) -> Generator[str, None, Choice]:
    """Sweep all cut-offs, and choose the cheapest that are certified to be nearly as good as the cascade's."""
    swept = sweep(table, qrels, [nDCG @ 10, R @ 100], timings.cost())
    yield f"{swept!r}\nEach pair was scored once; every cut-off vector (a cut-off for each stage) is evaluated.\n"
    yield f"{recall_table(swept)}\n\n{top_table(swept, 'nDCG@10')}\n"
    choice = choose(swept, nDCG @ 10, method="certified", folds=min(FOLDS, len(swept.qids)))
    yield f"The cheapest cut-offs that lose at most {choice.margin:g} {choice.measure} against the deepest:\n\n{choice.explain()}\n"
    yield f"Times are of {timings.queries} queries on this machine.\n"
    return choice


def _lines(arguments: argparse.Namespace, queries: int) -> str:
    """Return Python code that does the same; with one query, without the choice."""
    function, line = ("default_cascade", "") if arguments.cascade is None else ("parse_cascade", f"{arguments.cascade!r}, ")
    options = "".join(f", {name}={value!r}" for name in ("engine", "reranker") if (value := getattr(arguments, name)) is not None)
    return (LINES + CHOOSING * (queries > 1)).format(
        collection=arguments.collection,
        cascade=f"ptc.{function}({line}collection{options})",
        queries="" if arguments.queries is None else arguments.queries,
        timed=TIMED,
        folds=min(FOLDS, queries),
    )
