"""Messages at the command line: options in place of Python, and nothing that controls a terminal."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pandas as pd
import pytest
from toys.folders import write_folder

from pt_cascade.cli import main
from pt_cascade.collections import make_collection
from pt_cascade.execution import composing
from pt_cascade.reporting.cures import translate
from pt_cascade.trec import write_run

OPTIONS = dict.fromkeys(
    (
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
        "seconds",
        "folds",
    )
)


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ('Fix: missing="leave" leaves these pairs', 'Fix: --missing "leave" leaves these pairs'),
        ("budget_ms is given, but the sweep has no cost", "--budget-ms is given, but the sweep has no cost"),
        ("no: seconds is -1.0, expected more", "no: --seconds is -1.0, expected more"),
        ("no: seconds is 0, expected a number above 0, or None", "no: --seconds is 0, expected a number above 0"),
        ("percentile is 0.5, expected 1 to 100, or None for the mean", "--percentile is 0.5, expected 1 to 100, or 0 for the mean"),
        (
            "no:\n  - folds is 1, expected 2\n  - level is 2, expected 1",
            "no:\n  - --folds is 1, expected 2\n  - level is 2, expected 1",
        ),
        ("40 would take 21 s, and seconds is 2; p95 takes 20", "40 would take 21 s, and --seconds is 2; p95 takes 20"),
        ("no: step is 0.3, expected 0.1", "no: --weights is 0.3, expected 0.1"),
        ("pass percentile=None", "pass --percentile 0"),
        ("Fix: fresh=True, or out='a/new/folder'", "Fix: --fresh, or --out 'a/new/folder'"),
        ("Fix: shard_queries=100, prefixes=['all']", "Fix: --shard-queries 100 --prefixes all"),
        ('Fix: open_collection("pydocs")', 'Fix: --collection "pydocs"'),
        ("Fix: parse_cascade(\"bm25 % 9 >> mono_t5('m') % 2\", 'pydocs')", "Fix: --cascade \"bm25 % 9 >> mono_t5('m') % 2\""),
        (
            'Fix: build_index(docs, path, engine="terrier", language="any"); for a folder: echo any > language.txt there',
            "Fix: for a collection in a folder: echo any > language.txt there",
        ),
        ("Fix: parse_cascade('bm25 % 9 >> bi_encoder % 2', 'pydocs')", "Fix: --cascade 'bm25 % 9 >> bi_encoder % 2'"),
        ('Fix: fusions(["bm25", "t5"], 0.1)', "Fix: --weights 0.1"),
        # of several cures those that are no Python stay
        ("no. Fix: run(cascade, topics)", "no"),
        ("no:\n  - one\n  - two\nFix: run(cascade, topics)", "no:\n  - one\n  - two"),
        ("no. Fix: export KEY=..., or llm_judge(..., base_url=...) for another server", "no. Fix: export KEY=..."),
        ("Fix: rm -r /a, and build_vectors again", "Fix: rm -r /a, and the same command again"),
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


LINE = "bm25 % 9 >> cross_encoder('m', max_length=9) >> fused(bm25=1, x=2) % 5"


@pytest.mark.parametrize(
    ("fix", "options", "expected"),
    [
        ("cascade.fused({'bm25': 1, 't5': 0.5})", {"fused": ["x=1"]}, "--fused bm25=1 t5=0.5"),
        (
            "cascade.fused({'bm25': 1, 'cross_encoder': 1})",
            {"cascade": LINE},
            f'--cascade "{LINE.replace("x=2", "cross_encoder=1")}"',
        ),
        ("cross_encoder(model, max_length=512)", {"cascade": LINE}, f'--cascade "{LINE.replace("length=9", "length=512")}"'),
        ("reference=(100, None, 20), the nearest that is", {"reference": (9,)}, "--reference 100,none,20, the nearest that is"),
        (
            "pt-cascade score --collection pydocs --out scores",
            {"collection": "./my docs", "table": "no such"},
            "pt-cascade score --collection './my docs' --out 'no such'",
        ),
        ("pt-cascade score --collection pydocs --out scores", {"table": "."}, "pt-cascade score --collection pydocs --out scores"),
        (
            "--cascade 'bm25 % 5'",
            {"command": "run", "words": ["run", "bm25 % x", "--collection", "./my docs"], "cascade": "bm25 % x"},
            "pt-cascade run 'bm25 % 5' --collection './my docs'",
        ),
        ('open_collection("pydocs")', {"collection": "misspelt"}, '--collection "pydocs"'),
    ],
)
def test_a_cure_has_the_words_that_were_typed(fix: str, options: dict[str, object], expected: str) -> None:
    """Golden: by hand."""
    assert translate(f"no. Fix: {fix}", options) == f"no. Fix: {expected}"


UNCOVERED = "{} at {} needs documents beyond the first 9 of each query scored by 'bm25'. Fix: score(cascade, topics{}"


@pytest.mark.parametrize(
    ("message", "line"),
    [
        (("bm25 → t5", "(99, 5)", ", depths=(99,))"), None),
        (("bm25 → bi_encoder", "(99, 5)", ", depths=(99,))"), "'bm25 → 99 · bi_encoder → 5'"),
        (("bm25 → dense → mono_t5", "(9, None, 5)", ", depths=(99, None))"), "\"bm25 → 99 · dense · mono_t5('MODEL') → 5\""),
    ],
)
def test_cut_offs_that_are_not_covered_have_a_command(message: tuple[str, str, str], line: str | None) -> None:
    """Golden: by hand; a stage of Python has none, and the table that was typed is kept."""
    told = translate(UNCOVERED.format(*message), {"table": ".", "collection": "./c"})
    assert told.partition("Fix: ")[2] == (f"pt-cascade score --collection ./c --cascade {line} --out scores" if line else "")


WRONG = (
    "bm25 >> fused(bm25=1) % 5",
    "bm25 % 10 >> fused(bm25=1)",
    "bm25 % 10 >> cross_encoder % 3",
    "bm25 % 0",
    "bm25 % 10 >> bm25 >> fused(bm25=0, b=1) % 5 % x",
)


@pytest.mark.parametrize("line", WRONG)
def test_the_cure_of_a_line_is_a_line(line: str, capsys: pytest.CaptureFixture[str]) -> None:
    """What is printed after --cascade parses as a cascade; nothing is said in Python."""
    assert main(["search", "foo", "--cascade", line]) == 1
    told = capsys.readouterr().err
    option, cure = shlex.split(told.rpartition("Fix: ")[2])
    assert option == "--cascade"
    composing.check_line(cure)


def test_the_cure_of_a_fusion_works(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Of a stage that there is not, of weights that are all 0, and of a step that does not divide 1."""
    frame = pd.DataFrame({"qid": [*"1122"], "docno": [*"abab"], "score": [2.0, 1.0, 1.0, 2.0]})
    for name in ("bm25", "t5"):
        write_run(frame, tmp_path / f"{name}.res")
    (tmp_path / "qrels.txt").write_text("1 0 a 1\n2 0 a 1\n")
    words = [f"{name}={tmp_path / name}.res" for name in ("bm25", "t5")]
    assert main(["score", "--runs", *words, "--out", str(tmp_path / "table")]) == 0
    words = ["sweep", str(tmp_path / "table"), "--qrels", str(tmp_path / "qrels.txt"), "--measures", "RR"]
    for wrong in (["--fused", "bm25=1", "t6=1"], ["--fused", "bm25=0", "t5=0"], ["--weights", "0.3"]):
        assert main([*words, *wrong]) == 1
        assert main([*words, *shlex.split(capsys.readouterr().err.rpartition("Fix: ")[2])]) == 0


def test_the_cure_of_cut_offs_that_are_not_covered_works(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With --qrels the collection is the one that was scored."""
    monkeypatch.setenv("PT_CASCADE_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    topics = pd.DataFrame({"qid": ["1", "2"], "query": ["red", "car"]})
    qrels = pd.DataFrame({"qid": ["1", "2"], "docno": ["d1", "d2"], "label": 1})
    docs = [{"docno": f"d{n}", "text": f"a red car {n}"} for n in range(5)]
    write_folder(make_collection("toys", topics, qrels, docs), tmp_path / "c")
    assert main(["score", "--collection", "./c", "--cascade", "bm25 % 2", "--out", "table"]) == 0
    for judged in (["--collection", "./c"], ["--qrels", "./c/qrels.txt"]):
        assert main(["sweep", "table", *judged, "--measures", "RR", "--k1", "4"]) == 1
        command, *words = shlex.split(capsys.readouterr().err.rpartition("Fix: ")[2])
        assert command == "pt-cascade"
        assert words == ["score", "--collection", "./c", "--cascade", "bm25 → 4", "--out", "table-new"]
    assert main(words) == 0
    assert main(["sweep", "table-new", "--collection", "./c", "--measures", "RR", "--k1", "4"]) == 0


def test_files_that_are_missing_are_made_under_their_names(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """All of them at once; a folder is no file of timings."""
    table, timings = tmp_path / "my table", tmp_path / "my timings"
    assert main(["choose", str(table), "--collection", "./docs", "--timings", str(timings)]) == 1
    made = [f"pt-cascade {name} --collection ./docs --out '{path}'" for name, path in (("score", table), ("profile", timings))]
    assert capsys.readouterr().err.endswith(f"Fix: {'; '.join(made)}\n")
    assert main(["choose", str(table), "--collection", "./docs", "--timings", str(tmp_path)]) == 1
    assert f"--timings {tmp_path} is a folder, expected a file" in capsys.readouterr().err


def test_a_collection_and_runs_are_scored_apart_as_they_were_typed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Two commands; where --out is a folder of other files, one with a new path."""
    assert main(["score", "--collection", "./docs", "--runs", "a=a.res", "--out", "x y"]) == 1
    cures = ["pt-cascade score --collection ./docs --out 'x y'", "pt-cascade score --runs a=a.res --out 'x y'"]
    assert capsys.readouterr().err.endswith(f"Fix: {', or '.join(cures)}\n")
    (tmp_path / "mine").touch()
    assert main(["score", "--collection", "./docs", "--overwrite", "--out", str(tmp_path)]) == 1
    assert capsys.readouterr().err.endswith(f"Fix: pt-cascade score --collection ./docs --out {tmp_path}-new\n")


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
