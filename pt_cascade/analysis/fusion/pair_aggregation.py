"""Pairwise preferences aggregated to one score a document, exactly, whatever their order.

Write p(i, j) for the probability that document i beats document j for a query; a model scores both orders, which need not sum to 1.
Over the n - 1 other documents j, document i scores

============= ===================================== ======================= ==================================
aggregation   score of document i                   range                   named in
============= ===================================== ======================= ==================================
sum           Σ p(i, j)                             0 to n - 1              duoBERT, duoT5
sym-sum       Σ p(i, j) + (1 - p(j, i))             0 to 2(n - 1)           duoT5
binary        Σ 1 where p(i, j) > 0.5               0 to n - 1              duoBERT
sum-log       Σ log p(i, j)                         -23.03 (n - 1) to 0     duoT5
sym-sum-log   Σ log p(i, j) + log (1 - p(j, i))     -46.06 (n - 1) to 0     duoT5
min           the least p(i, j)                     0 to 1                  duoBERT
max           the greatest p(i, j)                  0 to 1                  duoBERT
============= ===================================== ======================= ==================================

A sum of floats depends on the order of its terms. So each term is rounded to a multiple of 2**-40 (about 1e-12) and kept as a whole
number of them, and whole numbers add up exactly.

References:
    duoBERT: Nogueira, Yang, Cho & Lin, "Multi-Stage Document Ranking with BERT", arXiv:1910.14424, 2019.
    duoT5: Pradeep, Nogueira & Lin, "The Expando-Mono-Duo Design Pattern for Text Ranking with Pretrained
    Sequence-to-Sequence Models", arXiv:2101.05667, 2021.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, TypeAlias, get_args

import numpy as np

from pt_cascade.errors import PipelineError, StageError
from pt_cascade.numbers import is_word

if TYPE_CHECKING:
    from collections.abc import Callable

    from pt_cascade.ranking import Floats

Aggregation: TypeAlias = Literal["sum", "sym-sum", "binary", "sum-log", "sym-sum-log", "min", "max"]
FIXED = 2.0**-40
LEAST = 1e-10  # a probability below it counts as this much in a logarithm, log 1e-10 = -23.03; 180,000 such terms fit an int64
_EVEN = 0.5


def check_aggregation(how: str, who: str) -> None:
    """Refuse an unknown aggregation, in the name of ``who``."""
    if not is_word(how, get_args(Aggregation)):
        problem = f"aggregation is {how!r}, expected one of {', '.join(get_args(Aggregation))}"
        raise PipelineError(f"{who} cannot aggregate", [problem], fix='aggregation="sym-sum"')


def aggregate(wins: Floats, how: Aggregation) -> Floats:
    """Aggregate the probabilities that i beats j, shape (n, n), to scores, shape (n,); the diagonal is not read.

    Example:
        >>> wins = np.array([[np.nan, 0.75, 0.5], [0.5, np.nan, 0.25], [0.0, 1.0, np.nan]])
        >>> aggregate(wins, "sum").tolist(), aggregate(wins, "sym-sum").tolist()
        ([1.25, 0.75, 1.0], [2.75, 1.0, 2.25])
    """
    size = len(wins)
    if size < 2:  # noqa: PLR2004 - a pair
        return np.zeros(size)
    others = ~np.eye(size, dtype=bool)
    p_ij, p_ji = (side[others].reshape(size, size - 1) for side in (wins, wins.T))
    good = (p_ij >= 0) & (p_ij <= 1)
    if not good.all():
        problem = f"{int((~good).sum())} of {good.size} are not from 0 to 1, the first is {p_ij[~good][0]}"
        raise StageError("probabilities that one document beats another are out of range", [problem])
    scores: Floats
    if how in _TERMS:
        scores = np.rint(_TERMS[how](p_ij, p_ji) / FIXED).astype(np.int64).sum(axis=1) * FIXED
    else:
        scores = p_ij.min(axis=1) if how == "min" else p_ij.max(axis=1)
    return scores


def _log(p: Floats) -> Floats:
    logs: Floats = np.log(np.maximum(p, LEAST))
    return logs


_TERMS: dict[str, Callable[[Floats, Floats], Floats]] = {
    "sum": lambda p_ij, _: p_ij,
    "sym-sum": lambda p_ij, p_ji: 1 + (p_ij - p_ji),
    "binary": lambda p_ij, _: np.where(p_ij > _EVEN, 1.0, 0.0),
    "sum-log": lambda p_ij, _: _log(p_ij),
    "sym-sum-log": lambda p_ij, p_ji: _log(p_ij) + _log(1 - p_ji),
}
