"""How alike a query's and documents' vectors are: one sum order for every stage, so that a pair has one score everywhere."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, TypeAlias, get_args

import numpy as np

from pt_cascade.errors import PipelineError

if TYPE_CHECKING:
    from pt_cascade.ranking import Floats
    from pt_cascade.stages.encoders import Vectors

Similarity: TypeAlias = Literal["dot", "cos"]


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
    dot = np.einsum("ij,j->i", documents, query)
    if similarity == "cos":
        both = lengths(documents) * np.linalg.norm(query)
        dot = dot / np.where(both > 0, both, 1)
    found: Floats = dot.astype(np.float64)
    return found


def lengths(vectors: Vectors) -> Vectors:
    """Give the length of each vector.

    Args:
        vectors: Shape (n, dimension).

    Returns:
        Shape (n,).

    Example:
        >>> lengths(np.array([[3, 4]], np.float32)).tolist()
        [5.0]
    """
    found: Vectors = np.sqrt(np.einsum("ij,ij->i", vectors, vectors))
    return found
