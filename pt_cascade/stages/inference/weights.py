"""What the name of a model stands for now: the content of the files in its folder, or the revision of a name on the hub."""

from __future__ import annotations

import hashlib
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING

from pt_cascade.checksums import hash_file
from pt_cascade.errors import MissingError
from pt_cascade.stages.inference.hub import check_reachable
from pt_cascade.stages.inference.loading import load_config

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_SPARE = ("checkpoint-*", "*.md", "*.csv", ".*")
_FILES = ("config.json", "tokenizer_config.json", "modules.json")


def tell_weights(name: str, stage: str) -> str:
    """Say which weights a name stands for: the same wherever they lie, others for other weights.

    A folder is told by the content of its files, whatever it is called: a copy is the same model, and one that was trained on in
    place is another. A name on the hub is told by the commit in the local cache; if it holds none, the hub is asked.

    Args:
        name: A folder, or a name on the model hub.
        stage: Who would load it, for the error.

    Returns:
        ``files <hash>``, or ``<name> at <commit>``.

    Raises:
        MissingError: Its revision is unknown: neither the local cache nor the hub knows the name.

    Example:
        >>> folder = getfixture("tmp_path")
        >>> _ = (folder / "config.json").write_text("{}")
        >>> tell_weights(str(folder), "mono_t5")
        'files bef6acf233bd20dd9e6d'
    """
    folder = Path(name).expanduser()
    if folder.is_dir():
        return f"files {hash_files(list_files(folder), folder)}"
    commit = _find_commit(name) or _ask_hub(name, stage)
    if not commit:
        fix = f"huggingface_hub.snapshot_download({name!r})"
        raise MissingError(f"{stage} cannot tell the revision of {name!r}", ["the local hub cache does not hold it"], fix=fix)
    return f"{name} at {commit}"


def list_files(folder: Path) -> list[Path]:
    """List the files that a model's folder is told by: links are followed; hidden files, Markdown, CSV and checkpoints left out.

    Args:
        folder: It is there.

    Returns:
        The files, in the order of their names.
    """
    names = ((file, file.relative_to(folder).parts) for file in _walk(folder))
    return sorted(file for file, parts in names if not any(fnmatchcase(part, glob) for part in parts for glob in _SPARE))


def _walk(folder: Path) -> Iterator[Path]:
    """Go through all files, also of folders that are linked to, each folder once a way."""
    pending = [(folder, frozenset[tuple[int, int]]())]
    while pending:
        here, above = pending.pop()
        state = here.stat()
        if (place := (state.st_dev, state.st_ino)) in above:
            continue
        for file in here.iterdir():
            if file.is_dir():
                pending.append((file, above | {place}))
            elif file.is_file():
                yield file


def hash_files(files: Iterable[Path], folder: Path) -> str:
    """Hash the names and the content of some files; each is read once a process, and again when it was written to.

    Args:
        files: They are there, in some folder. A gigabyte takes about a second.
        folder: What their names are told from, so that a copy of the folder has the same hash.

    Returns:
        20 hexadecimal digits.
    """
    told = "".join(f"{file.relative_to(folder).as_posix()}\0{hash_file(file)}\n" for file in files)
    return hashlib.sha256(told.encode()).hexdigest()[:20]


def _find_commit(name: str) -> str:
    """Look into the local cache; sentence-transformers puts its own name before a bare one."""
    from huggingface_hub import try_to_load_from_cache  # noqa: PLC0415 - heavy

    names = (name,) if "/" in name else (name, f"sentence-transformers/{name}")
    found = (try_to_load_from_cache(one, file) for one in names for file in _FILES)
    return next((Path(path).parent.name for path in found if isinstance(path, str)), "")


def _ask_hub(name: str, stage: str) -> str:
    """Have the configuration downloaded, as loading the model would, and look again."""
    check_reachable(name, stage)
    load_config(name, stage)
    return _find_commit(name)
