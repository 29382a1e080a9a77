"""Atomic writing of files and folders."""

from __future__ import annotations

import errno
import hashlib
import logging
import os
import secrets
import shlex
import shutil
import stat
import time
from contextlib import ExitStack, contextmanager, suppress
from glob import escape
from pathlib import Path
from typing import IO, TYPE_CHECKING, NoReturn, TypeAlias

from pt_cascade.errors import CascadeError, CollectionError, MissingError, suggest_path

if TYPE_CHECKING:
    from collections.abc import Iterator

PathLike: TypeAlias = "str | os.PathLike[str]"

_LOG = logging.getLogger("pt_cascade")
_LONGEST = 240  # bytes of a name that has room for a suffix
_ABANDONED = 600  # seconds since the last byte of a file that is being written
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_FORBIDDEN = {errno.EROFS, errno.EACCES, errno.EPERM, errno.ELOOP}
CHUNKS = "chunk-*"  # files of a build that can be resumed
_FIX = "choose a folder where you may write; for the cache: export PT_CASCADE_CACHE=/a/folder/you/may/write"


def is_built(path: Path) -> bool:
    """Whether a folder exists and is not empty; if it does not exist, its parent is made."""
    if os.path.lexists(path) and not path.is_dir():
        found = "a file, expected a folder" if path.exists() else "a broken link"
        raise CollectionError(f"cannot build {path}", [f"it is {found}"], fix=rm_command(path))
    if path.is_dir():
        return any(path.iterdir())
    _make_folder(path.parent, path)
    return False


def _make_folder(folder: Path, path: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        _refuse_folder(path, folder, error)


def _refuse_folder(path: Path, folder: Path, error: OSError) -> NoReturn:
    problem = f"{type(error).__name__}: {error.strerror}: {folder}"
    raise CollectionError(f"cannot build {path}", [problem], fix=_FIX) from error


@contextmanager
def new_folder(path: Path, suffix: str = "building") -> Iterator[Path | None]:
    """Yield an empty folder, moved to its place when the block has filled it; None if it is built already.

    It is in the hidden folder ``.name.suffix``, which one thread or process holds at a time, while others wait. The hidden folder
    is deleted in the end, unless an error leaves chunks in it.
    """
    with _claim(path, suffix) as hidden:
        if hidden is None:
            yield None
            return
        for left in hidden.glob("whole*"):  # by a process that was killed
            shutil.rmtree(left, ignore_errors=True)
        whole, moved = hidden / f"whole-{secrets.token_hex(4)}", False
        try:
            whole.mkdir()
            yield whole
            _publish(whole, path)
            moved = True
        finally:
            shutil.rmtree(hidden if moved or not any(hidden.glob(CHUNKS)) else whole, ignore_errors=not moved)


@contextmanager
def _claim(path: Path, suffix: str) -> Iterator[Path | None]:
    """Hold the hidden folder in which a folder is built; wait while another thread or process holds it. None if it is built."""
    while not is_built(path):
        folder = beside(path, suffix)
        _make_folder(folder, path)
        with ExitStack() as stack:
            try:
                lock = stack.enter_context((folder / "lock").open("a"))
                taken = take_lock(lock, folder / "lock", f"building {path}")
            except FileNotFoundError:  # another process has just deleted the folder
                continue
            except OSError as error:
                _refuse_folder(path, folder, error)
            if taken and not is_built(path):
                yield folder
                return
            if taken:  # built while it waited
                shutil.rmtree(folder, ignore_errors=True)
    yield None


def beside(path: Path, suffix: str) -> Path:
    """Name the hidden folder in which a folder is built, e.g. ``.vectors.partial``."""
    name = (whole := path.absolute()).name
    if len(encoded := os.fsencode(name)) > _LONGEST:
        name = f"{name[:40]}-{hashlib.sha256(encoded).hexdigest()[:16]}"
    return whole.with_name(f".{name}.{suffix}")


def take_lock(lock: IO[str], file: Path, held: str) -> bool:
    """Take the lock, which the system takes back when a process ends; False where its file was deleted meanwhile.

    ``held`` says what the thread or process does for which this one waits.
    """
    import fcntl  # noqa: PLC0415 - POSIX only

    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        _LOG.warning("another thread or process is %s; waiting for it", held)
        fcntl.flock(lock, fcntl.LOCK_EX)
    try:
        return os.path.samestat(os.fstat(lock.fileno()), file.stat())
    except FileNotFoundError:
        return False


def _publish(whole: Path, path: Path) -> None:
    """Move a finished folder to its place after its files are written to disk."""
    for file in filter(Path.is_file, whole.rglob("*")):
        with file.open("rb") as written:
            os.fsync(written.fileno())
    try:
        whole.replace(path)
    except OSError as error:
        raise CollectionError(f"cannot build {path}", [error.strerror or str(error)], fix="pass another path") from error


def to_path(path: PathLike, verb: str = "use") -> Path:
    """Return a path with ``~`` expanded, whether or not there is a file; refuse what the system cannot look up."""
    try:
        file = Path(os.path.expanduser(Path(path)))  # noqa: PTH111 - pathlib's raises where there is no such user
        file.stat()
    except (FileNotFoundError, NotADirectoryError):
        return file
    except (OSError, ValueError, TypeError) as error:  # a loop of links, a NUL, a name that is too long, None, ...
        _refuse(verb, path, error)
    return file


def read_file(path: PathLike, fix: str = "") -> bytes:
    """Return the bytes of a file, or of a pipe that a process writes to; ``fix`` says how to make a missing file."""
    file, data = to_path(path, "read"), b""
    try:
        with open(os.open(file, os.O_RDONLY | os.O_NONBLOCK), "rb") as opened:  # noqa: PTH123 - pathlib's would wait
            os.set_blocking(opened.fileno(), True)
            mode = os.fstat(opened.fileno()).st_mode
            if stat.S_ISREG(mode) or stat.S_ISFIFO(mode):
                data = opened.read()
    except (FileNotFoundError, NotADirectoryError):
        raise MissingError(f"there is no file {path}{suggest_path(file)}", fix=fix or "give the path of an existing file") from None
    except (OSError, MemoryError) as error:
        _refuse("read", path, error)
    if not data and not stat.S_ISREG(mode):
        kind = "pipe that no process writes to" if stat.S_ISFIFO(mode) else "device"
        _refuse("read", path, OSError(f"it is a {kind}, expected a file"))
    return data


def _refuse(verb: str, path: object, error: Exception) -> NoReturn:
    problem = getattr(error, "strerror", None) or str(error) or type(error).__name__
    problem = "it is a folder, expected a file" if isinstance(error, IsADirectoryError) else problem
    shown = str(path) if isinstance(path, Path) else path
    raise MissingError(f"cannot {verb} {shown!r:.200}", [problem], fix=f"give a path that you can {verb}") from error


def check_writable(path: PathLike) -> Path:
    """Return a file's path without links; refuse a folder, and a file whose folder does not exist."""
    target = to_path(path, "write").resolve()
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
        if error.errno not in _FULL | _FORBIDDEN:
            raise
        full = "free some space on the disk, or choose a folder on another one"
        fix = full if error.errno in _FULL else "choose a folder where you may write"
        raise CascadeError(f"cannot write {path}", [f"{type(error).__name__}: {error.strerror}"], fix=fix) from error


def write_file(path: PathLike, data: bytes) -> None:
    """Replace a file atomically; links are followed and its mode is kept; a device such as ``/dev/stdout`` is written to."""
    target = check_writable(path)
    try:
        with naming_refusals(path):
            _write_file(target, data)
    except OSError as error:  # a pipe that no process reads, a name that is too long beside ours, ...
        _refuse("write", path, error)


def _write_file(target: Path, data: bytes) -> None:
    if target.exists() and not target.is_file():
        with open(os.open(target, os.O_WRONLY | os.O_NONBLOCK), "wb") as device:  # noqa: PTH123 - pathlib's would wait
            os.set_blocking(device.fileno(), True)
            device.write(data)
        return
    name = target.name[:40]  # with its ending, at most 255 bytes
    for left in target.parent.glob(f".{escape(name)}.*.tmp"):  # by a process that was killed
        with suppress(FileNotFoundError):
            if time.time() - left.stat().st_mtime > _ABANDONED:
                left.unlink()
    beside = target.with_name(f".{name}.{secrets.token_hex(8)}.tmp")
    try:
        with beside.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        if target.exists():
            shutil.copymode(target, beside)
        beside.replace(target)
    finally:
        with suppress(OSError):
            beside.unlink(missing_ok=True)


def rm_command(path: PathLike) -> str:
    """Return the shell command that removes a file or folder."""
    return f"rm -r {shlex.quote(str(path))}"
