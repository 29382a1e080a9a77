"""Runs that are killed, fail, or find damage: what is finished is kept, and the results are those of an undisturbed run."""

from __future__ import annotations

import errno
import os
import random
import re
import resource
import select
import shlex
import shutil
import signal
import subprocess
from collections import Counter
from functools import partial
from pathlib import Path

import pytest
from toys.batches import SERVER, SHARD, TOPICS, maker, rankings, run_into, slow_start
from toys.lines import paragraphs
from toys.users import as_nobody

from pt_cascade.errors import CascadeError, CascadeWarning, ShardError
from pt_cascade.execution.batch.batch_run import merge_folder, run_batch
from pt_cascade.execution.batch.storage.folder import BatchFolder
from pt_cascade.execution.batch.storage.locks import lock


def finished(out: Path) -> set[str]:
    """The qids of the finished shards."""
    numbers = [int(folder.name) for folder in (out / "shards").glob("[0-9]*") if folder.is_dir()]
    return {qid for number in numbers for qid in TOPICS["qid"][SHARD * number : SHARD * (number + 1)]}


def kill_often(out: Path, notes: Path, times: int, slowest: float, **options: object) -> int:
    """Kill runs at random moments, and check after each that nothing finished was scored again; return the number of kills."""
    moments, killed = random.Random(times), 0  # noqa: S311 - of a test
    while killed < times:
        before, known = Counter(read(notes)), finished(out)
        process = SERVER.Process(target=run_into, args=(out, str(notes)), kwargs={"max_attempts": 1000, **options})
        process.start()
        process.join(moments.uniform(0.0, slowest))
        process.kill()
        process.join()
        again = Counter(read(notes)) - before
        assert not known & set(again), "a query was scored again after its shard was finished"
        if process.exitcode == 0:  # it had ended: the next starts anew
            for folder in ("results", "shards"):
                shutil.rmtree(out / folder)
            notes.unlink()
        killed += process.exitcode == -signal.SIGKILL
    return killed


def read(notes: Path) -> list[str]:
    """The qids that were scored."""
    return notes.read_text().split() if notes.exists() else []


KILLS = {
    "10": (10, 0.6, {}),
    "50": (50, 0.6, {}),
    "10 of a run in two processes": (10, 5.0, {"executor": "processes", "workers": 2}),
}


@pytest.mark.parametrize(
    ("times", "slowest", "options"),
    [pytest.param(*given, id=name, marks=[pytest.mark.slow] * (name != "10")) for name, given in KILLS.items()],
)
def test_a_run_that_is_killed_at_any_moment_gives_the_same_bytes(
    tmp_path: Path, times: int, slowest: float, options: dict[str, object]
) -> None:
    """Kill -9 at random moments; then the run ends as one that nothing disturbed."""
    run_into(tmp_path / "undisturbed")
    out, notes = tmp_path / "killed", tmp_path / "notes"
    assert kill_often(out, notes, times, slowest, **options) == times
    run_into(out, str(notes), max_attempts=1000)
    assert rankings(out) == rankings(tmp_path / "undisturbed")
    assert set(read(notes)) == set(TOPICS["qid"])


def test_a_damaged_shard_is_run_again(tmp_path: Path) -> None:
    """One byte of one file: the shard is named and run again, no other is; merge alone refuses it."""
    out, notes = tmp_path / "run", tmp_path / "notes"
    run_into(out, str(notes))
    before = rankings(out)
    shutil.rmtree(out / "results")
    damaged = out / "shards/00002/run.res.gz"
    damaged.write_bytes(damaged.read_bytes()[:-1] + b"\xff")
    with pytest.raises(CascadeError, match=r"00002 is damaged.*run\.res\.gz"):
        merge_folder(out)
    notes.unlink()
    with pytest.warns(CascadeWarning, match=r"00002 is damaged: run\.res\.gz .*; the shard is run again"):
        run_into(out, str(notes))
    assert read(notes) == TOPICS["qid"][2 * SHARD : 3 * SHARD].tolist()
    assert rankings(out) == before


@pytest.mark.filterwarnings("ignore:.*shard 1 failed")
def test_a_shard_that_always_fails_is_named_and_the_others_are_finished(tmp_path: Path) -> None:
    """It is tried as often as asked, over all calls, then left alone; when its cause is gone, the printed cure finishes the run."""
    out, notes = tmp_path / "run", tmp_path / "notes"
    given = {"cascade": maker(file=str(notes), fails="q5"), "topics": TOPICS, "out": out, "shard_queries": SHARD}
    told = r"1 of 6 shards failed; .*shard 1, 4 queries from qid 'q4' to 'q7', failed 2 times: .*no answer"
    for _ in range(2):  # the second call tries nothing
        with pytest.raises(ShardError, match=told) as failed:
            run_batch(**given, max_attempts=2)
        assert failed.value.exit_code == 3
    assert finished(out) == set(TOPICS["qid"]) - {"q4", "q5", "q6", "q7"}
    assert len(BatchFolder(out).attempts(1)) == 2
    (tmp_path / "notes.mended").touch()
    assert failed.value.fix == "mend the cause, and start again with max_attempts=4"
    assert run_batch(**given, max_attempts=4).counts["queries"] == len(TOPICS)
    run_batch(maker(), TOPICS, tmp_path / "undisturbed", shard_queries=SHARD)
    assert rankings(out) == rankings(tmp_path / "undisturbed")


@pytest.mark.filterwarnings("ignore:.*shard [0-9]+ failed")
def test_a_run_in_which_everything_fails_is_stopped(tmp_path: Path) -> None:
    """After ten attempts, at ten shards; when the cause is gone, the same call finishes."""
    given = {"cascade": maker(file=str(tmp_path / "notes"), fails=" ".join(TOPICS["qid"])), "topics": TOPICS, "shard_queries": 1}
    with pytest.raises(ShardError, match=r"10 attempts failed one after the other, .* the last attempt, at shard 9: .*no answer"):
        run_batch(**given, out=tmp_path / "run")
    assert [len(BatchFolder(tmp_path / "run").attempts(n)) for n in range(12)] == [1] * 10 + [0, 0]
    (tmp_path / "notes.mended").touch()
    assert run_batch(**given, out=tmp_path / "run").counts["queries"] == len(TOPICS)


@pytest.mark.filterwarnings("ignore:.*shard 3 failed")
def test_a_worker_that_dies_is_replaced(tmp_path: Path) -> None:
    """A shard that kills its process counts as failed by that signal; new processes finish the others, which are not run again."""
    out, notes = tmp_path / "run", tmp_path / "notes"
    given = {"cascade": maker(file=str(notes), kills="q13"), "topics": TOPICS, "out": out, "shard_queries": SHARD}
    with pytest.raises(ShardError, match=r"shard 3, .*the worker process ended by signal SIGKILL, perhaps for want of memory"):
        run_batch(**given, executor="processes", workers=2, max_attempts=2)
    assert finished(out) == set(TOPICS["qid"]) - {"q12", "q13", "q14", "q15"} == set(read(notes))
    (tmp_path / "notes.mended").touch()
    run_batch(**given, max_attempts=4)
    assert sorted(read(notes)) == sorted(TOPICS["qid"])
    run_batch(maker(), TOPICS, tmp_path / "undisturbed", shard_queries=SHARD)
    assert rankings(out) == rankings(tmp_path / "undisturbed")


def test_workers_end_with_the_run_that_started_them(tmp_path: Path) -> None:
    """Kill -9 of the run while its worker is in the middle of a shard."""
    os.mkfifo(pipe := tmp_path / "pipe")
    given = (maker(tells=str(pipe)), TOPICS, tmp_path / "run")
    run = SERVER.Process(target=run_batch, args=given, kwargs={"executor": "processes"})
    run.start()
    worker = os.pidfd_open(int(pipe.read_text()))
    run.kill()
    run.join()
    assert select.select([worker], [], [], 60)[0], "the worker goes on"
    os.close(worker)


def test_a_run_that_is_killed_while_its_workers_start_counts_no_attempt(tmp_path: Path) -> None:
    """Kill -9 before a worker has its cascade: no shard is blamed."""
    os.mkfifo(pipe := tmp_path / "pipe")
    given = (partial(slow_start, str(pipe)), TOPICS, tmp_path / "run")
    run = SERVER.Process(target=run_batch, args=given, kwargs={"executor": "processes"})
    run.start()
    assert pipe.read_text()
    run.kill()
    run.join()
    assert len(BatchFolder(tmp_path / "run").attempts(0)) == 0


def test_a_shard_that_kills_the_run_is_left_alone_in_the_end(tmp_path: Path) -> None:
    """In one process each start dies in the shard; the attempts are counted on disk, so the third start finishes the others."""
    out, options = tmp_path / "run", {"shard_queries": SHARD, "max_attempts": 2}
    for _ in range(2):
        process = SERVER.Process(target=run_batch, args=(maker(kills="q1"), TOPICS, out), kwargs=options)
        process.start()
        process.join()
        assert process.exitcode == -signal.SIGKILL
    with pytest.raises(ShardError, match=r"shard 0, .*its process died"):
        run_batch(maker(kills="q1"), TOPICS, out, **options)
    assert finished(out) == set(TOPICS["qid"][SHARD:])


def test_an_interrupted_shard_is_not_counted(tmp_path: Path) -> None:
    """KeyboardInterrupt in a stage stops the run, and leaves no attempt behind."""

    def interrupt(_: object) -> float:
        raise KeyboardInterrupt

    import pyterrier as pt

    pipeline = maker()()
    with pytest.raises(KeyboardInterrupt):
        run_batch(pipeline >> pt.apply.doc_score(interrupt), TOPICS, tmp_path / "run")
    assert len(BatchFolder(tmp_path / "run").attempts(0)) == 0


def test_a_second_run_in_a_folder_is_refused(tmp_path: Path) -> None:
    """The error names the process; parts of the shards run together, but not the same part, nor a part beside the whole."""
    run_into(tmp_path / "run", shard=(1, 2))
    with BatchFolder(tmp_path / "run").lock(), pytest.raises(CascadeError, match=rf"process {os.getpid()} on .*, since "):
        run_into(tmp_path / "run")
    with BatchFolder(tmp_path / "run").lock("1-of-2"):
        run_into(tmp_path / "run", shard=(2, 2))
        for shard in ((1, 2), None):
            with pytest.raises(CascadeError, match="another run uses"):
                run_into(tmp_path / "run", shard=shard)
    with lock(tmp_path / "run/.lock"):
        assert BatchFolder(tmp_path / "run").is_used()
    assert not BatchFolder(tmp_path / "run").is_used()


def test_a_lock_that_leads_to_another_file_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file keeps its lines; and a file system without locks, as Lustre is at first, is named."""
    (tmp_path / "run").mkdir()
    (tmp_path / "mine").write_text("mine")
    (tmp_path / "run/.lock").symlink_to(tmp_path / "mine")
    with pytest.raises(CascadeError, match=r"cannot write .*run: OSError: Too many levels of symbolic links"):
        run_into(tmp_path / "run")
    assert (tmp_path / "mine").read_text() == "mine"

    def refuse(*_: object) -> None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))

    monkeypatch.setattr("fcntl.flock", refuse)
    with pytest.raises(
        CascadeError, match=r"cannot run into .*other: its file system has no locks: Function not implemented\. Fix"
    ):
        run_into(tmp_path / "other")


def run_on_full_disk(out: Path, told: Path) -> None:
    """Run where no file can be larger than some bytes, and write the error down."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2500, 2500))
    try:
        run_into(out)
    except CascadeError as error:
        told.write_text(str(error))


def test_a_full_disk_is_an_error_and_nothing_is_lost(tmp_path: Path) -> None:
    """Also no attempt is counted; when there is room again, the run is resumed."""
    out, told = tmp_path / "run", tmp_path / "told"
    process = SERVER.Process(target=run_on_full_disk, args=(out, told))
    process.start()
    process.join()
    assert re.search(r"cannot write .*free some space on the disk", told.read_text())
    assert len(BatchFolder(out).attempts(0)) == 0
    run_into(out)
    run_into(tmp_path / "undisturbed")
    assert rankings(out) == rankings(tmp_path / "undisturbed")


def test_damaged_results_are_refused(tmp_path: Path) -> None:
    """The commands in the error make them again from the shards."""
    out = tmp_path / "run"
    run_into(out)
    before = rankings(out)
    (out / "results/run.res.gz").write_bytes(b"")
    with pytest.raises(CascadeError, match=r"results is damaged.*run\.res\.gz") as refused:
        run_into(out)
    remove, _, merge = refused.value.fix.partition(", then ")
    subprocess.run(shlex.split(remove), check=True)
    paragraphs(*shlex.split(merge)[1:])
    assert rankings(out) == before


def test_a_damaged_manifest_is_refused(tmp_path: Path) -> None:
    """The command in the error ends it."""
    run_into(tmp_path / "run")
    manifest = tmp_path / "run/manifest.json"
    for text in ("{", "[]", '{"plan": 3}', '{"plan": {"cascade": {}, "settings": {}, "topics": "", "shards": []}}'):
        manifest.write_text(text)
        with pytest.raises(CascadeError, match=r"manifest\.json is damaged") as refused:
            run_into(tmp_path / "run")
    subprocess.run(shlex.split(refused.value.fix.partition(",")[0]), check=True)
    run_into(tmp_path / "run")


def test_a_folder_where_nobody_may_write_is_an_error(tmp_path: Path) -> None:
    """It names the folder and a cure; also one that cannot be moved aside."""
    run_into(tmp_path / "old")
    for file in (tmp_path / "old", *(tmp_path / "old").rglob("*")):
        file.chmod(0o777)
    tmp_path.chmod(0o555)
    with as_nobody(tmp_path), pytest.raises(CascadeError, match=r"cannot write .*old: PermissionError.*where you may write"):
        run_into(tmp_path / "old", fresh=True)
    with as_nobody(tmp_path), pytest.raises(CascadeError, match=r"cannot write .*run.*PermissionError.*where you may write"):
        run_into(tmp_path / "run")
