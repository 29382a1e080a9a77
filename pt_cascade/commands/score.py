"""``pt-cascade score``: a score table of a cascade, or of TREC runs."""

from __future__ import annotations

import shlex
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from pt_cascade.analysis.table.storage import FILES
from pt_cascade.commands.cascades import add_cascade, add_options, build_cascade, count, find_judged, find_topics, open_source
from pt_cascade.commands.paths import REPLACE, add_output, check_inputs, find_existing
from pt_cascade.commands.sources import split_pairs
from pt_cascade.errors import CascadeError
from pt_cascade.execution.defaults import score_collection
from pt_cascade.execution.score_table import ScoreTable
from pt_cascade.execution.scoring.score import score

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from pt_cascade.analysis.fusion.stage_fusion import StageFusion

_RUNS = ("bm25=bm25.res", "t5=t5.res")
_OF_COLLECTION = ("collection", "cascade", "engine", "queries", "reranker", "score_cache", "on_error", "time_limit_ms")

EXAMPLES = """\
pt-cascade score --collection pydocs --out scores
pt-cascade score --runs bm25=bm25.res.gz t5=t5.res.gz --out scores
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    add_cascade(parser)
    add_options(parser)
    parser.set_defaults(collection=None)  # so that --collection beside --runs is refused
    parser.add_argument("--queries", type=count, help="how many judged queries (default: all)")
    parser.add_argument("--runs", nargs="+", metavar="STAGE=FILE", help="import TREC runs instead, the first stage's first")
    parser.add_argument(
        "--topics",
        metavar="FILE",
        help="the topics of the runs, also queries.jsonl or a folder (default: those of the first run)",
    )
    parser.add_argument(
        "--missing",
        choices=("refuse", "leave", "last"),
        help="documents that a later run lacks: refuse (default), leave unscored, or rank last",
    )
    parser.add_argument("--score-cache", metavar="FOLDER", help="store the scores of each stage, for other depths or topics")
    add_output(parser, "a folder for the table", metavar="FOLDER", required=True)


def execute(arguments: argparse.Namespace) -> Iterator[str]:
    """Score or import, and save; yield the paragraphs of the output."""
    _check(arguments)
    table, fusion = (_import_runs(arguments), None) if arguments.runs else _score(arguments)
    yield repr(table)
    lacking = table.missing[table.missing["pairs"] > 0]
    if len(lacking):
        yield f"missing from the runs:\n{lacking.to_string(index=False)}"
    _save(table, Path(arguments.out))
    yield f"saved in {arguments.out}: pt_cascade.ScoreTable.load({arguments.out!r})"
    if fusion is not None:
        weights = " ".join(f"{name}={weight:g}" for name, weight in dict(fusion.weights).items())
        yield f"a table has no fusion; sweep and choose take that of the cascade as --fused {weights}"


def _save(table: ScoreTable, out: Path) -> None:
    """Save a table; one that is replaced is deleted only when the new one is on the disk."""
    if not out.is_dir():
        table.save(out)
        return
    with TemporaryDirectory(prefix=".", dir=out.resolve().parent) as beside:
        table.save(Path(beside, "table"))
        for file in out.iterdir():
            file.unlink()
        Path(beside, "table").replace(out.resolve())


def _import_runs(arguments: argparse.Namespace) -> ScoreTable:
    runs, problems = split_pairs(arguments.runs, "STAGE=FILE")
    if problems:
        fix = f"pt-cascade score --runs {' '.join(_RUNS)} --out {shlex.quote(arguments.out)}"
        raise CascadeError("these runs cannot be read", problems, fix=fix)
    check_inputs(*((f"--runs {name}", path) for name, path in runs.items()), ("--topics", arguments.topics))
    topics = None if arguments.topics is None else find_topics(Path(arguments.topics))
    return ScoreTable.from_runs(runs, topics, missing=arguments.missing or "refuse")


def _score(arguments: argparse.Namespace) -> tuple[ScoreTable, StageFusion | None]:
    collection = open_source(arguments)
    topics = find_judged(collection, arguments.queries)
    cascade = build_cascade(collection, arguments)
    if arguments.score_cache is None:
        return score_collection(collection, cascade, topics, verbose=True), cascade.fusion
    about = {"collection": collection.name}
    return score(cascade, topics, verbose=True, score_cache=arguments.score_cache, about=about), cascade.fusion


def _check(arguments: argparse.Namespace) -> None:
    """Check the options before anything runs."""
    exists = find_existing(arguments)
    problems = [*exists]
    if (out := Path(arguments.out)).is_file():
        exists, problems = [], [f"--out {out} is a file, expected a folder"]
    elif out.is_dir() and arguments.overwrite and not {file.name for file in out.iterdir()} <= {*FILES}:
        problems.append(f"--out {out} holds other files than those of a score table, so it is not replaced")
    of_collection = [name for name in _OF_COLLECTION if getattr(arguments, name) is not None]
    if arguments.runs and of_collection:
        problems.append(f"--runs cannot be combined with --{', --'.join(of_collection).replace('_', '-')}")
    problems += [f"--{name} needs --runs" for name in ("missing", "topics") if getattr(arguments, name) and not arguments.runs]
    if problems:
        fix = REPLACE if len(problems) == len(exists) else _list_commands(arguments, of_collection)
        raise CascadeError("scoring cannot start", problems, fix=fix)


def _list_commands(arguments: argparse.Namespace, of_collection: list[str]) -> str:
    """Return the command that scores the collection, and the one that imports the runs, with what was typed; --out is new."""
    out = ["--out", f"{arguments.out}-new" if Path(arguments.out).exists() else arguments.out]
    typed = [str(word) for name in of_collection for word in (f"--{name.replace('_', '-')}", getattr(arguments, name))]
    if not (arguments.runs or arguments.missing or arguments.topics):
        return shlex.join(["pt-cascade", "score", *typed, *out])
    typed = typed if "collection" in of_collection else ["--collection", "pydocs"]
    runs = ["--runs", *(arguments.runs or _RUNS)]
    return ", or ".join(shlex.join(["pt-cascade", "score", *words, *out]) for words in (typed, runs))
