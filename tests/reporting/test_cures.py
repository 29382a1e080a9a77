"""Messages at the command line: options in place of Python, and nothing that controls a terminal."""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd
import pytest

from pt_cascade.cli import main
from pt_cascade.reporting.cures import translate
from pt_cascade.trec import write_run

OPTIONS = (
    "collection",
    "cascade",
    "engine",
    "missing",
    "budget_ms",
    "percentile",
    "queries",
    "k1",
    "k2",
    "mode",
    "out",
    "shard_queries",
)


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ('Fix: missing="leave" leaves these pairs', 'Fix: --missing "leave" leaves these pairs'),
        ("budget_ms is given, but the sweep has no cost", "--budget-ms is given, but the sweep has no cost"),
        ("pass percentile=None", "pass --percentile 0"),
        ("Fix: fresh=True, or out='a/new/folder'", "Fix: --fresh, or --out 'a/new/folder'"),
        ("Fix: shard_queries=100, prefixes=['all']", "Fix: --shard-queries 100, --prefixes all"),
        ('Fix: open_collection("pydocs")', 'Fix: --collection "pydocs"'),
        ("Fix: parse_cascade(\"bm25 % 9 >> mono_t5('m') % 2\", 'pydocs')", "Fix: --cascade \"bm25 % 9 >> mono_t5('m') % 2\""),
        (
            'Fix: build_index(docs, path, engine="terrier", language="any"); for a folder: echo any > language.txt there',
            "Fix: for a collection in a folder: echo any > language.txt there",
        ),
        # of other Python it is said that it is Python
        ("no. Fix: run(cascade, topics)", "no. Fix, in Python: run(cascade, topics)"),
        # what is no Python, a file name, and an argument of a stage stay
        ("no. Fix: rm -r '/a b'", "no. Fix: rm -r '/a b'"),
        ("cannot read /tmp/mode=3/queries=5.txt", "cannot read /tmp/mode=3/queries=5.txt"),
        ("mono_t5: batch_size=0", "mono_t5: batch_size=0"),
        ("must be in format Measure(k1=v1, k2=v2)@c", "must be in format Measure(k1=v1, k2=v2)@c"),
    ],
)
def test_python_becomes_options(message: str, expected: str) -> None:
    """Golden: by hand."""
    assert translate(message, OPTIONS) == expected


@pytest.fixture
def runs(tmp_path: Path) -> list[str]:
    """Two runs, of which the second lacks a document, as options of ``score``."""
    full = pd.DataFrame({"qid": ["1", "1"], "docno": ["a", "b\x1b[2J"], "score": [2.0, 1.0]})
    write_run(full, tmp_path / "bm25.res")
    write_run(full.head(1), tmp_path / "t5.res")
    return [f"--runs=bm25={tmp_path / 'bm25.res'}", f"t5={tmp_path / 't5.res'}"]


def test_the_cures_of_a_lacking_run_work(runs: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The message names options of this command, and each of them ends the refusal."""
    words = ["score", "--runs", runs[0].removeprefix("--runs="), runs[1], "--out"]
    assert main([*words, str(tmp_path / "refused")]) == 1
    told = capsys.readouterr().err
    cures = re.findall(r'--missing "(\w+)"', told)
    assert cures == ["leave", "last"]
    assert "missing=" not in told
    for cure in cures:
        assert main([*words, str(tmp_path / cure), "--missing", cure]) == 0


def test_the_cure_of_a_budget_without_costs_works(runs: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The option that is missing is named as an option, and ends the refusal."""
    qrels = tmp_path / "qrels.txt"
    qrels.write_text("1 0 a 1\n")
    table = str(tmp_path / "table")
    assert main(["score", "--runs", runs[0].removeprefix("--runs="), runs[1], "--missing", "last", "--out", table]) == 0
    words = ["choose", table, "--qrels", str(qrels), "--budget-ms", "50", "--folds", "2"]
    assert main(words) == 1
    told = capsys.readouterr().err
    assert "--budget-ms is given, but the sweep has no cost" in told
    assert "Fix: --timings FILE or --costs STAGE=MS" in told


@pytest.mark.parametrize(("command", "option"), [("sweep", "--measures"), ("choose", "--measure")])
def test_the_cure_of_an_unknown_measure_works(
    command: str, option: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The option is that of the command, with a value that it takes."""
    qrels, table = tmp_path / "qrels.txt", str(tmp_path / "table")
    qrels.write_text("1 0 a 1\n2 0 a 1\n")
    extra = pd.DataFrame({"qid": ["1", "2"], "docno": ["a", "a"], "score": [2.0, 1.0]})
    write_run(extra, tmp_path / "one.res")
    assert main(["score", "--runs", f"one={tmp_path / 'one.res'}", "--out", table]) == 0
    words = [command, table, "--qrels", str(qrels)]
    assert main([*words, option, "nDGC@10"]) == 1
    fix = capsys.readouterr().err.rpartition("Fix: ")[2].split()
    assert fix[0] == option
    assert main([*words, *fix, *(["--folds", "2"] if command == "choose" else [])]) == 0
