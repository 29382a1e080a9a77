"""``pt-cascade merge``: the results of a run whose parts ran by themselves."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pt_cascade.execution.batch.batch_run import merge_folder
from pt_cascade.execution.batch.storage.merging import show_counts

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

EXAMPLES = """\
pt-cascade merge run
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument("folder", metavar="FOLDER", help="the folder of pt-cascade run --out, all of whose shards are finished")


def execute(arguments: argparse.Namespace) -> Iterator[str]:
    """Merge, and say where the results are."""
    done = merge_folder(arguments.folder)
    yield show_counts(done.counts)
    yield f"in {done.results}: {', '.join(sorted(file.name for file in done.results.iterdir()))}"
