"""``pt-cascade score``: a score table of a cascade, or of TREC runs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pt_cascade.commands.cascades import COLLECTIONS, add_cascade, build_cascade

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator, Sequence

    from pt_cascade.execution.score_table import ScoreTable

_DEFAULT = "pydocs"
_FIX = "pt-cascade score --collection pydocs --out scores, or pt-cascade score --runs bm25=bm25.res t5=t5.res --out scores"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument("--collection", help=f"{COLLECTIONS} (default: pydocs)")
    add_cascade(parser)
    parser.add_argument("--queries", type=int, help="how many judged queries (default: all)")
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
    missing = arguments.missing or "refuse"
    table = import_runs(arguments.runs, missing, arguments.topics) if arguments.runs else _score(arguments)
    yield repr(table)
    lacking = table.missing[table.missing["pairs"] > 0]
    if len(lacking):
        yield f"missing from the runs:\n{lacking.to_string(index=False)}"
    table.save(arguments.out)
    yield f"saved in {arguments.out}: pt_cascade.ScoreTable.load({arguments.out!r})"


def import_runs(runs: Sequence[str], missing: str, topics: str | None = None) -> ScoreTable:
    """Make a table from runs, each ``stage=file``."""
    from pt_cascade.errors import CascadeError  # noqa: PLC0415 - likewise
    from pt_cascade.execution.score_table import ScoreTable  # noqa: PLC0415 - loaded when the command runs
    from pt_cascade.trec import read_topics  # noqa: PLC0415 - likewise

    named = [(name, file) for name, _, file in (run.partition("=") for run in runs)]
    problems = [f"{run!r} is not STAGE=FILE" for run, pair in zip(runs, named, strict=True) if not all(pair)]
    names = [name for name, _ in named]
    problems += [f"stage {name!r} is repeated" for name in dict.fromkeys(names) if names.count(name) > 1]
    if problems:
        raise CascadeError("these runs cannot be read", problems, fix=_FIX)
    asked = None if topics is None else read_topics(topics)
    return ScoreTable.from_runs(dict(named), asked, missing=missing)  # type: ignore[arg-type] # argparse knows the choices


def _score(arguments: argparse.Namespace) -> ScoreTable:
    from pt_cascade.collections import open_collection  # noqa: PLC0415 - loaded when the command runs
    from pt_cascade.execution.scoring.score import score  # noqa: PLC0415 - likewise

    collection = open_collection(arguments.collection or _DEFAULT)
    topics = collection.judged(arguments.queries)
    cascade = build_cascade(collection, line=arguments.cascade, engine=arguments.engine, reranker=arguments.reranker)
    return score(cascade, topics, verbose=True, score_cache=arguments.score_cache, about={"collection": collection.name})


def _check(arguments: argparse.Namespace) -> None:
    """Check the options before anything runs."""
    from pt_cascade.errors import CascadeError  # noqa: PLC0415 - loaded when the command runs

    of_collection = [
        name
        for name in ("collection", "cascade", "engine", "queries", "reranker", "score_cache")
        if getattr(arguments, name) is not None
    ]
    problems = [f"--out {arguments.out} exists"] if Path(arguments.out).exists() else []
    if arguments.runs and of_collection:
        problems.append(f"--runs cannot be combined with --{', --'.join(of_collection).replace('_', '-')}")
    problems += [f"--{name} needs --runs" for name in ("missing", "topics") if getattr(arguments, name) and not arguments.runs]
    if problems:
        raise CascadeError("scoring cannot start", problems, fix=_FIX)
