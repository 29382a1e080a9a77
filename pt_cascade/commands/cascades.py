"""The options of a collection and a cascade, and the cascade that they describe."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse

    from pt_cascade.cascade import Cascade
    from pt_cascade.collections import Collection
    from pt_cascade.stages.indexing.engines import Engine

COLLECTIONS = "pydocs, pydocs:numpy,scipy, a folder, or a dataset of pt.get_dataset"


def add_collection(parser: argparse.ArgumentParser) -> None:
    """Add --collection."""
    parser.add_argument("--collection", default="pydocs", help=f"{COLLECTIONS} (default: pydocs)")


def add_models(parser: argparse.ArgumentParser) -> None:
    """Add the options of the default cascade."""
    parser.add_argument("--engine", choices=("pisa", "terrier"), help="the BM25 engine (default: pisa if installed)")
    parser.add_argument("--reranker", metavar="MODEL", help="a cross-encoder or MonoT5 as last stage: hub name or folder")


def add_cascade(parser: argparse.ArgumentParser) -> None:
    """Add the options that describe a cascade."""
    parser.add_argument("--cascade", metavar="LINE", help="e.g. \"hybrid %% 500 >> mono_t5('MODEL') %% 30\"; see pt-cascade stages")
    add_models(parser)


def build_cascade(
    collection: Collection,
    *,
    line: str | None = None,
    engine: Engine | None = None,
    reranker: str | None = None,
    verbose: bool = True,
) -> Cascade:
    """Build the cascade of a line, or else the collection's default cascade."""
    from pt_cascade.errors import CascadeError  # noqa: PLC0415 - loaded when the command runs
    from pt_cascade.execution import composing, defaults  # noqa: PLC0415 - likewise

    if line is None:
        return defaults.default_cascade(collection, engine=engine, reranker=reranker, verbose=verbose)
    if reranker is not None:
        fix = f"--cascade \"bm25 % 1000 >> mono_t5('{reranker}') % 20\""
        raise CascadeError("--cascade and --reranker cannot be combined", ["the line of --cascade names its models"], fix=fix)
    return composing.parse_cascade(line, collection, engine=engine, verbose=verbose)
