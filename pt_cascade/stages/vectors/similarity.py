"""The similarity of a query's and documents' vectors, summed in one order by every stage, so that a pair has one score."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, TypeAlias, get_args

import numpy as np

from pt_cascade.errors import PipelineError
from pt_cascade.numbers import count_of, is_word

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from pt_cascade.ranking import Floats

Similarity: TypeAlias = Literal["dot", "cos"]
Vectors: TypeAlias = "NDArray[np.float32]"

USABLE = "expected 0, or 1e-19 to 1e19"


def check_similarity(similarity: str) -> None:
    """Refuse what is neither ``dot`` nor ``cos``."""
    if not is_word(similarity, get_args(Similarity)):
        raise PipelineError(f"similarity is {similarity!r}", [f"expected one of {', '.join(get_args(Similarity))}"])


def similarities(documents: Vectors, query: Vectors, similarity: Similarity) -> Floats:
    """Compare n documents (n, dimension) with a query (dimension,), each by itself: not a bit of a score depends on the others.

    The values are float32's. The cosine with a vector of zeros is 0.

    Example:
        >>> documents = np.array([[3, 4], [0, 0]], np.float32)
        >>> similarities(documents, np.array([2, 0], np.float32), "cos").tolist()
        [0.6000000238418579, 0.0]
    """
    if similarity == "cos":  # in float64, where no product of float32 vanishes or overflows
        both = lengths(documents) * lengths(query[None])
        dot = np.einsum("ij,j->i", documents.astype(np.float64), query.astype(np.float64)) / np.where(both > 0, both, 1)
        dot = dot.astype(np.float32)
    else:
        dot = np.einsum("ij,j->i", documents, query)
    found: Floats = dot.astype(np.float64)
    return found


def lengths(vectors: Vectors) -> Floats:
    """Return the length of each vector of (n, dimension), in float64, as float32 cannot square small and large values.

    Example:
        >>> lengths(np.array([[3, 4]], np.float32)).tolist()
        [5.0]
    """
    exact = vectors.astype(np.float64)
    found: Floats = np.sqrt(np.einsum("ij,ij->i", exact, exact))
    return found


def find_unusable(length: Floats, docnos: Sequence[str] | NDArray[np.object_]) -> str:
    """Name the first document whose vector is too long or too short for products in float32; empty if there is none.

    Example:
        >>> find_unusable(np.array([0, 1e-19, 1e19, np.nan]), ["d1", "d2", "d3", "d4"])
        '1 of 4 vectors, first docno d4, of length nan, expected 0, or 1e-19 to 1e19'
        >>> find_unusable(np.array([0, 1]), ["d1", "d2"])
        ''
    """
    usable = are_usable(length)
    if usable.all():
        return ""
    first = int(np.argmin(usable))
    found = f"{(~usable).sum()} of {count_of(len(length), 'vector')}"
    return f"{found}, first docno {docnos[first]}, of length {length[first]:.1e}, {USABLE}"


def are_usable(length: Floats) -> NDArray[np.bool_]:
    """Return whether each length is 0 or between 1e-19 and 1e19, so that float32 holds the products of such vectors."""
    shortest, longest = 1e-19, 1e19
    usable: NDArray[np.bool_] = (length == 0) | ((length >= shortest) & (length <= longest))
    return usable
