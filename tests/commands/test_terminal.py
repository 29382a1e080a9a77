"""Data with control characters: no command and no message clears the screen, fills the clipboard or turns the text."""

from __future__ import annotations

import pickle
import re
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pyterrier as pt
import pytest
from ir_measures import RR
from toys.folders import write_folder
from toys.rankers import ToyReranker, ToyRetriever

from pt_cascade import Cascade, ScoreTable, choose, compare, profile, run, score, sweep, trec
from pt_cascade.analysis.cost.timings import Timings
from pt_cascade.cascade.stage import Stage
from pt_cascade.cli import main
from pt_cascade.collections import make_collection
from pt_cascade.errors import CascadeError, CascadeWarning, PipelineError, TableError, escape
from pt_cascade.reporting.tables import effectiveness_table, format_table

EVIL = "a\x1b[2J\x1b]52;c;eA==\x07\x9b2J\u202eb"  # clear-screen, clipboard (OSC 52), the same in one byte, right-to-left override
CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")
TOPICS = pd.DataFrame({"qid": [f"{EVIL}{n}" for n in range(4)], "query": [f"red {EVIL} car {n}" for n in range(4)]})
QRELS = pd.DataFrame({"qid": TOPICS["qid"], "docno": "d0", "label": 1})
PIPELINE = ToyRetriever(docs=8) % 6 >> ToyReranker() % 3


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A collection with such qids, queries and texts."""
    monkeypatch.setenv("PT_CASCADE_CACHE", str(tmp_path / "cache"))
    docs = [{"docno": f"d{n}", "text": f"a red {EVIL} car {EVIL} " * (n + 1)} for n in range(9)]
    write_folder(make_collection("evil", TOPICS, QRELS, docs), tmp_path / "evil")
    return tmp_path / "evil"


def test_control_characters_are_escaped() -> None:
    """Golden: by hand; arrows, tabs and line ends stay."""
    assert escape("a\x1b[2Jb\x1b]52;c;eA==\x07\r\u202e→\t\n") == r"a\x1b[2Jb\x1b]52;c;eA==\x07\r\u202e" + "→\t\n"


def printed(capsys: pytest.CaptureFixture[str], *words: object) -> str:
    """Run a command, check what it prints, and return it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        main([str(word) for word in words])
    told = "".join(capsys.readouterr())
    assert not CONTROL.search(told)
    return told


def test_no_command_prints_control_characters(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Of queries, texts, qids, docnos and paths, in tables and in errors; what is printed shows them escaped."""
    bm25 = ["--collection", folder, "--cascade", "bm25 % 5"]
    assert r"car \x1b[2J" in printed(capsys, "search", f"red {EVIL} car", *bm25).replace(r"a\x1b", r"\x1b")
    assert "saved in" in printed(capsys, "score", *bm25, "--out", tmp_path / EVIL)
    runs = {name: tmp_path / f"{name}.res" for name in ("one", "two")}
    for name, path in runs.items():
        found = run(PIPELINE, TOPICS).results
        trec.write_run(found.assign(docno=[name if name == docno else docno for docno in found["docno"]]), path)
    trec.write_qrels(QRELS, tmp_path / "qrels.txt")
    table = tmp_path / "table"
    given = [f"{name}={path}" for name, path in runs.items()]
    assert "saved in" in printed(capsys, "score", "--runs", *given, "--out", table)
    assert "RR" in printed(capsys, "sweep", table, "--qrels", tmp_path / "qrels.txt", "--measures", "RR", "--costs", "two=3")
    assert "RR" in printed(
        capsys, "choose", table, "--qrels", tmp_path / "qrels.txt", "--measure", "RR", "--costs", "two=3", "--folds", "2"
    )
    assert r"\x1b" in printed(capsys, "score", "--runs", f"{EVIL}={runs['one']}", given[1], "--out", tmp_path / "refused")
    assert r"\x1b" in printed(capsys, "score", "--runs", f"one={tmp_path / EVIL}.res", given[1], "--out", tmp_path / "refused")
    (tmp_path / "bad.res").write_text(f"q Q0 {EVIL} 1 x t\n")
    assert r"\x1b" in printed(capsys, "score", "--runs", f"one={tmp_path / 'bad.res'}", given[1], "--out", tmp_path / "refused")
    missing = tmp_path / f"{EVIL}-none"
    for words in (["sweep", missing, "--qrels", tmp_path / "qrels.txt"], ["search", "a", "--cascade", EVIL]):
        assert r"\x1b" in printed(capsys, *words)
    assert r"\x1b" in printed(capsys, "search", "a", "--collection", missing)


def test_errors_and_warnings_are_escaped() -> None:
    """In each part, also after a pickle; the parts keep their text."""
    error = CascadeError(f"cannot read {EVIL}", [EVIL, EVIL], fix=f"rm {EVIL}")
    for one in (error, pickle.loads(pickle.dumps(error)), CascadeWarning(EVIL)):  # noqa: S301 - our own
        assert not CONTROL.search(str(one))
        assert r"\x1b[2J" in str(one)
    assert error.problems == (EVIL, EVIL)
    with pytest.warns(CascadeWarning) as told:
        warnings.warn(EVIL, CascadeWarning, stacklevel=1)
    assert not CONTROL.search(warnings.formatwarning(told[0].message, CascadeWarning, "f", 1, ""))


def test_a_stage_has_a_name_that_can_be_printed() -> None:
    """In a cascade, a table and timings; so no ``repr`` and no ``explain()`` shows another."""
    with pytest.raises(PipelineError, match="its name holds a character that is not printed"):
        Stage(EVIL, (ToyRetriever(),))
    with pytest.raises(PipelineError, match="its name holds a character that is not printed"):
        Cascade.of(PIPELINE).with_stage(0, name=EVIL)
    frame = run(PIPELINE, TOPICS).results
    with pytest.raises(TableError, match="its name holds a character that is not printed"):
        ScoreTable.from_runs({"one": frame, EVIL: frame})
    timings = profile(PIPELINE, TOPICS, repeats=1)
    with pytest.raises(TableError, match="holds a character that is not printed"):
        Timings(timings.frame.assign(stage=timings.frame["stage"] + EVIL))


@pytest.mark.filterwarnings("ignore::pt_cascade.errors.CascadeWarning")
def test_no_text_about_data_has_control_characters() -> None:
    """Tables, representations and explanations of queries and documents with such ids."""
    table, timings = score(PIPELINE, TOPICS), profile(PIPELINE, TOPICS, repeats=1)
    swept = sweep(table, QRELS, ["RR"], cost=timings.cost())
    choice = choose(swept, "RR", folds=2)
    shown = [table, timings, swept, choice, Cascade.of(PIPELINE), timings.cost(), swept.cost]
    texts = [*map(repr, shown), choice.explain(), choice.explain(details=True)]
    texts += [effectiveness_table(compare(PIPELINE, TOPICS, QRELS, [RR]).effectiveness)]
    texts += [format_table(pd.DataFrame({EVIL: [EVIL], "n": [np.pi]}), {})]
    with pytest.raises(CascadeError) as error:
        run(ToyRetriever(docs=3) >> pt.apply.doc_score(lambda row: float(row["qid"])), TOPICS)
    assert not any(map(CONTROL.search, [*texts, str(error.value)]))
