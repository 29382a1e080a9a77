"""A program that runs a command over toys three times, and presses Ctrl-C while it loads, then while it works, then not.

Arguments: the qid at which it presses while it works, and the words of the command.
"""

from __future__ import annotations

import importlib
import os
import signal
import sys
from threading import Event
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

from pt_cascade import Cascade
from pt_cascade.cli import main
from pt_cascade.execution import defaults
from toys.rankers import ToyReranker, ToyRetriever

MOMENTS = ["loading", "working", "never"]
SWALLOWING = """
import os, signal
try:
    os.kill(os.getpid(), signal.SIGINT)
    [one for one in range(1000)]  # handlers run between two instructions
except BaseException:
    pass
"""


class Pressing(ToyReranker):
    """A re-ranker that presses at one query."""

    def transform(self, inp: pd.DataFrame) -> pd.DataFrame:
        """Press, or re-rank."""
        if MOMENTS[0] == "working" and sys.argv[1] in set(inp["qid"]):
            os.kill(os.getpid(), signal.SIGINT)
        return super().transform(inp)


def build(*_: object, **__: object) -> Cascade:
    """Build the cascade; while it loads, press in an import that loses every error."""
    if MOMENTS[0] == "loading":
        importlib.import_module("swallowing")
        Event().wait(60)
        raise AssertionError("Ctrl-C was lost")
    return Cascade.of(ToyRetriever(docs=8, levels=3) % 6 >> Pressing(levels=3) % 3)


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a test in the background would ignore it
    with open("swallowing.py", "w", encoding="utf-8") as file:  # noqa: PTH123 - of the working folder
        file.write(SWALLOWING)
    sys.path.insert(0, "")
    defaults.default_cascade = build  # type: ignore[assignment]
    while MOMENTS:
        print(f"status {main(sys.argv[2:])}", file=sys.stderr, flush=True)  # noqa: T201 - to the test
        del MOMENTS[0]
