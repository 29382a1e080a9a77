"""Checksums: a folder is sealed when it is finished, and checked when it is read.

A sealed folder holds ``SHA256SUMS``, which ``sha256sum -c`` reads as well. A file of its own has its SHA-256 in its name.
"""

from __future__ import annotations

import hashlib
import time
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn, TypeAlias

from pt_cascade.errors import MissingError, StageError
from pt_cascade.files import cache_folder, is_built, new_folder, write_file

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

Stamp: TypeAlias = "tuple[str, int, int, int, int]"

SUMS = "SHA256SUMS"
_BLOCK = 1 << 20
_LARGE = 1 << 28  # bytes; the checksum of a larger file is remembered from process to process
_TICK = 100_000_000  # nanoseconds; two writes within one tick of the file system's clock may leave the same stamp


def build_once(path: Path, build: Callable[[Path], object]) -> Path:
    """Build a folder with a list of checksums unless it is there, so that it is there whole or not at all.

    Of two processes that build it at once, the second throws its own away and takes the first one's. A killed process may leave a
    hidden folder, ``.name.*.building``.

    Args:
        path: The folder. Any folder at this place that is not empty counts as built.
        build: Fills the empty folder it is given. What it keeps must not know its own path: the folder moves afterwards.

    Returns:
        The path.

    Raises:
        CollectionError: There is a file at this place, or no folder can be made there.

    Example:
        >>> place = getfixture("tmp_path") / "index"
        >>> built = build_once(place, lambda folder: (folder / "terms").write_text("a b"))
        >>> (build_once(place, lambda folder: 1 / 0) / "terms").read_text()
        'a b'
    """
    if is_built(path):
        return path
    try:
        with new_folder(path) as folder:
            build(folder)
            seal(folder)
    except OSError:
        if not (path.is_dir() and is_built(path)):  # else another process was first
            raise
    return path


def write_hashed(folder: Path, stem: str, suffix: str, data: bytes) -> str:
    """Write a file that has the SHA-256 of its content in its name, for ``read_hashed``; return the name.

    Example:
        >>> folder = getfixture("tmp_path")
        >>> read_hashed(folder / write_hashed(folder, "chunk", ".txt", b"abc"))
        b'abc'
    """
    name = f"{stem}-{hashlib.sha256(data).hexdigest()}{suffix}"
    write_file(folder / name, data)
    return name


def read_hashed(file: Path) -> bytes:
    """Read what ``write_hashed`` wrote.

    Raises:
        ValueError: It is not what was written.
    """
    data = file.read_bytes()
    if hashlib.sha256(data).hexdigest() != file.stem.rpartition("-")[2]:
        raise ValueError(f"{file.name} has {len(data):,} bytes, not those of the SHA-256 in its name")
    return data


def seal(folder: Path, pattern: str = "*") -> None:
    """List the checksums of a folder's files in ``SHA256SUMS``; a file that is listed already keeps its checksum.

    Example:
        >>> folder = getfixture("tmp_path")
        >>> _ = (folder / "a").write_bytes(b"abc")
        >>> seal(folder)
        >>> check_sealed(folder, fix="rm -r")
    """
    if new := unsealed_files(folder, pattern):
        known = (folder / SUMS).read_bytes() if (folder / SUMS).exists() else b""
        lines = (f"{hash_file(file)}  {file.relative_to(folder).as_posix()}\n" for file in new)
        write_file(folder / SUMS, known + "".join(lines).encode())


def unsealed_files(folder: Path, pattern: str = "*") -> list[Path]:
    """List the files of a folder that have such a name and no checksum, hidden ones left out."""
    known = {SUMS, *(_read_sums(folder) if (folder / SUMS).exists() else ())}
    found = ((file.relative_to(folder).as_posix(), file) for file in sorted(folder.rglob(pattern)) if file.is_file())
    return [file for name, file in found if name not in known and "/." not in f"/{name}"]


def check_sealed(folder: Path, names: Iterable[str] = (), *, fix: str) -> None:
    """Refuse files that are not as they were when their folder was sealed; of a folder without ``SHA256SUMS`` nothing is known.

    Args:
        folder: The folder.
        names: Files in it; none: all that are listed.
        fix: How to make the folder again.

    Raises:
        MissingError: A file is missing, or damaged.
    """
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
    """Give what changes when a file is written to: its path, size, inode, and times of content and state in nanoseconds."""
    state = file.stat()
    return (str(file), state.st_size, state.st_ino, state.st_mtime_ns, state.st_ctime_ns)


@dataclass(frozen=True)
class OpenFolder:
    """A folder whose files are in use since this was made, such as an index: a stage that read them is refused once they change.

    Attributes:
        path: The folder; files that appear in it later, and hidden ones, do not count.
    """

    path: str
    _files: tuple[Stamp, ...] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Note the files."""
        files = (file for file in sorted(Path(self.path).glob("[!.]*")) if file.is_file() and file.name != SUMS)
        object.__setattr__(self, "_files", tuple(stamp(file) for file in files))

    def check(self, stage: str) -> None:
        """Refuse the stage that uses the files, if one was written to or is gone."""
        if any(not Path(told[0]).exists() or stamp(Path(told[0])) != told for told in self._files):
            refuse_changed(stage)


def refuse_changed(stage: str) -> NoReturn:
    """Refuse a stage that has read other files than are there now."""
    problem = "its files were written to after it loaded them"
    raise StageError(f"stage {stage!r} is not what its files say", [problem], fix="make the stage anew")


def hash_text(text: str) -> str:
    """Hash a document's text by BLAKE2b, 8 bytes: shorter than SHA-256, where every document of a collection has one.

    Example:
        >>> len(hash_text("a lion")), hash_text("a lion") == hash_text("a lion ")
        (16, False)
    """
    return hashlib.blake2b(text.encode(errors="surrogatepass"), digest_size=8).hexdigest()


def hash_file(file: Path) -> str:
    """Give a file's SHA-256; it is read once a process, a large one once a machine, and again when its stamp has changed.

    A gigabyte takes about half a second. What is remembered of a large file is an empty folder, named by its SHA-256.
    """
    told = stamp(file.resolve())
    return _known_hash(told) if time.time_ns() - max(told[3:]) > _TICK else _read_hash(told[0])


@cache
def _known_hash(told: Stamp) -> str:
    if told[1] < _LARGE:
        return _read_hash(told[0])
    known = cache_folder("checksums", hashlib.sha256(repr(told).encode()).hexdigest())
    for remembered in known.glob("*"):
        return remembered.name
    checksum = _read_hash(told[0])
    with suppress(OSError):
        (known / checksum).mkdir(parents=True)
    return checksum


def _read_hash(path: str) -> str:
    hasher, block = hashlib.sha256(), bytearray(_BLOCK)
    with open(path, "rb", buffering=0) as file:  # noqa: PTH123 - a stamp holds text
        while size := file.readinto(block):
            hasher.update(memoryview(block)[:size])
    return hasher.hexdigest()


def _read_sums(folder: Path) -> dict[str, str]:
    lines = (folder / SUMS).read_text(encoding="utf-8").splitlines()
    sums = {name: checksum for checksum, _, name in (line.partition("  ") for line in lines)}
    if not sums or not all(name and len(checksum) == hashlib.sha256().digest_size * 2 for name, checksum in sums.items()):
        raise ValueError("a line is not a SHA-256, two blanks and the name of a file")
    return sums


def _compare(file: Path, checksum: str | None) -> str:
    """Say what is wrong with a file."""
    if not file.is_file():
        return f"{file.name} is missing"
    return "" if hash_file(file) == checksum else f"{file.name} is not the file that {SUMS} has the SHA-256 of"
