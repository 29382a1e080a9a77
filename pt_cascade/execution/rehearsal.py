"""How a pairwise stage orders its rows and equal scores, found out with made-up answers: its model is not asked.

Which documents tie depends on which are there: of three, each may beat one other, though no two of them tie. So no documents that
tie are looked for. A few real ones are given to the whole stage with answers that make all of them equal, and with answers that
make each stronger, or weaker, than the one before; the rest of the stage, its loaders and its own ``transform``, is what it is.
"""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from pt_cascade.cascade import walk
from pt_cascade.cascade.stand_ins import live
from pt_cascade.errors import PipelineError
from pt_cascade.execution.comparing import comparer
from pt_cascade.execution.tie_probing import observe
from pt_cascade.ranking import locate
from pt_cascade.stages.pairwise import PairReranker
from pt_cascade.stages.reranker import Reranker

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pandas as pd

    from pt_cascade.analysis.preferences import Aggregation
    from pt_cascade.analysis.tie_rules import TieRules
    from pt_cascade.cascade import Stage
    from pt_cascade.ranking import Floats, Ints

_FIX = "let it be run, not replayed: cascade.with_stage({!r}, depends='list')"


def rehearse(stage: Stage, few: pd.DataFrame, possible: TieRules) -> TieRules:
    """Find out by which of the rules that are possible still a pairwise stage orders its rows and equal scores.

    Args:
        stage: One with a ``comparer``.
        few: Frame[qid, docno, ...], two or more documents of one query, as the stage before passes them on.
        possible: The rules that agree with its answers.

    Returns:
        The rules that agree with its made-up answers as well.

    Raises:
        PipelineError: None is left, or the stage does not rank by what its comparisons say.
    """
    for turn in (few, few.iloc[::-1]):  # so that an order of its own, such as that of the docnos, is taken for neither
        given = turn.assign(rank=np.arange(len(turn))[::-1]).reset_index(drop=True)
        rising = np.linspace(0, 1, len(given))
        for strength in (np.zeros(len(given)), rising, rising[::-1]):
            told = dict(zip(given["docno"], strength.tolist(), strict=True))
            step = next(walk((_exchange(stage, told),), given))
            score = step.ranked["score"].to_numpy(np.float64)[locate(given, step.ranked)]
            if (np.sign(np.diff(score)) != np.sign(np.diff(strength))).any():
                raise _refusal(stage, "its scores do not follow from what its comparisons say")
            possible = observe(step, possible)
    return possible


def _exchange(stage: Stage, strengths: Mapping[str, float]) -> Stage:
    """Put a scorer into a stage that gives made-up answers, and ranks as the stage's own."""
    real = live(stage)
    scorer = comparer(stage)
    if scorer is None:
        raise PipelineError(f"stage {stage.name!r} compares nothing", ["expected one that ends in a PairReranker"])
    stand_in: PairReranker = _Told(scorer.aggregation, strengths)
    own = type(scorer)
    if own.transform is not Reranker.transform:
        try:
            stand_in = deepcopy(scorer)  # which shares nothing with it, so that no made-up answer is kept anywhere
        except Exception as error:
            raise _refusal(stage, f"it ranks in its own way, and has no copy to try it with: {error}") from error

        def compare(_: PairReranker, results: pd.DataFrame, first: Ints, second: Ints) -> Floats:
            return _answer(results, first, second, strengths)

        object.__setattr__(stand_in, "__class__", type(own.__name__, (own,), {"compare": compare}))
    return replace(real, transformers=(*real.transformers[:-1], stand_in))


def _answer(results: pd.DataFrame, first: Ints, second: Ints, strengths: Mapping[str, float]) -> Floats:
    """Say of two documents what the difference of their strengths, from 0 to 1, suggests."""
    strength = results["docno"].map(strengths).to_numpy(np.float64)
    p: Floats = (1 + strength[first] - strength[second]) / 2
    return p


@dataclass(frozen=True)
class _Told(PairReranker):
    """Gives made-up answers, and ranks as every re-ranker."""

    aggregation: Aggregation
    strengths: Mapping[str, float]
    stage_name: ClassVar[str] = "told"

    def needs(self) -> list[str]:
        return []

    def compare(self, results: pd.DataFrame, first: Ints, second: Ints) -> Floats:
        return _answer(results, first, second, self.strengths)


def _refusal(stage: Stage, problem: str) -> PipelineError:
    what = f"how stage {stage.name!r} orders equal scores cannot be told"
    return PipelineError(what, [problem], fix=_FIX.format(stage.name))
