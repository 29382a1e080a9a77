"""Cut-offs, and vectors of cut-offs: one a stage, from the first to the last."""

from __future__ import annotations

import operator
from typing import TYPE_CHECKING, Literal, SupportsIndex, TypeAlias, TypeVar, cast

import numpy as np

from pt_cascade.errors import PipelineError, SweepError
from pt_cascade.numbers import count_of, is_several

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

Cutoff: TypeAlias = "SupportsIndex | None"
Tail: TypeAlias = Literal["drop", "keep"]
Vectors: TypeAlias = "NDArray[np.int32]"
Item = TypeVar("Item")
NO_CUT = int(np.iinfo(np.int32).max)


def check_cutoff(cutoff: Cutoff, stage: str) -> int | None:
    """Return a cut-off of any integer type as an int, 1 or more, or None for no cut."""
    if cutoff is None:
        return None
    expected = "expected a whole number, 1 or more, or None for no cut"
    try:
        k = operator.index(cutoff)
    except TypeError:
        k = 0
    if k < 1 or isinstance(cutoff, bool | np.bool_):
        found = f"{cutoff!r} ({type(cutoff).__name__})"
        raise PipelineError(f"cut-off of stage {stage!r} is {found}", [expected], fix="e.g. stage % 100")
    return k


def check_cutoffs(cutoffs: Sequence[Cutoff], stages: Sequence[str]) -> tuple[int | None, ...]:
    """Return a vector of cut-offs as ints, one for each stage."""
    given: object = cutoffs  # types are hints
    if not is_several(given) or not hasattr(given, "__len__"):
        found = f"{cutoffs!r} ({type(cutoffs).__name__}), expected one cut-off for each of {', '.join(stages)}"
        raise SweepError("this is not a vector of cut-offs", [found], fix=str((100,) * len(stages)))
    if len(cutoffs) != len(stages):
        problem = f"{count_of(len(cutoffs), 'cut-off')} {tuple(cutoffs)} for {count_of(len(stages), 'stage')} {', '.join(stages)}"
        raise SweepError("this is not a vector of cut-offs", [problem], fix="pass one cut-off for each stage, None for no cut")
    checked, problems = [], []
    for cutoff, stage in zip(cutoffs, stages, strict=True):
        try:
            checked.append(check_cutoff(cutoff, stage))
        except PipelineError as error:
            problems.append(f"{error.what}, {error.problems[0]}")
    if problems:
        raise SweepError("this is not a vector of cut-offs", problems)
    return tuple(checked)


def as_tuple(values: Iterable[Item]) -> tuple[Item, ...]:
    """Return several values as a tuple, and what is one value after all, also a text, as a tuple of it."""
    given: object = values  # types are hints
    return tuple(values) if is_several(given) else (cast("Item", given),)


def as_vectors(vectors: Iterable[Sequence[int | None]]) -> Vectors:
    """Return checked vectors as one array of shape (vectors, stages), no cut as the largest int32."""
    return np.array([[NO_CUT if k is None else min(k, NO_CUT) for k in vector] for vector in vectors], np.int32)


def as_cutoffs(vector: Iterable[int]) -> tuple[int | None, ...]:
    """Return one row of ``as_vectors`` as cut-offs."""
    return tuple(None if k == NO_CUT else int(k) for k in vector)


def name_cascade(stages: tuple[str, ...], cutoffs: tuple[int | None, ...], fusion: object = None) -> str:
    """Format a cascade as its ``repr`` does, e.g. ``bm25 → 100 · t5``; a fusion stands before the last cut-off."""
    if fusion is not None:
        stages, cutoffs = (*stages, str(fusion)), (*cutoffs[:-1], None, cutoffs[-1])
    return " · ".join(stage if k is None else f"{stage} → {k}" for stage, k in zip(stages, cutoffs, strict=True))
