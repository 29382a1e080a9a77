"""The fusion of a cascade's stages: one ranking of the documents that its last stage scores, from the scores of all its stages.

- **documents**: those that the last stage scores; each has a score of every stage. What a stage before cut is not fused: it is
  dropped, or follows below in its old order where the tail is kept.
- **documents without a score** of a stage with a weight, as it ran out of time or failed on the query (``Cascade.options``), are
  not fused: they follow below the fused ones as the last stage ranks them; a query of which none is fused keeps that ranking.
- **lists**: of each stage and query the scores of these documents, ranked by the stage. They are normalised, weighted and added as
  ``pt_cascade.fuse`` does with the runs of the stages, from the last stage to the first; so equal sums are in the order of the
  last stage.
- **weights**: only their proportions matter; they are divided by their sum.
- **the last stage's cut-off** comes after the fusion.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import combinations
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np

from pt_cascade.analysis.fusion.fuse import Fusion, K, add_terms
from pt_cascade.errors import CascadeError, did_you_mean
from pt_cascade.numbers import is_amount
from pt_cascade.ranking import score_below

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from numpy.typing import NDArray

    from pt_cascade.analysis.fusion.fuse import Method
    from pt_cascade.analysis.fusion.normalization import Normalise
    from pt_cascade.ranking import Floats, Ints

Weights: TypeAlias = "Mapping[str, float] | StageFusion | None"
_WHAT = "the stages cannot be fused"
_LEAST = 1e-3  # of steps
_ROUNDING = 1e-9
_FIX = 'cascade.fused({"bm25": 0.4, "bi_encoder": 0.6})'


@dataclass(frozen=True)
class StageFusion:
    """How the scores of a cascade's stages become one ranking; see the module for the rules.

    Attributes:
        weights: A dict of stage name → weight, 0 or more, not all 0; kept as the pairs with a weight above 0, divided by their sum.
            A stage without one has weight 0.
        method: ``weighted``: the weighted sum of normalised scores; ``rrf``: of 1 / (k + rank), ranks from 1.
        normalise: For ``weighted``: ``min-max``, ``z-score``, ``max``, ``sum``, ``rank`` or ``none``, as in ``fuse``.
        k: The constant of ``rrf``, 0 or more.

    Raises:
        CascadeError: A weight or an option is not one of these.

    Example:
        >>> StageFusion({"bm25": 1, "t5": 3})
        fused(bm25=0.25, t5=0.75)
    """

    weights: Mapping[str, float] | tuple[tuple[str, float], ...]
    method: Method = "weighted"
    normalise: Normalise = "min-max"
    k: float = K

    def __post_init__(self) -> None:
        """Check the options; keep the weights as proportions."""
        weights: object = self.weights  # types are hints
        if not isinstance(weights, Mapping) and not _are_pairs(weights):
            found = f"{weights!r} ({type(weights).__name__})"
            raise CascadeError(_WHAT, [f"weights is {found}, expected a dict of stage names"], fix=_FIX)
        given = dict(self.weights)
        problems = [f"the weight of {name!r} is {one!r}, expected 0 or more" for name, one in given.items() if not is_amount(one)]
        if not problems and not any(given.values()):
            problems.append("no weight is above 0")
        if problems := [*problems, *Fusion(self.method, None, self.k, self.normalise).find_problems(max(len(given), 1))]:
            raise CascadeError(_WHAT, problems, fix=f"cascade.fused({dict.fromkeys(given, 1)})" if given else _FIX)
        weighty = {name: float(one) for name, one in given.items() if one}
        shares = _divide_by_sum(list(weighty.values()))
        object.__setattr__(self, "weights", tuple(zip(weighty, shares, strict=True)))
        object.__setattr__(self, "k", int(self.k) if float(self.k).is_integer() else float(self.k))

    @property
    def fusion(self) -> Fusion:
        """The same without weights, as ``fuse`` reads it."""
        return Fusion(self.method, None, self.k, self.normalise)

    def weigh(self, stages: Sequence[str]) -> Floats:
        """Return the weight of each stage, shape (stages,); refuse a name that is none of them."""
        weights = dict(self.weights)
        if unknown := [name for name in weights if name not in stages]:
            known = f"the stages are {', '.join(stages)}"
            problems = [f"no stage {name!r}: {known}{did_you_mean(name, stages)}" for name in unknown]
            raise CascadeError(_WHAT, problems, fix=f"cascade.fused({dict.fromkeys(stages, 1)})")
        return np.array([weights.get(name, 0.0) for name in stages])

    def fuse(self, stages: Sequence[str], query: Ints, scores: Floats, places: NDArray[np.integer]) -> Floats:
        """Return the fused score of each document, shape (documents,).

        Args:
            stages: The names of the stages.
            query: Shape (documents,). The number of each one's query, any from 0.
            scores: Shape (stages, documents), finite where the stage has a weight.
            places: The same shape: the order of the documents of a query in each stage's ranking.
        """
        weights = self.weigh(stages)
        present, query = np.unique(query, return_inverse=True)
        sizes = np.bincount(query, minlength=len(present))
        within = np.arange(len(query)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
        terms = np.zeros(scores.shape)
        for stage in np.flatnonzero(weights):
            order = np.lexsort((places[stage], query))
            terms[stage, order] = self.fusion.normalise_lists(within, scores[stage, order], sizes) * weights[stage]
        return add_terms(terms)

    def rank(
        self, stages: Sequence[str], query: Ints, scores: Floats, places: NDArray[np.integer], apart: NDArray[np.bool_]
    ) -> tuple[Ints, Floats]:
        """Return the order of all documents, by query, score and the last stage's place; and the score of each.

        Those ``apart`` (shape (documents,)) follow below the fused ones of their query; see the module.
        """
        score = np.full(len(query), np.nan)
        score[~apart] = self.fuse(stages, query[~apart], scores[:, ~apart], places[:, ~apart])
        if apart.any():
            score = np.where(np.isin(query, query[~apart]), score, scores[-1])
            score = score_below(query, score, places[-1])
        return np.lexsort((places[-1], -score, query)), score

    def find_unfused(self, stages: Sequence[str], scores: Floats) -> NDArray[np.bool_]:
        """Mark the documents that a stage with a weight failed on, where its score is -inf: shape (documents,)."""
        return np.asarray(np.isneginf(scores[self.weigh(stages) > 0]).any(axis=0))

    def __repr__(self) -> str:
        return self._write(_show)

    def __str__(self) -> str:
        """Show six digits of each weight, where ``repr`` shows all."""
        return self._write("{:g}".format)

    def _write(self, show: Callable[[float], str]) -> str:
        parts = [f"{name}={show(weight)}" for name, weight in dict(self.weights).items()]
        parts += [f"{name}={value!r}" for name, value in self.options.items()]
        return f"fused({', '.join(parts)})"

    @property
    def options(self) -> dict[str, object]:
        """The options that are not the defaults."""
        return {
            name: getattr(self, name) for name in ("method", "normalise", "k") if getattr(self, name) != getattr(StageFusion, name)
        }


def _are_pairs(weights: object) -> bool:
    try:
        return isinstance(weights, tuple) and all(isinstance(name, str) for name, _ in weights)
    except (TypeError, ValueError):  # not of two each
        return False


def _divide_by_sum(weights: list[float]) -> list[float]:
    """Return weights above 0 divided by their sum; those that add up to a power of 2 are scaled without rounding."""
    largest = math.frexp(max(weights))[1]
    weights = [math.ldexp(one, -largest) for one in weights]  # no sum overflows
    total = math.fsum(weights)  # in any order of the weights
    nearest = 2.0 ** round(math.log2(total))
    return [one / (nearest if abs(total / nearest - 1) < _ROUNDING else total) for one in weights]


def _show(weight: float) -> str:
    """Write a weight so that it is read back exactly."""
    return f"{weight:g}" if float(f"{weight:g}") == weight else repr(weight)


def make_fusion(weights: Weights, method: Method, normalise: Normalise, k: float) -> StageFusion | None:
    """Return a fusion from weights and options; a fusion, and None, as they are, without other options."""
    if weights is not None and not isinstance(weights, StageFusion):
        return StageFusion(weights, method, normalise, k)
    if (method, normalise, k) != (StageFusion.method, StageFusion.normalise, StageFusion.k):
        problem = f"method={method!r}, normalise={normalise!r}, k={k!r} beside {weights!r}: leave them out"
        raise CascadeError(_WHAT, [problem], fix=_FIX)
    return weights


def rename_stages(fusion: StageFusion | None, names: Mapping[str, str]) -> StageFusion | None:
    """Return a fusion under the new names of its stages; one without loses its weight; None if no weight or one stage is left."""
    weights = {} if fusion is None else dict(fusion.weights)
    kept = {new: weights[old] for old, new in names.items() if old in weights}
    return replace(fusion, weights=kept) if fusion is not None and kept and len(names) > 1 else None


def fusions(
    stages: Iterable[object],
    step: float | Literal["subsets"] = 0.1,
    *,
    method: Method = "weighted",
    normalise: Normalise = "min-max",
    k: float = K,
) -> tuple[StageFusion, ...]:
    """Return the fusions of some stages with all weights that are multiples of a step and add up to 1, or with equal weights.

    Args:
        stages: Their names, or a Cascade: two or more.
        step: 1 divided by a whole number: 0.1 gives 66 fusions of three stages, 11 of two. "subsets": equal weights of any one, two
            or more of the stages, 15 fusions of four stages (a step of 0.1 gives 286), 31 of five (1,001).
        method: As for ``StageFusion``.
        normalise: Likewise.
        k: Likewise.

    Returns:
        The fusions; in the first one the last stage has all the weight.

    Raises:
        CascadeError: The step is neither 1 divided by a whole number nor "subsets", or an option is not one of these.

    Example:
        >>> fusions(["bm25", "t5"], 0.5)
        (fused(t5=1), fused(bm25=0.5, t5=0.5), fused(bm25=1))
    """
    names = [] if isinstance(stages, str) else [str(getattr(stage, "name", stage)) for stage in stages]
    subsets = isinstance(step, str) and step == "subsets"
    parts = round(1 / step) if is_amount(step) and _LEAST <= step <= 1 else 0
    several = len(set(names)) == len(names) > 1
    problems = [] if several else [f"the stages are {stages!r}, expected two or more, each once"]
    if not subsets and (isinstance(step, str) or not parts or abs(parts * step - 1) > _ROUNDING):
        problems.append(f'step is {step!r}, expected 1 divided by a whole number up to 1,000, or "subsets"')
    if problems:
        raise CascadeError(_WHAT, problems, fix=f"fusions({names if several else ['bm25', 't5']}, 0.1)")
    shares = _list_subsets(len(names)) if subsets else _list_shares(len(names), parts)
    return tuple(StageFusion(dict(zip(names, share, strict=True)), method, normalise, k) for share in shares)


def _list_shares(stages: int, parts: int) -> Iterator[list[int]]:
    """List the ways to share some parts out to the stages; the last stage is the first to have all."""
    for bars in combinations(range(parts + stages - 1), stages - 1):  # stars and bars
        yield (np.diff([-1, *bars, parts + stages - 1]) - 1).tolist()


def _list_subsets(stages: int) -> Iterator[list[int]]:
    """List the sets of stages, the last stage alone first."""
    for size in range(1, stages + 1):
        for subset in combinations(range(stages - 1, -1, -1), size):
            yield [int(n in subset) for n in range(stages)]
