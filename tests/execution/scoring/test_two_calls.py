"""Several calls of ``score`` and the functions that store things, at once in real processes: each finishes, and no work is lost."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd
import pytest
from toys.judges import Judge
from toys.rankers import ToyRetriever, topics

from pt_cascade import score
from pt_cascade.execution.score_table import ScoreTable

if TYPE_CHECKING:
    from collections.abc import Iterator

# A judge writes each query that it scores to its process's own file, and waits at query 4 for a word on stdin.
SCORER = """
import signal
import sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # a test in the background would ignore it
import pyterrier as pt
from toys.judges import Judge
from toys.rankers import ToyRetriever, topics
from pt_cascade import score

name, folder, waits = sys.argv[1:]

class Waiting(Judge):
    def judge(self, query, docno):
        if query != self.last:
            with open(f"{folder}/{name}.asked", "a") as file:
                print(query, file=file)
            if query == "query 4" and waits == "waits":
                print("waiting", flush=True)
                sys.stdin.readline()
            type(self).last = query
        return super().judge(query, docno)
    last = ""

Waiting.__module__, Waiting.__qualname__ = "toys.judges", "Waiting"
table = score(ToyRetriever(docs=8, levels=3) % 6 >> Waiting(), topics(12), query_batch_size=1, verbose=waits == "verbose")
table.save(f"{folder}/{name}.table")
print("done", flush=True)
"""


# The documents of a collection wait after the second one.
BUILDER = """
import sys
import pandas as pd
from pt_cascade.collections import make_collection
from pt_cascade.execution import defaults

what, waits = sys.argv[1:]
docs = [{"docno": f"d{n}", "text": f"a lion and {n} tigers"} for n in range(5)]
collection = make_collection("animals", pd.DataFrame({"qid": ["1"], "query": ["lion"]}),
                             pd.DataFrame({"qid": ["1"], "docno": ["d0"], "label": [1]}), docs)
collection.fingerprint
read = type(collection).docs

def wait(self):
    for number, doc in enumerate(read(self)):
        if number == 2 and waits == "waits":
            print("waiting", flush=True)
            sys.stdin.readline()
        yield doc

type(collection).docs = wait
print(getattr(defaults, what)(collection), flush=True)
"""


def launch(folder: Path, script: str, *arguments: str) -> subprocess.Popen[str]:
    """Start a process with a cache of the test's."""
    paths = os.pathsep.join([str(Path(__file__).parents[2]), *sys.path])
    environment = {**os.environ, "PYTHONPATH": paths, "PT_CASCADE_CACHE": str(folder / "cache")}
    pipe = subprocess.PIPE
    command = [sys.executable, "-c", script, *arguments]
    return subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True, env=environment)


def start(name: str, folder: Path, how: str = "") -> subprocess.Popen[str]:
    """Start a process that scores."""
    return launch(folder, SCORER, name, str(folder), how)


def asked(folder: Path, name: str) -> list[int]:
    """The queries that a process scored, in order, without those that check the stage again."""
    numbers = (int(line.split()[1]) for line in (folder / f"{name}.asked").read_text().splitlines())
    return list(dict.fromkeys(numbers))


@pytest.fixture
def waiting(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """A call that has scored queries 0 to 3, and waits in the batch of query 4."""
    with start("first", tmp_path, "waits") as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "waiting\n"
        yield process
        process.kill()


def golden() -> pd.DataFrame:
    """The scores of one call alone."""
    return score(ToyRetriever(docs=8, levels=3) % 6 >> Judge(), topics(12)).frame


def test_a_second_call_at_once_waits(waiting: subprocess.Popen[str], tmp_path: Path) -> None:
    """It says so, and takes the first one's scores, but for a few that it compares; both leave nothing else."""
    with start("second", tmp_path) as second:
        assert second.stderr is not None
        assert "another thread or process is scoring the table in " in second.stderr.readline()
        assert waiting.communicate("go on\n")[0] == "done\n"
        assert second.communicate()[0] == "done\n"
    assert asked(tmp_path, "second") == [0]
    for name in ("first", "second"):
        pd.testing.assert_frame_equal(ScoreTable.load(tmp_path / f"{name}.table").frame, golden())
    assert not list((tmp_path / "cache" / "scores").iterdir())


def test_a_second_call_goes_on_where_the_first_was_killed(waiting: subprocess.Popen[str], tmp_path: Path) -> None:
    """It waits, and scores what the first one did not finish, and a few pairs again to compare."""
    with start("second", tmp_path) as second:
        assert second.stderr is not None
        assert "waiting for it" in second.stderr.readline()
        waiting.kill()
        assert second.communicate()[0] == "done\n"
    assert asked(tmp_path, "second") == [0, *range(4, 12)]
    pd.testing.assert_frame_equal(ScoreTable.load(tmp_path / "second.table").frame, golden())


def test_an_interrupted_call_says_how_to_go_on_and_goes_on(waiting: subprocess.Popen[str], tmp_path: Path) -> None:
    """SIGINT, as Ctrl-C sends it, to a real process; the next call scores the rest, and a few pairs again to compare."""
    waiting.send_signal(signal.SIGINT)
    _, shown = waiting.communicate()
    assert waiting.returncode == -signal.SIGINT
    assert shown.splitlines()[-2:] == [
        "KeyboardInterrupt",
        "4 of 12 queries are scored and saved: the same call of score, or the same command, goes on from there",
    ]
    again = start("again", tmp_path, "verbose")
    _, bar = again.communicate()
    assert again.returncode == 0, bar
    assert bar.startswith("score: 4/12 [")
    assert "\r" not in bar
    assert asked(tmp_path, "again") == [0, *range(4, 12)]
    pd.testing.assert_frame_equal(ScoreTable.load(tmp_path / "again.table").frame, golden())


def test_two_calls_that_index_a_collection_finish(tmp_path: Path) -> None:
    """The second says that it waits for the first, which reads documents, and finds its index; nothing else is left."""
    with ExitStack() as stack:
        first = stack.enter_context(launch(tmp_path, BUILDER, "store_index", "waits"))
        stack.callback(first.kill)
        assert first.stdout is not None
        assert first.stdout.readline() == "waiting\n"
        second = stack.enter_context(launch(tmp_path, BUILDER, "store_index", ""))
        stack.callback(second.kill)
        assert second.stderr is not None
        assert "another thread or process is building" in second.stderr.readline()
        found, _ = first.communicate("go on\n")
        assert second.communicate()[0] == found
    index = Path(found.strip())
    assert [folder for folder in index.parent.iterdir() if folder.is_dir()] == [index]
