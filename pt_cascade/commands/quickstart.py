"""``pt-cascade quickstart``: a cascade on a collection, compared with its shorter versions, and its cut-offs chosen."""

from __future__ import annotations

import shlex
from importlib.util import find_spec
from typing import TYPE_CHECKING

from ir_measures import RR, R, nDCG

from pt_cascade.analysis.choice.choose import choose
from pt_cascade.analysis.fusion.stage_fusion import StageFusion
from pt_cascade.analysis.grid.cutoffs import name_cascade
from pt_cascade.analysis.sweep.sweep import sweep
from pt_cascade.caches import cache_folder
from pt_cascade.collections import open_collection
from pt_cascade.commands.cascades import add_cascade, build_cascade, count, find_judged
from pt_cascade.execution.comparison import compare
from pt_cascade.execution.defaults import WEIGHTS, score_collection
from pt_cascade.execution.profiling import profile
from pt_cascade.numbers import count_of
from pt_cascade.reporting.explorer.page import report
from pt_cascade.reporting.sweeps import recall_table, top_table
from pt_cascade.reporting.tables import cost_table, effectiveness_table, summary_table
from pt_cascade.reporting.widths import line_width

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from pt_cascade.analysis.choice.result import Choice
    from pt_cascade.analysis.sweep.result import Sweep
    from pt_cascade.cascade import Cascade
    from pt_cascade.execution.comparison import Comparison

TIMED = 20
FOLDS = 5
DEFAULT = "pydocs"
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
sweep      = ptc.sweep(
    table, qrels, [nDCG@10, R@100], timings.cost(), fusion=cascade.fusion
)
choice     = ptc.choose(sweep, nDCG@10, method="certified", folds={folds})
print(choice.explain())
cascade    = cascade.with_cutoffs(*choice.cutoffs)"""

EXAMPLES = """\
pt-cascade quickstart
pt-cascade quickstart --collection ./folder --details
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    add_cascade(parser)
    parser.add_argument("--queries", type=count, help="how many judged queries (default: all)")
    parser.add_argument("--details", action="store_true", help="show costs, recall, the evidence and the same in Python")


def execute(arguments: argparse.Namespace) -> Iterator[str]:
    """Run the quickstart; yield the paragraphs of its output."""
    collection = open_collection(arguments.collection)
    topics = find_judged(collection, arguments.queries)
    qrels = collection.qrels[collection.qrels["qid"].isin(topics["qid"])]
    yield f"{collection.name}: {count_of(len(collection), 'document')}, {count_of(len(topics), 'judged query')}\n"
    cascade = build_cascade(collection, arguments)
    table = score_collection(collection, cascade, topics, verbose=True)
    timings = profile(cascade, topics.head(TIMED), repeats=1, verbose=True)
    compared = compare(cascade, topics, qrels, [nDCG @ 10, RR @ 10, R @ 100], table=table, timings=timings)
    labels = _label(cascade)
    if arguments.details:
        yield f"{effectiveness_table(compared.effectiveness.assign(name=labels))}\n"
    else:
        yield f"{summary_table(compared, labels, ('nDCG@10', 'RR@10'))}\n"
    yield "\n".join([*_notes(cascade, compared.queries, len(topics.head(TIMED))), ""])
    swept = sweep(table, qrels, [nDCG @ 10, R @ 100], timings.cost(), fusion=cascade.fusion) if compared.queries > 1 else None
    choice = choose(swept, nDCG @ 10, method="certified", folds=min(FOLDS, len(swept.qids))) if swept else None
    if swept and choice and find_spec("bokeh"):
        page = cache_folder("stored", collection.fingerprint[:16], "quickstart.html")  # beside the scores
        report(swept, choice, page)
        links = f"Open in a browser:\n{page}\n"
    else:
        links = ""
    if arguments.details:
        yield links
        yield from _details(arguments, compared, swept, choice)
    else:
        yield f"{choice.explain(width=line_width())}\n" if choice else ""
        yield links
        yield "These cut-offs are chosen with --method certified; the default of pt-cascade choose keeps recall instead.\n"
        yield shlex.join(["pt-cascade", "search", "your query", *_options(arguments)])
        yield shlex.join(["pt-cascade", "quickstart", *_options(arguments), "--details"])


def _label(cascade: Cascade) -> list[str]:
    """Name each system of the comparison by what it adds."""
    *before, last = cascade
    names = [repr(cascade.prefix(1)), *(f"  · {stage.name}" for stage in before[1:])]
    names += [f"  · {last!r}"] if before else []
    weights = [] if cascade.fusion is None else cascade.fusion.weigh([stage.name for stage in cascade]).tolist()
    return names + ([f"  · fused({', '.join(f'{weight:g}' for weight in weights)})"] if weights else [])


def _options(arguments: argparse.Namespace) -> list[str]:
    """Return the options that choose a cascade, as they were given."""
    names = ("collection", "engine", "reranker", "cascade")
    given = ((name, getattr(arguments, name)) for name in names)
    return [word for name, value in given if value not in (None, DEFAULT) for word in (f"--{name}", value)]


def _notes(cascade: Cascade, queries: int, timed: int) -> Iterator[str]:
    """Explain the table of measures."""
    if queries == 1:
        yield "One query cannot be tested."
    elif len(cascade) > 1:
        yield f"p: paired t-test over {queries} queries against {cascade.prefix(1)!r}, Holm-corrected."
    yield f"ms: up to that stage, mean of {count_of(timed, 'query')}, one at a time, on this machine."
    if cascade.fusion is not None and cascade.fusion == StageFusion(WEIGHTS):
        yield "The weights of the fusion were chosen on cranfield."


def _details(arguments: argparse.Namespace, compared: Comparison, swept: Sweep | None, choice: Choice | None) -> Iterator[str]:
    """Yield the costs, the evidence of the choice, and the same in Python."""
    yield f"{cost_table(compared.cost)}\n"
    yield "Means a query; model pairs are the (query, document) pairs that a model scored.\n"
    if swept and choice:
        yield f"{swept!r}\nEach pair was scored once; every cut-off vector (a cut-off for each stage) is evaluated.\n"
        yield f"{recall_table(swept)}\n\n{top_table(swept, 'nDCG@10')}\n"
        yield f"The cheapest cut-offs that lose at most {choice.margin:g} {choice.measure} against the deepest:\n"
        yield f"{choice.explain(details=True, width=line_width())}\n"
        words = ["pt-cascade", "search", "your query", "--collection", arguments.collection]
        line = name_cascade(choice.stages, choice.cutoffs, choice.fusion and repr(choice.fusion))
        if arguments.cascade is None and arguments.reranker is None:
            yield f"At the command line:\n\n{shlex.join(words)} \\\n  --cascade {shlex.quote(line)}\n"
    yield f"In Python:\n\n{_lines(arguments, compared.queries)}"


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
