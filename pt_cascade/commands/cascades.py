"""The options of a collection and a cascade, and the cascade that they describe."""

from __future__ import annotations

from argparse import ArgumentTypeError
from typing import TYPE_CHECKING

from pt_cascade.execution import composing, defaults

if TYPE_CHECKING:
    import argparse

    from pt_cascade.cascade import Cascade
    from pt_cascade.collections import Collection

COLLECTIONS = (
    "pydocs, pydocs:numpy,scipy, a dataset of pt.get_dataset, or a folder with BEIR's files or docs.jsonl, topics.tsv and qrels.txt"
)


def count(text: str) -> int:
    """Read the value of an option that counts."""
    if not text.isdecimal() or int(text) < 1:
        raise ArgumentTypeError(f"{text!r} is not a whole number, 1 or more")
    return int(text)


def add_cascade(parser: argparse.ArgumentParser) -> None:
    """Add the options that describe a collection and a cascade."""
    parser.add_argument("--collection", default="pydocs", help=f"{COLLECTIONS} (default: pydocs)")
    parser.add_argument("--engine", choices=("pisa", "terrier"), help="the BM25 engine (default: pisa if installed)")
    models = parser.add_mutually_exclusive_group()
    models.add_argument("--cascade", metavar="LINE", help="e.g. \"hybrid %% 500 >> mono_t5('MODEL') %% 30\"; see pt-cascade stages")
    models.add_argument("--reranker", metavar="MODEL", help="cross-encoder or MonoT5 to end the default cascade: name or folder")


def build_cascade(collection: Collection, arguments: argparse.Namespace) -> Cascade:
    """Build the cascade of ``--cascade``, or else the collection's default cascade."""
    if arguments.cascade is not None:
        return composing.parse_cascade(arguments.cascade, collection, engine=arguments.engine, verbose=True)
    return defaults.default_cascade(collection, engine=arguments.engine, reranker=arguments.reranker, verbose=True)
