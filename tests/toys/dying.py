"""Re-rankers that meet what happens on a cluster, once: their process dies, their node dies, their memory is used up."""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from toys.rankers import ToyReranker, ToyRetriever

if TYPE_CHECKING:
    from collections.abc import Callable

    import pandas as pd
    import pyterrier as pt


@dataclass(frozen=True)
class Dying(ToyReranker):
    """Re-ranks; on query q13 it does harm unless a file shows that it has done so before."""

    harm: str = ""
    file: str = ""
    stage_name = "dying"

    def identify(self) -> dict[str, str]:
        """Be the same whatever harm it does."""
        return {"class": "dying"}

    def transform(self, inp: pd.DataFrame) -> pd.DataFrame:
        """Re-rank."""
        if self.harm and (inp["qid"] == "q13").any() and not Path(self.file).exists():
            Path(self.file).touch()
            _HARMS[self.harm]()
        return super().transform(inp)


def _kill_node() -> None:
    os.kill(os.getppid(), signal.SIGKILL)  # the node's raylet, which a worker does not outlive
    signal.pause()


def _fill_memory() -> None:
    filled = [np.ones(64 << 20, np.int8) for _ in range(48)]  # 3 GB
    signal.pause()
    del filled


def _wait() -> None:
    Path("waits").write_text("here", encoding="utf-8")  # a named pipe: this waits until it is read
    signal.pause()


def _ask_for_signals() -> None:
    from ray._private.ray_constants import RAY_DISABLE_FAILURE_SIGNAL_HANDLER as LEFT

    if not LEFT:
        raise RuntimeError("Ray handles the signals that Java needs")


_HARMS = {
    "signals": _ask_for_signals,
    "worker": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "node": _kill_node,
    "memory": _fill_memory,
    "wait": _wait,
}


def pipeline(harm: str = "", file: str = "", levels: int = 3) -> pt.Transformer:
    """A retriever, and a re-ranker that may do harm."""
    return ToyRetriever(docs=30, levels=5) % 15 >> Dying(harm=harm, file=file, levels=levels) % 10


def waiting() -> pt.Transformer:
    """A pipeline that waits in query q13, once, for a reader of the named pipe ``waits``."""
    return pipeline(harm="wait", file="harm")


def maker(**options: object) -> Callable[[], pt.Transformer]:
    """A function without arguments that a worker can call."""
    return partial(pipeline, **options)
