"""The options of a collection and a cascade, and the cascade that they describe."""

from __future__ import annotations

import math
from argparse import ArgumentTypeError
from typing import TYPE_CHECKING

from pt_cascade.collections import open_collection
from pt_cascade.collections.folders import open_folder
from pt_cascade.collections.records import read_queries
from pt_cascade.errors import CascadeError, warn
from pt_cascade.execution import composing, defaults
from pt_cascade.trec import read_topics

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable
    from pathlib import Path

    import pandas as pd

    from pt_cascade.cascade import Cascade
    from pt_cascade.collections import Collection

COLLECTIONS = (
    "pydocs, pydocs:numpy,scipy, a dataset of pt.get_dataset, or a folder with BEIR's files or docs.jsonl, topics.tsv and qrels.txt"
)


def count(text: str, *, least: int = 1) -> int:
    """Read the value of an option that counts."""
    if not text.isdecimal() or int(text) < least:
        raise ArgumentTypeError(f"{text!r} is not a whole number, {least} or more")
    return int(text)


def number(expected: str, fits: Callable[[float], bool]) -> Callable[[str], float]:
    """Return what reads the value of an option that is a number in a range."""

    def read(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not fits(value):
            raise ArgumentTypeError(f"{text!r} is not {expected}")
        return value

    return read


positive = number("a number above 0", lambda value: value > 0)  # inf: no limit


def add_cascade(parser: argparse.ArgumentParser) -> None:
    """Add the options that describe a collection and a cascade."""
    parser.add_argument("--collection", default="pydocs", help=f"{COLLECTIONS} (default: pydocs)")
    parser.add_argument("--engine", choices=("pisa", "terrier"), help="the BM25 engine (default: pisa if installed)")
    models = parser.add_mutually_exclusive_group()
    models.add_argument("--cascade", metavar="LINE", help="e.g. \"hybrid %% 500 >> mono_t5('MODEL') %% 30\"; see pt-cascade stages")
    models.add_argument("--reranker", metavar="MODEL", help="cross-encoder or MonoT5 to end the default cascade: name or folder")


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of a stage that fails or is late."""
    parser.add_argument(
        "--on-error", choices=("raise", "keep"), help="a query on which a stage fails: stop (default), or keep its order and go on"
    )
    parser.add_argument(
        "--time-limit-ms",
        nargs="+",
        type=_limit,
        metavar="STAGE=MS",
        help="milliseconds a query for a stage; documents that it does not score in time follow below",
    )


def open_source(arguments: argparse.Namespace) -> Collection:
    """Open the collection, after a check of ``--cascade``, which needs none."""
    if arguments.cascade is not None:
        composing.check_line(arguments.cascade)
    return open_collection(arguments.collection or "pydocs")


def build_cascade(collection: Collection, arguments: argparse.Namespace) -> Cascade:
    """Build the cascade of ``--cascade``, or else the collection's default cascade, with the options of ``add_options``."""
    if arguments.cascade is not None:
        cascade = composing.parse_cascade(arguments.cascade, collection, engine=arguments.engine, verbose=True)
    else:
        cascade = defaults.default_cascade(collection, engine=arguments.engine, reranker=arguments.reranker, verbose=True)
    limits = getattr(arguments, "time_limit_ms", None)
    return cascade.options(on_error=getattr(arguments, "on_error", None), time_limit_ms=None if limits is None else dict(limits))


def find_topics(path: Path) -> pd.DataFrame:
    """Read topics as qid, tab, query; as BEIR's queries.jsonl; or those of a collection in a folder."""
    if path.is_dir():
        return open_folder(path).topics
    topics = read_queries(path, key="_id") if path.name.endswith((".jsonl", ".jsonl.gz")) else read_topics(path)
    if topics.empty:
        raise CascadeError("there are no topics", [f"--topics {path} is empty"], fix="write a line for each query: qid, tab, query")
    return topics


def find_judged(collection: Collection, count: int | None) -> pd.DataFrame:
    """Return the first judged topics of a collection; warn where there are fewer than were asked for."""
    topics = collection.judged(count)
    if count is not None and len(topics) < count:
        warn(f"--queries {count}: {collection.name} has {len(topics):,} judged queries, and all are taken")
    return topics


def _limit(text: str) -> tuple[str, float]:
    stage, _, ms = text.rpartition("=")
    try:
        return stage, positive(ms)
    except ArgumentTypeError as error:
        raise ArgumentTypeError(f"{text!r} is not STAGE=MS: {error}") from None
