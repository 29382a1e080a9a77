"""Grids of cut-off vectors: products of axes in which no stage passes on more than the one before."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Literal, TypeAlias, cast, get_args

import numpy as np

from pt_cascade.analysis.grid.cutoffs import NO_CUT, as_cutoffs, as_vectors, check_cutoffs
from pt_cascade.errors import SweepError
from pt_cascade.numbers import count_of, is_several, is_word

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from pt_cascade.analysis.grid.cutoffs import Cutoff, Vectors

MOST_VECTORS = 200_000
MOST_RANKINGS = 1_000_000_000
_LARGEST = 2_000_000  # vectors of a full grid that is asked for
_STEPS = (1, 2, 3, 5, 7)
_FIX = "grid([10, 100, 1000], [10, 100])"
Form: TypeAlias = Literal["full", "log"]
Axis: TypeAlias = "Iterable[Cutoff] | int | None"


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
        return f"Grid({count_of(len(self), 'vector')}{': ' * bool(self.description)}{self.description})"


def grid(*axes: Axis) -> Grid:
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
    read = _read_axes({f"k{n}": axis for n, axis in enumerate(axes, start=1)})
    if not read:
        raise SweepError("this is not a grid", ["there is no axis"], fix=_FIX)
    return Grid(_cross([*read.values()]), " × ".join(f"{name} {_format_axis(values)}" for name, values in read.items()))


def as_grid(vectors: Grid | Iterable[Sequence[Cutoff]], stages: Sequence[str]) -> Grid:
    """Return a Grid for these stages from a Grid, or from vectors of cut-offs in any order."""
    if isinstance(vectors, Grid):
        if vectors.vectors.shape[1] != len(stages):
            problem = f"its vectors have {vectors.vectors.shape[1]} cut-offs, expected one for each of {', '.join(stages)}"
            raise SweepError("the grid does not fit the cascade", [problem])
        return vectors
    if not is_several(vectors):
        problem = f"it is {vectors!r} ({type(vectors).__name__}), expected vectors of cut-offs"
        raise SweepError("this is not a grid", [problem], fix=_FIX)
    checked = as_vectors([check_cutoffs(vector, stages) for vector in vectors])
    if not len(checked):
        raise SweepError("this is not a grid", ["it has no vector"], fix=_FIX)
    return Grid(np.unique(checked.reshape(-1, len(stages)), axis=0), "given")


def default_grid(
    depths: Sequence[int],
    last: int | None,
    n_queries: int,
    *,
    form: Form | None = None,
    axes: Mapping[str, Axis] | None = None,
    alone: bool = False,
    ends: Sequence[int] = (),
) -> Grid:
    """Return every vector up to the depths if that is feasible, else a logarithmic grid; the last stage keeps its own cut-off.

    Args:
        depths: The deepest cut-off of each stage but the last.
        last: The last stage's own cut-off; None: no cut.
        n_queries: How many queries are ranked for each vector.
        form: ``full``: every vector; ``log``: the logarithmic grid; None: the first that is feasible.
        axes: The cut-offs of some stages instead, by ``k1``, ``k2``, ...
        alone: There is one stage only, and ``depths`` is its own.
        ends: What stands for each of the depths as the deepest cut-off, no less than it; empty: the depth itself.
    """
    names = [f"k{n}" for n in range(1, len(depths) + 2 - alone)]
    if form is not None and not is_word(form, get_args(Form)):
        problem = f"it is {form!r}, expected one of {', '.join(get_args(Form))}, a dict of cut-offs by k1, k2, ..., or vectors"
        raise SweepError("this is not a grid", [problem], fix=_FIX)
    if unknown := [str(name) for name in axes or {} if name not in names]:
        raise SweepError("this is not a grid", [f"there is no axis {', '.join(unknown)}; the axes are {', '.join(names)}"])
    given = _read_axes(axes or {})
    own = {name: depth for name, depth in zip(names, depths, strict=False) if name not in given}
    size = math.prod(map(len, given.values())) * math.prod(own.values())
    if form == "full" and size > _LARGEST:
        problem = f"grid 'full' has up to {size:,} vectors, expected at most {_LARGEST:,}"
        raise SweepError("the grid is too large", [problem], fix='grid="log"')
    dense = form == "full" or (not form and size <= MOST_VECTORS and size * n_queries <= MOST_RANKINGS)
    every = given | {name: np.arange(1, depth + 1, dtype=np.int32) if dense else _log_axis(depth) for name, depth in own.items()}
    for name, deepest in zip(names, ends, strict=False):
        if name in own:
            own[name], every[name][-1] = deepest, deepest
    used = [name for name in names if name in every]
    vectors = _cross([every[name] for name in used])
    text = " × ".join(f"{name} {f'1..{own[name]}' if name in own else _format_axis(given[name])}" for name in used)
    if names[-1] not in used:
        end = np.full(len(vectors), NO_CUT) if last is None else np.minimum(vectors[:, -1], last)
        vectors = np.column_stack([vectors, end]).astype(np.int32)
        text += f", {names[-1]} {'uncut' if last is None else last}"
    return Grid(vectors, f"{'all of ' * dense or 'log grid of ' * bool(own)}{text}")


def _log_axis(depth: int) -> Vectors:
    """Return 1, 2, 3, 5, 7, 10, 20, ... up to the depth, and the depth itself."""
    steps = [base * 10**power for power in range(10) for base in _STEPS]
    return np.unique([step for step in steps if step < depth] + [depth]).astype(np.int32)


def _read_axes(axes: Mapping[str, Axis]) -> dict[str, Vectors]:
    """Return the distinct values of each axis, ascending, or raise all that is wrong with them."""
    read: dict[str, Vectors] = {}
    problems: list[str] = []
    most = _LARGEST + 1  # of an axis that has no end
    given = {
        name: [*islice(cast("Iterable[Cutoff]", axis), most)] if is_several(axis) else [cast("Cutoff", axis)]
        for name, axis in axes.items()
    }
    if (size := math.prod(map(len, given.values()))) > _LARGEST:
        problem = f"it has up to {size:,} vectors, {' × '.join(f'{len(given[name]):,} {name}' for name in given)}"
        fix = "take fewer cut-offs, e.g. grid(range(10, 1001, 10), range(1, 101))"
        raise SweepError("the grid is too large", [f"{problem}, expected at most {_LARGEST:,}"], fix=fix)
    for name, values in given.items():
        try:
            read[name] = np.unique(as_vectors([check_cutoffs((value,), (name,)) for value in values]))
        except SweepError as error:
            problems += error.problems
        problems += [] if values else [f"axis {name} is empty"]
    if problems:
        raise SweepError("this is not a grid", problems, fix=_FIX)
    return read


def _cross(axes: Sequence[Vectors]) -> Vectors:
    """Cross axes one by one, keeping vectors in which no stage passes on more than the one before; no cut is always allowed."""
    vectors = axes[0].reshape(-1, 1).astype(np.int32)
    for axis in axes[1:]:
        wide = np.repeat(vectors, len(axis), axis=0)
        new = np.tile(axis.astype(np.int32), len(vectors))
        limit = np.min(wide, axis=1)
        fits = (new <= limit) | (new == NO_CUT)
        vectors = np.column_stack([wide[fits], new[fits]])
    if not len(vectors):
        problem = f"every vector has a stage that passes on more than the one before: {' × '.join(map(_format_axis, axes))}"
        raise SweepError("this is not a grid", [problem], fix=_FIX)
    return vectors


def _format_axis(values: Vectors) -> str:
    shown = ["uncut" if value == NO_CUT else str(value) for value in values.tolist()]
    return ", ".join(shown) if len(shown) <= 6 else f"{shown[0]}..{shown[-1]} ({len(shown)})"  # noqa: PLR2004 - short enough to read
