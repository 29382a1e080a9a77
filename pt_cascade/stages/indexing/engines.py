"""The two engines of BM25, PISA (no Java) and Terrier: which one to use, and opening their indexes."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import IO, TYPE_CHECKING, Literal, TypeAlias, cast, get_args

import pyterrier as pt

from pt_cascade.checksums import SUMS, seal, unsealed_files
from pt_cascade.errors import CascadeError, MissingError, PipelineError, first_line, require
from pt_cascade.numbers import is_word
from pt_cascade.stages.indexing.words import SCORES

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

Engine: TypeAlias = Literal["pisa", "terrier"]

MOST_THREADS = 1024
_ENCODING, _K1, _B = "block_simdbp", 0.9, 0.4  # PISA's defaults
_LINE_END = re.compile(r"[\r\n]")
_WHY = "BM25 by PISA (Linux only; engine='terrier' runs everywhere with Java)"


def run_pisa(
    folder: Path, docs: Iterable[Mapping[str, str]], *, threads: int = 0, encoding: str = _ENCODING, k1: float = _K1, b: float = _B
) -> None:
    """Let PISA index documents, with 0 threads none, and write the scores for k1 and b."""
    require("pyterrier_pisa", install="pyterrier-pisa", why=_WHY)
    import pyterrier_pisa  # noqa: PLC0415 - an extra

    program, package = Path(__file__).with_name("pisa_process.py"), Path(pyterrier_pisa.__file__).parent
    command = [sys.executable, "-P", *map(str, (program, package, folder, threads, encoding, k1, b))]
    with (
        tempfile.TemporaryDirectory() as scratch,
        Path(scratch, "stderr").open("w+b") as errors,
        subprocess.Popen(  # noqa: S603 - our own program
            command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=errors, env={**os.environ, "TMPDIR": scratch}
        ) as process,
    ):
        pipe = cast("IO[bytes]", process.stdin)
        try:
            with suppress(BrokenPipeError):  # of a process that has ended
                pipe.writelines(f"{doc['docno']} {_LINE_END.sub(' ', doc['text'])}\n".encode() for doc in docs)
                pipe.close()
            process.wait()
        except BaseException:
            process.kill()
            with suppress(BrokenPipeError):
                pipe.close()
            raise
        if process.returncode:
            errors.seek(0)
            lines = map(str.strip, errors.read().decode(errors="replace").splitlines())
            said = "; ".join(filter(None, lines))
            raise engine_failure("pisa", folder, said or _explain_status(process.returncode))


def _explain_status(status: int) -> str:
    """Say how a process ended that said nothing; a negative status is the number of a signal."""
    if status == -signal.SIGKILL:
        return "its process was ended by SIGKILL, as the system does where the memory is full"
    return f"its process was ended by {signal.Signals(-status).name}" if status < 0 else f"its process ended with status {status}"


def engine_failure(engine: Engine, folder: Path, message: str) -> CascadeError:
    """Make the error for an engine that cannot write its index; the message is what it said."""
    free = f"{shutil.disk_usage(folder).free / 2**20:,.0f} MiB of the disk are free"
    other = next(name for name in get_args(Engine) if name != engine)
    fix = f"if the disk or a quota is full, choose another folder; else index with engine={other!r}"
    return CascadeError(f"{engine} failed to make the index", [f"{message}; {free}"], fix=fix)


def write_scores(index: pt.Artifact, k1: float | None, b: float | None) -> None:
    """Write PISA's scores for k1 and b into the folder of an index, one process at a time; Terrier needs none."""
    if type(index).__name__ != "PisaIndex":
        return
    folder, encoding, k1, b = Path(index.path), index.index_encoding.value, _K1 if k1 is None else k1, _B if b is None else b
    stem = f"bm25.k1-{k1:g}.b-{b:g}.q0."
    scores = folder / f"{stem}bmw.64.{encoding}"
    if not os.access(folder, os.W_OK):
        if not scores.exists():
            problem = f"{folder} is read-only, and PISA must write the scores for k1 {k1:g} and b {b:g} into it"
            raise MissingError("the index cannot be opened", [problem], fix=f"chmod u+w {shlex.quote(str(folder))}, or copy it")
        return
    import fcntl  # noqa: PLC0415 - POSIX only, as PISA is

    with (folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if sealed := (folder / SUMS).exists():
            for file in unsealed_files(folder, SCORES):  # half written by a process that was killed
                file.unlink()
        if not scores.exists():
            run_pisa(folder, (), encoding=encoding, k1=k1, b=b)
            _check_sizes(folder, stem)
        if sealed:
            seal(folder, SCORES)


def _check_sizes(folder: Path, stem: str) -> None:
    """Delete scores that are cut, as PISA ignores some errors of a disk: those for all k1 and b have one size."""
    new = list(folder.glob(f"{stem}*"))
    if any(
        file.stat().st_size != other.stat().st_size for file in new for other in folder.glob(f"*.q0.{file.name.removeprefix(stem)}")
    ):
        for file in new:
            file.unlink()
        raise engine_failure("pisa", folder, "its scores are cut")


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


def list_docnos(folder: Path) -> list[str]:
    """List the docnos of an index of ``build_index`` in their order."""
    if (documents := folder / "fwd.documents").exists():
        return documents.read_text(encoding="utf-8").split()
    index = terrier_index(folder).index_obj()
    return [index.getMetaIndex().getItem("docno", n) for n in range(index.getCollectionStatistics().getNumberOfDocuments())]


def pisa_index(path: str | os.PathLike[str]) -> pt.Artifact:
    """Return PISA's index at a folder."""
    require("pyterrier_pisa", install="pyterrier-pisa", why=_WHY)
    from pyterrier_pisa import PisaIndex  # noqa: PLC0415 - an extra

    return PisaIndex(str(path), text_field="text")


def terrier_index(path: str | os.PathLike[str]) -> pt.Artifact:
    """Return Terrier's index at a folder, made or yet to be made; start Java, which downloads Terrier once."""
    if not pt.java.started():
        try:
            pt.java.add_option("-Xrs")  # Ctrl-C stays Python's
            pt.java.init()
        except Exception as error:
            fix = "install a JDK, 11 or later, and set JAVA_HOME; or, on Linux without Java: pip install pyterrier-pisa"
            raise MissingError("Terrier cannot be started", [first_line(error)], fix=fix) from error
    return pt.terrier.TerrierIndex(str(path))


def check_engine(engine: str) -> None:
    """Refuse an engine that is neither ``pisa`` nor ``terrier``."""
    if not is_word(engine, get_args(Engine)):
        raise PipelineError(f"engine is {engine!r}", [f"expected one of {', '.join(get_args(Engine))}"])
