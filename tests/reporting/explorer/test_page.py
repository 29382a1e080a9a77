"""The file of the page, without a browser: what it refuses, what it holds, and the command that writes it."""

from __future__ import annotations

import base64
import gzip
import re
import shlex
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from toys.scored import make_scores, make_sweep, make_timings

import pt_cascade as ptc
from pt_cascade.analysis.pruning import Margin
from pt_cascade.cli import main
from pt_cascade.errors import CascadeError, MissingError, SweepError
from pt_cascade.reporting.explorer.packing import pack
from pt_cascade.reporting.explorer.page import build_page

pytest.importorskip("bokeh", reason="pip install 'pt_cascade[report]'")
pytestmark = pytest.mark.filterwarnings("ignore::pt_cascade.errors.CascadeWarning")  # few queries


@given(arrays.arrays(st.sampled_from([np.int64, np.int32, np.float32, np.float64]), st.integers(0, 50)))
def test_packed_arrays_are_read_as_they_were(array: np.ndarray) -> None:
    """Golden: gzip and base64 of the standard library, little-endian as in a browser; no value changes, no type is too small."""
    if array.dtype.kind == "i":
        array = array.astype(np.int32)
    packed = pack(array)
    read = np.frombuffer(gzip.decompress(base64.b64decode(packed["data"])), np.dtype(packed["type"]).newbyteorder("<"))
    np.testing.assert_array_equal(read, array)


def test_the_page_is_whole(tmp_path: Path) -> None:
    """One file without the address of another one, beside those that Bokeh's licence and code name as text."""
    sweep = make_sweep(*make_scores(20, 10, 2))
    ptc.report(sweep, ptc.choose(sweep, "nDCG@10"), tmp_path / "page.html")
    assert [file.name for file in tmp_path.iterdir()] == ["page.html"]
    text = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert not re.search(r"<(script|link|img|iframe|style)[^>]*\s(src|href)=", text)
    assert "default-src 'none'" in text


@pytest.mark.parametrize("wrong", ["stages", "vector", "measure"])
def test_a_choice_of_another_sweep_is_refused(wrong: str, tmp_path: Path) -> None:
    """The error names what was chosen, and no file is written."""
    scores, labels = make_scores(20, 10, 2)
    sweep = make_sweep(scores, labels, ("nDCG@10", "RR"), grid=ptc.grid([2, 5, 10], None))
    choice = ptc.choose(sweep, "nDCG@10")
    others = {
        "stages": make_sweep({"s1": scores["s1"], "other": scores["s2"]}, labels, grid=sweep.grid),
        "vector": make_sweep(scores, labels, grid=[(7, None)]),
        "measure": make_sweep(scores, labels, ("RR",), grid=sweep.grid),
    }
    rules = ptc.sweep_rules(sweep.table, sweep.replayer.judged.qrels, ["RR"], (5, None), [{"s1": Margin(0.5)}])
    for other in (choice, rules):
        with pytest.raises(SweepError, match=f"this is not a sweep: it is a {type(other).__name__}"):
            ptc.report(other, choice, tmp_path / "page.html")
    with pytest.raises(SweepError, match="the choice is of another sweep") as caught:
        ptc.report(others[wrong], choice, tmp_path / "page.html")
    assert "of s1, s2 by nDCG@10" in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_a_sweep_that_is_too_large_is_refused(tmp_path: Path) -> None:
    """The cure is a smaller grid."""
    sweep = make_sweep(*make_scores(10, 10, 2))
    with pytest.raises(SweepError, match="1,000,001 rows, expected at most 1,000,000") as caught:
        ptc.report(replace(sweep, means=np.zeros((1_000_001, 1))), ptc.choose(sweep, "nDCG@10"), tmp_path / "page.html")
    assert 'grid="log"' in str(caught.value)


def test_a_missing_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without bokeh the error says what to install."""
    sweep = make_sweep(*make_scores(10, 10, 2))
    choice = ptc.choose(sweep, "nDCG@10")
    monkeypatch.setitem(sys.modules, "bokeh", None)
    with pytest.raises(MissingError, match=re.escape("pip install 'pt_cascade[report]'")):
        ptc.report(sweep, choice, tmp_path / "page.html")


def test_a_path_without_a_folder_is_refused_first(tmp_path: Path) -> None:
    """Before anything is computed."""
    with pytest.raises(CascadeError, match="nowhere"):
        ptc.report(None, None, tmp_path / "nowhere" / "page.html")


def test_the_command_writes_the_page(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """The page holds the command as it was typed; a page that exists stays, unless it is to be replaced."""
    monkeypatch.chdir(tmp_path)
    run = pd.DataFrame({"qid": [*"1122"], "docno": [*"abab"], "score": [2.0, 1.0] * 2})
    ptc.ScoreTable.from_runs({"bm25": run, "t5": run.assign(score=[1.0, 2.0] * 2)}).save("my table")
    ptc.trec.write_qrels(pd.DataFrame({"qid": ["1", "2"], "docno": ["b", "b"], "label": [1, 1]}), "qrels.txt")
    words = ["report", "my table", "--qrels", "qrels.txt", "--measure", "RR", "--folds", "2", "--costs", "t5=3"]
    assert main(words) == 0
    out = capsys.readouterr().out
    assert "page written to report.html" in out
    text = Path("report.html").read_text(encoding="utf-8")
    assert f'"command":"{shlex.join(["pt-cascade", *words])}"' in text
    assert out.splitlines()[0] in text.replace("&#39;", "'")
    assert main(words) == 1
    assert "--out report.html exists" in capsys.readouterr().err
    assert main([*words, "--overwrite", "--measures", "P@1", "AP"]) == 0
    assert '"name":"AP"' in Path("report.html").read_text(encoding="utf-8")


def test_the_command_shows_calibration(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a stage of the table; another name is an error before the page."""
    monkeypatch.chdir(tmp_path)
    sweep = make_sweep(*make_scores(30, 10, 2))
    sweep.table.save("scores")
    ptc.trec.write_qrels(sweep.replayer.judged.qrels, "qrels.txt")
    words = ["report", "scores", "--qrels", "qrels.txt", "--calibration"]
    assert main([*words, "s3"]) == 1
    assert "'s3' is not one of its stages s1, s2" in capsys.readouterr().err
    assert not Path("report.html").exists()
    assert main([*words, "s2"]) == 0
    assert '"about":"s2: 300 pairs of 30 queries' in Path("report.html").read_text(encoding="utf-8")


@pytest.mark.parametrize("percentile", [None, 90])
def test_each_measure_and_the_percentile_are_explained(percentile: float | None) -> None:
    """Those of the page and no others, a measure with its cut-off; one that few know with where it is explained."""
    scores, labels = make_scores(120, 20, 2)
    names = ("nDCG@5", "RR", "AP@20", "ERR@10", "infAP")
    sweep = make_sweep(scores, labels, names, cost=make_timings(("s1", "s2")).cost(), grid=ptc.grid([5, 20], None))
    page = build_page(sweep, ptc.choose(sweep, "nDCG@5", budget_ms=1e6, percentile=percentile))
    meanings = dict(re.findall("<dt>(.*?)</dt><dd>(.*?)</dd>", page))
    assert {*names} <= {*meanings}
    assert "(rel=2)" not in meanings
    shown, waiting = ("p95", 5) if percentile is None else ("p90", 10)
    assert [name for name in meanings if name.startswith("p")] == [shown]
    assert f"{waiting} of 100 wait longer" in meanings[shown]
    assert ("upper bound" in meanings[shown]) is (percentile is not None)
    assert "the first 5 documents" in meanings["nDCG@5"]
    assert "0: none in the ranking" in meanings["RR"]
    assert meanings["infAP"] == "See the page of ir_measures on measures."
    assert "{" not in "".join(meanings.values())


def test_one_vector_is_not_several() -> None:
    """The head of the page counts as a person does."""
    sweep = make_sweep(*make_scores(20, 10, 2), grid=[(5, None)])
    assert "s1 → s2: 1 vector of cut-offs, 20 queries" in build_page(sweep, ptc.choose(sweep, "nDCG@10"))
