"""A cascade for runs into a folder: its re-ranker notes on disk the queries that it scored, and fails or dies on some."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from pt_cascade.cli import main
from pt_cascade.execution.batch.batch_run import run_batch
from toys.rankers import ToyReranker, ToyRetriever, topics

if TYPE_CHECKING:
    from collections.abc import Callable

    import pandas as pd
    import pyterrier as pt

N, SHARD = 24, 4
SERVER = multiprocessing.get_context("forkserver")  # its processes have imported this module
SERVER.set_forkserver_preload(["toys.batches"])
TOPICS = topics(N)


@dataclass(frozen=True)
class Noting(ToyReranker):
    """Re-ranks and notes the qids; fails or dies on some until a file ends in .mended, or tells its process and waits."""

    file: str = field(default="", compare=False)
    fails: frozenset[str] = frozenset()
    kills: frozenset[str] = frozenset()
    tells: str = ""
    stage_name = "noting"

    def identify(self) -> dict[str, str]:
        """What its scores depend on."""
        return {"class": "Noting", "levels": str(self.levels)}

    def transform(self, inp: pd.DataFrame) -> pd.DataFrame:
        """Re-rank."""
        qids = inp["qid"].unique().tolist()
        if self.tells and qids:
            Path(self.tells).write_text(str(os.getpid()))
            signal.pause()
        mended = Path(f"{self.file}.mended").exists()
        if self.kills.intersection(qids) and not mended:
            os.kill(os.getpid(), signal.SIGKILL)
        if self.fails.intersection(qids) and not mended:
            raise ConnectionError("no answer")
        if self.file and qids:
            with Path(self.file).open("a", encoding="utf-8") as notes:
                notes.write("".join(f"{qid}\n" for qid in qids))
        return super().transform(inp)


def pipeline(file: str = "", fails: str = "", kills: str = "", tells: str = "", levels: int = 3, cut: int = 10) -> pt.Transformer:
    """A retriever, and a re-ranker that notes what it scores; ``fails`` and ``kills`` are words."""
    noting = Noting(file=file, fails=frozenset(fails.split()), kills=frozenset(kills.split()), tells=tells, levels=levels)
    return ToyRetriever(docs=30, levels=5) % 15 >> noting % cut


def waiting() -> pt.Transformer:
    """A pipeline that tells its process to ``pipe`` in the current folder, and waits."""
    return pipeline(tells="pipe")


def slow_start(pipe: str) -> pt.Transformer:
    """A pipeline whose second process tells ``pipe`` that it starts, and waits."""
    if (built := Path(f"{pipe}.built")).exists():
        Path(pipe).write_text(str(os.getpid()))
        signal.pause()
    built.touch()
    return pipeline()


def run_command(folder: Path, words: list[str]) -> None:
    """Run ``pt-cascade`` in a folder, with its messages in a file there; end with its code."""
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a test in the background would ignore it
    os.chdir(folder)
    os.dup2(os.open("messages", os.O_CREAT | os.O_WRONLY), 2)
    sys.exit(main(words))


def maker(**options: object) -> Callable[[], pt.Transformer]:
    """A function without arguments that another process can call."""
    return partial(pipeline, **options)


def run_into(out: Path, file: str = "", **options: object) -> None:
    """Run the toy into a folder."""
    run_batch(maker(file=file), TOPICS, out, shard_queries=SHARD, query_batch_size=2, prefixes=["all"], **options)


def rankings(out: Path) -> dict[str, bytes]:
    """The bytes of the merged rankings by name."""
    return {file.name: file.read_bytes() for file in sorted((out / "results").glob("*.gz"))}
