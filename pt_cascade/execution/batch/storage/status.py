"""How far a run is, from its folder alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from pt_cascade.execution.batch.storage.attempts import DIED
from pt_cascade.execution.batch.storage.folder import BatchFolder
from pt_cascade.files import to_path

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping

    from pt_cascade.execution.batch.plan import Plan

State = Literal["finished", "under way", "stopped"]


@dataclass(frozen=True)
class Status:
    """How far a run is.

    Attributes:
        plan: Its plan.
        state: ``finished``: there are results; ``under way``: a process runs shards; ``stopped``: none does.
        finished: The numbers of the finished shards.
        begun: The number of attempts and the last error of each shard that was begun and is not finished, by its number.
        counts: Those of the manifest; empty unless it is finished.
    """

    plan: Plan
    state: State
    finished: tuple[int, ...]
    begun: Mapping[int, tuple[int, str]]
    counts: Mapping[str, object]

    @property
    def queries(self) -> tuple[int, int]:
        """How many queries are finished, and how many there are."""
        each = [shard.queries for shard in self.plan.shards]
        return sum(each[n] for n in self.finished), sum(each)


def read_status(out: str | os.PathLike[str]) -> Status:
    """Read the folder of a run, which another process may be writing."""
    folder = BatchFolder(to_path(out))
    plan, noted = folder.read_manifest()
    counts = noted if folder.results.is_dir() else {}
    state: State = "finished" if counts else "under way" if folder.is_used() else "stopped"
    finished = tuple(n for n in range(len(plan.shards)) if folder.is_finished(n))
    attempted = {n: folder.attempts(n) for n in range(len(plan.shards)) if n not in finished}
    silent = "it runs now" if state == "under way" else DIED
    begun = {n: (len(attempts), attempts.last_error or silent) for n, attempts in attempted.items() if len(attempts)}
    return Status(plan, state, finished, begun, counts)
