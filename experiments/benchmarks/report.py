"""A comparison as one line: ours beside the peer's in the same run; ``make bench`` gathers all lines in one table."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

LINES = "PT_CASCADE_BENCH"  # the file that lines are added to, where it is set


@dataclass(frozen=True)
class Line:
    """One comparison.

    Attributes:
        benchmark: The script's name.
        what: What was done.
        peer: Who else did it.
        ours: What it took us, in ``unit``.
        theirs: What it took the peer.
        unit: E.g. ``s``, ``us a pair``; less is better.
        aim: The ratio that was aimed at; 0: none.
    """

    benchmark: str
    what: str
    peer: str
    ours: float
    theirs: float
    unit: str
    aim: float = 0.0

    @property
    def ratio(self) -> float:
        """How many times as long the peer takes."""
        return self.theirs / self.ours

    def __str__(self) -> str:
        aim = f" (aim {self.aim:g})" if self.aim else ""
        return f"{self.what}: {self.ours:.4g} {self.unit}, {self.peer} {self.theirs:.4g}: × {self.ratio:.2f}{aim}"


def tell(line: Line) -> None:
    """Print a comparison, and keep it for the table of all.

    Args:
        line: The comparison.
    """
    print(f"  {line}", flush=True)
    if file := os.environ.get(LINES):
        with Path(file).open("a", encoding="utf-8") as kept:
            kept.write(json.dumps(asdict(line)) + "\n")
