"""``pt-cascade run``, ``merge`` and ``status``: a run that is planned, stopped, watched, and ends with a scheduler's code."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from toys.batches import SERVER, SHARD, TOPICS, N, maker, rankings, run_command, run_into
from toys.folders import write_folder
from toys.lines import paragraphs

from pt_cascade.analysis.cost.timings import Timings
from pt_cascade.cli import main
from pt_cascade.collections import make_collection
from pt_cascade.errors import CascadeError
from pt_cascade.execution.batch.batch_run import run_batch
from pt_cascade.execution.batch.storage.folder import BatchFolder
from pt_cascade.execution.batch.storage.status import read_status
from pt_cascade.trec import write_topics

NAME = "toys.batches:pipeline"
SHARDS = ["--shard-queries", str(SHARD), "--query-batch-size", "2"]


@pytest.fixture
def given(tmp_path: Path) -> list[str]:
    """A cascade, topics and a folder as words of the command line."""
    write_topics(TOPICS, tmp_path / "topics.tsv")
    return [NAME, "--topics", str(tmp_path / "topics.tsv"), "--out", str(tmp_path / "run"), *SHARDS]


def test_a_run_says_where_its_results_are(given: list[str], tmp_path: Path) -> None:
    """As by run_batch; a stage that is misspelt as a prefix is refused."""
    told = "\n".join(paragraphs("run", *given, "--prefixes", "all"))
    assert told.startswith(
        f"{N} queries, 0 without results\nin {tmp_path}/run/results: SHA256SUMS, prefix-1-toy.res.gz, run.res.gz, "
    )
    run_into(tmp_path / "expected")
    assert rankings(tmp_path / "run") == rankings(tmp_path / "expected")


def test_parts_and_merge(given: list[str], tmp_path: Path) -> None:
    """Each part says what comes next; merge makes what one run makes."""
    for part in ("1/2", "2/2"):
        (told,) = paragraphs("run", *given, "--shard", part)
        assert told.endswith(f"pt-cascade merge {tmp_path}/run")
    assert paragraphs("merge", tmp_path / "run")[0] == f"{N} queries, 0 without results"
    assert list(rankings(tmp_path / "run")) == ["run.res.gz"]


def test_a_dry_run_counts_and_writes_nothing(given: list[str], tmp_path: Path) -> None:
    """By hand: 24 queries with 15 documents each are 360 pairs; at 1 and 3 s a query they take 96 s, two workers 48 s."""
    times = ((1.0, "toy", 0, 15, 1000), (1.0, "noting", 15, 10, 3000), (0.2, "toy", 0, 3, 1000), (0.2, "noting", 3, 2, 600))
    rows = [
        {
            "stage": stage,
            "qid": "a",
            "repeat": 0,
            "share": share,
            "docs_in": docs,
            "docs_ranked": docs or out,
            "docs_out": out,
            "ms": ms,
        }
        for share, stage, docs, out, ms in times
    ]
    frame = pd.DataFrame(rows).assign(tokens=float("nan"), pairs=lambda rows: rows["docs_in"])
    Timings(frame, "interactive", {}).save(tmp_path / "timings")
    told = "\n".join(paragraphs("run", *given, "--dry-run", "--workers", 2, "--timings", tmp_path / "timings"))
    assert "24 queries in 6 shards, 2 through the stages together" in told
    assert [line.split() for line in told.splitlines() if line.startswith("noting ")] == [["noting", "15", "360"]]
    assert "time: 00:48 by the timings" in told
    assert told.endswith("nothing was run or written")
    assert not (tmp_path / "run").exists()


def test_the_status_of_a_run(given: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Stopped after one of two parts, under way while a process holds its lock, finished, without results: codes 4, 4, 0 and 4."""
    out = tmp_path / "run"
    paragraphs("run", *given, "--shard", "1/2")
    BatchFolder(out).attempts(3).begin()

    def status() -> tuple[int, str]:
        try:
            code = main(["status", str(out)])
        except SystemExit as end:
            code = int(str(end.code))
        return code, " ".join(capsys.readouterr().out.split())

    code, told = status()
    assert code == 4
    assert told.startswith(
        "toy → 15 · noting → 10: stopped 3 of 6 shards, 12 of 24 queries finished shard 3, begun 1 time: its process died"
    )
    with BatchFolder(out).lock("2-of-2"):
        told = status()[1]
        assert told.startswith("toy → 15 · noting → 10: under way")
        assert told.endswith("shard 3, begun 1 time: it runs now")
    paragraphs("run", *given)
    assert status() == (
        0,
        "toy → 15 · noting → 10: finished 6 of 6 shards, 24 of 24 queries finished 24 queries, 0 without results",
    )
    shutil.rmtree(out / "results")
    assert status()[0] == 4
    assert main(["status", str(tmp_path)]) == 1
    assert "it has no manifest.json" in capsys.readouterr().err


def test_the_log_has_a_line_for_each_event(given: list[str], tmp_path: Path) -> None:
    """They are JSON; failed shards have their error; the exit code is 3."""
    log = tmp_path / "log"
    paragraphs("run", *given, "--log", log)
    events = [json.loads(line) for line in log.read_text().splitlines()]
    assert [event["event"] for event in events] == ["started", *["shard_started", "shard_finished"] * 6, "finished"]
    assert sum(event.get("queries", 0) for event in events if event["event"] == "shard_finished") == N
    log.unlink()
    with pytest.warns(UserWarning, match="shard 1 failed"), pytest.raises(CascadeError):
        run_batch(maker(fails="q5"), TOPICS, tmp_path / "failing", shard_queries=SHARD, max_attempts=1, log=log)
    failed = [event for event in map(json.loads, log.read_text().splitlines()) if event["event"] == "shard_failed"]
    assert [(event["shard"], event["attempt"], event["error"]) for event in failed] == [(1, 1, failed[0]["error"])]
    assert "no answer" in failed[0]["error"]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=["Ctrl-C", "SIGTERM"])
def test_a_run_that_is_stopped_counts_no_attempt(given: list[str], tmp_path: Path, number: int, code: int) -> None:
    """A real signal to a real process in the middle of a shard: the exit code is the scheduler's, and the run goes on."""
    os.mkfifo(tmp_path / "pipe")
    process = SERVER.Process(target=run_command, args=(tmp_path, ["run", "toys.batches:waiting", *given[1:]]))
    process.start()
    os.kill(int((tmp_path / "pipe").read_text()), number)
    process.join()
    told = " ".join((tmp_path / "messages").read_text().split())
    assert (process.exitcode, "the same command goes on" in told) == (code, True), told
    assert len(BatchFolder(tmp_path / "run").attempts(0)) == 0


@pytest.mark.usefixtures("given")  # for its topics
def test_the_slurm_script_runs_a_part(tmp_path: Path) -> None:
    """With the variables that Slurm sets, and this package's command."""
    program = tmp_path / "pt-cascade"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m pt_cascade.cli "$@"\n')
    program.chmod(0o755)
    slurm = {"SLURM_ARRAY_TASK_ID": "2", "SLURM_ARRAY_TASK_COUNT": "2", "SLURM_CPUS_PER_TASK": "1"}
    paths = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "PYTHONPATH": os.pathsep.join(sys.path)}
    script = Path(__file__).parents[3] / "experiments/clusters/slurm.sh"
    words = [str(script), NAME, str(tmp_path / "run"), "--topics", str(tmp_path / "topics.tsv"), *SHARDS]
    done = subprocess.run(words, env={**os.environ, **slurm, **paths}, capture_output=True, text=True, check=True)
    assert done.stdout.split("; ")[0] == "part 2 of 2 is finished"
    assert read_status(tmp_path / "run").finished == (1, 3, 5)


YAML = """
collection: ./c
stages:
  - {stage: bm25, cutoff: 5}
options: {tail: keep}
"""


def test_a_yaml_file_is_run_as_its_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its collection has the topics and lies beside it; its options hold; faults have their line; it is not mixed with options."""
    monkeypatch.setenv("PT_CASCADE_CACHE", str(tmp_path / "cache"))
    docs = [{"docno": f"d{n}", "text": f"text {n}"} for n in range(8)]
    topics = pd.DataFrame({"qid": ["1", "2"], "query": ["text 3", "text 5"]})
    qrels = pd.DataFrame({"qid": ["1"], "docno": ["d3"], "label": [1]})
    (tmp_path / "here").mkdir()
    write_folder(make_collection("toys", topics, qrels, docs), tmp_path / "here/c")
    file = tmp_path / "here/mine.yaml"
    file.write_text(YAML)
    paragraphs("run", file, "--out", tmp_path / "run", "--executor", "processes")
    run_batch("bm25 % 5", topics, tmp_path / "line", collection=str(tmp_path / "here/c"), tail="keep")
    assert rankings(tmp_path / "run") == rankings(tmp_path / "line")
    assert main(["run", str(file), "--out", "run", "--engine", "pisa"]) == 1
    assert "--engine is given, and stands in the file" in capsys.readouterr().err
    file.write_text(YAML.replace("cutoff", "cut_off"))
    assert main(["run", str(file), "--out", "run"]) == 1
    told = " ".join(capsys.readouterr().err.split())
    assert "mine.yaml:4: " in told
    assert "did you mean 'cutoff'?" in told


def test_faults_of_the_words_are_told(given: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """A part that is none, resources without amounts or of an executor that has none, and no topics."""
    with pytest.raises(SystemExit):
        main(["run", *given, "--shard", "3/2"])
    assert "'3/2' is not I/N with I from 1 to N" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["run", *given, "--resources", "noting=num_gpus"])
    assert "'noting=num_gpus' is not STAGE=NAME:N,... such as mono_t5=num_gpus:1,num_cpus:4" in capsys.readouterr().err
    assert main(["run", *given, "--resources", "noting=num_gpus:1"]) == 1
    assert "resources are given, but --executor 'serial' has none. Fix: --executor 'ray' --workers 4" in capsys.readouterr().err
    for name in ("toys.batches:N", "os:rename"):
        assert main(["run", name, *given[1:]]) == 1
        assert "expected a pipeline, or a function without arguments that makes one" in capsys.readouterr().err
    for line, told in (("", "it is empty. Fix: pt-cascade run 'bm25 % "), ("bm25 %", "Fix: pt-cascade run 'bm25 % ")):
        assert main(["run", line, "--collection", "pydocs", *given[1:]]) == 1
        assert told in capsys.readouterr().err
    assert main(["run", NAME, "--out", "run"]) == 1
    assert "neither --topics nor --collection is given" in capsys.readouterr().err
