"""The paths of a command: an output that exists is refused or replaced, a missing input is named with its cure."""

from __future__ import annotations

import shlex
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from toys.lines import paragraphs

from pt_cascade.cli import main
from pt_cascade.errors import CascadeError
from pt_cascade.execution.score_table import ScoreTable
from pt_cascade.trec import write_qrels, write_run

RUN = pd.DataFrame({"qid": ["1", "1", "2"], "docno": ["a", "b", "a"], "score": [2.0, 1.0, 3.0]})
QRELS = pd.DataFrame({"qid": ["1", "2"], "docno": ["a", "a"], "label": [1, 1]})


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with runs, qrels and a table, as the working folder."""
    monkeypatch.chdir(tmp_path)
    for name in ("bm25", "t5"):
        write_run(RUN, f"{name}.res")
    write_qrels(QRELS, "qrels.txt")
    paragraphs("score", "--runs", "bm25=bm25.res", "t5=t5.res", "--out", "my.scores")
    return tmp_path


SWEEP = ["sweep", "my.scores", "--qrels", "qrels.txt", "--measures", "RR"]
OUTPUTS = {
    "all.csv": [*SWEEP, "--out", "all.csv"],
    "again": ["score", "--runs", "bm25=bm25.res", "t5=t5.res", "--out", "again"],
}


@pytest.mark.parametrize("out", OUTPUTS)
def test_an_output_that_exists_is_replaced_only_if_told(out: str, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One rule for files and tables; the option that the message names ends the refusal, and leaves nothing beside it."""
    assert main(OUTPUTS[out]) == 0
    before = sorted(here.iterdir())
    stamp = (here / out).stat().st_ino
    capsys.readouterr()
    assert main(OUTPUTS[out]) == 1
    told = capsys.readouterr().err
    assert f"--out {out} exists. Fix: --overwrite, or --out of a new path\n" in told
    assert (here / out).stat().st_ino == stamp
    assert main([*OUTPUTS[out], "--overwrite"]) == 0
    assert (here / out).stat().st_ino != stamp
    assert sorted(here.iterdir()) == before
    if out == "again":
        assert ScoreTable.load(out).stages == ("bm25", "t5")


def test_profile_refuses_before_the_wait(here: Path) -> None:
    """The same rule: the collection is not opened."""
    (here / "timings").touch()
    with pytest.raises(CascadeError) as error:
        paragraphs("profile", "--collection", "no such collection", "--out", "timings")
    assert str(error.value) == "cannot write timings: --out timings exists. Fix: --overwrite, or --out of a new path"
    with pytest.raises(CascadeError, match="unknown collection"):
        paragraphs("profile", "--collection", "no such collection", "--out", "timings", "--overwrite")


def test_only_a_table_is_replaced_by_a_table(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A folder with other files stays as it is."""
    kept = here / "thesis" / "thesis.tex"
    kept.parent.mkdir()
    kept.touch()
    assert main(["score", "--runs", "bm25=bm25.res", "--out", "thesis", "--overwrite"]) == 1
    assert "--out thesis holds other files than those of a score table, so it is not replaced" in capsys.readouterr().err
    assert kept.exists()


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["sweep", "my.score", *SWEEP[2:]], "TABLE my.score does not exist; did you mean 'my.scores'? Fix: pt-cascade score "),
        (["choose", "x/my.score", "--qrels", "qrels.txt"], "TABLE x/my.score does not exist. Fix: pt-cascade score "),
        (
            [*SWEEP, "--timings", "my.score"],
            "--timings my.score does not exist; did you mean 'my.scores'? Fix: pt-cascade profile ",
        ),
        ([*SWEEP[:3], "./qrel.txt"], "--qrels ./qrel.txt does not exist; did you mean 'qrels.txt'? Fix: give the path "),
        (["score", "--runs", "a=bm52.res", "--out", "x"], "--runs a bm52.res does not exist; did you mean 'bm25.res'? Fix: give"),
        (
            ["score", "--runs", "a=bm25.res", "--topics", "t.tsv", "--out", "x"],
            "--topics t.tsv does not exist. Fix: give the path",
        ),
        (["status", "my.score"], "it does not exist; did you mean 'my.scores'? Fix: give the folder"),
        (["merge", "qrels.txt"], "qrels.txt is not the folder of a run: it is a file. Fix: give the folder"),
        (["experiment", "show", "qrel.txt"], "there is no file qrel.txt; did you mean 'qrels.txt'? Fix: give the path"),
        ([*SWEEP, "--stages", "bm52", "t5"], "its stages are bm25, t5; every cascade begins with 'bm25'; did you mean 'bm25'?"),
        (["score", "--runs", "a=bm25.res", "--out", "bm25.res", "--overwrite"], "--out bm25.res is a file, expected a folder. Fix"),
        (["sweep", "qrels.txt", *SWEEP[2:]], "it is a file, expected a folder. Fix: pt-cascade score --collection pydocs --out"),
    ],
)
def test_a_missing_input_is_named_with_its_neighbour(
    words: list[str], told: str, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of each argument that is a path, in the words of the command line."""
    assert here.is_dir()
    assert main(words) == 1
    assert told in capsys.readouterr().err


@pytest.mark.usefixtures("here")
def test_all_missing_inputs_are_named_at_once(capsys: pytest.CaptureFixture[str]) -> None:
    """A line each."""
    assert main(["sweep", "a", "--qrels", "b", "--timings", "c"]) == 1
    told = capsys.readouterr().err.splitlines()
    assert told[1:4] == [f"  - {name} does not exist" for name in ("TABLE a", "--timings c", "--qrels b")]


@pytest.mark.filterwarnings("ignore:2 queries are too few:pt_cascade.errors.CascadeWarning")
@pytest.mark.usefixtures("here")
def test_the_advised_costs_are_taken(capsys: pytest.CaptureFixture[str]) -> None:
    """They name the stages of the table."""
    assert main([*SWEEP, "--costs", "mono=1"]) == 1
    fix = capsys.readouterr().err.rpartition("Fix: ")[2]
    assert main([*SWEEP, *shlex.split(fix)]) == 0


@pytest.mark.usefixtures("here")
def test_qrels_in_the_form_of_beir_are_read() -> None:
    """Golden: the same judgments in the form of TREC."""
    Path("beir.tsv").write_text("query-id\tcorpus-id\tscore\n1\ta\t1\n2\ta\t1\n")
    beir = ["beir.tsv" if word == "qrels.txt" else word for word in SWEEP]
    assert paragraphs(*beir) == paragraphs(*SWEEP)


@pytest.mark.parametrize(
    ("name", "meant"), [("ndcg_cut_10", "nDCG@10"), ("ndcg@10", "nDCG@10"), ("map", "AP"), ("mrr@10", "RR@10"), ("P_5", "P@5")]
)
@pytest.mark.usefixtures("here")
def test_names_of_trec_eval_are_understood(name: str, meant: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Golden: the names of trec_eval and of ir_measures for one measure; what is suggested is a measure."""
    assert main([*SWEEP[:-1], name]) == 1
    assert f"did you mean {meant!r}?" in capsys.readouterr().err
    assert main([*SWEEP[:-1], meant]) == 0


@pytest.mark.usefixtures("here")
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no device /dev/full")
def test_a_full_disk_is_named() -> None:
    """As the standard output of the command line."""
    command = [sys.executable, "-m", "pt_cascade.cli", "stages", "bm25"]
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("pt-cascade stages: cannot write /dev/full: OSError: No space left on device.")


def test_an_empty_file_of_topics_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Not the run that could not be written without topics; a line for each query mends it."""
    topics = tmp_path / "topics.tsv"
    topics.touch()
    words = ["run", "bm25 % 2", "--collection", "./nowhere", "--topics", str(topics), "--out", str(tmp_path / "run")]
    assert main(words) == 1
    told = " ".join(capsys.readouterr().err.split())
    assert f"there are no topics: --topics {topics} is empty. Fix: write a line for each query: qid, tab, query" in told
    assert not (tmp_path / "run").exists()
