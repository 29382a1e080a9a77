"""The options of ``sweep`` and ``choose``: a table, its qrels and its costs."""

from __future__ import annotations

import argparse
import re
import shlex
from typing import TYPE_CHECKING, Literal

from pt_cascade.analysis.cost.cost import Cost, StageCost
from pt_cascade.analysis.cost.timings import Timings
from pt_cascade.analysis.fusion.stage_fusion import StageFusion, fusions
from pt_cascade.analysis.replay.measures import parse_measures
from pt_cascade.analysis.sweep.sweep import sweep
from pt_cascade.collections import open_collection
from pt_cascade.commands.cascades import count
from pt_cascade.commands.paths import check_inputs
from pt_cascade.errors import SweepError, did_you_mean
from pt_cascade.execution.score_table import ScoreTable
from pt_cascade.progress import show_wait
from pt_cascade.trec import read_qrels

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pt_cascade.analysis.grid.grids import Form
    from pt_cascade.analysis.sweep.result import Sweep
    from pt_cascade.analysis.table.data import Scores

_AXES = 9
_NUMBER = r"([0-9]{1,99}\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{1,2})?"  # finite


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
    parser.add_argument(
        "--rel", type=count, help="the lowest label that is relevant in recall and losses (default: as in the measure)"
    )
    parser.add_argument(
        "--grid",
        choices=("full", "log"),
        help="all cut-off vectors, or cut-offs 1, 2, 3, 5, 7, 10, 20, ... (default: full if feasible)",
    )
    fused = parser.add_mutually_exclusive_group()
    fused.add_argument(
        "--fused", nargs="+", metavar="STAGE=WEIGHT", help="rank by the fused scores of the stages, as the default cascade does"
    )
    fused.add_argument(
        "--weights",
        type=_read_step,
        metavar="STEP",
        help="also rank by fused scores of the stages: all weights that are multiples of STEP, as 0.1, or, for subsets, equal ones",
    )
    parser.add_argument(
        "--k1", metavar="K,K,...", type=read_cutoffs, help="cut-offs of the first stage, as 10,20,50; also --k2, --k3, ..."
    )
    for n in range(2, _AXES + 1):
        parser.add_argument(f"--k{n}", type=read_cutoffs, help=argparse.SUPPRESS)


def sweep_sources(arguments: argparse.Namespace, measures: Sequence[str]) -> Sweep:
    """Read the table, qrels and costs, and sweep the grid of ``--k1``, ``--k2``, ..., or the default grid."""
    check_inputs(("TABLE", arguments.table), ("--timings", arguments.timings), ("--qrels", arguments.qrels))
    parse_measures(measures)  # before the wait, as all that needs no judgments
    with show_wait("reading scores and judgments"):
        table = ScoreTable.load(arguments.table)
        arguments.scored = table.about.get("collection")  # for cures
        stages = table.find_path(arguments.stages).stages
        grid = _grid(arguments, stages)
        fused = None if arguments.weights is None else (None, *fusions(stages, arguments.weights))
        fused = _read_fusion(arguments.fused) if arguments.fused else fused
        cost = Timings.load(arguments.timings).cost() if arguments.timings else _read_costs(arguments.costs, stages)
        collection = open_collection(arguments.collection) if arguments.collection else None
        qrels, topics = (collection.qrels, collection.topics) if collection else (read_qrels(arguments.qrels), None)
    with show_wait("sweeping"):
        return sweep(table, qrels, measures, cost, grid, tail=arguments.tail, stages=stages, topics=topics, fusion=fused)


def _read_step(text: str) -> float | Literal["subsets"]:
    """Read the step of weights."""
    return "subsets" if text == "subsets" else float(text)


def read_cutoffs(text: str) -> list[int | None]:
    """Read cut-offs with commas between."""
    if not re.fullmatch("([1-9][0-9]*|none)(,([1-9][0-9]*|none))*", text):
        raise argparse.ArgumentTypeError(f"{text!r} is not a list such as 10,20,50 or 10,none")
    return [None if word == "none" else int(word) for word in text.split(",")]


def _grid(arguments: argparse.Namespace, stages: Sequence[str]) -> Form | dict[str, list[int | None]] | None:
    """Return the grid of ``--grid``, or of ``--k1``, ``--k2``, ...; None without any."""
    names = [f"k{n}" for n in range(1, _AXES + 1) if getattr(arguments, f"k{n}") is not None]
    if arguments.grid and names:
        problem = f"--grid and --{', --'.join(names)} are given, expected one or the other"
        raise SweepError("this is not a grid", [problem], fix="--k1 10,100,1000 --k2 10,100")
    if beyond := [name for name in names if int(name[1:]) > len(stages)]:
        problem = f"--{', --'.join(beyond)} is given, expected --k1 to --k{len(stages)} of the stages {', '.join(stages)}"
        raise SweepError("this is not a grid", [problem], fix=f"--k{len(stages)} 10,100")
    return arguments.grid or {name: getattr(arguments, name) for name in names} or None


def split_pairs(words: Sequence[str], form: str, value: str = ".+") -> tuple[dict[str, str], list[str]]:
    """Split words such as ``bm25=bm25.res`` into names and values; list what is not of this form, and repeated names."""
    pairs = [word.partition("=")[::2] for word in words]
    names = [name for name, _ in pairs]
    problems = [
        f"{word!r} is not {form}" for word, pair in zip(words, pairs, strict=True) if not (pair[0] and re.fullmatch(value, pair[1]))
    ]
    problems += [f"stage {name!r} is repeated" for name in dict.fromkeys(names) if names.count(name) > 1]
    return dict(pairs), problems


def _read_fusion(words: Sequence[str]) -> tuple[StageFusion]:
    """Return the fusion of ``--fused``."""
    given, problems = split_pairs(words, "STAGE=WEIGHT", _NUMBER)
    if problems:
        raise SweepError("--fused is not valid", problems, fix="--fused bm25=0.4 bi_encoder=0.3 late_interaction=0.3")
    return (StageFusion({name: float(weight) for name, weight in given.items()}),)


def _read_costs(words: Sequence[str] | None, stages: Sequence[str]) -> Cost | None:
    """Return the cost of the stages, None if no option gives it."""
    if words is None:
        return None
    given, problems = split_pairs(words, "STAGE=MS", _NUMBER)
    expected = f"the stages are {', '.join(stages)}"
    problems += [f"there is no stage {name!r}; {expected}{did_you_mean(name, stages)}" for name in given if name not in stages]
    problems += [f"stage {name!r} has no cost" for name in stages[1:] if name not in given]
    if problems:
        examples = [f"{name}=0.05" for name in stages[1:]] or [f"{stages[0]}=5"]
        raise SweepError("--costs are not valid", problems, fix=shlex.join(["--costs", *examples]))
    first, *later = stages
    retrieval = StageCost(first, fixed_ms=float(given.get(first, 0)))
    return Cost.of(retrieval, *(StageCost(name, per_pair_ms=float(given[name])) for name in later))


def describe(table: Scores) -> str:
    """Describe a table and its origin."""
    return repr(table) + (f" · collection {table.about['collection']}" if "collection" in table.about else "")
