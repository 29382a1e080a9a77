"""How alike a query's and documents' vectors are: one sum order for every stage, so that a pair has one score everywhere."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, TypeAlias, get_args

import numpy as np

from pt_cascade.errors import PipelineError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pt_cascade.ranking import Floats

Similarity: TypeAlias = Literal["dot", "cos"]
Vectors: TypeAlias = "NDArray[np.float32]"

_USABLE = (1e-19, 1e19)


def check_similarity(similarity: str) -> None:
    """Refuse a similarity that is neither.

    Raises:
        PipelineError: It is not ``dot`` or ``cos``.
    """
    if similarity not in get_args(Similarity):
        raise PipelineError(f"similarity is {similarity!r}", [f"expected one of {', '.join(get_args(Similarity))}"])


def similarities(documents: Vectors, query: Vectors, similarity: Similarity) -> Floats:
    """Compare documents with a query; each is summed by itself, so that its value never depends on the others, not in the last bit.

    Args:
        documents: Shape (n, dimension).
        query: Shape (dimension,).
        similarity: ``dot`` or ``cos``. A vector of zeros is similar to nothing: 0.

    Returns:
        Shape (n,). Values that float32 holds.

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
    """Give the length of each vector, in float64: the square of a small or large value is beyond float32.

    Args:
        vectors: Shape (n, dimension).

    Returns:
        Shape (n,).

    Example:
        >>> lengths(np.array([[3, 4]], np.float32)).tolist()
        [5.0]
    """
    exact = vectors.astype(np.float64)
    found: Floats = np.sqrt(np.einsum("ij,ij->i", exact, exact))
    return found


def are_usable(length: Floats) -> NDArray[np.bool_]:
    """Tell which lengths are 0 or between 1e-19 and 1e19: float32 holds the products of such vectors, and of no others for sure.

    Args:
        length: Shape (n,).

    Returns:
        Shape (n,).

    Example:
        >>> are_usable(np.array([0, 1, 1e-23, 1e20, np.nan])).tolist()
        [True, True, False, False, False]
    """
    shortest, longest = _USABLE
    usable: NDArray[np.bool_] = (length == 0) | ((length >= shortest) & (length <= longest))
    return usable
