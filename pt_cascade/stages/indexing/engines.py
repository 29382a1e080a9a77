"""The two engines of BM25, PISA (no Java) and Terrier: which one to use, and opening their indexes."""

from __future__ import annotations

import os
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias, get_args

import pyterrier as pt

from pt_cascade.checksums import SUMS, seal, unsealed_files
from pt_cascade.errors import MissingError, PipelineError, require

if TYPE_CHECKING:
    from collections.abc import Iterator

Engine: TypeAlias = Literal["pisa", "terrier"]

_SCORES = "bm25.*"  # what PISA writes for new parameters


@contextmanager
def prepared(index: pt.Artifact, parameters: dict[str, float]) -> Iterator[None]:
    """Let one process at a time open a PISA index, which writes the scores for new k1 and b into its folder; other indexes pass."""
    folder = Path(str(getattr(index, "path", "")))
    if type(index).__name__ != "PisaIndex":
        yield
        return
    if not os.access(folder, os.W_OK):
        k1, b = parameters.get("k1", 0.9), parameters.get("b", 0.4)
        if not list(folder.glob(f"bm25.k1-{k1:g}.b-{b:g}.*")):
            problem = f"{folder} is read-only, and PISA must write the scores for k1 {k1:g} and b {b:g} into it"
            raise MissingError("the index cannot be opened", [problem], fix=f"chmod u+w {folder}, or copy it")
        yield
        return
    import fcntl  # noqa: PLC0415 - POSIX only, as PISA is

    with (folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if sealed := (folder / SUMS).exists():
            for file in unsealed_files(folder, _SCORES):  # half written by a process that was killed
                file.unlink()
        yield
        if sealed:
            seal(folder, _SCORES)


def default_engine() -> Engine:
    """Return PISA where it is installed, else Terrier."""
    return "pisa" if find_spec("pyterrier_pisa") else "terrier"


def open_index(path: str | os.PathLike[str]) -> pt.Artifact:
    """Open an index folder with the engine that made it."""
    folder = Path(path)
    fix = "build_index(docs, path)"
    if not folder.is_dir():
        raise MissingError("there is no index", [f"{folder} is not a folder"], fix=fix)
    if any((folder / name).exists() for name in ("pt_pisa_config.json", "fwd.documents", "inv.docs")):
        return pisa_index(folder)
    if (folder / "data.properties").exists():
        return terrier_index(folder)
    found = ", ".join(sorted(file.name for file in folder.iterdir())[:4]) or "nothing"
    raise PipelineError(f"{folder} is not an index", [f"expected one made by PISA or Terrier; found {found}"], fix=fix)


def pisa_index(path: str | os.PathLike[str]) -> pt.Artifact:
    """Return PISA's index at a folder, made or yet to be made."""
    require("pyterrier_pisa", install="pyterrier-pisa", why="BM25 by PISA (Linux only; engine='terrier' runs everywhere with Java)")
    from pyterrier_pisa import PisaIndex  # noqa: PLC0415 - an extra

    return PisaIndex(str(path), text_field="text")


def terrier_index(path: str | os.PathLike[str]) -> pt.Artifact:
    """Return Terrier's index at a folder, made or yet to be made; start Java, which downloads Terrier once."""
    if not pt.java.started():
        try:
            pt.java.init()
        except Exception as error:
            problem = (str(error).strip().splitlines() or [type(error).__name__])[0]
            fix = "install a JDK, 11 or later, and set JAVA_HOME; or, on Linux without Java: pip install pyterrier-pisa"
            raise MissingError("Terrier cannot be started", [problem], fix=fix) from error
    return pt.terrier.TerrierIndex(str(path))


def check_engine(engine: str) -> None:
    """Refuse an engine that is neither ``pisa`` nor ``terrier``."""
    if engine not in get_args(Engine):
        raise PipelineError(f"engine is {engine!r}", [f"expected one of {', '.join(get_args(Engine))}"])
