"""``pt-cascade search``: what each stage of a cascade thinks of one query."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

from pt_cascade.commands.cascades import add_cascade, build_cascade

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from pt_cascade.cascade import Cascade


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("query", help="what to look for")
    parser.add_argument(
        "--collection", default="pydocs", help="pydocs, pydocs:numpy,scipy, a folder, or a name pt.get_dataset knows"
    )
    add_cascade(parser)
    parser.add_argument("--top", type=int, default=10, help="documents to list after each stage (default: 10)")


def execute(arguments: argparse.Namespace) -> Iterator[str]:
    """Build the collection's cascade and search; yields what to print, piece by piece."""
    from pt_cascade.collections import open_collection  # noqa: PLC0415 - loaded when the command runs

    _check(arguments.query, arguments.top)
    collection = open_collection(arguments.collection)
    cascade = build_cascade(collection, line=arguments.cascade, engine=arguments.engine, reranker=arguments.reranker)
    texts = {doc["docno"]: doc["text"] for doc in collection.docs()}
    yield from show(cascade, arguments.query, texts, top=arguments.top)


def show(cascade: Cascade, query: str, texts: dict[str, str], *, top: int = 10) -> Iterator[str]:
    """Search, and show the list after each stage.

    Args:
        cascade: What to run.
        query: What to look for.
        texts: The text of each document by docno, for the last column.
        top: Documents to list after each stage, 1 or more.

    Yields:
        A paragraph a stage, and the time of all.

    Raises:
        CascadeError: The query is empty, or top is below 1.
    """
    import pandas as pd  # noqa: PLC0415 - loaded when the command runs

    from pt_cascade.cascade import walk  # noqa: PLC0415 - likewise
    from pt_cascade.reporting.moves import list_stage  # noqa: PLC0415 - likewise

    _check(query, top)
    topics = pd.DataFrame({"qid": ["1"], "query": [query]})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the second search gives them again
        for _ in walk(cascade, topics):
            pass  # models load, files are read: the times shown below are those of a second search
    yield f"{query!r} in {cascade!r}\n"
    before, total = None, 0.0
    for step in walk(cascade, topics):
        yield list_stage(step, before, texts, top)
        before, total = step.kept, total + step.ms
    yield f"{total:.1f} ms in all, models loaded"


def _check(query: str, top: int) -> None:
    """Refuse what shows nothing, before anything is built."""
    from pt_cascade.errors import CascadeError  # noqa: PLC0415 - loaded when the command runs

    if top < 1 or not query.strip():
        problems = [*(["top is below 1"] if top < 1 else []), *([] if query.strip() else ["the query is empty"])]
        raise CascadeError("there is nothing to show", problems, fix='pt-cascade search "cumulative sum" --top 10')
