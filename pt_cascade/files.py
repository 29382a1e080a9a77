"""Files and folders that are there whole or not at all, and where those are kept that can be made again.

What is kept in the cache is named by what it was made of, fingerprints and settings: another content is another folder, so the
whole cache may be deleted at any time.
"""

from __future__ import annotations

import os
import secrets
import shlex
import shutil
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias
from urllib.parse import quote

from pt_cascade.errors import CollectionError, MissingError

if TYPE_CHECKING:
    from collections.abc import Iterator

PathLike: TypeAlias = "str | os.PathLike[str]"

_PLAIN = " =+,@~"


def cache_folder(*parts: str) -> Path:
    """Give the folder that is kept for something, without making it.

    Args:
        parts: What it is made of, from the general to the special, such as ``"bm25", collection.fingerprint``. Each becomes one
            folder; what a folder's name cannot hold is written as in addresses (``%2F``), so two parts never meet.

    Returns:
        A folder in ``$PT_CASCADE_CACHE``, else in ``$XDG_CACHE_HOME/pt_cascade``, else in ``~/.cache/pt_cascade``.

    Raises:
        CollectionError: A part is empty.

    Example:
        >>> cache_folder("bm25", "irds:beir/scifact/test").name
        'irds%3Abeir%2Fscifact%2Ftest'
    """
    if not all(parts):
        raise CollectionError("cannot keep anything", [f"a part of its name is empty: {parts}"], fix='cache_folder("bm25", key)')
    return _root().joinpath(*(_folder_name(part) for part in parts))


def is_built(path: Path, *, fix: str = "export PT_CASCADE_CACHE=/a/folder/you/may/write") -> bool:
    """Tell whether a folder is there and not empty; where it is not there, make the folder that it will stand in.

    Raises:
        CollectionError: There is a file or a dangling link at this place, or no folder can be made there (cure: ``fix``).

    Example:
        >>> place = getfixture("tmp_path") / "a" / "index"
        >>> is_built(place), place.parent.is_dir(), is_built(place.parent)
        (False, True, False)
    """
    if path.is_symlink() and not path.exists():
        raise CollectionError(f"cannot build {path}", ["it is a link to what is not there"], fix=rm_command(path))
    if path.exists() and not path.is_dir():
        raise CollectionError(f"cannot build {path}", ["it is a file, expected a folder or nothing"], fix=rm_command(path))
    if path.is_dir():
        return any(path.iterdir())
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CollectionError(f"cannot build {path}", [f"{type(error).__name__}: {error.strerror}"], fix=fix) from error
    return False


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """Give an empty folder, and move it to its place when the block has filled it.

    Raises:
        CollectionError: As for ``is_built``.
        OSError: By then there is a folder that is not empty.
    """
    is_built(path)
    with tempfile.TemporaryDirectory(prefix=f".{path.name[:100]}.", suffix=".building", dir=path.parent) as beside:
        whole = Path(beside) / "whole"
        whole.mkdir()
        yield whole
        publish(whole, path)


def publish(whole: Path, path: Path) -> None:
    """Move a finished folder to its place, after its files have reached the disk.

    Raises:
        OSError: There is a folder that is not empty.
    """
    for file in filter(Path.is_file, whole.rglob("*")):
        with file.open("rb") as written:
            os.fsync(written.fileno())
    whole.replace(path)


def write_file(path: PathLike, data: bytes) -> None:
    """Put a file in its place in one step: whatever fails before leaves the old file. A link is followed, an old file's mode kept.

    What is no regular file, such as ``/dev/stdout`` or a named pipe, is written to, not replaced.

    Raises:
        MissingError: The folder is not there, or there is a folder in the file's place.
    """
    target = Path(path).resolve()
    if target.is_dir():
        raise MissingError(f"cannot write {path}", ["it is a folder, expected a file"], fix="give the path of a file in it")
    if not target.parent.is_dir():
        fix = f"mkdir -p {shlex.quote(str(Path(path).parent))}"
        raise MissingError(f"cannot write {path}", ["its folder is not there"], fix=fix)
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
    """Write the command that removes a file or folder.

    Example:
        >>> rm_command("/my index")
        "rm -r '/my index'"
    """
    return f"rm -r {shlex.quote(str(path))}"


def _root() -> Path:
    if own := os.environ.get("PT_CASCADE_CACHE"):
        return Path(own).expanduser()
    shared = Path(os.environ.get("XDG_CACHE_HOME", ""))  # a relative one is to be ignored, says the XDG specification
    return (shared if shared.is_absolute() else Path.home() / ".cache") / "pt_cascade"


def _folder_name(part: str) -> str:
    name = quote(part, safe=_PLAIN)
    return name.replace(".", "%2E") if set(name) == {"."} else name
