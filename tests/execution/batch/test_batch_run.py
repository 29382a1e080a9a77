"""A run into a folder: what it writes, and that nothing but its plan decides the bytes."""

from __future__ import annotations

import gzip
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import torch
from toys.batches import SHARD, TOPICS, N, maker, pipeline, rankings, run_into
from toys.rankers import ToyReranker, ToyRetriever

import pt_cascade as ptc
from pt_cascade.errors import CascadeError, CascadeWarning
from pt_cascade.execution.batch.batch_run import merge_folder, plan_batch, run_batch
from pt_cascade.execution.batch.journal import Journal
from pt_cascade.execution.batch.plan import Settings
from pt_cascade.execution.batch.shard_loop import ShardLoop
from pt_cascade.execution.batch.shards import Worker, limit_threads
from pt_cascade.execution.batch.source import CascadeSource
from pt_cascade.execution.batch.storage.folder import BatchFolder


def listed(run: pd.DataFrame) -> list[tuple[str, str]]:
    """The (qid, docno) of a ranking in order."""
    ordered = run.assign(place=pd.factorize(run["qid"])[0]).sort_values(["place", "rank"], kind="stable")
    return list(zip(ordered["qid"], ordered["docno"], strict=True))


def test_a_run_ranks_as_the_plain_pipeline_does(tmp_path: Path) -> None:
    """The run and the prefix have PyTerrier's documents in its order, also where scores are equal, and their tags."""
    run_into(tmp_path / "run", tag="mine")
    plain = pipeline()
    expected = {"run.res.gz": plain, "prefix-1-toy.res.gz": plain[0] >> plain[1]}
    assert sorted(rankings(tmp_path / "run")) == sorted(expected)
    for name, ranker in expected.items():
        assert listed(ptc.trec.read_run(tmp_path / "run/results" / name)) == listed(ranker.transform(TOPICS))
    tags = {name: gzip.decompress(data).split()[5] for name, data in rankings(tmp_path / "run").items()}
    assert tags == {"run.res.gz": b"mine", "prefix-1-toy.res.gz": b"mine-toy"}


def test_the_executor_does_not_change_a_byte(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Two processes that are started anew, and import the function by its name, write what one process writes; both show stages."""
    run_into(tmp_path / "serial")
    given = {"shard_queries": SHARD, "query_batch_size": 2, "prefixes": ["all"], "verbose": True}
    run_batch("toys.batches:pipeline", TOPICS, tmp_path / "processes", executor="processes", workers=2, **given)
    assert rankings(tmp_path / "serial") == rankings(tmp_path / "processes")
    assert re.search(rf"run: {N}/{N} \[.*, left: toy 00:00, noting 00:00\]\n$", capsys.readouterr().err)


def test_the_time_that_is_left_is_split_by_what_the_stages_took(tmp_path: Path) -> None:
    """By hand: a stage that took a quarter of the time gets 10 of 40 s; before anything is known none has some."""
    planned = plan_batch(CascadeSource(maker()), TOPICS, Settings(4, 2, 1, (), "mine"))
    loop = ShardLoop(BatchFolder(tmp_path), planned.plan, TOPICS, {}, 1, Journal())
    assert loop.tell_stages(40) == "left: toy 00:00, noting 00:00"
    loop.ms.update({"toy": 2.0, "noting": 6.0})
    assert loop.tell_stages(40) == "left: toy 00:10, noting 00:30"


def test_parts_that_are_merged_are_one_run(tmp_path: Path) -> None:
    """Three parts, in any order, and merge; before the last part there is nothing to merge."""
    run_into(tmp_path / "whole")
    for part in (3, 1):
        run_into(tmp_path / "parts", shard=(part, 3))
    with pytest.raises(CascadeError, match=r"2 of 6 shards are not finished: 1, 4"):
        merge_folder(tmp_path / "parts")
    run_into(tmp_path / "parts", shard=(2, 3))
    assert merge_folder(tmp_path / "parts").counts["queries"] == N
    assert rankings(tmp_path / "parts") == rankings(tmp_path / "whole")


def test_a_finished_run_runs_nothing_again(tmp_path: Path) -> None:
    """The same call reads what is there: each query was scored once."""
    for _ in range(2):
        run_into(tmp_path / "run", file=str(tmp_path / "notes"))
    assert sorted((tmp_path / "notes").read_text().split()) == sorted(TOPICS["qid"])


def test_the_trace_has_a_row_for_each_stage_and_query(tmp_path: Path) -> None:
    """Also for a query without results, which the manifest counts; shards in which nothing is found make an empty ranking."""
    topics = TOPICS.assign(query=["nothing"] * 5 + TOPICS["query"].tolist()[5:])
    done = run_batch(pipeline(), topics, tmp_path / "run", shard_queries=4)
    trace = pd.read_parquet(done.results / "trace.parquet")
    assert trace.groupby("stage", sort=False)["qid"].nunique().to_dict() == {"toy": N, "noting": N}
    assert trace.loc[trace["stage"] == "noting", "docs_out"].eq(0).sum() == 5
    finished = json.loads((tmp_path / "run/manifest.json").read_text())["finished"]
    assert finished == {"queries": N, "queries_without_results": 5, "documents_not_scored": {}, "queries_failed": {}}
    assert set(ptc.trec.read_run(done.results / "run.res.gz")["qid"]) == set(topics["qid"][5:])
    none = run_batch(pipeline(), topics.assign(query="nothing"), tmp_path / "none", shard_queries=4)
    assert ptc.trec.read_run(none.results / "run.res.gz").empty


def test_queries_that_a_stage_fails_on_are_counted(tmp_path: Path) -> None:
    """With ``on_error="keep"`` they keep the order before the stage; the manifest counts them and their documents."""
    failing = ptc.Cascade.of(pipeline(fails="q3 q7")).options(on_error="keep")
    with pytest.warns(CascadeWarning, match="failed on 1 query"):
        done = run_batch(failing, TOPICS, tmp_path / "run", shard_queries=4)
    before = (ToyRetriever(docs=30, levels=5) % 15).transform(TOPICS)
    assert done.counts["queries_failed"] == {"noting": 2}
    assert done.counts["documents_not_scored"] == {"noting": int(before["qid"].isin(["q3", "q7"]).sum())}


def test_results_to_rerank_are_topics_too(tmp_path: Path) -> None:
    """Rows of a query in several places are one query; a kept tail follows below, as in ``run``."""
    found = ToyRetriever(docs=12).transform(TOPICS).sample(frac=1, random_state=0).reset_index(drop=True)
    reranker = ToyReranker() % 3
    done = run_batch(reranker, found, tmp_path / "run", shard_queries=5, query_batch_size=2, tail="keep")
    expected = ptc.run(reranker, found, tail="keep").results
    assert listed(ptc.trec.read_run(done.results / "run.res.gz")) == listed(expected)


def test_scores_are_kept_for_other_runs(tmp_path: Path) -> None:
    """A second run, into another folder, calls the stage for nothing; its ranking is the first one's."""
    for out in ("first", "second"):
        run_batch(maker(file=str(tmp_path / "notes")), TOPICS, tmp_path / out, score_cache=tmp_path / "scores")
    assert len((tmp_path / "notes").read_text().split()) == N
    assert rankings(tmp_path / "first") == rankings(tmp_path / "second")


CHANGED = {
    "a stage": ({"cascade": maker(levels=4)}, "stage noting was "),
    "a cut-off": ({"cascade": maker(cut=9)}, "cascade was toy → 15 · noting → 10, is toy → 15 · noting → 9"),
    "a topic": ({"topics": TOPICS.assign(query=TOPICS["query"].str.upper())}, "topics was "),
    "the shards": ({"shard_queries": 5}, "shard_queries was 4, is 5"),
    "the threads": ({"threads": 2}, "threads was 1, is 2"),
    "the tag": ({"tag": "other"}, "tag was pt_cascade, is other"),
    "the tail": ({"tail": "keep"}, "tail was drop, is keep"),
    "the prefixes": ({"prefixes": ["toy"]}, r"prefixes was \(\), is \('toy',\)"),
}


GIVEN = {"cascade": maker(), "topics": TOPICS, "shard_queries": 4}


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run that others try to resume."""
    out = tmp_path_factory.mktemp("begun") / "run"
    run_batch(**GIVEN, out=out)
    return out


@pytest.mark.parametrize(("changes", "told"), CHANGED.values(), ids=list(CHANGED))
def test_a_run_of_something_else_is_not_resumed(begun: Path, changes: dict[str, object], told: str) -> None:
    """The error names what differs, with both values; the old folder is as it was."""
    before = {file: file.read_bytes() for file in begun.rglob("[!.]*") if file.is_file()}
    with pytest.raises(CascadeError, match=told):
        run_batch(**{**GIVEN, **changes}, out=begun)
    assert {file: file.read_bytes() for file in before} == before


def test_a_package_of_another_version_is_named(tmp_path: Path) -> None:
    """A manifest that was made with another pandas is not resumed."""
    run_into(tmp_path / "run")
    manifest = tmp_path / "run/manifest.json"
    manifest.write_text(manifest.read_text().replace(f'"version of pandas": "{pd.__version__}"', '"version of pandas": "0.1"'))
    with pytest.raises(CascadeError, match=rf"version of pandas was 0.1, is {pd.__version__}"):
        run_into(tmp_path / "run")


def test_fresh_moves_the_old_run_aside(tmp_path: Path) -> None:
    """The next free number is its name; both have their results."""
    run_into(tmp_path / "run")
    for number in (1, 2):
        run_batch(maker(levels=4), TOPICS, tmp_path / "run", fresh=True)
        assert (tmp_path / f"run.old-{number}/results/run.res.gz").exists()
    assert rankings(tmp_path / "run") == rankings(tmp_path / "run.old-2") != rankings(tmp_path / "run.old-1")


def test_what_another_process_cannot_make_is_refused(tmp_path: Path) -> None:
    """A pipeline and a lambda are named, before anything is written; a name that is misspelt has a suggestion."""
    for cascade in (pipeline(), lambda: pipeline(cut=3)):
        with pytest.raises(CascadeError, match=r"cannot be sent to another process.* executor='serial'"):
            run_batch(cascade, TOPICS, tmp_path / "run", executor="processes")
    with pytest.raises(CascadeError, match="did you mean 'pipeline'"):
        run_batch("toys.batches:pipelin", TOPICS, tmp_path / "run")
    with pytest.raises(CascadeError, match="no module 'no_such'"):
        run_batch("no_such:pipeline", TOPICS, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_all_faults_of_the_options_are_told_at_once(tmp_path: Path) -> None:
    """Nothing is written."""
    with pytest.raises(CascadeError) as refused:
        run_batch(pipeline(), TOPICS, tmp_path / "run", executor="cluster", workers=0, shard=(4, 3), max_attempts=0)
    assert len(refused.value.problems) == 4
    with pytest.raises(CascadeError) as refused:
        run_batch(
            pipeline(), TOPICS, tmp_path / "run", shard_queries=0, query_batch_size=0, threads=0, prefixes=["tooy"], tag="a b"
        )
    assert len(refused.value.problems) == 5
    assert "did you mean 'toy'?" in str(refused.value)
    assert not (tmp_path / "run").exists()


def test_topics_that_no_run_could_hold_are_refused(tmp_path: Path) -> None:
    """None, and a qid of two words: before anything runs."""
    for topics, told in (
        (TOPICS.head(0), "there are no topics"),
        (TOPICS.replace({"qid": {"q3": "q 3"}}), "qid, expected one word"),
    ):
        with pytest.raises(CascadeError, match=told):
            run_batch(pipeline(), topics, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_worker_with_another_cascade_is_refused() -> None:
    """Such as one on a machine with another model: the error names what differs."""
    source, other = CascadeSource(maker()), CascadeSource(maker(levels=4))
    planned = plan_batch(source, TOPICS, Settings(4, 2, 1, (), "mine"))
    assert Worker(source, planned.plan).plan == planned.plan
    with pytest.raises(CascadeError, match=r"a worker has another cascade than the plan: stage noting was \w+, is \w+"):
        Worker(other, planned.plan)


def test_a_worker_computes_on_the_threads_of_the_plan(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of torch, and by its variable of libraries that load later; both are as before in the end."""
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    monkeypatch.delenv("MKL_NUM_THREADS", raising=False)
    before = torch.get_num_threads()
    with limit_threads(before + 1):
        assert torch.get_num_threads() == before + 1
        assert os.environ["OMP_NUM_THREADS"] == os.environ["MKL_NUM_THREADS"] == str(before + 1)
    assert (torch.get_num_threads(), os.environ["OMP_NUM_THREADS"]) == (before, "7")
    assert "MKL_NUM_THREADS" not in os.environ


def test_a_library_that_loads_in_a_run_is_not_slowed_afterwards() -> None:
    """In a process of its own, without a variable: torch has the plan's threads in the run, and then all that there are."""
    code = (
        "from pt_cascade.execution.batch.shards import limit_threads\n"
        "with limit_threads(1):\n    import torch\n    print(torch.get_num_threads())\nprint(torch.get_num_threads())"
    )
    environment = {name: value for name, value in os.environ.items() if not name.endswith("_NUM_THREADS")}
    environment["PYTHONPATH"] = os.pathsep.join(sys.path)
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["1", str(len(os.sched_getaffinity(0)))]


def test_a_module_in_the_current_folder_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A pipeline by its name, and a function; what gives no pipeline is refused."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    name = f"mine_{tmp_path.name}"
    Path(f"{name}.py").write_text("from toys.batches import pipeline\nready = pipeline()\nnothing = lambda: {}\n")
    for cascade in ("ready", "pipeline"):
        run_batch(f"{name}:{cascade}", TOPICS.head(2), tmp_path / cascade)
    assert rankings(tmp_path / "ready") == rankings(tmp_path / "pipeline")
    with pytest.raises(CascadeError, match=r"gave \{\}, expected a pipeline"):
        run_batch(f"{name}:nothing", TOPICS, tmp_path / "run")


def test_a_folder_of_other_files_is_refused(tmp_path: Path) -> None:
    """It is left as it is; and a file is no folder."""
    (tmp_path / "run").mkdir()
    (tmp_path / "run/thesis.tex").touch()
    with pytest.raises(CascadeError, match=r"it holds other files: thesis\.tex"):
        run_into(tmp_path / "run")
    (tmp_path / "file").touch()
    with pytest.raises(CascadeError, match="it cannot be made: File exists"):
        run_into(tmp_path / "file")


def test_stages_that_read_a_whole_frame_are_refused(tmp_path: Path) -> None:
    """In shards their scores would be others than those of the whole."""
    found = ToyRetriever().transform(TOPICS).assign(text="a b")
    import pyterrier as pt

    with pytest.raises(CascadeError, match="scores by all rows of a frame"):
        run_batch(pt.text.scorer(wmodel="Tf"), found, tmp_path / "run")


ROWS = {
    "is of another shard": [("q4", "a"), ("q9", "a")],
    "is in two places": [("q4", "a"), ("q5", "a"), ("q4", "b")],
    "has a document twice": [("q4", '"a'), ("q5", '"a'), ("q5", "NA"), ("q5", '"a')],
}


@pytest.mark.parametrize(("problem", "rows"), ROWS.items(), ids=list(ROWS))
def test_a_shard_with_rows_that_are_not_its_own_is_not_merged(tmp_path: Path, problem: str, rows: list[tuple[str, str]]) -> None:
    """Its checksums hold, its rows do not: the error names the file and the query."""
    run_into(tmp_path / "run", shard=(1, 1))
    folder = BatchFolder(tmp_path / "run")
    files = {file.name: file.read_bytes() for file in folder.shard(1).iterdir() if file.name != "SHA256SUMS"}
    files["run.res.gz"] = gzip.compress("".join(f"{qid} Q0 {docno} 1 0.5 t\n" for qid, docno in rows).encode())
    shutil.rmtree(folder.shard(1))
    folder.write_shard(1, files)
    with pytest.raises(CascadeError, match=rf"00001/run\.res\.gz cannot be merged: qid '\w+' {problem}"):
        merge_folder(tmp_path / "run")
