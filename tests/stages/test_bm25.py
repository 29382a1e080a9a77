"""BM25 as the first stage, by both engines, for real."""

from __future__ import annotations

import json
import os
import re
import select
import shlex
import shutil
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd
import pyterrier as pt
import pytest

from pt_cascade import Cascade
from pt_cascade.errors import CascadeError, FrameError, MissingError, PipelineError
from pt_cascade.stages import bm25, build_index
from pt_cascade.stages.indexing import pisa_process
from pt_cascade.stages.indexing.engines import open_index

if TYPE_CHECKING:
    from collections.abc import Iterator

DOCS = [
    {"docno": "NA", "text": "a cat sat on a mat"},
    {"docno": "d2", "text": "dogs chase cats\nand other cats"},
    {"docno": "d3", "text": "lions sleep in grass"},
    {"docno": "d4", "text": ""},
    *({"docno": f"filler{n}", "text": f"word{n} and some more words"} for n in range(8)),
]
ENGINES = [pytest.param("pisa", id="pisa"), pytest.param("terrier", id="terrier", marks=pytest.mark.java)]


@pytest.fixture(scope="module", params=ENGINES)
def index(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dozen documents, indexed by either engine."""
    return build_index(DOCS, tmp_path_factory.mktemp("index") / request.param, engine=request.param)


def test_both_engines_find_and_rank(index: Path) -> None:
    """Stemmed terms match, docno NA is text, results are canonical, a query without a match has no row."""
    topics = pd.DataFrame({"qid": ["1", "2", "3"], "query": ["cat?", "lion here", "(zebra)"]})
    found = Cascade.of(bm25(index) % 10).transform(topics)
    assert set(zip(found["qid"], found["docno"], strict=True)) == {("1", "NA"), ("1", "d2"), ("2", "d3")}
    assert found["score"].gt(0).all()


def test_progress_is_shown_in_lines(index: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """In a file there is no carriage return; the results are those without it, though topics are given in parts."""
    topics = pd.DataFrame({"qid": [str(n) for n in range(45)], "query": ["cats", "zebra", "lions and cats"] * 15})
    expected = bm25(index).transform(topics)
    capfd.readouterr()
    pd.testing.assert_frame_equal(bm25(index, verbose=True).transform(topics), expected)
    written = capfd.readouterr().err
    assert written.splitlines()[-1].startswith("bm25: 45/45 [")
    assert "\r" not in written


def test_both_engines_answer_an_empty_frame(index: Path) -> None:
    """0 topics give 0 rows with the right columns, as PyTerrier's inspection wants."""
    assert {"qid", "docno", "score", "rank"} <= set(bm25(index).transform(pd.DataFrame({"qid": [], "query": []}, dtype=str)))
    assert pt.inspect.transformer_inputs(bm25(index))[0] == ["qid", "query"]


def test_topics_without_a_query_are_asked_for_it(index: Path) -> None:
    """Alone or in a cascade the error names bm25 and the column, and its cure is a frame that bm25 answers."""
    for run in (bm25(index).transform, Cascade.of(bm25(index) % 10).transform):
        with pytest.raises(CascadeError) as error:
            run(pd.DataFrame({"qid": ["1"], "title": ["cats"]}))
        assert error.value.what == "stage 'bm25' cannot run"
        assert "column query" in error.value.problems[0]
        code = error.value.fix.partition("e.g. ")[2]
        assert set(run(eval(code, {"pd": pd}))["qid"]) <= {"1"}  # noqa: S307 - our own line


def test_parameters_reach_the_engine(index: Path) -> None:
    """num_results bounds the list, and b changes the scores (with b = 0 length does not count)."""
    topics = pd.DataFrame({"qid": ["1"], "query": ["cats"]})
    assert len(bm25(index, num_results=1).transform(topics)) == 1
    lengths_count, lengths_do_not = bm25(index, b=0.9).transform(topics), bm25(index, b=0.0).transform(topics)
    assert lengths_count["score"].tolist() != lengths_do_not["score"].tolist()


def test_a_stage_is_called_bm25(index: Path) -> None:
    """Whoever runs it, the cascade calls it bm25, a retriever whose scores depend on query and document."""
    stage = Cascade.of(bm25(index) % 10)[0]
    assert (stage.name, stage.depends, stage.documents) == ("bm25", "pointwise", "retrieves")


def test_an_index_object_is_taken_as_it_is(index: Path) -> None:
    """A PisaIndex or TerrierIndex works as its folder does."""
    topics = pd.DataFrame({"qid": ["1"], "query": ["cats"]})
    opened = open_index(index)
    pd.testing.assert_frame_equal(bm25(opened).transform(topics), bm25(index).transform(topics))


def test_an_index_is_built_once(index: Path) -> None:
    """A folder that is there is left alone, also where the documents come one by one."""
    before = {file: file.stat().st_mtime_ns for file in index.rglob("*")}
    assert build_index(iter(DOCS), index) == index
    assert {file: file.stat().st_mtime_ns for file in index.rglob("*")} == before


@pytest.mark.parametrize(
    ("docs", "problem"),
    [
        (DOCS[:-1], "document 12 is missing, expected 'filler7'"),
        ([*DOCS, {"docno": "new", "text": ""}], "document 13 is 'new', expected none"),
        (
            [*DOCS[:2], {"docno": "d3", "text": "lions sleep in water"}, *DOCS[3:]],
            "a text has changed, while the docnos are the same",
        ),
        (DOCS[::-1], "document 1 is 'filler7', expected 'NA'"),
    ],
    ids=["fewer", "more", "another text", "another order"],
)
def test_an_index_of_other_documents_is_refused(docs: list[dict[str, str]], problem: str, index: Path, tmp_path: Path) -> None:
    """It knows of what it was made; the line that removes it is for a shell, and makes way for the other one."""
    mine = shutil.copytree(index, tmp_path / "my index")
    made_by = json.loads((mine / "index.json").read_text())["engine"]
    with pytest.raises(CascadeError) as error:
        build_index(docs, mine)
    assert error.value.what == "the folder holds another index"
    assert error.value.problems == (problem,)
    assert error.value.fix == f"rm -r '{mine}'"
    subprocess.run(shlex.split(error.value.fix), check=True)
    assert build_index(docs, mine, engine=made_by) == mine
    assert set(bm25(mine).search("grass")["docno"]) == {doc["docno"] for doc in docs if "grass" in doc["text"]}


def test_what_build_index_did_not_make_is_refused(index: Path, tmp_path: Path) -> None:
    """An index that does not say of what it was made is searched, and not taken for one of these documents; nor is a thesis."""
    foreign = shutil.copytree(index, tmp_path / "foreign")
    for name in ("index.json", "SHA256SUMS"):
        (foreign / name).unlink()
    assert set(bm25(foreign).search("lions")["docno"]) == {"d3"}
    (thesis := tmp_path / "thesis").mkdir()
    (thesis / "thesis.tex").touch()
    for folder in (foreign, thesis):
        with pytest.raises(CascadeError, match=r"this folder is not made by build_index: .* holds .* expected index.json") as error:
            build_index(DOCS, folder)
        assert error.value.fix == "choose another path, or bm25(path) as it is"


def test_new_parameters_are_sealed_too(tmp_path: Path) -> None:
    """What PISA writes for other k1 and b stands in SHA256SUMS as soon as it is there; sha256sum of coreutils confirms all."""
    pytest.importorskip("pyterrier_pisa", reason="pip install pyterrier-pisa (Linux)")
    index = build_index(DOCS, tmp_path / "index", engine="pisa")
    bm25(index, k1=1.5)
    bm25(index, b=0)  # its names begin as those of the default, 0.4
    written = {file.name for file in index.glob("bm25.k1-1.5*")}
    sums = (index / "SHA256SUMS").read_text()
    assert written
    assert "  bm25.k1-0.9.b-0.q0.bmw.64.block_simdbp\n" in sums
    assert all(name in sums for name in written)
    subprocess.run([shutil.which("sha256sum"), "--check", "--strict", "--quiet", "SHA256SUMS"], cwd=index, check=True)
    damaged = index / min(written)
    damaged.write_bytes(damaged.read_bytes()[:-1])
    with pytest.raises(MissingError, match=rf"is damaged: {min(written)} does not have the SHA-256 in SHA256SUMS"):
        bm25(index, k1=1.5)


UNFIT = {
    "no text": (
        [{"docno": "d", "text": None}],
        FrameError,
        "a document cannot be stored: the text of docno 'd' is missing, expected text",
    ),
    "a blank in the docno": (
        [{"docno": "a b", "text": "x"}],
        FrameError,
        "a document cannot be stored: docno is 'a b', expected text without white space or control characters, 1 to 256 characters",
    ),
    "a docno of too many bytes": (
        [{"docno": "日" * 171, "text": "x"}],
        FrameError,
        f"a document cannot be stored: docno {'日' * 171!r} has 513 bytes in UTF-8, expected 512 at most",
    ),
    "a control character in the docno": (
        [{"docno": "a\x01", "text": "x"}],
        FrameError,
        "a document cannot be stored: docno is 'a\\x01', expected text without white space or control characters, "
        "1 to 256 characters",
    ),
    "a docno twice": (
        [{"docno": "d", "text": "x"}] * 2,
        FrameError,
        "a document cannot be stored: docno 'd' occurs more than once",
    ),
    "no word": (
        [{"docno": "d1", "text": "日本"}, {"docno": "d2", "text": ""}],
        CascadeError,
        "the documents cannot be indexed: no document has a word that an index for english can contain. "
        'Fix: build_index(docs, path, engine="terrier", language="any"); for a folder: echo any > language.txt there',
    ),
    "nothing": ([], CascadeError, "docs cannot be stored: docs has no document"),
}


@pytest.mark.parametrize("case", UNFIT)
@pytest.mark.parametrize("engine", ENGINES)
def test_invalid_documents_are_reported_and_nothing_is_left(case: str, engine: str, tmp_path: Path) -> None:
    """An error in the documents, which PISA's reading thread would swallow, reaches the caller; no half-made folder stays."""
    docs, kind, message = UNFIT[case]
    with pytest.raises(kind) as error:
        build_index(docs, tmp_path / "index", engine=engine)
    assert str(error.value) == message
    assert list(tmp_path.iterdir()) == []


def test_an_invalid_index_is_reported(tmp_path: Path) -> None:
    """A missing folder, a foreign folder, a strange engine and impossible parameters each have their own words."""
    with pytest.raises(MissingError, match=r"there is no index: .* is not a folder. Fix: build_index\(docs, path\)"):
        bm25(tmp_path / "nowhere")
    (tmp_path / "readme.txt").touch()
    with pytest.raises(PipelineError, match=r"is not an index: expected one made by PISA or Terrier; found readme.txt"):
        bm25(tmp_path)
    with pytest.raises(PipelineError, match="engine is 'lucene': expected one of pisa, terrier"):
        build_index(DOCS, tmp_path / "new", engine="lucene")  # type: ignore[arg-type]
    with pytest.raises(PipelineError) as error:
        bm25(tmp_path, num_results=0, k1=-1, b=2, threads=-1)
    assert str(error.value) == (
        "bm25 cannot be made:\n  - num_results is 0, expected 1 to 1,000,000\n  - threads is -1, expected 1 to 1,024\n"
        "  - k1 is -1, expected 0 to 1,000\n  - b is 2, expected 0 to 1"
    )


@pytest.mark.parametrize("threads", [-1, 0, 2.5, "2", None])
def test_impossible_numbers_of_threads_are_refused(threads: object, index: Path, tmp_path: Path) -> None:
    """PISA would wait for ever with -1."""
    with pytest.raises(PipelineError, match=r"threads is .*, expected 1 to 1,024"):
        bm25(index, threads=threads)  # type: ignore[arg-type]
    with pytest.raises(PipelineError, match=r"threads is .*: expected 1 to 1,024"):
        build_index(DOCS, tmp_path / "new", threads=threads)  # type: ignore[arg-type]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("engine", ENGINES)
def test_the_engine_prints_nothing(engine: str, capfd: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """PISA's own lines, printed from C++, and Terrier's log of an empty document do not reach the terminal, for any k1 and b."""
    for parameters in ({"k1": 1.1}, {"b": 0}, {"k1": 1}, {"k1": 0.1234567, "b": 1 / 3}):
        bm25(build_index(DOCS, tmp_path / "index", engine=engine), **parameters)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("engine", ENGINES)
def test_an_interrupted_index_is_deleted(engine: str, tmp_path: Path) -> None:
    """Ctrl-C while the documents are read leaves no index that looks whole."""

    def interrupted() -> Iterator[dict[str, str]]:
        yield from DOCS[:3]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build_index(interrupted(), tmp_path / "index", engine=engine)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("error", "expected"), [(KeyboardInterrupt, KeyboardInterrupt), (None, CascadeError)])
def test_a_pisa_process_that_ends_early_is_reported(error: type | None, expected: type, tmp_path: Path) -> None:
    """Its process is killed while documents are read, alone or, as by Ctrl-C in a terminal, with an interrupt of ours."""
    pytest.importorskip("pyterrier_pisa", reason="pip install pyterrier-pisa (Linux)")

    def documents() -> Iterator[dict[str, str]]:
        yield DOCS[0]
        for child in Path(f"/proc/self/task/{threading.get_native_id()}/children").read_text().split():
            os.kill(int(child), signal.SIGKILL)
            os.waitid(os.P_PID, int(child), os.WEXITED | os.WNOWAIT)
        yield from DOCS[1:3]
        if error:
            raise error

    with pytest.raises(expected) as stop:
        build_index(documents(), tmp_path / "index", engine="pisa")
    assert error or str(stop.value).startswith("pisa failed to make the index: its process was ended by SIGKILL, ")
    assert list(tmp_path.iterdir()) == []


KILLED = """
import os, signal, sys, threading
from pathlib import Path
from pt_cascade.stages import build_index
def documents():
    yield from [{"docno": f"d{n}", "text": "lions " * 400} for n in range(4)]
    print(Path(f"/proc/self/task/{threading.get_native_id()}/children").read_text(), flush=True)
    sys.stdin.read()
build_index(documents(), sys.argv[1], engine="pisa")
"""


def test_pisas_process_ends_with_a_killed_builder(tmp_path: Path) -> None:
    """It does not write into the index of the next builder, which begins at once and has all documents."""
    pytest.importorskip("pyterrier_pisa", reason="pip install pyterrier-pisa (Linux)")
    command = [sys.executable, "-c", KILLED, str(tmp_path / "index")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as builder:
        ended = select.poll()
        ended.register(os.pidfd_open(int(builder.stdout.readline())))
        builder.kill()
    index = build_index(DOCS, tmp_path / "index", engine="pisa")
    assert ended.poll(60_000)
    assert [file.name for file in tmp_path.iterdir()] == ["index"]
    assert (index / "fwd.documents").read_text().split() == [doc["docno"] for doc in DOCS]
    assert len(bm25(index).search("lions cats")) == 3


def test_pisas_process_imports_its_compiled_module_only(tmp_path: Path) -> None:
    """PyTerrier and pandas would take a second for each pair of k1 and b."""
    pisa = pytest.importorskip("pyterrier_pisa", reason="pip install pyterrier-pisa (Linux)")
    index = build_index(DOCS, tmp_path / "index", engine="pisa")
    program = [sys.executable, "-X", "importtime", pisa_process.__file__, Path(pisa.__file__).parent]
    done = subprocess.run([*program, index, "0", "block_simdbp", "1.25", "0"], check=True, capture_output=True, text=True)
    modules = set(re.findall(r"^import time:.*\| +(\w+)", done.stderr, re.MULTILINE))
    assert "json" in modules
    assert not modules & {"numpy", "pandas", "pyterrier", "pyterrier_pisa", "torch"}
    assert (index / "bm25.k1-1.25.b-0.q0.bmw.64.block_simdbp").is_file()


FULL_DISK = """
import resource, sys
from pt_cascade.stages import build_index
docs = [{"docno": f"d{n}", "text": " ".join(f"w{n * m}" for m in range(200))} for n in range(3000)]
resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 18, 1 << 18))
build_index(docs, sys.argv[1], engine=sys.argv[2])
"""


@pytest.mark.parametrize("engine", ENGINES)
def test_a_full_disk_is_an_error_and_leaves_nothing(engine: str, tmp_path: Path) -> None:
    """Files that may not grow, in a real process: PISA aborts its own process only, and nothing of either engine is printed."""
    (scratch := tmp_path / "scratch").mkdir()
    command = [sys.executable, "-c", FULL_DISK, str(tmp_path / "index"), engine]
    done = subprocess.run(command, check=False, capture_output=True, text=True, env={**os.environ, "TMPDIR": str(scratch)})
    assert done.returncode == 1
    assert done.stdout == ""
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith(f"pt_cascade.errors.CascadeError: {engine} failed to make the index: ")
    assert {"pisa": "std::runtime_error'; what():  Failed to parse", "terrier": ": JVM exception occurred: "}[engine] in last
    other = {"pisa": "terrier", "terrier": "pisa"}[engine]
    fix = f"if the disk or a quota is full, choose another folder; else index with engine={other!r}"
    assert last.endswith(f"MiB of the disk are free. Fix: {fix}")
    assert list(tmp_path.rglob("*")) == [scratch]


def test_new_parameters_on_a_full_disk_are_an_error(tmp_path: Path) -> None:
    """PISA writes the scores of other k1 and b into the folder: in a real process whose files may not grow it fails, then not."""
    pytest.importorskip("pyterrier_pisa", reason="pip install pyterrier-pisa (Linux)")
    index = build_index(DOCS, tmp_path / "index", engine="pisa")
    limit = "import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (200, 200))"
    code = f"from pt_cascade.stages import bm25; {limit}; bm25(sys.argv[1], k1=1.5)"
    done = subprocess.run([sys.executable, "-c", code, str(index)], check=False, capture_output=True, text=True)
    assert done.stderr.splitlines()[-1].startswith("pt_cascade.errors.CascadeError: pisa failed to make the index: ")
    assert len(bm25(index, k1=1.5).search("cats")) == 2
    subprocess.run([shutil.which("sha256sum"), "--check", "--strict", "--quiet", "SHA256SUMS"], cwd=index, check=True)


def test_another_engines_index_is_not_taken_for_ours(index: Path) -> None:
    """A folder that is there and was made by the other engine is an error, with the line that removes it."""
    made_by = "pisa" if "pisa" in index.name else "terrier"
    other = {"pisa": "terrier", "terrier": "pisa"}[made_by]
    with pytest.raises(CascadeError) as error:
        build_index(DOCS, index, engine=other)
    problem = f"{index} has engine {made_by}, expected {other}"
    assert str(error.value) == f"the folder holds another index: {problem}. Fix: rm -r {index}"


def test_threads_may_open_at_once_and_the_streams_come_back(index: Path) -> None:
    """However calls interleave, standard output and error are what they were before."""
    before = [os.fstat(stream)[:2] for stream in (1, 2)]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: bm25(index), range(12)))
    assert [os.fstat(stream)[:2] for stream in (1, 2)] == before


def test_a_read_only_pisa_index_opens_and_new_parameters_are_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """PISA would abort the process; the scores of its defaults are made with the index, others are refused with the remedy."""
    pytest.importorskip("pyterrier_pisa", reason="pip install pyterrier-pisa (Linux)")
    index = build_index(DOCS, tmp_path / "index", engine="pisa")
    monkeypatch.setattr(os, "access", lambda *_: False)  # root may write anywhere
    assert len(bm25(index).search("cats")) == 2
    with pytest.raises(MissingError, match=r"is read-only, and PISA must write the scores for k1 1.5 and b 0.4 into it"):
        bm25(index, k1=1.5)
