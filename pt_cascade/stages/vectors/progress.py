"""What was encoded so far: growing files of vectors, and a list that says how far they can be trusted.

A chunk of documents is one record, a line of JSON: docnos, hashes of the texts, tokens a document, and how long the files of
vectors are with it. The vectors reach the disk (fsync) before the line that counts them is written. A killed process leaves at
most vectors that no line counts, or half a line; a crash of the machine may lose lines, but keeps none whose vectors it lost.
Either is cut off when the work goes on.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import numpy as np

from pt_cascade.checksums import hash_text

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from pt_cascade.stages.vectors.similarity import Vectors

VECTORS, TOKENS = "vecs.f4", "tokens.f2"
_LIST = "encoded.jsonl"


@dataclass(frozen=True)
class Record:
    """A chunk of documents that is encoded.

    Attributes:
        docnos: Of each document.
        hashes: Of each document's text.
        tokens: Token vectors of each document; 0 where none are kept.
        sizes: Bytes of the two files of vectors, this chunk's included.
    """

    docnos: list[str]
    hashes: list[str]
    tokens: list[int]
    sizes: list[int]


def measure(folder: Path) -> tuple[int, int]:
    """Give the size of the vectors on disk, and of the token vectors; 0 where there are none.

    Args:
        folder: Where they grow.
    """
    documents = tokens = 0
    sizes = [0, 0]
    for record in read_records(folder):
        documents, tokens, sizes = documents + len(record.docnos), tokens + sum(record.tokens), record.sizes
    return sizes[0] // max(4 * documents, 1), sizes[1] // max(2 * tokens, 1)


def write_record(
    folder: Path, docs: Sequence[Mapping[str, str]], vectors: Vectors | None, tokens: Sequence[Vectors] | None
) -> None:
    """Put a chunk of documents on disk.

    Args:
        folder: Where it grows.
        docs: The documents, n of them, at least one.
        vectors: Shape (n, dimension), or None.
        tokens: n arrays of shape (tokens, dimension), or None.
    """
    vecs = b"" if vectors is None else np.asarray(vectors, np.float32).tobytes()
    late = b"" if tokens is None else np.concatenate(tokens).astype(np.float16).tobytes()
    record = Record(
        docnos=[doc["docno"] for doc in docs],
        hashes=[hash_text(doc["text"]) for doc in docs],
        tokens=[0] * len(docs) if tokens is None else [len(some) for some in tokens],
        sizes=[append(folder / "whole" / VECTORS, vecs), append(folder / "whole" / TOKENS, late)],
    )
    append(folder / _LIST, (json.dumps(asdict(record)) + "\n").encode())


def read_records(folder: Path) -> Iterator[Record]:
    """Read what is encoded, record by record.

    Args:
        folder: Where it grows.

    Yields:
        Each whole record whose vectors are on disk, up to the first that is not.
    """
    for record, _ in _sound(folder):
        yield record


def cut(folder: Path, size: int) -> int:
    """Cut off what no whole record of a full chunk counts, so that the next chunk may follow.

    The last chunk of a collection is not full; it is encoded again, with what may follow it now, as vectors depend a little on
    the chunk.

    Args:
        folder: Where it grows.
        size: Documents in a full chunk.

    Returns:
        How many documents are left.
    """
    documents, end, sizes = 0, 0, [0, 0]
    for record, place in _sound(folder):
        if len(record.docnos) != size:
            break
        documents, end, sizes = documents + size, place, record.sizes
    (folder / "whole").mkdir(exist_ok=True)
    for file, length in ((_LIST, end), (f"whole/{VECTORS}", sizes[0]), (f"whole/{TOKENS}", sizes[1])):
        with (folder / file).open("ab") as growing:
            growing.truncate(length)
    return documents


def append(file: Path, data: bytes) -> int:
    """Write to the end of a file, and on to the disk.

    Args:
        file: The file; made where it is not there.
        data: What to write.

    Returns:
        How long the file is now.
    """
    with file.open("ab") as growing:
        growing.write(data)
        growing.flush()
        os.fsync(growing.fileno())
        return growing.tell()


def _sound(folder: Path) -> Iterator[tuple[Record, int]]:
    """Yield the records that can be trusted, each with the place where it ends."""
    sizes = [_size(folder / "whole" / name) for name in (VECTORS, TOKENS)]
    end = 0
    if not (folder / _LIST).exists():
        return
    with (folder / _LIST).open("rb") as lines:
        for line in lines:
            end += len(line)
            record = _parse(line)
            if record is None or any(there < counted for there, counted in zip(sizes, record.sizes, strict=True)):
                return
            yield record, end


def _parse(line: bytes) -> Record | None:
    if not line.endswith(b"\n"):
        return None
    try:
        return Record(**json.loads(line))
    except (ValueError, TypeError):
        return None


def _size(file: Path) -> int:
    return file.stat().st_size if file.exists() else 0
