"""The figures of docs/figures.md: python experiments/figures.py. They are of the 200 queries of pydocs, on this machine."""

from __future__ import annotations

import math
from pathlib import Path

from ir_measures import R, nDCG

import pt_cascade as ptc
from pt_cascade.analysis.calibration import report_calibration

FOLDER = Path(__file__).parents[1] / "docs" / "figures"
DPI = 150  # small files


def main() -> None:
    """Score, profile, sweep, choose and draw."""
    collection = ptc.open_collection("pydocs")
    topics, qrels = collection.judged(), collection.qrels
    cascade = ptc.default_cascade(collection).fused(None)
    table = ptc.score(cascade, topics)
    cost = ptc.profile(cascade, topics.head(60), repeats=1).cost()
    sweep = ptc.sweep(table, qrels, [nDCG @ 10, R @ 100], cost)
    within = cost.latency((200, 50, 20), (95,)).high_ms[0]  # a budget that these cut-offs keep, on any machine
    choice = ptc.choose(sweep, nDCG @ 10, budget_ms=10 * math.ceil(within / 10))
    plots = ptc.plots
    figures = {
        "front": plots.draw_front(sweep, choice=choice),
        "surface": plots.draw_surface(sweep, choice=choice),
        "recall": plots.draw_recall(sweep, choice=choice),
        "losses": plots.draw_losses(sweep, choice=choice),
        "latency": plots.draw_latency(sweep, choice=choice),
        "reliability": plots.draw_reliability(report_calibration(table, "bi_encoder", qrels, ["platt", "isotonic"], unjudged=0.1)),
    }
    FOLDER.mkdir(exist_ok=True)
    for name, ax in figures.items():
        plots.save_figure(ax, FOLDER / f"{name}.png", dpi=DPI)


if __name__ == "__main__":
    main()
