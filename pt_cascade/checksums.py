"""SHA-256 checksums: of the files of a folder in ``SHA256SUMS`` (as for ``sha256sum -c``), of a single file in its name."""

from __future__ import annotations

import hashlib
import json
import os
import time
from contextlib import suppress
from functools import cache
from typing import TYPE_CHECKING, NoReturn, TypeAlias

from pt_cascade.caches import cache_folder
from pt_cascade.errors import CascadeError, MissingError, StageError
from pt_cascade.files import PathLike, naming_refusals, new_folder, rm_command, to_path, write_file

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

Stamp: TypeAlias = "tuple[str, int, int, int, int]"

SUMS = "SHA256SUMS"
_BLOCK = 1 << 20
_LARGE = 1 << 28  # bytes; the checksum of a larger file is cached on disk
_TICK = 100_000_000  # nanoseconds; the file system's clock may not tell two writes within it apart


def build_once(path: Path, build: Callable[[Path], object]) -> Path:
    """Build a folder with its checksums atomically, unless it exists and is not empty; return its path.

    A second thread or process that builds it waits for the first. ``build`` fills the folder that it is given, which is moved
    afterwards; it must not build the same folder, since it would wait for itself.
    """
    with naming_refusals(path), new_folder(path) as folder:
        if folder is not None:
            build(folder)
            seal(folder)
    return path


def save_folder(path: PathLike, files: Mapping[str, bytes], what: str, refuse: type[CascadeError]) -> Path:
    """Write files to a new folder, whole or not at all, and return its path; ``what`` cannot be saved where something is."""
    target, cannot = to_path(path, "write"), f"cannot save {what} to {path}"
    if os.path.lexists(target):
        raise refuse(cannot, ["it exists already"], fix=f"another path, or {rm_command(path)}")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with new_folder(target) as whole:
            if whole is None:
                raise refuse(cannot, ["another process has just made it"], fix="another path")
            for name, data in files.items():
                (whole / name).write_bytes(data)
    except OSError as error:
        raise refuse(cannot, [f"{type(error).__name__}: {error.strerror}"], fix="another path") from error
    return target


def write_hashed(folder: Path, stem: str, suffix: str, data: bytes) -> str:
    """Write a file with its SHA-256 in the name, for ``read_hashed``; return the name."""
    name = f"{stem}-{hashlib.sha256(data).hexdigest()}{suffix}"
    write_file(folder / name, data)
    return name


def read_hashed(file: Path) -> bytes:
    """Read a file of ``write_hashed``; ValueError if its content has changed."""
    data = file.read_bytes()
    if hashlib.sha256(data).hexdigest() != file.stem.rpartition("-")[2]:
        raise ValueError(f"the content of {file.name} ({len(data):,} bytes) does not have the SHA-256 in its name")
    return data


def seal(folder: Path, pattern: str = "*") -> None:
    """Add the checksums of a folder's unlisted files to ``SHA256SUMS``."""
    if new := unsealed_files(folder, pattern):
        known = (folder / SUMS).read_bytes() if (folder / SUMS).exists() else b""
        lines = (f"{hash_file(file)}  {file.relative_to(folder).as_posix()}\n" for file in new)
        write_file(folder / SUMS, known + "".join(lines).encode())


def unsealed_files(folder: Path, pattern: str = "*") -> list[Path]:
    """List the files of a folder that match and have no checksum, without hidden ones."""
    known = {SUMS, *(_read_sums(folder) if (folder / SUMS).exists() else ())}
    found = ((file.relative_to(folder).as_posix(), file) for file in sorted(folder.rglob(pattern)) if file.is_file())
    return [file for name, file in found if name not in known and "/." not in f"/{name}"]


def check_sealed(folder: Path, names: Iterable[str] = (), *, fix: str) -> None:
    """Refuse missing or changed files of a folder that has ``SHA256SUMS``: those named, or all."""
    if not (folder / SUMS).exists():
        return
    try:
        known = _read_sums(folder)
        problems = [problem for name in names or known if (problem := _compare(folder / name, known.get(name)))]
    except (OSError, ValueError) as error:
        problems = [f"{SUMS} cannot be read: {error}"]
    if problems:
        raise MissingError(f"{folder} is damaged", problems, fix=fix)


def stamp(file: Path) -> Stamp:
    """Return a file's path, size, inode, mtime and ctime, of which some change when it is written."""
    state = file.stat()
    return (str(file), state.st_size, state.st_ino, state.st_mtime_ns, state.st_ctime_ns)


def refuse_changed(stage: str) -> NoReturn:
    """Raise the error for a stage whose files have changed since it loaded them."""
    problem = "its files have changed since it loaded them"
    raise StageError(f"stage {stage!r} does not match its files", [problem], fix="build the stage again")


def hash_text(text: str) -> str:
    """Hash a document's text by BLAKE2b, 8 bytes: shorter than SHA-256, where every document of a collection has one.

    Example:
        >>> len(hash_text("a lion")), hash_text("a lion") == hash_text("a lion ")
        (16, False)
    """
    return hashlib.blake2b(text.encode(errors="surrogatepass"), digest_size=8).hexdigest()


def hash_json(meta: Mapping[str, object]) -> str:
    """Return the SHA-256 of JSON with sorted keys, without blanks, in ASCII."""
    return hashlib.sha256(json.dumps(meta, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def hash_file(file: Path) -> str:
    """Return a file's SHA-256, cached by its stamp in the process, for a large file on disk (the name of an empty folder)."""
    state = stamp(file.resolve())
    return _known_hash(state) if time.time_ns() - max(state[3:]) > _TICK else _read_hash(state[0])


@cache
def _known_hash(state: Stamp) -> str:
    if state[1] < _LARGE:
        return _read_hash(state[0])
    known = cache_folder("checksums", hashlib.sha256(repr(state).encode()).hexdigest())
    for remembered in known.glob("*"):
        return remembered.name
    checksum = _read_hash(state[0])
    with suppress(OSError):
        (known / checksum).mkdir(parents=True)
    return checksum


def _read_hash(path: str) -> str:
    hasher, block = hashlib.sha256(), bytearray(_BLOCK)
    with open(path, "rb", buffering=0) as file:  # noqa: PTH123 - a stamp holds a str
        while size := file.readinto(block):
            hasher.update(memoryview(block)[:size])
    return hasher.hexdigest()


def _read_sums(folder: Path) -> dict[str, str]:
    lines = (folder / SUMS).read_text(encoding="utf-8").splitlines()
    sums = {name: checksum for checksum, _, name in (line.partition("  ") for line in lines)}
    if not sums or not all(name and len(checksum) == hashlib.sha256().digest_size * 2 for name, checksum in sums.items()):
        raise ValueError("a line is not a SHA-256, two spaces and a file name")
    return sums


def _compare(file: Path, checksum: str | None) -> str:
    """Return what is wrong with a file, or an empty text."""
    if not file.is_file():
        return f"{file.name} is missing"
    return "" if hash_file(file) == checksum else f"{file.name} does not have the SHA-256 in {SUMS}"
