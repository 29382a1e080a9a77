"""What runs on a node: some stages of a cascade, for one shard after the other."""

from __future__ import annotations

import io
import os
import pickle
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pt_cascade.cascade.stage import Stage
from pt_cascade.errors import CascadeError
from pt_cascade.execution.batch.shards import Outcome, Task, Worker, advance, finish_shard, start_shard
from pt_cascade.execution.batch.storage.locks import this_process

if TYPE_CHECKING:
    from pt_cascade.cascade import Cascade
    from pt_cascade.execution.batch.executors.resources import Group
    from pt_cascade.execution.batch.plan import Plan
    from pt_cascade.execution.batch.source import CascadeSource
    from pt_cascade.execution.runner import Passage


@dataclass(frozen=True)
class Half:
    """A shard after some of the stages: its number, and its batches as ``pack`` packs them."""

    number: int
    passages: bytes


class StageActor:
    """Runs the stages of a group; it builds the whole cascade from its source, when first used, and loads what its stages use."""

    def __init__(self, source: bytes, plan: Plan, group: Group, folder: str, path: list[str]) -> None:
        """Keep what it needs: the source, pickled; the folder in which the run was started, and its paths of modules."""
        self.source, self.plan, self.group, self.folder, self.path = source, plan, group, folder, path
        self.worker: Worker | None = None

    def start(self, before: str) -> str:
        """Name its process, after those of the actors before it: it has a place. A group that asks for no GPU sees none."""
        if not self.group.needs.get("GPU"):
            os.environ["CUDA_VISIBLE_DEVICES"] = ""  # Ray would let it see all
        return f"{before} {this_process()}".strip()

    def run(self, given: Task | Half | Outcome | CascadeError) -> Half | Outcome | CascadeError:
        """Run the group's stages on a shard; what has failed before is handed on."""
        if isinstance(given, Outcome | CascadeError):
            return given
        try:
            worker = self.worker = self.worker or self._build()
        except CascadeError as error:
            return error
        return worker.attempt(given.number, lambda: self._run(worker, given))

    def _build(self) -> Worker:
        try:
            os.chdir(self.folder)
        except OSError as error:
            problem = f"{this_process()} cannot enter {self.folder}: {error.strerror}"
            raise CascadeError("a node lacks a folder", [problem], fix="start the run in a folder that all nodes see") from error
        sys.path += [folder for folder in self.path if folder not in sys.path]
        source: CascadeSource = pickle.loads(self.source)  # noqa: S301 - of the run that started this
        return Worker(source, self.plan)

    def _run(self, worker: Worker, given: Task | Half) -> Half | Outcome:
        if isinstance(given, Half):
            passages = unpack(given.passages, worker.cascade)
        else:
            passages = start_shard(given.topics.copy(), self.plan)  # Ray's arrays are read-only
        passages = [advance(worker.cascade, passage, self.group.last) for passage in passages]
        if self.group.last != self.plan.stages[-1]:
            return Half(given.number, pack(passages))
        return Outcome(given.number, finish_shard(worker.cascade, passages, self.plan))


def pack(passages: list[Passage]) -> bytes:
    """Pickle batches on their way, with the names of the stages in place of the stages."""
    file = io.BytesIO()
    _Pickler(file, protocol=pickle.HIGHEST_PROTOCOL).dump(passages)
    return file.getvalue()


def unpack(data: bytes, cascade: Cascade) -> list[Passage]:
    """Read what ``pack`` returns, with the stages of this process's own cascade."""
    passages: list[Passage] = _Unpickler(io.BytesIO(data), cascade).load()
    return passages


class _Pickler(pickle.Pickler):
    def persistent_id(self, value: object) -> str | None:
        """Name a stage."""
        return value.name if isinstance(value, Stage) else None


class _Unpickler(pickle.Unpickler):
    def __init__(self, file: io.BytesIO, cascade: Cascade) -> None:
        super().__init__(file)
        self.cascade = cascade

    def persistent_load(self, name: str) -> Stage:
        """Find a stage."""
        return self.cascade[name]
