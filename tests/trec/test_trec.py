"""TREC files: what is read, what is written, what is refused, and that trec_eval sees our order."""

from __future__ import annotations

import cProfile
import gzip
import math
import os
import subprocess
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import ir_measures
import numpy as np
import pandas as pd
import pytest
import pytrec_eval
from hypothesis import given, settings
from hypothesis import strategies as st

from pt_cascade.errors import CascadeError, FrameError, MissingError, RecordError
from pt_cascade.execution.score_table import ScoreTable
from pt_cascade.trec import read_qrels, read_run, read_topics, write_qrels, write_run, write_topics

if TYPE_CHECKING:
    from collections.abc import Callable

LOWEST = -float(np.finfo(np.float32).max)
TINY = float(np.finfo(np.float32).tiny)
NOTHING = "\x00\ufeff"
WORDS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters=NOTHING), min_size=1, max_size=8).filter(
    lambda word: len(word.split()) == 1 and word == word.strip()
)
IDS = st.one_of(WORDS, st.sampled_from(["NA", "null", "nan", "None", "1e5", "007", "-inf", "#1", '"', "True", "1_0"]))
LINES = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00\t\r\n"), max_size=20).filter(str.strip)
# few values, many of which are one value in float32; then anything that float32 holds, zeros of both signs and subnormals too
SCORES = st.one_of(
    st.sampled_from([1.0, 1.0 + 1e-9, 1.0 - 1e-9, 0.0, -0.0, 1e-40, -1e-40, 2.0, -3.5]),
    st.floats(-(2.0**100), 2.0**100, allow_nan=False),
)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in an empty folder, so that messages hold a short path."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that the examples of one property share."""
    return tmp_path_factory.mktemp("scratch")


def run_of(scores: list[float], docnos: list[str] | None = None, qid: str = "q") -> pd.DataFrame:
    """One query's results, in the order given."""
    names = docnos or [f"d{i}" for i in range(len(scores))]
    return pd.DataFrame({"qid": [qid] * len(scores), "docno": names, "score": scores})


def in_rank_order(results: pd.DataFrame) -> list[str]:
    """The docnos as the tie rule ranks them."""
    return results.sort_values("score", ascending=False, kind="stable")["docno"].tolist()


def trec_eval_order(path: Path, qid: str = "q") -> list[str]:
    """The docnos as trec_eval ranks them: where does each stand if it alone is relevant?"""
    with path.open() as lines:
        run = pytrec_eval.parse_run(lines)
    docnos = list(run[qid])
    evaluator = pytrec_eval.RelevanceEvaluator({docno: {docno: 1} for docno in docnos}, {"recip_rank"})
    found = evaluator.evaluate(dict.fromkeys(docnos, run[qid]))
    return sorted(docnos, key=lambda docno: -found[docno]["recip_rank"])


# reading


def test_real_runs_are_read_as_trec_eval_reads_them(dl19_folder: Path) -> None:
    """Every published run gives the documents and scores of pytrec_eval's own parser, ranked 0, 1, ... by falling score."""
    paths = sorted((dl19_folder / "runs").glob("*.res.gz"))
    assert len(paths) >= 25
    for path in paths:
        ours = read_run(path)
        with gzip.open(path, "rt") as lines:
            theirs = pytrec_eval.parse_run(lines)
        assert {qid: dict(zip(part["docno"], part["score"], strict=True)) for qid, part in ours.groupby("qid")} == theirs
        step = ours["qid"].eq(ours["qid"].shift())
        assert (ours["rank"] == ours.groupby("qid").cumcount()).all()
        assert (ours["score"].diff()[step] <= 0).all()


# nDCG@10 as the note of the material gives it (rounded to three digits, one of them up), by the files' own order
PUBLISHED = {
    "colbertprf.bm25-terrier": 0.479,
    "colbertprf.bm25-terrier.vbert": 0.686,
    "colbertprf.bm25-doct5q": 0.631,
    "colbertprf.bm25-doct5q.colbert": 0.714,
    "colbertprf.bm25-doct5q.vbert": 0.712,
    "gdebasis.bm25.monot5": 0.698,
    "rankllm.bm25-pyserini": 0.506,
    "rankllm.tasb": 0.721,
    "rankllm.spladepp-ed": 0.731,
    "rankllm.repllama": 0.744,
    "colbertprf.ance": 0.654,
    "colbertprf.bm25rm3-terrier": 0.516,
    "colbertprf.bm25rm3-terrier.colbert.bertqe": 0.718,
}


def trec_eval_ndcg(run: Path, qrels: Path) -> float:
    """nDCG@10 by trec_eval, the files read by ir_measures."""
    with gzip.open(run, "rt") if run.suffix == ".gz" else run.open() as lines:
        scored = list(ir_measures.read_trec_run(lines))
    judged = ir_measures.read_trec_qrels(str(qrels))
    return float(ir_measures.pytrec_eval.calc_aggregate([ir_measures.nDCG @ 10], judged, scored)[ir_measures.nDCG @ 10])


@pytest.mark.parametrize("name", PUBLISHED)
def test_real_runs_keep_their_published_effectiveness(dl19_folder: Path, name: str) -> None:
    """A run that is read and written again has, in trec_eval, the effectiveness that its own order has."""
    write_run(read_run(dl19_folder / "runs" / f"{name}.res.gz"), "again.res")
    write_qrels(read_qrels(dl19_folder / "qrels.txt"), "again.qrels")
    assert trec_eval_ndcg(Path("again.res"), Path("again.qrels")) == pytest.approx(PUBLISHED[name], abs=0.0006)


def test_ties_are_worth_a_line_in_a_table(dl19_folder: Path) -> None:
    """RepLLaMA's own file, whose scores tie, is half a point worse in trec_eval than its order is; written by us it is not."""
    original, qrels = dl19_folder / "runs" / "rankllm.repllama.res.gz", dl19_folder / "qrels.txt"
    run = read_run(original)
    write_run(run, "written.res")
    write_run(run.assign(score=-run["rank"].astype(float)), "ranks.res")
    assert trec_eval_ndcg(original, qrels) == pytest.approx(0.7384, abs=0.00005)
    assert trec_eval_ndcg(Path("written.res"), qrels) == trec_eval_ndcg(Path("ranks.res"), qrels) > 0.7438


def test_real_topics_and_qrels_are_read_whole(dl19_folder: Path) -> None:
    """The official counts of TREC DL 2019 (43 judged queries, 9,260 judgments, grades 0 to 3) come out."""
    topics, qrels = read_topics(dl19_folder / "topics.tsv"), read_qrels(dl19_folder / "qrels.txt")
    assert len(topics) == topics["qid"].nunique() == 43
    assert (len(qrels), set(qrels["label"])) == (9260, {0, 1, 2, 3})
    assert set(qrels["qid"]) == set(topics["qid"])


def test_equal_scores_are_ordered_by_the_files_rank_then_by_line() -> None:
    """The author's order decides among equal scores, and only there; queries come as they first appear."""
    lines = ["2 Q0 low 1 1.0 t", "2 Q0 third 9 5 t", "1 Q0 x 1 0 t", "2 Q0 first 7 5.0 t", "2 Q0 fourth 9 5e0 t", "2 Q0 best 8 6 t"]
    Path("a.res").write_text("\n".join(lines))
    run = read_run("a.res")
    assert run["docno"].tolist() == ["best", "first", "third", "fourth", "low", "x"]
    assert run["rank"].tolist() == [0, 1, 2, 3, 4, 0]


def test_ids_stay_text() -> None:
    """No id is taken for a number or for a missing value."""
    ids = ["NA", "null", "nan", "1e5", "007", "N/A", "#", '"', "True", "9" * 30]
    Path("a.res").write_text("".join(f"007\tQ0  {docno} {rank} 0.5 t\n" for rank, docno in enumerate(ids, 1)))
    Path("a.qrels").write_text("".join(f"{docno} 0 {docno} -1\n" for docno in ids))
    Path("a.tsv").write_text("".join(f"{docno}\t{docno}\n" for docno in ids))
    run, qrels, topics = read_run("a.res"), read_qrels("a.qrels"), read_topics("a.tsv")
    assert run["docno"].tolist() == qrels["qid"].tolist() == topics["query"].tolist() == ids
    assert set(run["qid"]) == {"007"}
    assert qrels["label"].tolist() == [-1] * len(ids)


@pytest.mark.parametrize(
    ("content", "rows"),
    [
        pytest.param(b"1\ta b\n2\tc\n", 2, id="plain"),
        pytest.param(b"1\ta b\n2\tc", 2, id="no last line end"),
        pytest.param(b"1\ta b\r\n2\tc\r\n", 2, id="windows"),
        pytest.param(b"\xef\xbb\xbf1\ta b\n2\tc\n\n \n\r\n", 2, id="byte order mark, blank end"),
        pytest.param(gzip.compress(b"1\ta b\n") + gzip.compress(b"2\tc\n"), 2, id="gzip in two parts, named otherwise"),
        pytest.param(b"", 0, id="empty"),
        pytest.param(b"\n\n", 0, id="blank"),
    ],
)
def test_files_come_in_many_shapes(content: bytes, rows: int) -> None:
    """Line ends, gzip, byte order marks and blank ends change nothing, whatever the file is called."""
    Path("topics.tsv").write_bytes(content)
    assert read_topics("topics.tsv")["query"].tolist() == ["a b", "c"][:rows]


def test_empty_files_have_their_columns_and_types() -> None:
    """A file without lines gives a frame without rows that fits beside any other."""
    Path("none").write_text("")
    assert {name: str(kind) for name, kind in read_run("none").dtypes.items()} == {
        "qid": str(pd.Series(dtype=str).dtype),
        "docno": str(pd.Series(dtype=str).dtype),
        "score": "float64",
        "rank": "int64",
    }
    assert read_qrels("none").dtypes["label"] == np.int64
    assert list(read_topics("none").columns) == ["qid", "query"]


def test_only_the_first_tab_of_a_topic_separates() -> None:
    """What follows the first tab is the query, blanks and all."""
    Path("topics.tsv").write_text("1\t a\tb \n")
    assert read_topics("topics.tsv")["query"].tolist() == [" a\tb "]


# what cannot be read

BAD = [
    pytest.param(
        read_run,
        b"1 Q0 a 1 0.5 t\n1 Q0 b 2 0.4\n1 Q0 c 3 0.3 t t\n",
        "cannot read bad, 2 of its 3 lines are bad:\n"
        "  - line 2: 5 columns, expected 6: '1 Q0 b 2 0.4'\n"
        "  - line 3: 7 columns, expected 6: '1 Q0 c 3 0.3 t t'\n"
        "Fix: make each line: qid Q0 docno rank score tag",
        id="run: columns",
    ),
    pytest.param(
        read_run,
        b"1 Q0 a 1 nan t\n1 Q0 b 2 inf t\n1 Q0 c 3 1e999 t\n1 Q0 d 4 1_0 t\n1 Q0 e 5 0x1 t\n1 Q0 f x - t\n",
        "cannot read bad, 6 of its 6 lines are bad:\n"
        "  - line 1: score is not a finite number: '1 Q0 a 1 nan t'\n"
        "  - line 2: score is not a finite number: '1 Q0 b 2 inf t'\n"
        "  - line 3: score is not a finite number: '1 Q0 c 3 1e999 t'\n"
        "  - line 4: score is not a finite number: '1 Q0 d 4 1_0 t'\n"
        "  - line 5: score is not a finite number: '1 Q0 e 5 0x1 t'\n"
        "  - and 1 more\n"
        "Fix: make each line: qid Q0 docno rank score tag",
        id="run: scores",
    ),
    pytest.param(
        read_run,
        b"1 Q0 a 1 1e999 t\n",
        "cannot read bad, 1 of its 1 line are bad: line 1: score is not a finite number: '1 Q0 a 1 1e999 t'."
        " Fix: make each line: qid Q0 docno rank score tag",
        id="run: only an overflow",
    ),
    pytest.param(
        read_run,
        b"1 Q0 a 1 9007199254740993 t\n1 Q0 b 2 9007199254740992 t\n1 Q0 c 3 -1695900000000000001 t\n1 Q0 d 4 1e23 t\n",
        "cannot read bad, 2 of its 4 lines are bad:\n"
        "  - line 1: score is a whole number that float64 would round: '1 Q0 a 1 9007199254740993 t'\n"
        "  - line 3: score is a whole number that float64 would round: '1 Q0 c 3 -1695900000000000001 t'\n"
        "Fix: make each line: qid Q0 docno rank score tag",
        id="run: rounded",
    ),
    pytest.param(
        read_run,
        b"1 Q0 a first x t\r\n",
        "cannot read bad, 1 of its 1 line are bad: line 1: rank is not a whole number, score is not a finite number: "
        "'1 Q0 a first x t\\r'. Fix: make each line: qid Q0 docno rank score tag",
        id="run: two cells",
    ),
    pytest.param(
        read_run,
        b"1 Q0 a 1 0.5 t\n2 Q0 a 1 0.5 t\n1 Q0 a 2 0.4 t\n1 Q0 a 3 0.3 t\n",
        "cannot read bad, 2 of its 4 lines are bad:\n"
        "  - line 3: qid, docno repeats line 1: '1 Q0 a 2 0.4 t'\n"
        "  - line 4: qid, docno repeats line 1: '1 Q0 a 3 0.3 t'\n"
        "Fix: make each line: qid Q0 docno rank score tag",
        id="run: repeated",
    ),
    pytest.param(
        read_run,
        b"1 Q0 \xff 1 0.5 t\n",
        "cannot read bad, 1 of its 1 line are bad: line 1: docno is not one word of UTF-8 text: '1 Q0 \\udcff 1 0.5 t'."
        " Fix: make each line: qid Q0 docno rank score tag",
        id="run: not UTF-8",
    ),
    pytest.param(
        read_run,
        "1 Q0 a\u00a0b 1 0.5 t\n\n\ufeff2 Q0 a 1 0.5 t\n2 Q0 a\x00 1 0.5 t\n".encode(),
        "cannot read bad, 4 of its 4 lines are bad:\n"
        "  - line 1: docno is not one word of UTF-8 text: '1 Q0 a\\xa0b 1 0.5 t'\n"
        "  - line 2: 0 columns, expected 6: ''\n"
        "  - line 3: qid is not one word of UTF-8 text: '\\ufeff2 Q0 a 1 0.5 t'\n"
        "  - line 4: docno is not one word of UTF-8 text: '2 Q0 a\\x00 1 0.5 t'\n"
        "Fix: make each line: qid Q0 docno rank score tag",
        id="run: what the eye does not see",
    ),
    pytest.param(
        read_run,
        "1 Q0 a\u00a0b 1 0.5 t\n".encode(),
        "cannot read bad, 1 of its 1 line are bad: line 1: docno is not one word of UTF-8 text: '1 Q0 a\\xa0b 1 0.5 t'."
        " Fix: make each line: qid Q0 docno rank score tag",
        id="run: only a blank that is not ASCII",
    ),
    pytest.param(
        read_qrels,
        b"1 0 a 1\n1 0 b 1.0\n1 0 a 2\n1 0 c\n" + b"1 0 " + b"x" * 99 + b" high\n",
        "cannot read bad, 4 of its 5 lines are bad:\n"
        "  - line 2: label is not a whole number: '1 0 b 1.0'\n"
        "  - line 3: qid, docno repeats line 1: '1 0 a 2'\n"
        "  - line 4: 3 columns, expected 4: '1 0 c'\n"
        f"  - line 5: label is not a whole number: '1 0 {'x' * 73}...'\n"
        "Fix: make each line: qid 0 docno label",
        id="qrels",
    ),
    pytest.param(
        read_topics,
        b"1\ta\n2 b\n\tc\n3\t \n1\td\n4 5\te\n",
        "cannot read bad, 5 of its 6 lines are bad:\n"
        "  - line 2: 1 column, expected 2: '2 b'\n"
        "  - line 3: qid is not one word of UTF-8 text: '\\tc'\n"
        "  - line 4: query is not UTF-8 text that is not blank: '3\\t '\n"
        "  - line 5: qid repeats line 1: '1\\td'\n"
        "  - line 6: qid is not one word of UTF-8 text: '4 5\\te'\n"
        "Fix: make each line: qid<TAB>query",
        id="topics",
    ),
]


@pytest.mark.parametrize(("read", "content", "message"), BAD)
def test_every_bad_line_is_named_and_counted(read: Callable[[str], pd.DataFrame], content: bytes, message: str) -> None:
    """A file with a bad line is refused whole, with the number and the text of the first ones and the count of all."""
    Path("bad").write_bytes(content)
    with pytest.raises(RecordError) as error:
        read("bad")
    assert str(error.value) == message


@pytest.mark.parametrize("read", [read_run, read_qrels, read_topics])
def test_missing_and_broken_files_are_reported(read: Callable[[str], pd.DataFrame]) -> None:
    """A file that is not there, and gzip that stops early, are errors of their own."""
    with pytest.raises(MissingError, match=r"^there is no file absent\. Fix: give the path of an existing file$"):
        read("absent")
    Path("cut.gz").write_bytes(gzip.compress(b"1 Q0 a 1 0.5 t\n" * 99)[:-9])
    with pytest.raises(RecordError, match=r"^cannot read cut\.gz: its gzip is broken: .+\. Fix: fetch the file again$"):
        read("cut.gz")


def test_windows_line_ends_are_read_as_fast() -> None:
    """A line with CR LF costs one function call more than one with LF, not a second way to parse it."""
    calls = []
    for end in ("\n", "\r\n"):
        Path("run").write_text("".join(f"q Q0 d{n} {n} {-n} t{end}" for n in range(1000)), newline="")
        profile = cProfile.Profile()
        assert len(profile.runcall(read_run, "run")) == 1000
        calls.append(sum(entry.callcount for entry in profile.getstats()))
    assert calls[1] - calls[0] <= 1000


def test_a_pipe_is_read(dl19_folder: Path) -> None:
    """As ``read_run(<(zcat run.gz))`` in a shell; of a named pipe all that its writer writes."""
    file = dl19_folder / "runs" / "rankllm.bm25-pyserini.res.gz"
    with subprocess.Popen(["/bin/zcat", file], stdout=subprocess.PIPE) as writer:
        found = read_run(f"/dev/fd/{writer.stdout.fileno()}")
    pd.testing.assert_frame_equal(found, read_run(file))
    os.mkfifo("pipe")
    data = gzip.decompress(file.read_bytes())  # more than a pipe holds, so that the writer is still there when it is read

    def write(pipe: int) -> None:
        with open(pipe, "wb") as file:
            file.write(data)

    writer = threading.Thread(target=write, args=(os.open("pipe", os.O_RDWR),))
    writer.start()
    pd.testing.assert_frame_equal(read_run("pipe"), found)
    writer.join()


ODD = {"a pipe that no process writes to": os.mkfifo, "a device": lambda name: Path(name).symlink_to("/dev/zero")}


@pytest.mark.parametrize("problem", ODD)
@pytest.mark.parametrize("read", [read_run, read_qrels, read_topics])
def test_what_has_no_end_is_refused_at_once(read: Callable[[str], pd.DataFrame], problem: str) -> None:
    """A named pipe without a writer, which would wait for ever, and a device that never ends."""
    ODD[problem]("odd")
    with pytest.raises(MissingError, match=rf"^cannot read 'odd': it is {problem}, expected a file. Fix: give a path"):
        read("odd")


def test_a_gzip_that_unpacks_to_a_multiple_is_refused() -> None:
    """By hand: 65 MiB of one byte from 64 KiB are refused; 60 MiB of blank lines after a run are read."""
    Path("bomb.gz").write_bytes(gzip.compress(b"x" * (65 << 20)))
    with pytest.raises(RecordError, match=r"its gzip holds more than 67,108,864 bytes, 100 times its size, .* Fix: gunzip bomb.gz"):
        read_run("bomb.gz")
    Path("blank.gz").write_bytes(gzip.compress(b"q Q0 d 1 0.5 t\n" + b"\n" * (60 << 20)))
    assert len(read_run("blank.gz")) == 1


LONG = {
    "digits": "1" * 200_000,
    "digits and a letter": "1" * 200_000 + "x",
    "a fraction": "." + "1" * 200_000 + "x",
    "an exponent": "1e" + "1" * 200_000 + "x",
    "dots": "." * 200_000,
    "blanks": " \t" * 100_000 + "x",
    "words": "x " * 100_000,
    "line ends": "\r" * 200_000 + "x",
}


@pytest.mark.parametrize("case", LONG)
@pytest.mark.parametrize("read", [read_run, read_qrels, read_topics])
def test_a_long_line_is_refused_in_linear_time(read: Callable[[str], pd.DataFrame], case: str) -> None:
    """200,000 characters in each column take less than a second; quadratic time would be a quarter of an hour."""
    good, cell = ["q", "Q0", "d", "1", "1.5", "t"], LONG[case]
    text = "".join(
        f"{' '.join([*good[:n], cell, *good[n + 1 :]])}\n{' '.join([*good[:n], cell, *good[n + 1 : 4]])}\n" for n in range(6)
    )
    Path("long").write_text(f"{text}q\t{cell}\n{cell}\tq\n", newline="")
    begun = time.process_time()
    with pytest.raises(RecordError, match="cannot read long, "):
        read("long")
    assert time.process_time() - begun < 10


# writing


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(SCORES, IDS), max_size=25, unique_by=lambda pair: pair[1]), IDS, IDS)
def test_written_runs_come_back_in_the_same_order(scratch: Path, pairs: list[tuple[float, str]], qid: str, other: str) -> None:
    """Reading a written run gives its queries, documents and ranks, whatever ties and whatever the ids are."""
    frame = run_of([score for score, _ in pairs], [docno for _, docno in pairs], qid)
    if other != qid:
        frame = pd.concat([frame, frame.assign(qid=other, score=-frame["score"])]).sample(frac=1, random_state=0)
    before = frame.copy(deep=True)
    write_run(frame, scratch / "a.res")
    pd.testing.assert_frame_equal(frame, before)
    back = read_run(scratch / "a.res")
    assert back["qid"].unique().tolist() == frame["qid"].unique().tolist()
    for name, part in frame.groupby("qid"):
        again = back[back["qid"] == name]
        assert again["docno"].tolist() == in_rank_order(part)
        assert again["rank"].tolist() == list(range(len(part)))
        assert (np.diff(again["score"].to_numpy().astype(np.float32)) < 0).all()
    write_run(back, scratch / "b.res")
    assert (scratch / "a.res").read_bytes() == (scratch / "b.res").read_bytes()


@settings(deadline=None, max_examples=100)
@given(st.dictionaries(st.sampled_from([f"d{i}" for i in range(12)]), SCORES, min_size=1))
def test_trec_eval_sees_our_order(scratch: Path, scores: dict[str, float]) -> None:
    """trec_eval, which knows neither ranks nor float64, ranks a written run as we do."""
    frame = run_of(list(scores.values()), list(scores))
    write_run(frame, scratch / "c.res")
    assert trec_eval_order(scratch / "c.res") == in_rank_order(frame)


@settings(deadline=None, max_examples=60)
@given(st.lists(st.one_of(st.sampled_from([1.0, 1.0 - 1e-9, 1.5, -2.0]), st.floats(0.125, 3, width=32)), min_size=1, max_size=30))
def test_scores_move_as_little_as_they_can(scratch: Path, scores: list[float]) -> None:
    """One by one, as by hand: keep a score that float32 tells from the one before, else take the next float32 below that."""
    write_run(run_of(scores), scratch / "d.res")
    wanted: list[float] = []
    for score in sorted(scores, reverse=True):
        last = np.float32(wanted[-1]) if wanted else np.float32(np.inf)
        wanted.append(score if np.float32(score) < last else float(np.nextafter(last, np.float32(-np.inf))))
    assert read_run(scratch / "d.res")["score"].tolist() == wanted


@pytest.mark.parametrize(
    ("scores", "written"),
    [
        pytest.param([0.1, 0.1], ["0.1", "0.09999999403953552"], id="tie"),
        pytest.param([1.0, 0.99999999], ["1.0", "0.9999999403953552"], id="tie in float32 only"),
        pytest.param([2.0, 1.0, 0.0], ["2.0", "1.0", "0.0"], id="no tie"),
        pytest.param([0.0, -0.0, 0.0], ["0.0", "-1.1754943508222875e-38", "-1.175494490952134e-38"], id="zeros skip subnormals"),
        pytest.param([1e-40, 5e-41], ["1e-40", "-1.1754943508222875e-38"], id="subnormals count as zero"),
        pytest.param([1.175494490952134e-38, TINY, TINY], ["1.175494490952134e-38", f"{TINY!r}", "0.0"], id="down to zero"),
        pytest.param([1e-300], ["1e-300"], id="below float32"),
        pytest.param([LOWEST], [repr(LOWEST)], id="the lowest float32"),
        pytest.param([-LOWEST], [repr(-LOWEST)], id="the highest float32"),
        pytest.param([16777217.0, 16777216.0], ["16777217.0", "16777215.0"], id="whole numbers beyond 2**24"),
    ],
)
def test_scores_are_written_exactly(scores: list[float], written: list[str]) -> None:
    """A score is written in full; the next float32 below is too, so that it is read as that very number."""
    write_run(run_of(scores), "a.res")
    assert [line.split()[4] for line in Path("a.res").read_text().splitlines()] == written


def test_long_ties_fall_one_step_at_a_time() -> None:
    """Ten thousand equal scores stay in order and within a millionth-part of ten thousand steps."""
    write_run(run_of([12.5] * 10_000), "a.res")
    back = read_run("a.res")
    assert back["docno"].tolist() == [f"d{i}" for i in range(10_000)]
    assert back["score"].iloc[-1] == pytest.approx(12.5 - 9_999 * 2.0**-20, abs=0)


def test_a_run_is_written_as_trec_has_it() -> None:
    """Queries as they first appear, rows in rank order, ranks from 1, the tag last; other columns stay out."""
    frame = pd.DataFrame({"qid": ["b", "a", "b"], "docno": ["x", "x", "y"], "score": [1, 2, 3], "query": ["q", "r", "q"]})
    write_run(frame, "a.res", tag="bm25")
    assert Path("a.res").read_text() == "b Q0 y 1 3.0 bm25\nb Q0 x 2 1.0 bm25\na Q0 x 1 2.0 bm25\n"


@settings(deadline=None, max_examples=50)
@given(st.lists(st.tuples(IDS, IDS, st.integers(-(2**52), 2**52)), max_size=20, unique_by=lambda row: row[:2]))
def test_qrels_come_back(scratch: Path, rows: list[tuple[str, str, int]]) -> None:
    """Reading written qrels gives the same frame."""
    for name in ("a.qrels", "a.qrels.gz"):
        write_qrels(pd.DataFrame(rows, columns=["qid", "docno", "label"]), scratch / name)
        assert list(read_qrels(scratch / name).itertuples(index=False, name=None)) == rows


@settings(deadline=None, max_examples=50)
@given(st.lists(st.tuples(IDS, LINES), max_size=20, unique_by=lambda row: row[0]))
def test_topics_come_back(scratch: Path, rows: list[tuple[str, str]]) -> None:
    """Reading written topics gives the same frame, blanks at either end of a query too."""
    for name in ("a.tsv", "a.tsv.gz"):
        write_topics(pd.DataFrame(rows, columns=["qid", "query"]), scratch / name)
        assert list(read_topics(scratch / name).itertuples(index=False, name=None)) == rows


def test_gzip_goes_by_name_and_repeats_itself() -> None:
    """A name in .gz is gzip, another is not; the same run gives the same bytes, whatever its name and the time."""
    for name in ("a.res.gz", "b.res.gz", "c.res"):
        write_run(run_of([2.0, 1.0]), name)
    assert Path("a.res.gz").read_bytes() == Path("b.res.gz").read_bytes()
    assert Path("a.res.gz").read_bytes()[4:8] == bytes(4)  # where gzip keeps the time
    assert gzip.decompress(Path("a.res.gz").read_bytes()) == Path("c.res").read_bytes()


# what cannot be written

UNWRITABLE = [
    pytest.param(
        lambda: write_run(run_of([1.0, 2.0], ["a b", "c"]), "out"),
        "cannot write out: 1 docno, expected one word of UTF-8 text, e.g. 'a b'",
        id="blank in a docno",
    ),
    pytest.param(
        lambda: write_run(run_of([1.0, 1e39, -1e300], ["", "b\n", "\ufeffc"], " "), "out", tag="a b"),
        "cannot write out:\n"
        "  - tag 'a b' is not one word\n"
        "  - 2 scores beyond float32, which trec_eval reads, e.g. 1e+39\n"
        "  - 1 qid, expected one word of UTF-8 text, e.g. ' '\n"
        "  - 3 docnos, expected one word of UTF-8 text, e.g. 'b\\n'",
        id="all at once",
    ),
    pytest.param(
        lambda: write_run(run_of([LOWEST, LOWEST]), "out"),
        f"cannot write out: 1 score beyond float32, which trec_eval reads, e.g. {LOWEST!r}",
        id="no float32 below",
    ),
    pytest.param(
        lambda: write_run(run_of([math.nan]), "out"),
        "results are not usable: score is not a finite number in 1 of 1 row (qid 'q', docno 'd0', score nan)."
        " Fix: fix the scorer, or drop those rows: results = results[np.isfinite(results.score)]",
        id="NaN",
    ),
    pytest.param(
        lambda: write_run(pd.DataFrame({"qid": ["q"]}), "out"),
        "results are not usable: missing or repeated columns: docno, score, expected qid, docno, score, found qid."
        ' Fix: results = results.rename(columns={"...": "docno"})',
        id="columns",
    ),
    pytest.param(
        lambda: write_qrels(pd.DataFrame({"qid": ["q"], "docno": ["a\u2003b"], "label": [1]}), "out"),
        "cannot write out: 1 docno, expected one word of UTF-8 text, e.g. 'a\\u2003b'",
        id="qrels",
    ),
    pytest.param(
        lambda: write_topics(pd.DataFrame({"qid": ["1", "2", "3", "4"], "query": ["a\tb", "a\nb", " ", "fine"]}), "out"),
        "cannot write out: 3 queries, expected UTF-8 text on one line, without tabs, that is not blank, e.g. 'a\\tb'",
        id="topics",
    ),
    pytest.param(
        lambda: write_topics(pd.DataFrame({"qid": ["1"], "query": pd.Series(["\ud800"], dtype=object)}), "out"),
        "topics are not usable: query is not UTF-8 text: it holds half of a surrogate pair, in 1 of 1 row "
        "(qid '1', query '\\ud800'). Fix: make every query text",
        id="half a character",
    ),
]


@pytest.mark.parametrize(("write", "message"), UNWRITABLE)
def test_what_would_not_come_back_is_refused_before_writing(folder: Path, write: Callable[[], None], message: str) -> None:
    """Nothing is written of what cannot be written faithfully, and all reasons are given."""
    with pytest.raises(FrameError) as error:
        write()
    assert str(error.value) == message
    assert list(folder.iterdir()) == []


def test_a_missing_folder_is_reported() -> None:
    """No folder is made in passing: a slip in a path would go unseen."""
    with pytest.raises(MissingError) as error:
        write_topics(pd.DataFrame({"qid": ["1"], "query": ["a"]}), "runs/a.tsv")
    assert str(error.value) == "cannot write runs/a.tsv: its folder does not exist. Fix: mkdir -p runs"


@pytest.mark.parametrize("broken", ["pathlib.Path.replace", "os.fsync", "shutil.copymode"])
@pytest.mark.parametrize("reason", [OSError("disk full"), KeyboardInterrupt()])
def test_a_killed_write_leaves_the_old_file(
    folder: Path, monkeypatch: pytest.MonkeyPatch, broken: str, reason: BaseException
) -> None:
    """Whatever stops a write, the old file is whole and nothing lies beside it."""
    write_run(run_of([1.0]), "a.res")
    old = Path("a.res").read_bytes()

    def fail(*_: object) -> None:
        raise reason

    with monkeypatch.context() as patch:
        patch.setattr(broken, fail)
        with pytest.raises(MissingError if isinstance(reason, OSError) else KeyboardInterrupt):
            write_run(run_of([3.0, 2.0]), "a.res")
    assert [path.name for path in folder.iterdir()] == ["a.res"]
    assert Path("a.res").read_bytes() == old


def test_files_are_replaced_where_they_are() -> None:
    """A link is followed, an older file's mode is kept, and a new file's is that of any new file."""
    Path("plain").write_text("")
    write_run(run_of([1.0]), "a.res")
    assert Path("a.res").stat().st_mode == Path("plain").stat().st_mode
    Path("a.res").chmod(0o640)
    Path("link.res").symlink_to("a.res")
    write_run(run_of([2.0]), "link.res")
    assert Path("link.res").is_symlink()
    assert Path("a.res").read_text() == "q Q0 d0 1 2.0 pt_cascade\n"
    assert Path("a.res").stat().st_mode & 0o777 == 0o640


def test_errors_are_of_one_family() -> None:
    """One except clause catches all that the readers and writers refuse."""
    assert {FrameError, RecordError, MissingError} <= set(CascadeError.__subclasses__())


def test_whole_scores_that_float64_holds_are_read() -> None:
    """By hand: 2**53, 2**60 and 10**22 are exact; 1e23 is what Python writes for the float64 next to it."""
    Path("a.res").write_text("".join(f"1 Q0 d{n} 1 {cell} t\n" for n, cell in enumerate([2**53, -(2**60), 10**22, "1e+23"])))
    assert sorted(read_run("a.res")["score"]) == [-(2.0**60), 2.0**53, 1e22, 1e23]


@pytest.mark.parametrize("read", [read_run, read_qrels, read_topics])
@pytest.mark.parametrize(
    ("path", "told"),
    [("folder", "it is a folder, expected a file"), (None, "NoneType"), (5, "int"), (b"x", "bytes"), ("x\0", "null byte")],
    ids=["folder", "None", "number", "bytes", "NUL"],
)
def test_a_path_that_is_not_a_file_is_not_read(read: Callable[[object], pd.DataFrame], path: object, told: str) -> None:
    """The error names the path, and its type where that is wrong."""
    Path("folder").mkdir()
    with pytest.raises(MissingError) as error:
        read(path)
    assert error.value.what == f"cannot read {path!r}"
    assert told in error.value.problems[0]


def test_a_folder_is_not_written_over() -> None:
    """A folder stays as it is, and nothing is left beside it."""
    Path("folder").mkdir()
    qrels = pd.DataFrame({"qid": ["1"], "docno": ["a"], "label": [1]})
    for write in (lambda: write_run(run_of([1.0]), "folder"), lambda: write_qrels(qrels, "folder")):
        with pytest.raises(MissingError, match="it is a folder, expected a file"):
            write()
    assert [file.name for file in Path().iterdir()] == ["folder"]


def test_a_table_is_not_made_of_a_folder(tmp_path: Path) -> None:
    """Of runs, each a file or a frame."""
    with pytest.raises(MissingError, match="it is a folder, expected a file"):
        ScoreTable.from_runs({"a": tmp_path, "b": run_of([1.0])})
