"""Every benchmark, one after the other, and one table of all their ratios.

python experiments/benchmarks/all.py [--quick] [NAME ...]
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from report import LINES, Line

HERE = Path(__file__).parent
NAMES = ("executor", "batch", "bi_encoder", "busy", "latency", "sweep", "fused_sweep", "fusion", "dense", "inference_cpu", "store")
QUICK = ("sweep", "fused_sweep", "fusion", "dense", "inference_cpu", "store")


def table(lines: list[Line]) -> str:
    """Lay the comparisons out, a row each.

    Args:
        lines: Of all benchmarks.

    Returns:
        A table in Markdown.
    """
    rows = ["| benchmark | what | ours | peer | takes | ratio | aim |", "|---|---|---|---|---|---|---|"]
    for line in lines:
        aim = f"{line.aim:g}" if line.aim else ""
        ours = f"{line.ours:.3g} {line.unit}"
        rows.append(
            f"| {line.benchmark} | {line.what} | {ours} | {line.peer} | {line.theirs:.3g} {line.unit} | {line.ratio:.2f} | {aim} |"
        )
    return "\n".join(rows)


def main() -> int:
    """Run them and print the table; the exit code is the number of those that failed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", default=NAMES, metavar="NAME", help=f"some of {', '.join(NAMES)} (default: all)")
    parser.add_argument("--quick", action="store_true", help="small inputs, for those that know them")
    arguments = parser.parse_args()
    failed = 0
    with tempfile.TemporaryDirectory() as folder:
        kept = Path(folder) / "lines"
        kept.touch()
        for name in arguments.names:
            print(f"\n== {name}", flush=True)
            options = ["--quick"] if arguments.quick and name in QUICK else []
            command = [sys.executable, str(HERE / f"{name}.py"), *options]
            failed += subprocess.run(command, env={**os.environ, LINES: str(kept)}, check=False).returncode != 0  # noqa: S603
        lines = [Line(**json.loads(line)) for line in kept.read_text(encoding="utf-8").splitlines()]
    print(f"\n{table(lines)}\n\nA ratio says how many times as long the peer took, in the same run; below 1 the peer is faster.")
    return failed


if __name__ == "__main__":
    sys.exit(main())
