"""Stored vectors of a collection: a FlexIndex of pyterrier_dr, with token vectors beside it for late interaction.

A folder of ``build_vectors`` holds a FlexIndex (``vecs.f4``, ``docnos.npids``, ``pt_meta.json``), ``encoder.json`` (see
``provenance``), and ``tokens.f2`` and ``tokens.npy``: token vectors in float16, and where each document's begin.
"""

from __future__ import annotations

import json
import os
import struct
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from pt_cascade.checksums import check_sealed
from pt_cascade.errors import MissingError, PipelineError, StageError, first_line
from pt_cascade.files import rm_command, to_path
from pt_cascade.numbers import count_of
from pt_cascade.stages.vectors.similarity import USABLE, are_usable, lengths

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pandas as pd
    from numpy.typing import NDArray
    from pyterrier_dr import FlexIndex

    from pt_cascade.ranking import Ints
    from pt_cascade.stages.vectors.similarity import Vectors

_DAMAGE = (ArithmeticError, AttributeError, EOFError, LookupError, MemoryError, NameError, OSError, TypeError, ValueError)
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
        """What made the vectors (see ``provenance``); empty for a FlexIndex made elsewhere."""
        if not (Path(self.path) / "encoder.json").exists():
            return {}
        with self._open("encoder.json") as file:
            return {**json.loads(file.read_text(encoding="utf-8"))}

    @property
    def provenance(self) -> str | None:
        """The hash of what made the vectors; None where it is unknown."""
        found = self.encoder.get("provenance")
        return None if found is None else str(found)

    def files(self) -> list[Path]:
        """List the files whose content identifies the vectors, those that are there."""
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
        with self._open("vecs.f4") as file:
            vectors = np.memmap(file, mode="r", dtype=np.float32).reshape(self._shape)
            self._check_count(len(vectors))
        return vectors

    @cached_property
    def tokens(self) -> tuple[Halves, Ints]:
        """Token vectors, shape (tokens, dimension), and where each document's begin, shape (documents + 1,)."""
        missing = "no token vectors are stored"
        with self._open("tokens.npy", missing) as file, self._open("tokens.f2", missing) as flat:
            starts: Ints = np.load(file)
            self._check_count(len(starts) - 1)
            return np.memmap(flat, mode="r", dtype=np.float16).reshape(int(starts[-1]), -1), starts

    @cached_property
    def docnos(self) -> NDArray[np.object_]:
        """The docno of each row, shape (documents,)."""
        return np.array(list(self._places), object)

    def check_query(self, query: Vectors, model: str, stage: str) -> None:
        """Refuse a query's vector, shape (dimension,), that cannot be compared with the documents'."""
        problems = []
        if len(query) != (size := self.vectors.shape[1]):
            problems.append(f"{model} makes vectors of size {len(query)}, {self.path} holds size {size}")
        if not are_usable(length := lengths(query[None])[0]):
            problems.append(f"{model} made a vector of length {length:.1e}, {USABLE}")
        if problems:
            raise StageError(f"stage {stage!r} cannot compare", problems, fix=f"{stage}(vectors), with the model that made them")

    def rows(self, docno: pd.Series[str], stage: str) -> Ints:
        """Return the row of each of n >= 1 documents, shape (n,); one without a vector is an error."""
        places, docnos = self._places, docno.to_numpy(object)
        rows = np.array([places.get(name, -1) for name in docnos], np.int64)
        if (unknown := rows < 0).any():
            found = f"{int(unknown.sum())} of {count_of(len(rows), 'row')}, first docno {docnos[unknown][0]}"
            problem = f"{found}; {self.path} has {len(places)} documents"
            raise StageError(f"stage {stage!r} has no vector for a document", [problem], fix="build_vectors over these documents")
        return rows

    @cached_property
    def _shape(self) -> tuple[int, int]:
        """How many documents there are, and how many numbers a vector has."""
        with self._open("pt_meta.json") as meta:
            size = json.loads(meta.read_text(encoding="utf-8"))
            return int(size["doc_count"]), int(size["vec_size"])

    @cached_property
    def _places(self) -> dict[str, int]:
        """Read FlexIndex's list of docnos; npids' own look-up takes 01 for 1, and fails beyond ASCII."""
        from npids import Lookup  # noqa: PLC0415 - comes with pyterrier_dr

        with self._open("docnos.npids") as file:
            _check_blocks(file)
            most = self._shape[0] + 1 if file.with_name("pt_meta.json").exists() else None  # a folder of tokens alone has none
            return {str(name): row for row, name in enumerate(islice(Lookup(file), most))}

    def _check_count(self, documents: int) -> None:
        if documents != len(self._places):
            raise ValueError(f"there are vectors of {documents} documents, and {len(self._places)} docnos")

    @contextmanager
    def _open(self, name: str, problem: str = "the folder is not a FlexIndex") -> Iterator[Path]:
        """Give a file of the folder; name the folder where it is missing, changed, or cannot be read by the block."""
        file = Path(self.path) / name
        if not file.exists():
            found = f"{problem}: {self.path} has no {name}"
            raise MissingError("these vectors cannot be used", [found], fix="build_vectors(docs, model, path, tokens=True)")
        check_sealed(Path(self.path), [name], fix=self.rebuild)
        try:
            yield file
        except (RecursionError, struct.error, *_DAMAGE) as error:
            found = f"{self.path}: {type(error).__name__}: {first_line(error)}"
            raise MissingError("these vectors are damaged", [found], fix=self.rebuild) from error

    def __getstate__(self) -> dict[str, str]:
        """Pickle the path only."""
        return {"path": self.path}


def _check_blocks(file: Path) -> None:
    """Raise ValueError where a block of npids does not lead to one behind it; npids itself would read on for ever."""
    from npids.utils import FileManager  # noqa: PLC0415 - comes with pyterrier_dr

    with FileManager(file) as blocks:
        here = blocks.tell()
        while here != -1:
            blocks.seek(here)
            before, (_, here, _, _) = here, blocks.read_header()
            if -1 != here <= before:
                raise ValueError("its blocks do not follow each other")


def open_vectors(vectors: str | os.PathLike[str] | FlexIndex) -> VectorStore:
    """Open a folder made by ``build_vectors``, or a FlexIndex or its folder."""
    if not isinstance(vectors, (str, os.PathLike)) and not hasattr(vectors, "index_path"):
        problem = f"vectors is {vectors!r:.60} ({type(vectors).__name__}), expected a folder or a FlexIndex"
        raise PipelineError("there are no vectors", [problem], fix="build_vectors(docs, model, path)")
    path = to_path(getattr(vectors, "index_path", vectors))
    if not path.is_dir():
        raise MissingError("there are no vectors", [f"{path} is not a folder"], fix="build_vectors(docs, model, path)")
    return VectorStore(str(path.resolve()))
