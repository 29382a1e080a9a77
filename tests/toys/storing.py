"""What other processes do in tests of the score cache: write at once, be killed, fill the disk, write without permission.

    python -m toys.storing TASK PATH [NUMBER]

Starting Python costs seconds, so a task forks where it needs several processes.
"""

from __future__ import annotations

import os
import resource
import signal
import sqlite3
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

import numpy as np
import pandas as pd
import pyterrier as pt

from pt_cascade.errors import ScoreCacheError
from pt_cascade.stages.base.identity import hash_identity
from pt_cascade.stages.cached import cached
from pt_cascade.stages.scorecache.keys import point_keys
from pt_cascade.stages.scorecache.score_cache import ScoreCache

IDENTITY = {"class": "toy"}
GROUPS = tuple(bytes([n]) * 16 for n in range(8))
BATCH, ROWS = 16, 80
MEMORY = "/dev/shm" if Path("/dev/shm").is_dir() else None  # noqa: S108 - for many small files that need not survive a power cut


def value(docno: str) -> float:
    """A score that tells its document, to the last bit."""
    return 1 / (1 + int(docno[1:]))


def fork(work: Callable[[], object]) -> int:
    """Do some work in a child, which ends without Python's farewells; give its number."""
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        work()
        code = 0
    finally:
        os._exit(code)


def race(path: str, writers: int = 4) -> None:
    """Several processes make the file and write the same keys in different orders, each its own values, one group at a time."""
    store = ScoreCache(path, IDENTITY)

    def write(writer: int) -> None:
        dice = np.random.default_rng(writer)
        for group in dice.permutation(len(GROUPS)):
            item = dice.permutation(50)
            store.put([GROUPS[group]], np.zeros(50, np.int64), item, writer + item / 100)

    sys.exit(wait(fork(lambda writer=writer: write(writer)) for writer in range(writers)))


def wait(children: Iterable[int]) -> bool:
    """Wait for all of them, and tell whether one failed."""
    codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in [*children]]
    return any(codes)


def fill(store: ScoreCache, writer: int, batches: int) -> None:
    """Put batches of 50 scores into a group of one's own."""
    for batch in range(batches):
        item = 50 * batch + np.arange(50)
        store.put([bytes([writer]) * 16], np.zeros(50, np.int64), item, writer + item / 1e6)


def audit(path: str, writers: Sequence[int], batches: int) -> str:
    """Say what is wrong with a file that some writers filled; nothing, if all that they committed is there and it is sound."""
    store, item = ScoreCache(path, IDENTITY), np.arange(50 * batches)
    found = {n: store.get([bytes([n]) * 16], np.zeros(len(item), np.int64), item) for n in writers}
    lost = {n: int((scores != n + item / 1e6).sum()) for n, scores in found.items() if (scores != n + item / 1e6).any()}
    with sqlite3.connect(path) as file:
        told = file.execute("PRAGMA integrity_check").fetchall()
    return "" if not lost and told == [("ok",)] else f"lost {lost}, {told}"


def threads(path: str, batches: int) -> None:
    """Two processes of three threads each fill one file at once."""
    ScoreCache(path, IDENTITY).put(GROUPS[:1], np.zeros(1, np.int64), np.zeros(1, np.int64), np.ones(1))

    def work(writers: Sequence[int]) -> None:
        with ThreadPoolExecutor(3) as pool:
            [*pool.map(lambda writer: fill(ScoreCache(path, IDENTITY), writer, batches), writers)]

    failed = wait(fork(lambda writers=writers: work(writers)) for writers in ((1, 2, 3), (4, 5, 6)))
    sys.exit(audit(path, range(1, 7), batches) or failed)


def forks(path: str, batches: int) -> None:
    """A stage forks twice while it scores, between two writes of its process; then all three write at once."""
    store, children = ScoreCache(path, IDENTITY), []
    kept = cached(Forking(fork=lambda: children.extend(fork(lambda n=n: fill(store, n, batches)) for n in (1, 2))), f"{path}2")
    store.put(GROUPS[:1], np.zeros(1, np.int64), np.zeros(1, np.int64), np.ones(1))
    kept.transform(frame(range(BATCH)))
    fill(store, 3, batches)
    failed = wait(children)
    sys.exit(audit(path, (1, 2, 3), batches) or failed or kept.score_cache().count() != BATCH)


def users(path: str, batches: int) -> None:
    """Three processes let one stage score at once, two of them long frames, one many short ones; then all of it is kept."""
    work = (
        (range(BATCH * batches), 1),
        (range(10**6, 10**6 + 2 * BATCH), batches // 2),
        (range(10**7, 10**7 + BATCH * batches), 1),
    )

    def use(numbers: range, times: int) -> None:
        for n in range(times):
            start = numbers.start + n * len(numbers)
            cached(Speaker(out), path, batch_size=BATCH).transform(frame(range(start, start + len(numbers))))

    with open(os.devnull, "wb") as nothing:  # noqa: PTH123 - its number is wanted
        out = nothing.fileno()
        cached(Speaker(out), path).transform(frame(range(10**9, 10**9 + 1)))
        failed = wait(fork(lambda part=part: use(*part)) for part in work)
    expected = 1 + sum(len(numbers) * times for numbers, times in work)
    with sqlite3.connect(path) as file:
        found = [ScoreCache(path, {}).count(), *file.execute("PRAGMA integrity_check")]
    sys.exit(failed or (f"{found}, expected {expected}" if found != [expected, ("ok",)] else 0))


def frame(numbers: range) -> pd.DataFrame:
    """One query with some documents."""
    return pd.DataFrame({"qid": "1", "query": "q", "docno": [f"d{n}" for n in numbers], "text": [f"t{n}" for n in numbers]})


@dataclass(frozen=True)
class Speaker(pt.Transformer):
    """A re-ranker that says into a pipe, before it answers, which documents it was asked for: the first, and how many."""

    pipe: int = -1
    documents = "reranks"
    depends = "pointwise"
    stage_name = "speaker"

    def identify(self) -> dict[str, str]:
        """Be the same whatever pipe it speaks into."""
        return {"class": "speaker"}

    def transform(self, inp: pd.DataFrame) -> pd.DataFrame:
        """Say, then score."""
        os.write(self.pipe, f"{inp['docno'].iloc[0]} {len(inp)}\n".encode())
        return pt.model.add_ranks(inp.assign(score=[value(docno) for docno in inp["docno"]]))


@dataclass(frozen=True)
class Forking(Speaker):
    """A re-ranker that forks while it scores."""

    fork: Callable[[], object] = field(default=lambda: None, compare=False)

    def transform(self, inp: pd.DataFrame) -> pd.DataFrame:
        """Fork, then score."""
        self.fork()
        return pt.model.add_ranks(inp.assign(score=[value(docno) for docno in inp["docno"]]))


def killed(path: str, kills: int) -> None:
    """A process that scores and keeps is killed again and again; after each kill, all that is kept is right and whole.

    What it was asked for last may be lost; whatever it was asked for before is there.
    """
    dice, start, lost = np.random.default_rng(0), 0, 0
    for _ in range(kills):
        mine, theirs = os.pipe()

        def work(start: int = start, theirs: int = theirs) -> None:
            kept = cached(Speaker(theirs), path, batch_size=BATCH)
            for n in count(start):
                kept.transform(frame(range(ROWS * n, ROWS * (n + 1))))

        child = fork(work)
        os.close(theirs)
        said, least = b"", dice.integers(1, 8)
        while said.count(b"\n") < least:
            said += os.read(mine, 1 << 16)
        time.sleep(dice.random() * 0.01)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        while part := os.read(mine, 1 << 16):
            said += part
        os.close(mine)
        asked = [line.split() for line in said.decode().splitlines()]
        lost += check(path, [range(int(first[1:]), int(first[1:]) + int(rows)) for first, rows in asked])
        start = int(asked[-1][0][1:]) // ROWS + 1
    sys.stdout.write(f"{kills} kills, {lost} last batches lost, {ScoreCache(path, {}).count()} scores kept")


def check(path: str, batches: list[range]) -> bool:
    """Read every batch as it lies: all of it, and every score right; only the last may be lost, all of it. Tell whether it is."""
    kept = cached(Speaker(), path)
    for number, batch in enumerate(batches):
        wanted = frame(batch)
        store = kept.score_cache()
        keys = point_keys(wanted, ["docno", "text"], hash_identity(store.identity))
        found = store.get(keys.groups, keys.group, keys.item)
        if (found == [value(docno) for docno in wanted["docno"]]).all():
            continue
        if np.isnan(found).all() and number == len(batches) - 1:
            return True
        sys.exit(f"batch {number} of {len(batches)}: {found.tolist()}")
    return False


def full(path: str) -> None:
    """No file may grow beyond 64 kB: writing fails with an error, and what was kept before is kept."""
    store = ScoreCache(path, IDENTITY)
    item = np.arange(100)
    store.put(GROUPS[:1], np.zeros(100, np.int64), item, item / 7)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 16, limits[1]))
    many = np.arange(20_000)
    try:
        store.put(GROUPS[1:2], np.zeros(len(many), np.int64), many, many / 7)
    except ScoreCacheError as error:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        sys.stdout.write(str(error))
        store.put(GROUPS[2:3], np.zeros(1, np.int64), np.array([1]), np.array([0.5]))
        sys.exit(0 if store.count() == 101 else f"{store!r}")
    sys.exit("nothing was refused")


def forbidden(path: str) -> None:
    """Reading works where nothing may be written, neither file nor folder; writing is refused."""
    Path(path).chmod(0o444)
    Path(path).parent.chmod(0o555)
    if os.getuid() == 0:  # root may write anywhere
        os.setresgid(65534, 65534, 65534)
        os.setresuid(65534, 65534, 65534)
    store = ScoreCache(path, IDENTITY)
    found = store.get(GROUPS[:1], np.zeros(2, np.int64), np.array([1, 2]))
    try:
        store.put(GROUPS[:1], np.zeros(1, np.int64), np.array([3]), np.array([0.5]))
    except ScoreCacheError as error:
        sys.stdout.write(str(error))
    try:
        store.check_writable()
        sys.exit("nothing was refused")
    except ScoreCacheError:
        sys.exit(0 if found.tolist() == [0.25, 0.5] else f"{found}")


if __name__ == "__main__":
    name, place, *number = sys.argv[1:]
    tasks = (race, threads, forks, users, killed, full, forbidden)
    {task.__name__: task for task in tasks}[name](place, *map(int, number))
