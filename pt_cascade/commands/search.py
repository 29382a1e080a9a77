"""``pt-cascade search``: the ranking of each stage for one query."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import pandas as pd

from pt_cascade.cascade import walk
from pt_cascade.cascade.steps import warn_unscored
from pt_cascade.commands.cascades import add_cascade, add_options, build_cascade, count, open_source
from pt_cascade.errors import CascadeError
from pt_cascade.progress import show_wait
from pt_cascade.reporting.moves import list_stage

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

EXAMPLES = """\
pt-cascade search "cumulative sum that ignores nan" --top 5
pt-cascade search "cumulative sum" --cascade "hybrid % 50 >> bi_encoder % 5"
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument("query", nargs="+", help="the query, in one or several words")
    add_cascade(parser)
    add_options(parser)
    parser.add_argument("--top", type=count, default=10, help="documents to list after each stage (default: 10)")


def execute(arguments: argparse.Namespace) -> Iterator[str]:
    """Search; yield the ranking after each stage, with the texts and the time."""
    query = " ".join(arguments.query)
    if not query.strip():
        raise CascadeError("this search is not valid", ["the query is empty"], fix='pt-cascade search "cumulative sum"')
    with show_wait("reading the collection"):
        collection = open_source(arguments)
        texts = {doc["docno"]: doc["text"] for doc in collection.docs()}
    cascade = build_cascade(collection, arguments)
    topics = pd.DataFrame({"qid": ["1"], "query": [query]})
    paid = any(getattr(part, "accounts", ()) for stage in cascade for part in stage.transformers)
    with show_wait("loading indexes and models"), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # repeated by the second search
        if not paid:
            list(walk(cascade, topics, fusion=cascade.fusion))  # models load and files are read: the times below leave that out
    yield f"{query!r} in {cascade!r}\n"
    before, total, unscored = None, 0.0, []
    for step in walk(cascade, topics, fusion=cascade.fusion):
        yield list_stage(step, before, texts, arguments.top)
        before, total = step.kept, total + step.ms
        unscored.append(step.list_unscored())
    warn_unscored(unscored)
    yield f"{total:.1f} ms in all, {'with the loading of models' if paid else 'models loaded'}"
