"""A collection that is being encoded: the folder ``.name.partial`` holds one file a chunk of documents, and one process fills it.

Each file is written in one step and has its SHA-256 in its name; ``job.json`` says what encodes. In the end they are joined to the
folder of the vectors.
"""

from __future__ import annotations

import io
import json
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pt_cascade.checksums import read_hashed, write_hashed
from pt_cascade.errors import MissingError, require
from pt_cascade.files import CHUNKS, rm_command

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from numpy.typing import NDArray

    from pt_cascade.ranking import Ints
    from pt_cascade.stages.vectors.provenance import Provenance
    from pt_cascade.stages.vectors.similarity import Vectors


@dataclass(frozen=True)
class Chunk:
    """Documents that are encoded: docnos, hashes of the texts, vectors (n, d), and token vectors (t, e), of each document so many.

    Without vectors d is 0; without token vectors t and e are.
    """

    docnos: NDArray[np.str_]
    hashes: NDArray[np.str_]
    vectors: Vectors
    tokens: NDArray[np.float16]
    counts: Ints


def list_chunks(folder: Path) -> dict[int, Path]:
    """List the files of the chunks by their numbers, from 0."""
    return {int(file.name.split("-")[1]): file for file in folder.glob(CHUNKS)}


def write_chunk(folder: Path, number: int, chunk: Chunk) -> None:
    """Write a chunk in one step."""
    data = io.BytesIO()
    np.savez(data, **vars(chunk))
    write_hashed(folder, f"chunk-{number:06}", ".npz", data.getvalue())


def read_chunk(file: Path) -> Chunk:
    """Read a chunk; a damaged one is an error that names the file."""
    try:
        with np.load(io.BytesIO(read_hashed(file))) as arrays:
            return Chunk(**arrays)
    except (ValueError, OSError) as error:
        fix = f"{rm_command(file)}, and build_vectors again"
        raise MissingError(f"{file.parent} is damaged", [str(error)], fix=fix) from error


def join_chunks(chunks: Iterable[Chunk], place: Path, made_by: Provenance, content: str) -> None:
    """Write the chunks as a FlexIndex with token vectors beside it, what made them, and the hash of the documents."""
    require("npids", why="build_vectors")
    from npids import Lookup  # noqa: PLC0415 - comes with pyterrier_dr

    counts, sizes = [np.zeros(1, np.int64)], (0, 0)
    with ExitStack() as stack:
        ids = stack.enter_context(Lookup.builder(place / "docnos.npids"))
        vectors, tokens = (stack.enter_context((place / name).open("wb")) for name in ("vecs.f4", "tokens.f2"))
        for chunk in chunks:
            vectors.write(chunk.vectors.tobytes())
            tokens.write(chunk.tokens.tobytes())
            counts.append(chunk.counts)
            sizes = chunk.vectors.shape[1], chunk.tokens.shape[1]
            for docno in chunk.docnos.tolist():
                ids.add(docno)
    ends = np.cumsum(np.concatenate(counts))
    if sizes[1]:
        np.save(place / "tokens.npy", ends)
    else:
        (place / "tokens.f2").unlink()
    documents = len(ends) - 1
    (place / "encoder.json").write_text(json.dumps({**made_by, "documents": documents, "content": content}), encoding="utf-8")
    if sizes[0]:
        meta = {"type": "dense_index", "format": "flex", "vec_size": sizes[0], "doc_count": documents}
        (place / "pt_meta.json").write_text(json.dumps(meta), encoding="utf-8")
