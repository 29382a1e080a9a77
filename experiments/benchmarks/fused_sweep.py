"""Every cut-off vector at 66 weights of three stages, beside pt.Experiment on fused runs. SYNTHETIC scores.

    python experiments/benchmarks/fused_sweep.py [--repeats N] [--quick]

Scores and judgments are random numbers, no ranker's: what is measured is time. The peer evaluates some of the rows, ready fused;
the same values come out, which is checked to 1e-12. Medians of the rounds are shown, after compilation.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import warnings
from functools import partial
from importlib.metadata import version

import numpy as np
import pyterrier as pt
from report import Line, tell
from sweep import DOCS, EXACT, LAST, MEASURES, PACKAGES, STAGES, make, seconds

import pt_cascade as ptc

EVALUATED = 12  # rows that the peer is asked for
QUERIES = 200


def main() -> None:
    """Measure and print, with the versions."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="leave out the full grid")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    print("SYNTHETIC scores: random numbers, to measure time with.")
    table, qrels = make(QUERIES, second=DOCS)
    fusions = ptc.fusions(STAGES)
    work = partial(ptc.sweep, table, qrels, MEASURES, fusion=fusions)
    swept = work()
    some = np.linspace(0, len(swept.frame) - 1, EVALUATED).astype(int)
    ready = {}
    for at in some.tolist():
        *cutoffs, number = swept.rows[at].tolist()
        ready[str(at)] = table.replay(cutoffs, fusion=swept.fusions[number])
    evaluate = partial(pt.Experiment, ready, table.topics, qrels, MEASURES, validate="ignore")
    theirs = evaluate()
    worst = max(np.abs(theirs[str(m)].to_numpy() - swept.frame[str(m)].to_numpy()[some]).max() for m in MEASURES)
    if not worst <= EXACT:
        raise SystemExit(f"pt.Experiment differs by {worst}")
    ours, peer = ([seconds(one) for _ in range(arguments.repeats)] for one in (work, evaluate))
    rows, mine, other = len(swept.frame), statistics.median(ours), statistics.median(peer)
    print(f"\n{len(swept.grid)} vectors × {len(fusions)} weights × {QUERIES} queries × {DOCS} documents, last cut-off {LAST}:")
    print(f"  {mine:.2f} s for all {rows:,} rows, equal to pt.Experiment to {worst:.0e} in {EVALUATED} of them")
    what = "a fused row, SYNTHETIC scores"
    tell(Line("fused_sweep", what, "pt.Experiment, evaluation alone", 1000 * mine / rows, 1000 * other / EVALUATED, "ms"))
    if not arguments.quick:
        took = seconds(partial(ptc.sweep, *make(QUERIES), MEASURES[:1], grid="full", fusion=fusions))
        print(f"  all 95,050 vectors × {len(fusions)} weights, {MEASURES[0]}: {took:.0f} s")
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    told = ", ".join(f"{name} {version(name)}" for name in PACKAGES)
    print(f"\nPython {platform.python_version()}, {os.cpu_count()} cores, load {load}; {told}")


if __name__ == "__main__":
    main()
