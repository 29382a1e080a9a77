"""What a command prints: lines of at most 80 columns in a file, a query in several words, whole commands to copy."""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path

import pandas as pd
import pytest
from toys.folders import write_folder
from toys.rankers import FakeClock, ToyReranker, ToyRetriever

from pt_cascade import Cascade
from pt_cascade.cli import main
from pt_cascade.collections import make_collection
from pt_cascade.commands import profile
from pt_cascade.execution import defaults, profiling
from pt_cascade.trec import write_run

LONG = "a_stage_of_a_rather_long_name"
TOPICS = pd.DataFrame({"qid": [*"123456"], "query": [f"query {n}" for n in range(6)]})
QRELS = pd.DataFrame({"qid": TOPICS["qid"], "docno": "d1", "label": 2})
WORDS = {
    "score": ["score", "--collection", "./toys", "--out", "table"],
    "profile": ["profile", "--collection", "./toys", "--out", "timings"],
    "sweep": ["sweep", "runs", "--qrels", "./toys/qrels.txt", "--costs", f"{LONG}=1", f"{LONG}2=2", "--rel", "2", "--measures"],
    "choose": ["choose", "runs", "--qrels", "./toys/qrels.txt", "--costs", f"{LONG}=1", f"{LONG}2=2", "--folds", "2"],
    "search": ["search", "query", "1", "--collection", "./toys"],
    "quickstart": ["quickstart", "--collection", "./toys"],
    "stages": ["stages"],
    "cache": ["cache", "list"],
}
WORDS["sweep"] += ["nDCG@10", "R(rel=2)@100", "RR(rel=2)@10", "AP(rel=2)@100"]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a collection, whose default cascade is of toys with long names, and a table of runs."""
    monkeypatch.setenv("PT_CASCADE_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    docs = [{"docno": f"d{n}", "text": f"text {n} " * 40} for n in range(12)]
    write_folder(make_collection("toys", TOPICS, QRELS, docs), tmp_path / "toys")
    pipeline = ToyRetriever(docs=12) % 10 >> ToyReranker() % 6 >> ToyReranker(levels=9) % 5
    cascade = Cascade.of(pipeline).with_stage(1, name=LONG).with_stage(2, name=f"{LONG}2")
    monkeypatch.setattr(defaults, "default_cascade", lambda *_, **__: cascade)
    monkeypatch.setattr(profile, "profile", partial(profiling.profile, clock=FakeClock()))
    found = pipeline.transform(TOPICS)
    for name in ("bm25", LONG, f"{LONG}2"):
        write_run(found, f"{name}.res")
    runs = [f"{name}={name}.res" for name in ("bm25", LONG, f"{LONG}2")]
    assert main(["score", "--runs", *runs, "--out", "runs"]) == 0
    return tmp_path


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("command", WORDS)
def test_no_line_is_wider_than_80_columns(
    command: str, here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """But for words that have no space, as the names of stages and folders may be, and what is copied."""
    assert here.is_dir()
    capsys.readouterr()
    monkeypatch.delenv("COLUMNS")
    monkeypatch.setattr("sys.__stdout__", None)  # no terminal, however the tests are run
    assert main(WORDS[command]) == 0
    out, err = capsys.readouterr()
    prose = re.split("In Python:|At the command line:|Open in a browser:", out)[0].splitlines() + [
        line for line in err.splitlines() if not line.startswith("Fix: ")
    ]
    assert [line for line in prose if len(line) > 80 and max(map(len, line.split())) < 60] == []
    assert prose


class Paid(ToyReranker):
    """A stage whose calls cost money, as those of a language model do."""

    accounts = ("calls",)
    asked = 0

    def transform(self, inp: pd.DataFrame) -> pd.DataFrame:
        """Count the calls."""
        Paid.asked += 1
        return super().transform(inp).assign(calls=1)


@pytest.mark.filterwarnings("ignore")
def test_a_search_pays_once(here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """The search that warms the models up is left out where a stage counts its calls."""
    assert here.is_dir()
    cascade = Cascade.of(ToyRetriever(docs=12) % 5 >> Paid() % 3)
    monkeypatch.setattr(defaults, "default_cascade", lambda *_, **__: cascade)
    capsys.readouterr()
    Paid.asked = 0
    assert main(["search", "query", "1", "--collection", "./toys"]) == 0
    assert Paid.asked == 1
    assert "ms in all, with the loading of models\n" in capsys.readouterr().out


@pytest.mark.filterwarnings("ignore")
def test_the_quickstart_writes_its_page(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """In the cache, where cache list finds it; it is named."""
    capsys.readouterr()
    assert main(["quickstart", "--collection", "./toys"]) == 0
    page = Path(capsys.readouterr().out.partition("Open in a browser:\n")[2].splitlines()[0])
    assert page.read_text(encoding="utf-8").startswith("<!doctype html>")
    assert page.is_relative_to(here / "cache")
    assert main(["cache", "list", "--kind", "page"]) == 0
    assert "page" in capsys.readouterr().out


@pytest.mark.filterwarnings("ignore")
def test_several_words_are_one_query(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As with quotes, but for the times."""
    assert here.is_dir()
    shown = []
    for words in (["query", "1"], ["query 1"]):
        capsys.readouterr()
        assert main(["search", *words, "--collection", "./toys", "--top", "2"]) == 0
        shown.append([line for line in capsys.readouterr().out.splitlines() if " ms" not in line])
    assert shown[0] == shown[1]
    assert shown[0][0].startswith("'query 1' in ")
