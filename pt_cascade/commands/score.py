"""``pt-cascade score``: a score table of a cascade, or of TREC runs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pt_cascade.collections import open_collection
from pt_cascade.commands.cascades import add_cascade, add_options, build_cascade, count
from pt_cascade.commands.sources import split_pairs
from pt_cascade.errors import CascadeError
from pt_cascade.execution.defaults import score_collection
from pt_cascade.execution.score_table import ScoreTable
from pt_cascade.execution.scoring.score import score
from pt_cascade.files import rm_command
from pt_cascade.trec import read_topics

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

_FIX = "pt-cascade score --collection pydocs --out scores, or pt-cascade score --runs bm25=bm25.res t5=t5.res --out scores"
_OF_COLLECTION = ("collection", "cascade", "engine", "queries", "reranker", "score_cache", "on_error", "time_limit_ms")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    add_cascade(parser)
    add_options(parser)
    parser.set_defaults(collection=None)  # so that --collection beside --runs is refused
    parser.add_argument("--queries", type=count, help="how many judged queries (default: all)")
    parser.add_argument("--runs", nargs="+", metavar="STAGE=FILE", help="import TREC runs instead, the first stage's first")
    parser.add_argument("--topics", metavar="FILE", help="the topics of the runs (default: those of the first run)")
    parser.add_argument(
        "--missing",
        choices=("refuse", "leave", "last"),
        help="documents that a later run lacks: refuse (default), leave unscored, or rank last",
    )
    parser.add_argument("--score-cache", metavar="FOLDER", help="store the scores of each stage, for other depths or topics")
    parser.add_argument("--out", required=True, metavar="FOLDER", help="a new folder for the table")


def execute(arguments: argparse.Namespace) -> Iterator[str]:
    """Score or import, and save; yield the paragraphs of the output."""
    _check(arguments)
    table = _import_runs(arguments) if arguments.runs else _score(arguments)
    yield repr(table)
    lacking = table.missing[table.missing["pairs"] > 0]
    if len(lacking):
        yield f"missing from the runs:\n{lacking.to_string(index=False)}"
    table.save(arguments.out)
    yield f"saved in {arguments.out}: pt_cascade.ScoreTable.load({arguments.out!r})"


def _import_runs(arguments: argparse.Namespace) -> ScoreTable:
    runs, problems = split_pairs(arguments.runs, "STAGE=FILE")
    if problems:
        raise CascadeError("these runs cannot be read", problems, fix=_FIX)
    topics = None if arguments.topics is None else read_topics(arguments.topics)
    return ScoreTable.from_runs(runs, topics, missing=arguments.missing or "refuse")


def _score(arguments: argparse.Namespace) -> ScoreTable:
    collection = open_collection(arguments.collection or "pydocs")
    topics = collection.judged(arguments.queries)
    cascade = build_cascade(collection, arguments)
    if arguments.score_cache is None:
        return score_collection(collection, cascade, topics, verbose=True)
    return score(cascade, topics, verbose=True, score_cache=arguments.score_cache, about={"collection": collection.name})


def _check(arguments: argparse.Namespace) -> None:
    """Check the options before anything runs."""
    exists = Path(arguments.out).exists()
    problems = [f"--out {arguments.out} exists"] if exists else []
    of_collection = [name for name in _OF_COLLECTION if getattr(arguments, name) is not None]
    if arguments.runs and of_collection:
        problems.append(f"--runs cannot be combined with --{', --'.join(of_collection).replace('_', '-')}")
    problems += [f"--{name} needs --runs" for name in ("missing", "topics") if getattr(arguments, name) and not arguments.runs]
    if problems:
        fix = f"--out of a new folder, or {rm_command(arguments.out)}" if len(problems) == 1 and exists else _FIX
        raise CascadeError("scoring cannot start", problems, fix=fix)
