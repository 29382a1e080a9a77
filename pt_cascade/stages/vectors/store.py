"""Stored vectors of a collection: a pyterrier_dr FlexIndex, with token vectors beside it where late interaction wants them.

A folder made here is a FlexIndex (``vecs.f4``, ``docnos.npids``, ``pt_meta.json``) and holds besides

- ``encoder.json``: what made it (see ``makers``), so that ``dense``, ``bi_encoder`` and ``late_interaction`` need not be told;
- ``tokens.f2``, ``tokens.npy``: token vectors in float16, and where each document's begin, shape (documents + 1,).
"""

from __future__ import annotations

import json
import os
import struct
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from pt_cascade.checksums import check_sealed
from pt_cascade.errors import MissingError, PipelineError, StageError
from pt_cascade.files import rm_command
from pt_cascade.stages.vectors.similarity import are_usable, lengths

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pandas as pd
    from numpy.typing import NDArray
    from pyterrier_dr import FlexIndex

    from pt_cascade.ranking import Ints
    from pt_cascade.stages.vectors.similarity import Vectors

Halves: TypeAlias = "NDArray[np.float16]"


@dataclass(frozen=True)
class VectorStore:
    """The stored vectors of a collection, looked up by docno.

    Attributes:
        path: A folder made by ``build_vectors``, or any FlexIndex.
    """

    path: str

    @cached_property
    def encoder(self) -> dict[str, str | int | None]:
        """What made the folder (see ``makers``); empty for a FlexIndex made elsewhere."""
        file = Path(self.path) / "encoder.json"
        with self._whole():
            read = json.loads(self._need(file.name, "").read_text(encoding="utf-8")) if file.exists() else {}
            told: dict[str, str | int | None] = {**read}
        return told

    def files(self) -> list[Path]:
        """List the files that tell these vectors from others, those that are there."""
        names = ("encoder.json", "pt_meta.json", "docnos.npids", "vecs.f4", "tokens.f2", "tokens.npy")
        return [file for name in names if (file := Path(self.path) / name).is_file()]

    @property
    def ours(self) -> bool:
        """Whether ``build_vectors`` made the folder, so that it may be deleted and made again."""
        return all((Path(self.path) / name).exists() for name in ("encoder.json", "vecs.f4"))

    @property
    def rebuild(self) -> str:
        """What to do where it is damaged."""
        return f"{rm_command(self.path)}, and build_vectors again" if self.ours else "make this FlexIndex again"

    @cached_property
    def vectors(self) -> Vectors:
        """One vector a document, shape (documents, dimension), mapped from disk."""
        meta = self._need("pt_meta.json", "the folder is no FlexIndex")
        with self._whole():
            size = json.loads(meta.read_text(encoding="utf-8"))
            shape = (int(size["doc_count"]), int(size["vec_size"]))
            vectors = np.memmap(self._need("vecs.f4", "the folder is no FlexIndex"), mode="r", dtype=np.float32).reshape(shape)
            self._check_count(len(vectors))
        return vectors

    @cached_property
    def tokens(self) -> tuple[Halves, Ints]:
        """Token vectors, shape (tokens, dimension), and where each document's begin, shape (documents + 1,)."""
        file = self._need("tokens.npy", "no token vectors were kept")
        with self._whole():
            starts: Ints = np.load(file)
            flat = np.memmap(self._need("tokens.f2", "no token vectors were kept"), mode="r", dtype=np.float16)
            self._check_count(len(starts) - 1)
            return flat.reshape(int(starts[-1]), -1), starts

    @cached_property
    def docnos(self) -> NDArray[np.object_]:
        """The docno of each row, shape (documents,)."""
        return np.array(list(self._places), object)

    def check_query(self, query: Vectors, model: str, stage: str) -> None:
        """Refuse a query's vector that cannot be compared with the documents'.

        Args:
            query: Shape (dimension,).
            model: What made it, for the error.
            stage: Who asks, for the error.

        Raises:
            StageError: It has another size, a value that is not finite, or a length that float32 cannot square.
        """
        size = self.vectors.shape[1]
        problems = []
        if len(query) != size:
            problems.append(f"{model} makes vectors of size {len(query)}, {self.path} holds size {size}")
        if not np.isfinite(query).all():
            problems.append(f"{model} made a vector with a value that is not finite")
        elif not are_usable(length := lengths(query[None]))[0]:
            problems.append(f"{model} made a vector of length {length[0]:.1e}, expected 0, or 1e-19 to 1e19")
        if problems:
            raise StageError(f"stage {stage!r} cannot compare", problems, fix=f"{stage}(vectors), with the model that made them")

    def rows(self, docno: pd.Series[str], stage: str) -> Ints:
        """Look documents up.

        Args:
            docno: Shape (n,), at least one.
            stage: Who asks, for the error.

        Returns:
            Shape (n,). The row of each document.

        Raises:
            StageError: A document has no vector.
        """
        places = self._places
        rows = np.array([places.get(name, -1) for name in docno.to_numpy(object)], np.int64)
        if (unknown := rows < 0).any():
            first = docno.to_numpy(object)[unknown][0]
            problem = f"{int(unknown.sum())} of {len(rows)} row(s), first docno {first}; {self.path} has {len(places)} documents"
            raise StageError(f"stage {stage!r} has no vector of a document", [problem], fix="build_vectors over the same documents")
        return rows

    @cached_property
    def _places(self) -> dict[str, int]:
        """Read FlexIndex's own list of docnos; its look-up by docno takes 01 for 1, and fails beyond ASCII."""
        from npids import Lookup  # noqa: PLC0415 - comes with pyterrier_dr

        file = self._need("docnos.npids", "the folder is no FlexIndex")
        with self._whole():
            return {str(name): row for row, name in enumerate(Lookup(file))}

    def _check_count(self, documents: int) -> None:
        if documents != len(self._places):
            raise ValueError(f"there are vectors of {documents} documents, and {len(self._places)} docnos")

    @contextmanager
    def _whole(self) -> Iterator[None]:
        """Say which folder is damaged, where a file of it cannot be read."""
        try:
            yield
        except (ValueError, TypeError, KeyError, struct.error, OSError, EOFError, IndexError) as error:
            problem = f"{self.path}: {type(error).__name__}: {error}"
            raise MissingError("these vectors are damaged", [problem], fix=self.rebuild) from error

    def _need(self, name: str, problem: str) -> Path:
        file = Path(self.path) / name
        if not file.exists():
            found = f"{problem}: {self.path} has no {name}"
            raise MissingError("these vectors cannot be used", [found], fix="build_vectors(docs, model, path, tokens=True)")
        check_sealed(Path(self.path), [name], fix=self.rebuild)
        return file

    def __getstate__(self) -> dict[str, str]:
        """Pickle the path only."""
        return {"path": self.path}


def open_vectors(vectors: str | os.PathLike[str] | FlexIndex) -> VectorStore:
    """Open a folder of vectors, or a FlexIndex.

    Args:
        vectors: A folder made by ``build_vectors``, the folder of a FlexIndex, or a FlexIndex.

    Raises:
        MissingError: There is no such folder.
        PipelineError: It is neither.
    """
    if not isinstance(vectors, (str, os.PathLike)) and not hasattr(vectors, "index_path"):
        problem = f"vectors is {vectors!r:.60} ({type(vectors).__name__}), expected a folder or a FlexIndex"
        raise PipelineError("there are no vectors", [problem], fix="build_vectors(docs, model, path)")
    path = Path(getattr(vectors, "index_path", vectors))
    if not path.is_dir():
        raise MissingError("there are no vectors", [f"{path} is not a folder"], fix="build_vectors(docs, model, path)")
    return VectorStore(str(path.resolve()))
