"""``pt-cascade score``: a collection's cascade, or runs made elsewhere, as a table on the disk."""

from __future__ import annotations

import json
from pathlib import Path

import ir_measures
import pandas as pd
import pytest
from toys.folders import write_folder
from toys.lines import paragraphs
from toys.rankers import ToyReranker, ToyRetriever

from pt_cascade import Cascade
from pt_cascade.cli import main
from pt_cascade.collections import make_collection
from pt_cascade.errors import CascadeError, CascadeWarning
from pt_cascade.execution import composing as recipes
from pt_cascade.execution import defaults
from pt_cascade.execution.score_table import ScoreTable
from pt_cascade.execution.scoring.score import score
from pt_cascade.trec import write_run

RUNS = "pt-cascade score --runs bm25=bm25.res t5=t5.res --out new"
DOCS = [{"docno": "d1", "text": "a red car"}, {"docno": "d3", "text": "a blue car"}]
BM25 = pd.DataFrame({"qid": ["1", "1", "2"], "docno": ["a", "b", "a"], "score": [2.0, 1.0, 3.0]})


def told(*argv: object) -> list[str]:
    """Run the command; give what it prints."""
    return paragraphs("score", *argv)


def test_a_collection_is_scored_and_saved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The collection's default cascade, with the given options, over its judged queries; the table records its origin."""
    asked = []
    pipeline = Cascade.of(ToyRetriever(docs=8) % 5 >> ToyReranker() % 3)
    monkeypatch.setattr(defaults, "default_cascade", lambda *given, **options: asked.append((given, options)) or pipeline)
    monkeypatch.setenv("PT_CASCADE_CACHE", str(tmp_path / "cache"))
    topics = pd.DataFrame({"qid": ["1", "2", "3"], "query": ["red car", "horses", "never judged"]})
    judged = pd.DataFrame({"qid": ["1", "2"], "docno": "d", "label": 1})
    write_folder(make_collection("small", topics, judged, [{"docno": "d", "text": "a red car"}]), tmp_path / "small")
    options = ["--collection", tmp_path / "small", "--queries", 2, "--engine", "pisa", "--score-cache", tmp_path / "kept"]
    with pytest.warns(
        CascadeWarning, match=r"the scores of these stages are not cached: 'toy_reranker'"
    ):  # who could tell which toy
        lines = told(*options, "--out", tmp_path / "table")
    table = ScoreTable.load(tmp_path / "table")
    assert lines == [repr(table), f"saved in {tmp_path / 'table'}: pt_cascade.ScoreTable.load({str(tmp_path / 'table')!r})"]
    assert lines[0].startswith("ScoreTable(2 queries; pairs scored: toy ")
    assert (table.about["collection"], table.topics["qid"].tolist()) == (str(tmp_path / "small"), ["1", "2"])
    assert table.paths[0].cutoffs == (5, 3)
    (((opened,), told_of),) = asked
    assert (opened.name, told_of) == (str(tmp_path / "small"), {"engine": "pisa", "reranker": None, "verbose": True})


def test_a_cascade_may_be_written_in_a_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It reaches ``parse_cascade`` with the engine."""
    asked = []
    pipeline = Cascade.of(ToyRetriever(docs=8) % 5 >> ToyReranker() % 3)
    monkeypatch.setattr(recipes, "parse_cascade", lambda *given, **options: asked.append((*given, options)) or pipeline)
    monkeypatch.setenv("PT_CASCADE_CACHE", str(tmp_path / "cache"))
    judged = pd.DataFrame({"qid": ["1"], "docno": "d", "label": 1})
    topics = pd.DataFrame({"qid": ["1"], "query": ["red car"]})
    write_folder(make_collection("small", topics, judged, [{"docno": "d", "text": "a red car"}]), tmp_path / "small")
    of = ["--collection", tmp_path / "small", "--cascade", "bm25 % 5"]
    told(*of, "--engine", "pisa", "--out", tmp_path / "table")
    ((line, _, options),) = asked
    assert (line, options) == ("bm25 % 5", {"engine": "pisa", "verbose": True})


def test_what_is_scored_once_is_found_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another table of the same collection, cascade and queries, and the quickstart, score nothing."""
    scored = []
    scoring = "pt_cascade.execution.scoring.score.score"
    monkeypatch.setattr(scoring, lambda *given, **options: scored.append(given) or score(*given, **options))
    pipeline = Cascade.of(ToyRetriever(docs=8) % 5 >> ToyReranker() % 3)
    monkeypatch.setattr(defaults, "default_cascade", lambda *_, **__: pipeline)
    monkeypatch.setenv("PT_CASCADE_CACHE", str(tmp_path / "cache"))
    topics = pd.DataFrame({"qid": ["1", "2"], "query": ["red car", "blue car"]})
    judged = pd.DataFrame({"qid": ["1", "2"], "docno": ["d1", "d3"], "label": 1})
    write_folder(make_collection("small", topics, judged, DOCS), tmp_path / "small")
    told("--collection", tmp_path / "small", "--out", tmp_path / "one")
    told("--collection", tmp_path / "small", "--out", tmp_path / "two")
    paragraphs("quickstart", "--collection", tmp_path / "small")
    assert len(scored) == 1
    pd.testing.assert_frame_equal(ScoreTable.load(tmp_path / "one").frame, ScoreTable.load(tmp_path / "two").frame)
    told("--collection", tmp_path / "small", "--queries", 1, "--out", tmp_path / "three")
    assert len(scored) == 2


def test_runs_made_elsewhere_become_a_table(tmp_path: Path) -> None:
    """The first run is the first stage's; what a later one lacks is refused, or left out and counted."""
    write_run(BM25, tmp_path / "bm25.res")
    write_run(BM25.iloc[[0, 2]], tmp_path / "t5.res")
    runs = ["--runs", f"bm25={tmp_path / 'bm25.res'}", f"t5={tmp_path / 't5.res'}", "--out", tmp_path / "table"]
    with pytest.raises(CascadeError, match="the runs do not make a score table"):
        told(*runs)
    first, missing, last = told(*runs, "--missing", "leave")
    assert first == "ScoreTable(2 queries; pairs scored: bm25 3, t5 2)"
    assert [line.split() for line in missing.splitlines()[2:]] == [["t5", "1", "1", "0"]]
    assert last.startswith("saved in ")
    assert ScoreTable.load(tmp_path / "table").stages == ("bm25", "t5")


@pytest.mark.filterwarnings("always:1 of 2 judged queries are not in the runs:pt_cascade.errors.CascadeWarning")
def test_a_judged_query_that_a_run_lacks_counts_0(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Golden: ir_measures on the same files, .5 where query 3 found nothing; given topics alone count, as in pt.Experiment."""
    run, qrels, topics = tmp_path / "bm25.res", tmp_path / "qrels.txt", tmp_path / "topics.tsv"
    write_run(BM25.head(2), run)
    qrels.write_text("1 0 a 1\n3 0 a 1\n")
    topics.write_text("1\tfirst\n2\tsecond\n")
    theirs = ir_measures.calc_aggregate(
        [ir_measures.RR], ir_measures.read_trec_qrels(str(qrels)), ir_measures.read_trec_run(str(run))
    )
    assert theirs == {ir_measures.RR: 0.5}
    out = tmp_path / "all.csv"
    words = ["--qrels", str(qrels), "--measures", "RR", "--out", str(out), "--overwrite"]
    told("--runs", f"bm25={run}", "--out", tmp_path / "table")
    assert main(["sweep", str(tmp_path / "table"), *words]) == 0
    assert pd.read_csv(out)["RR"].tolist() == [0.5, 0.5]
    printed = capsys.readouterr()
    assert "RR; 2 queries)" in printed.out
    assert "1 of 2 judged queries are not in the runs, e.g. '3', and count 0, as in trec_eval -c" in printed.err
    told("--runs", f"bm25={run}", "--topics", topics, "--out", tmp_path / "asked")
    assert main(["sweep", str(tmp_path / "asked"), *words]) == 0
    assert pd.read_csv(out)["RR"].tolist() == [1, 1]
    printed = capsys.readouterr()
    assert "RR; 1 queries, 1 more judged but not in the table, 1 more not judged)" in printed.out
    assert printed.err == ""


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (
            ["--collection", "pydocs", "--engine", "pisa", "--runs", "a=b", "--out", "."],
            "scoring cannot start:\n  - --out . exists\n  - --runs cannot be combined with --collection, --engine\n"
            "Fix: pt-cascade score --collection pydocs --engine pisa --out .-new, or pt-cascade score --runs a=b --out .-new",
        ),
        (["--out", "."], "scoring cannot start: --out . exists. Fix: --overwrite, or --out of a new path"),
        (
            ["--missing", "last", "--topics", "t.tsv", "--out", "new"],
            "scoring cannot start:\n  - --missing needs --runs\n  - --topics needs --runs\n"
            f"Fix: pt-cascade score --collection pydocs --out new, or {RUNS}",
        ),
        (
            ["--runs", "bm25.res", "t5=a", "t5=b", "=c", "--out", "new"],
            "these runs cannot be read:\n  - 'bm25.res' is not STAGE=FILE\n  - '=c' is not STAGE=FILE\n"
            f"  - stage 't5' is repeated\nFix: {RUNS}",
        ),
    ],
)
def test_invalid_options_are_reported_before_anything_runs(
    argv: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All problems at once, and a line that works."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CascadeError) as error:
        told(*argv)
    assert str(error.value) == message
    assert list(tmp_path.iterdir()) == []


def test_the_fusion_that_score_names_is_taken_by_sweep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A table has none: the printed option gives that of the cascade."""
    cascade = Cascade.of(ToyRetriever(docs=8) % 5 >> ToyReranker() % 3).fused({"toy": 1, "toy_reranker": 3})
    monkeypatch.setattr(defaults, "default_cascade", lambda *_, **__: cascade)
    monkeypatch.setenv("PT_CASCADE_CACHE", str(tmp_path / "cache"))
    topics = pd.DataFrame({"qid": ["1", "2"], "query": ["red car", "blue car"]})
    judged = pd.DataFrame({"qid": ["1", "2"], "docno": ["d1", "d3"], "label": 1})
    write_folder(make_collection("small", topics, judged, DOCS), tmp_path / "small")
    *_, hint = told("--collection", tmp_path / "small", "--out", tmp_path / "table")
    options = hint.partition("as --fused ")[2].split()
    assert options == ["toy=0.25", "toy_reranker=0.75"]
    swept = paragraphs("sweep", tmp_path / "table", "--collection", tmp_path / "small", "--fused", *options)
    assert "1 fusion of toy → toy_reranker" in "\n".join(swept)


@pytest.mark.parametrize("given", ["queries.jsonl", "."])
def test_runs_have_the_topics_of_beir(given: str, tmp_path: Path) -> None:
    """In the file, or in the folder of the collection."""
    write_run(BM25, tmp_path / "bm25.res")
    queries = {qid: f"query {qid}" for qid in (*BM25["qid"].unique(), "more")}
    lines = {
        "queries.jsonl": [{"_id": qid, "text": text} for qid, text in queries.items()],
        "corpus.jsonl": [{"_id": docno, "text": "text"} for docno in BM25["docno"].unique()],
    }
    for name, records in lines.items():
        (tmp_path / name).write_text("".join(f"{json.dumps(record)}\n" for record in records))
    (tmp_path / "qrels").mkdir()
    pair = BM25.iloc[0]
    (tmp_path / "qrels" / "test.tsv").write_text(f"query-id\tcorpus-id\tscore\n{pair['qid']}\t{pair['docno']}\t1\n")
    told("--runs", f"bm25={tmp_path / 'bm25.res'}", "--topics", tmp_path / given, "--out", tmp_path / "table")
    assert dict(ScoreTable.load(tmp_path / "table").topics.to_numpy()) == queries


def test_more_queries_than_there_are_are_said_to_be_fewer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once, with both numbers; none where there are as many."""
    monkeypatch.setattr(defaults, "default_cascade", lambda *_, **__: Cascade.of(ToyRetriever(docs=8) % 5 >> ToyReranker() % 3))
    monkeypatch.setenv("PT_CASCADE_CACHE", str(tmp_path / "cache"))
    topics = pd.DataFrame({"qid": ["1", "2"], "query": ["red car", "blue car"]})
    judged = pd.DataFrame({"qid": ["1", "2"], "docno": "d1", "label": 1})
    write_folder(make_collection("small", topics, judged, [{"docno": "d1", "text": "a red car"}]), tmp_path / "small")
    of = ["--collection", tmp_path / "small"]
    with pytest.warns(CascadeWarning, match="--queries 1000: .*small has 2 judged queries, and all are taken"):
        told(*of, "--queries", 1000, "--out", tmp_path / "one")
    told(*of, "--queries", 2, "--out", tmp_path / "two")
