"""The cascade that a command works on: the default one of a collection, or one that is written in a line."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse

    from pt_cascade.cascade import Cascade
    from pt_cascade.collections import Collection
    from pt_cascade.stages.indexing.engines import Engine


def add_cascade(parser: argparse.ArgumentParser) -> None:
    """Declare the options that say which cascade."""
    parser.add_argument("--cascade", metavar="LINE", help="e.g. \"hybrid %% 500 >> mono_t5('MODEL') %% 30\"; see pt-cascade stages")
    parser.add_argument("--engine", choices=("pisa", "terrier"), help="who runs BM25 (default: pisa where installed)")
    parser.add_argument("--reranker", metavar="MODEL", help="a cross-encoder or MonoT5 to put last: hub name or folder")


def build_cascade(
    collection: Collection,
    *,
    line: str | None = None,
    engine: Engine | None = None,
    reranker: str | None = None,
    verbose: bool = True,
) -> Cascade:
    """Build the cascade that was asked for.

    Args:
        collection: What it searches.
        line: As for ``parse_cascade``; None: the collection's default cascade.
        engine: Who runs BM25.
        reranker: The model of the default cascade's last stage; None: late interaction.
        verbose: Show progress.

    Returns:
        The cascade.

    Raises:
        CascadeError: Both a line and a model for the last stage were given, or something is not there.
    """
    from pt_cascade.errors import CascadeError  # noqa: PLC0415 - loaded when the command runs
    from pt_cascade.execution import composing, defaults  # noqa: PLC0415 - likewise

    if line is None:
        return defaults.default_cascade(collection, engine=engine, reranker=reranker, verbose=verbose)
    if reranker is not None:
        fix = f"--cascade \"bm25 % 1000 >> mono_t5('{reranker}') % 20\""
        raise CascadeError("which cascade is meant", ["--reranker goes without --cascade, which names its models"], fix=fix)
    return composing.parse_cascade(line, collection, engine=engine, verbose=verbose)
