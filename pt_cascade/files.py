"""Atomic writing of files and folders, and the cache folder.

Folders in the cache are named by the fingerprints of their contents, so the cache may be deleted at any time.
"""

from __future__ import annotations

import errno
import os
import secrets
import shlex
import shutil
import warnings
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, TypeAlias
from urllib.parse import quote

from pt_cascade.errors import CascadeError, CascadeWarning, CollectionError, MissingError

if TYPE_CHECKING:
    from collections.abc import Iterator

PathLike: TypeAlias = "str | os.PathLike[str]"

_PLAIN = " =+,@~"
_REFUSALS = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM}
COLLECTION_NAME = "collection.txt"  # beside what is cached for a collection
_FIX = "choose a folder where you may write; for the cache: export PT_CASCADE_CACHE=/a/folder/you/may/write"


def cache_root() -> Path:
    """Return the folder of all that is cached: ``$PT_CASCADE_CACHE``, or ``pt_cascade`` in the user's cache folder."""
    if own := os.environ.get("PT_CASCADE_CACHE"):
        return Path(own).expanduser()
    shared = Path(os.environ.get("XDG_CACHE_HOME", ""))  # the XDG specification ignores relative paths
    return (shared if shared.is_absolute() else Path.home() / ".cache") / "pt_cascade"


def cache_folder(*parts: str) -> Path:
    """Return the cache folder for something, e.g. ``"bm25", fingerprint``, without making it."""
    if not all(parts):
        raise CollectionError("this is not a cache folder", [f"a part is empty: {parts}"], fix='cache_folder("bm25", key)')
    names = (quote(part, safe=_PLAIN) for part in parts)
    return cache_root().joinpath(*(name.replace(".", "%2E") if set(name) == {"."} else name for name in names))


def is_built(path: Path) -> bool:
    """Whether a folder exists and is not empty; if it does not exist, its parent is made."""
    if path.is_symlink() and not path.exists():
        raise CollectionError(f"cannot build {path}", ["it is a broken link"], fix=rm_command(path))
    if path.exists() and not path.is_dir():
        raise CollectionError(f"cannot build {path}", ["it is a file, expected a folder"], fix=rm_command(path))
    if path.is_dir():
        return any(path.iterdir())
    _make_folder(path.parent, path)
    return False


def _make_folder(folder: Path, path: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        problem = f"{type(error).__name__}: {error.strerror}: {folder}"
        raise CollectionError(f"cannot build {path}", [problem], fix=_FIX) from error


@contextmanager
def new_folder(path: Path) -> Iterator[Path | None]:
    """Yield an empty folder, and move it to its place when the block has filled it; None if the folder is built already."""
    with claim(path, "building") as beside:
        if beside is None:
            yield None
            return
        try:
            shutil.rmtree(whole := beside / "whole", ignore_errors=True)  # of a process that was killed
            whole.mkdir()
            yield whole
            publish(whole, path)
        finally:
            shutil.rmtree(beside)


@contextmanager
def claim(path: Path, suffix: str) -> Iterator[Path | None]:
    """Hold the hidden folder in which a folder is built; wait while another process holds it. None if it is built already."""
    while not is_built(path):
        folder = beside(path, suffix)
        _make_folder(folder, path)
        try:
            lock = (folder / "lock").open("a")
        except FileNotFoundError:  # another process has just deleted the folder
            continue
        with lock:
            if _take(lock, folder / "lock", path) and not is_built(path):
                yield folder
                return
    yield None


def beside(path: Path, suffix: str) -> Path:
    """Name the hidden folder in which a folder is built.

    Example:
        >>> beside(Path("run/vectors"), "partial").name
        '.vectors.partial'
    """
    return (whole := path.absolute()).with_name(f".{whole.name}.{suffix}")


def _take(lock: IO[str], file: Path, path: Path) -> bool:
    """Take the lock, which the system takes back when a process ends; False where its file was deleted meanwhile."""
    import fcntl  # noqa: PLC0415 - POSIX only

    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        warnings.warn(f"another process is building {path}; waiting for it", CascadeWarning, stacklevel=5)
        fcntl.flock(lock, fcntl.LOCK_EX)
    try:
        return os.path.samestat(os.fstat(lock.fileno()), file.stat())
    except FileNotFoundError:
        return False


def publish(whole: Path, path: Path) -> None:
    """Move a finished folder to its place after its files are written to disk."""
    for file in filter(Path.is_file, whole.rglob("*")):
        with file.open("rb") as written:
            os.fsync(written.fileno())
    whole.replace(path)


def check_writable(path: PathLike) -> Path:
    """Return a file's path without links; refuse a folder, and a file whose folder does not exist."""
    target = Path(path).resolve()
    if target.is_dir():
        raise MissingError(f"cannot write {path}", ["it is a folder, expected a file"], fix="give the path of a file in it")
    if not target.parent.is_dir():
        fix = f"mkdir -p {shlex.quote(str(Path(path).parent))}"
        raise MissingError(f"cannot write {path}", ["its folder does not exist"], fix=fix)
    return target


@contextmanager
def naming_refusals(path: PathLike) -> Iterator[None]:
    """Make a CascadeError with a cure of the system's refusal to write, such as a full disk; other errors pass."""
    try:
        yield
    except OSError as error:
        if error.errno not in _REFUSALS:
            raise
        fix = "free some space on the disk, or choose a folder on another one where you may write"
        raise CascadeError(f"cannot write {path}", [f"{type(error).__name__}: {error.strerror}"], fix=fix) from error


def write_file(path: PathLike, data: bytes) -> None:
    """Replace a file atomically; links are followed and its mode is kept; a device such as ``/dev/stdout`` is written to."""
    with naming_refusals(path):
        _write_file(check_writable(path), data)


def _write_file(target: Path, data: bytes) -> None:
    if target.exists() and not target.is_file():
        with target.open("wb") as device:
            device.write(data)
        return
    beside = target.with_name(f".{secrets.token_hex(8)}.tmp")
    try:
        with beside.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        if target.exists():
            shutil.copymode(target, beside)
        beside.replace(target)
    finally:
        beside.unlink(missing_ok=True)


def rm_command(path: PathLike) -> str:
    """Return the shell command that removes a file or folder."""
    return f"rm -r {shlex.quote(str(path))}"
