"""The folder of a run: its manifest, its locks, its finished shards, and the attempts at those that are not."""

from __future__ import annotations

import json
import shutil
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pt_cascade.checksums import build_once, check_sealed
from pt_cascade.errors import CascadeError, MissingError, few, suggest_path
from pt_cascade.execution.batch.plan import Plan
from pt_cascade.execution.batch.storage.attempts import Attempts
from pt_cascade.execution.batch.storage.locks import is_locked, lock
from pt_cascade.files import naming_refusals, rm_command, to_path, write_file

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from pt_cascade.files import PathLike

_NEW = "out='a/new/folder'"
MANIFEST, RESULTS, _SHARDS, _LOCK = "manifest.json", "results", "shards", ".lock"


@dataclass(frozen=True)
class BatchFolder:
    """The folder of a run.

    Attributes:
        path: The folder.
    """

    path: Path

    @property
    def manifest(self) -> Path:
        """The file of the plan, and in the end of the counts."""
        return self.path / MANIFEST

    @property
    def results(self) -> Path:
        """The folder of the merged rankings and trace."""
        return self.path / RESULTS

    def shard(self, number: int) -> Path:
        """Return the folder of a shard, which exists if it is finished."""
        return self.path / _SHARDS / f"{number:05d}"

    def is_finished(self, number: int) -> bool:
        """Whether a shard is finished."""
        return self.shard(number).is_dir()

    def drop_damaged(self, number: int) -> str:
        """Remove a finished shard whose files have changed, so that it is run again; return what was wrong with it."""
        try:
            self.check_shard(number)
        except MissingError as error:
            shutil.rmtree(self.shard(number))
            return f"{error.what}: {', '.join(error.problems)}"
        return ""

    def check_shard(self, number: int) -> None:
        """Refuse a finished shard whose files have changed."""
        check_sealed(self.shard(number), fix="start its command again, which runs this shard again")

    def write_shard(self, number: int, files: Mapping[str, bytes]) -> None:
        """Write the files of a finished shard, all or none, and forget the attempts at it."""

        def fill(folder: Path) -> None:
            for name, data in files.items():
                (folder / name).write_bytes(data)  # on disk before the folder is moved to its place

        build_once(self.shard(number), fill)
        self.attempts(number).forget()

    def attempts(self, number: int) -> Attempts:
        """Return the attempts at a shard that is not finished."""
        return Attempts(self.path / _SHARDS / f"{number:05d}.json")

    def read_manifest(self) -> tuple[Plan, dict[str, object]]:
        """Read the plan, and the counts of a finished run."""
        if not self.manifest.is_file():
            found = "it is a file" if self.path.exists() else f"it does not exist{suggest_path(self.path)}"
            problem = f"it has no {MANIFEST}" if self.path.is_dir() else found
            raise MissingError(f"{self.path} is not the folder of a run", [problem], fix="give the folder of pt-cascade run --out")
        try:
            manifest = json.loads(self.manifest.read_bytes())
            return Plan.from_json(manifest["plan"]), dict(manifest.get("finished", {}))
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
            fix = f"{rm_command(self.path)}, if its shards are not needed, and run again"
            raise CascadeError(f"{self.manifest} is damaged", [f"{type(error).__name__}: {error}"], fix=fix) from error

    def write_manifest(self, plan: Plan, finished: Mapping[str, object] | None = None) -> None:
        """Write the manifest."""
        values = {"plan": plan.to_json(), **({} if finished is None else {"finished": finished})}
        write_file(self.manifest, f"{json.dumps(values, indent=1)}\n".encode())

    def resume(self, plan: Plan) -> None:
        """Write the manifest of a new run; refuse another plan than that of a run that was begun."""
        with lock(self.path / f"{_LOCK}-manifest", wait=True):
            if not self.manifest.exists():
                self._refuse_other_files()
                self.write_manifest(plan)
            elif differences := plan.differences(self.read_manifest()[0]):
                fix = f"fresh=True, which moves the old folder to {next_old(self.path).name}, or {_NEW}"
                what = f"the run in {self.path} was started with something else, so it is not resumed"
                raise CascadeError(what, differences, fix=fix)

    @contextmanager
    def lock(self, part: str = "") -> Iterator[None]:
        """Let no other run use the folder; or only runs of other parts of the shards, such as ``2-of-3``."""
        with lock(self.path / _LOCK, shared=bool(part)), lock(self.path / f"{_LOCK}-{part}") if part else nullcontext():
            yield

    def is_used(self) -> bool:
        """Whether a run uses the folder."""
        return is_locked(self.path / _LOCK)

    def _refuse_other_files(self) -> None:
        if others := sorted(file.name for file in self.path.iterdir() if not file.name.startswith(".")):
            problem = f"it holds other files: {', '.join(few(others))}"
            raise CascadeError(f"{self.path} is not the folder of a run", [problem], fix=_NEW)


def open_folder(out: PathLike, *, fresh: bool = False) -> BatchFolder:
    """Make the folder of a run, or open it; with ``fresh`` a folder that is there is moved aside first."""
    path = to_path(out)
    with naming_refusals(path):
        if fresh and path.is_dir():
            with BatchFolder(path).lock():
                path.rename(next_old(path))
        try:
            path.mkdir(parents=True, exist_ok=True)
        except (FileExistsError, FileNotFoundError, NotADirectoryError) as error:
            raise CascadeError(f"cannot run into {path}", [f"it cannot be made: {error.strerror}"], fix=_NEW) from error
    return BatchFolder(path)


def next_old(path: Path) -> Path:
    """Name the folder to which ``fresh`` moves an old run."""
    number = 1
    while (old := path.with_name(f"{path.name}.old-{number}")).exists():
        number += 1
    return old
