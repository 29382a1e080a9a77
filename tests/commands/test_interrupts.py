"""Ctrl-C: a real signal to a real process, while it loads and while it works; then the same command finishes."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from toys.folders import write_folder

from pt_cascade import ScoreTable
from pt_cascade.analysis.cost.timings import Timings
from pt_cascade.cli import main
from pt_cascade.collections import make_collection

QUERIES = 150  # one batch of 100 and another
KEPT = "the same command goes on after the last block of vectors or scores kept"
SAVED = "N of 150 queries are scored and saved: the same command goes on"
PROGRAM = "import signal, sys; signal.signal(2, signal.default_int_handler); from pt_cascade.cli import main; sys.exit(main())"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A collection with judged queries, and a cache of its own."""
    monkeypatch.setenv("PT_CASCADE_CACHE", str(tmp_path / "cache"))
    tests = Path(__file__).parents[1]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tests.parent), str(tests)]))
    topics = pd.DataFrame({"qid": [f"q{n}" for n in range(QUERIES)], "query": [f"query {n}" for n in range(QUERIES)]})
    qrels = pd.DataFrame({"qid": topics["qid"], "docno": "d1", "label": 1})
    write_folder(
        make_collection("toys", topics, qrels, [{"docno": f"d{n}", "text": f"text {n}"} for n in range(8)]), tmp_path / "c"
    )
    return tmp_path


@pytest.mark.parametrize(
    ("words", "qid", "kept"),
    [
        (["score", "--out", "table"], "q120", SAVED),
        (["profile", "--repeats", "1", "--out", "timings"], "q5", "no times are kept: the same command measures them again"),
        (["quickstart"], "q120", SAVED),
    ],
    ids=["score", "profile", "quickstart"],
)
def test_an_interrupted_command_says_what_is_kept_and_goes_on(words: list[str], qid: str, kept: str, folder: Path) -> None:
    """Status 130 and one line, while it loads also where an import would lose the signal; the third time it finishes."""
    command = [sys.executable, "-m", "toys.pressing", qid, *words, "--collection", "./c"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, cwd=folder, check=False)
    told = [
        re.sub(r"\d+ of 150", "N of 150", line)
        for line in done.stderr.splitlines()
        if line.startswith(("interrupted", "status", "Traceback"))
    ]
    assert told == [f"interrupted; {KEPT}", "status 130", f"interrupted; {kept}", "status 130", "status 0"], done.stderr
    if words[0] == "score":
        assert len(ScoreTable.load(folder / "table").topics) == QUERIES
    elif words[0] == "profile":
        assert Timings.load(folder / "timings").queries == 59
    else:
        assert "pt-cascade quickstart --collection ./c --details" in done.stdout


def test_ctrl_c_among_the_imports_ends_the_program(folder: Path) -> None:
    """The signal comes when the first module of many is loaded: status 130, one line, no traceback."""
    command = [sys.executable, "-X", "importtime", "-c", PROGRAM, "profile", "--collection", "./c"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=folder) as process:
        assert process.stderr is not None
        assert any("numpy" in line for line in process.stderr)
        process.send_signal(signal.SIGINT)
        told = [line for line in process.communicate(timeout=300)[1].splitlines() if not line.startswith("import time:")]
    assert process.returncode == 130
    assert told[-1] == f"interrupted; {KEPT}"
    assert "Traceback (most recent call last):" not in told


@pytest.mark.parametrize(
    ("words", "place", "kept"),
    [
        (["doctor"], "pt_cascade.commands.machine.doctor.check_installation", ""),
        (["status", "run"], "pt_cascade.commands.batch.status.read_status", ""),
        (
            ["sweep", "t", "--qrels", "q"],
            "pt_cascade.commands.sweep.sweep_sources",
            "nothing is kept: the same command begins again",
        ),
        (["run", "a % 1", "--out", "r"], "pt_cascade.commands.batch.run.find_source", KEPT),
    ],
)
def test_each_command_ends_with_one_line(
    words: list[str], place: str, kept: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Also those that have nothing to keep, and where it is pressed again while the line is written."""

    def press(*texts: str, **_: object) -> str:
        signal.raise_signal(signal.SIGINT)
        return texts[0]

    monkeypatch.setattr(place, press)
    monkeypatch.setattr("pt_cascade.cli.wrap", press)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a test in the background would ignore it
    try:
        assert main(words) == 130
    finally:
        signal.signal(signal.SIGINT, before)
    assert capsys.readouterr().err.splitlines() == ["; ".join(["interrupted", *filter(None, [kept])])]


@pytest.mark.java
def test_ctrl_c_is_not_taken_by_java(folder: Path) -> None:
    """A signal after Terrier's Java has started: status 130 and the same line."""
    words = ["search", "text", "--collection", "./c", "--engine", "terrier", "--cascade", "bm25 % 5"]
    with subprocess.Popen([sys.executable, "-c", PROGRAM, *words], stderr=subprocess.PIPE, text=True, cwd=folder) as process:
        assert process.stderr is not None
        assert any("Java started" in line for line in process.stderr)
        process.send_signal(signal.SIGINT)
        told = process.communicate(timeout=300)[1].split()
    assert process.returncode == 130
    assert " ".join(told).endswith(f"interrupted; {KEPT}")
