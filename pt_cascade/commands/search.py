"""``pt-cascade search``: the ranking of each stage for one query."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

from pt_cascade.commands.cascades import add_cascade, add_collection, build_cascade

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from pt_cascade.cascade import Cascade


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument("query", help="the query")
    add_collection(parser)
    add_cascade(parser)
    parser.add_argument("--top", type=int, default=10, help="documents to list after each stage (default: 10)")


def execute(arguments: argparse.Namespace) -> Iterator[str]:
    """Search the collection; yield the paragraphs of the output."""
    from pt_cascade.collections import open_collection  # noqa: PLC0415 - loaded when the command runs

    _check(arguments.query, arguments.top)
    collection = open_collection(arguments.collection)
    cascade = build_cascade(collection, line=arguments.cascade, engine=arguments.engine, reranker=arguments.reranker)
    texts = {doc["docno"]: doc["text"] for doc in collection.docs()}
    yield from show(cascade, arguments.query, texts, top=arguments.top)


def show(cascade: Cascade, query: str, texts: dict[str, str], *, top: int = 10) -> Iterator[str]:
    """Search; yield the ranking after each stage, with the texts by docno, and the time."""
    import pandas as pd  # noqa: PLC0415 - loaded when the command runs

    from pt_cascade.cascade import walk  # noqa: PLC0415 - likewise
    from pt_cascade.reporting.moves import list_stage  # noqa: PLC0415 - likewise

    _check(query, top)
    topics = pd.DataFrame({"qid": ["1"], "query": [query]})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # repeated by the second search
        for _ in walk(cascade, topics):
            pass  # models load and files are read, so that the second search shows their times without that
    yield f"{query!r} in {cascade!r}\n"
    before, total = None, 0.0
    for step in walk(cascade, topics):
        yield list_stage(step, before, texts, top)
        before, total = step.kept, total + step.ms
    yield f"{total:.1f} ms in all, models loaded"


def _check(query: str, top: int) -> None:
    """Check the arguments before anything is built."""
    from pt_cascade.errors import CascadeError  # noqa: PLC0415 - loaded when the command runs

    if top < 1 or not query.strip():
        problems = [*(["top is below 1"] if top < 1 else []), *([] if query.strip() else ["the query is empty"])]
        raise CascadeError("this search is not valid", problems, fix='pt-cascade search "cumulative sum" --top 10')
