"""A small experiment on runs, whose numbers are computed by hand."""

from __future__ import annotations

from pathlib import Path

RUNS = {
    "first": "1 Q0 a 1 3 x\n1 Q0 b 2 2 x\n1 Q0 c 3 1 x\n2 Q0 a 1 2 x\n2 Q0 b 2 1 x\n",
    "second": "1 Q0 b 1 0.9 x\n1 Q0 c 2 0.5 x\n1 Q0 a 3 0.1 x\n2 Q0 b 1 0.8 x\n2 Q0 a 2 0.2 x\n",
}
QRELS = "1 0 b 1\n2 0 a 1\n"
# RR: the first stage has 1/2 and 1; the second, after 3 or 2 documents, 1 and 1/2; after 1 document, a, 0 and 1
YAML = """\
title: Two queries
runs: {first: first.res, second: second.res}
qrels: qrels.txt
stages:
  - {stage: first, cutoff: [1, 2]}
  - {stage: [~, second]}
measures: RR
baseline: first % 2
cost: {second: {per_pair_ms: 10}}
tolerance: {RR: 0.001, recall: 0, gain: 1e-6, ms: 0}
expected:
  systems:
    first % 2: {RR: 0.75, ms: 0}
    first % 1 >> second: {RR: 0.5, ms: 10}
    first % 2 >> second: {RR: 0.75, ms: 20, recall: 1}
    first % 1: {recall: 0.5}
  differences:
    first % 1 >> second: {gain: -0.25}
"""


def write_experiment(folder: Path, text: str = YAML) -> Path:
    """Write the experiment and its runs; return its file."""
    for name, run in RUNS.items():
        (folder / f"{name}.res").write_text(run, encoding="utf-8")
    (folder / "qrels.txt").write_text(QRELS, encoding="utf-8")
    path = folder / "two-queries.yaml"
    path.write_text(text, encoding="utf-8")
    return path
