"""The options of ``sweep`` and ``choose``: a table, its qrels and its costs."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    import pandas as pd

    from pt_cascade.analysis.cost.cost import Cost
    from pt_cascade.analysis.sweep.result import Sweep
    from pt_cascade.analysis.table.data import Scores

_FIX = "--costs bi_encoder=0.05 mono_t5=2"


def add_sources(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument("table", metavar="TABLE", help="the folder of a table: pt-cascade score --out TABLE")
    judgments = parser.add_mutually_exclusive_group(required=True)
    judgments.add_argument("--qrels", metavar="FILE", help="TREC qrels; queries that are not in the table do not count")
    judgments.add_argument("--collection", help="the qrels of a collection: pydocs, a folder, or a dataset of pt.get_dataset")
    parser.add_argument("--stages", nargs="+", metavar="STAGE", help="another path through the table's stages (default: its first)")
    parser.add_argument(
        "--tail", choices=("drop", "keep"), default="drop", help="drop removed documents (default), or rank them below the others"
    )
    costs = parser.add_mutually_exclusive_group()
    costs.add_argument("--timings", metavar="FILE", help="the times of the stages: pt-cascade profile --out FILE")
    costs.add_argument(
        "--costs",
        nargs="+",
        metavar="STAGE=MS",
        help="milliseconds a document (pairwise: a comparison) for each stage but the first",
    )


def sweep_sources(arguments: argparse.Namespace, measures: Sequence[str]) -> Sweep:
    """Read the table, qrels and costs, and sweep the default grid."""
    from pt_cascade.analysis.sweep.sweep import sweep  # noqa: PLC0415 - loaded when the command runs
    from pt_cascade.execution.score_table import ScoreTable  # noqa: PLC0415 - likewise

    table = ScoreTable.load(arguments.table)
    stages = table.find_path(arguments.stages).stages
    cost = read_cost(arguments, stages)
    return sweep(table, _read_judgments(arguments), measures, cost, tail=arguments.tail, stages=stages)


def read_cost(arguments: argparse.Namespace, stages: Sequence[str]) -> Cost | None:
    """Return the cost of the stages, None if no option gives it."""
    from pt_cascade.analysis.cost.cost import Cost, StageCost  # noqa: PLC0415 - loaded when the command runs
    from pt_cascade.analysis.cost.timings import Timings  # noqa: PLC0415 - likewise
    from pt_cascade.errors import SweepError, did_you_mean  # noqa: PLC0415 - likewise

    if arguments.timings:
        return Timings.load(arguments.timings).cost()
    if not arguments.costs:
        return None
    given = dict(text.partition("=")[::2] for text in arguments.costs)
    problems = [f"{name}={ms} is not STAGE=MS" for name, ms in given.items() if not _is_number(ms)]
    expected = f"the stages are {', '.join(stages)}"
    problems += [f"there is no stage {name!r}; {expected}{did_you_mean(name, stages)}" for name in given if name not in stages]
    problems += [f"stage {name!r} has no cost" for name in stages[1:] if name not in given]
    if problems:
        raise SweepError("--costs are not valid", problems, fix=_FIX)
    first, *later = stages
    retrieval = StageCost(first, fixed_ms=float(given.get(first, 0)))
    return Cost.of(retrieval, *(StageCost(name, per_pair_ms=float(given[name])) for name in later))


def _read_judgments(arguments: argparse.Namespace) -> pd.DataFrame:
    from pt_cascade.collections import open_collection  # noqa: PLC0415 - loaded when the command runs
    from pt_cascade.trec import read_qrels  # noqa: PLC0415 - likewise

    return open_collection(arguments.collection).qrels if arguments.collection else read_qrels(arguments.qrels)


def _is_number(text: str) -> bool:
    try:
        return 0 <= float(text) < float("inf")
    except ValueError:
        return False


def describe(table: Scores) -> str:
    """Describe a table and its origin."""
    return " · ".join([repr(table), *(f"{name} {table.about[name]}" for name in ("collection",) if name in table.about)])
