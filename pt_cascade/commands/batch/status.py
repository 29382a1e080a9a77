"""``pt-cascade status``: how far a run is, whether it is under way or has been stopped."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from pt_cascade.errors import few
from pt_cascade.execution.batch.storage.merging import show_counts
from pt_cascade.execution.batch.storage.status import read_status
from pt_cascade.numbers import count_of

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator


_UNFINISHED = 4

EXAMPLES = """\
pt-cascade status run
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument("folder", metavar="FOLDER", help="the folder of pt-cascade run --out")


def execute(arguments: argparse.Namespace) -> Iterator[str]:
    """Say how many shards are finished, and what is known of the others; end with code 4 if the run is not finished."""
    status = read_status(arguments.folder)
    done, queries = status.queries
    yield f"{status.plan.cascade['cascade']}: {status.state}"
    shards = count_of(len(status.plan.shards), "shard")
    yield f"{len(status.finished):,} of {shards}, {done:,} of {count_of(queries, 'query')} finished"
    begun = [f"shard {n}, begun {count_of(attempts, 'time')}: {error}" for n, (attempts, error) in status.begun.items()]
    yield from few(begun)
    if not status.counts:
        sys.exit(_UNFINISHED)
    yield show_counts(status.counts)
