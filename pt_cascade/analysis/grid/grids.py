"""Grids of cut-off vectors: products of axes in which no stage passes on more than the one before."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pt_cascade.analysis.grid.cutoffs import NO_CUT, as_cutoffs, as_vectors, check_cutoffs
from pt_cascade.errors import SweepError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from pt_cascade.analysis.grid.cutoffs import Cutoff, Vectors

MOST_VECTORS = 200_000
MOST_RANKINGS = 1_000_000_000
_STEPS = (1, 2, 3, 5, 7)


@dataclass(frozen=True, eq=False)
class Grid:
    """Cut-off vectors, each once, in lexicographic order."""

    vectors: Vectors  # (vectors, stages): int32; the largest int32 is no cut
    description: str = ""  # The grid in words

    def __len__(self) -> int:
        return len(self.vectors)

    def __iter__(self) -> Iterator[tuple[int | None, ...]]:
        return map(as_cutoffs, self.vectors.tolist())

    def __repr__(self) -> str:
        return f"Grid({len(self):,} vectors{': ' * bool(self.description)}{self.description})"


def grid(*axes: Iterable[Cutoff] | int | None) -> Grid:
    """Return the product of the axes in which no stage passes on more than the one before.

    Args:
        *axes: For each stage its cut-offs, one cut-off, or None for no cut; each 1 or more.

    Returns:
        The vectors; ``len`` and iteration work as for a list of tuples.

    Raises:
        SweepError: There is no axis, an axis is empty or holds other values than cut-offs, or no vector is left.

    Example:
        >>> list(grid([100, 10], [50, 10]))
        [(10, 10), (100, 10), (100, 50)]
    """
    names = [f"k{n}" for n in range(1, len(axes) + 1)]
    read = [_read_axis(name, axis) for name, axis in zip(names, axes, strict=True)]
    if problems := [problem for _, found in read for problem in found]:
        raise SweepError("this is not a grid", problems, fix="grid([10, 100, 1000], [10, 100])")
    vectors = _cross([values for values, _ in read]) if read else np.empty((0, 0), np.int32)
    if not len(vectors):
        shown = " × ".join(_format_axis(values) for values, _ in read) or "there is no axis"
        problem = f"every vector has a stage that passes on more than the one before: {shown}" if read else shown
        raise SweepError("this is not a grid", [problem], fix="grid([10, 100, 1000], [10, 100])")
    return Grid(vectors, " × ".join(f"{name} {_format_axis(values)}" for name, (values, _) in zip(names, read, strict=True)))


def as_grid(vectors: Grid | Iterable[Sequence[Cutoff]], stages: Sequence[str]) -> Grid:
    """Return a Grid for these stages from a Grid, or from vectors of cut-offs in any order."""
    if isinstance(vectors, Grid):
        if vectors.vectors.shape[1] != len(stages):
            problem = f"its vectors have {vectors.vectors.shape[1]} cut-offs, expected one for each of {', '.join(stages)}"
            raise SweepError("the grid does not fit the cascade", [problem])
        return vectors
    if not hasattr(vectors, "__iter__"):
        problem = f"it is {vectors!r} ({type(vectors).__name__}), expected vectors of cut-offs"
        raise SweepError("this is not a grid", [problem], fix="grid([10, 100, 1000], [10, 100])")
    checked = as_vectors([check_cutoffs(vector, stages) for vector in vectors])
    if not len(checked):
        raise SweepError("this is not a grid", ["it has no vector"], fix="grid([10, 100, 1000], [10, 100])")
    return Grid(np.unique(checked.reshape(-1, len(stages)), axis=0), "given")


def default_grid(depths: Sequence[int], last: int | None, n_queries: int, *, coarse: bool = False, alone: bool = False) -> Grid:
    """Return every vector up to the depths if that is feasible, else a logarithmic grid; the last stage keeps its own cut-off.

    Args:
        depths: The deepest cut-off of each stage but the last.
        last: The last stage's own cut-off; None: no cut.
        n_queries: How many queries are ranked for each vector.
        coarse: Always return the logarithmic grid, for measures that take long.
        alone: There is one stage only, and ``depths`` is its own.
    """
    full = float(np.prod([float(depth) for depth in depths]))
    dense = full <= MOST_VECTORS and full * n_queries <= MOST_RANKINGS and not coarse
    axes = [np.arange(1, depth + 1, dtype=np.int32) if dense else _log_axis(depth) for depth in depths]
    vectors = _cross(axes)
    text = " × ".join(f"k{n} 1..{depth}" for n, depth in enumerate(depths, 1))
    if not alone:
        end = np.full(len(vectors), NO_CUT) if last is None else np.minimum(vectors[:, -1], last)
        vectors = np.column_stack([vectors, end]).astype(np.int32)
        text += f", k{len(depths) + 1} {'uncut' if last is None else last}"
    return Grid(vectors, f"{'all' if dense else 'log grid'} of {text}")


def _log_axis(depth: int) -> Vectors:
    """Return 1, 2, 3, 5, 7, 10, 20, ... up to the depth, and the depth itself."""
    steps = [base * 10**power for power in range(10) for base in _STEPS]
    return np.unique([step for step in steps if step < depth] + [depth]).astype(np.int32)


def _read_axis(name: str, axis: Iterable[Cutoff] | int | None) -> tuple[Vectors, list[str]]:
    """Return the distinct values of an axis, ascending, and what is wrong with it."""
    values = [axis] if axis is None or not hasattr(axis, "__iter__") else list(axis)
    if not values:
        return np.empty(0, np.int32), [f"axis {name} is empty"]
    try:
        checked = [check_cutoffs((value,), (name,)) for value in values]
    except SweepError as error:
        return np.empty(0, np.int32), list(error.problems)
    return np.unique(as_vectors(checked)), []


def _cross(axes: Sequence[Vectors]) -> Vectors:
    """Cross axes one by one, keeping vectors in which no stage passes on more than the one before; no cut is always allowed."""
    vectors = axes[0].reshape(-1, 1).astype(np.int32)
    for axis in axes[1:]:
        wide = np.repeat(vectors, len(axis), axis=0)
        new = np.tile(axis.astype(np.int32), len(vectors))
        limit = np.min(wide, axis=1)
        fits = (new <= limit) | (new == NO_CUT)
        vectors = np.column_stack([wide[fits], new[fits]])
    return vectors


def _format_axis(values: Vectors) -> str:
    shown = ["uncut" if value == NO_CUT else str(value) for value in values.tolist()]
    return ", ".join(shown) if len(shown) <= 6 else f"{shown[0]}..{shown[-1]} ({len(shown)})"  # noqa: PLR2004 - short enough to read
