"""The scores of a plan's re-ranking stages, kept across tables: one store for each stage, in one folder."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from pt_cascade.cascade.known import look_up
from pt_cascade.errors import PipelineError
from pt_cascade.stages.cached import Cached, cached
from pt_cascade.stages.identity import hash_identity, identify_any

if TYPE_CHECKING:
    import os

    from pt_cascade.cascade import Stage
    from pt_cascade.execution.plans import Plan


def keep_scores(plan: Plan, folder: str | os.PathLike[str]) -> Plan:
    """Return a plan whose re-ranking stages answer from kept scores as far as they go.

    A store is named after its stage and the hash of its identity, so that another state of a model has another store. What
    retrieves, depends on the whole list, or keeps its scores already, is left as it is.

    Args:
        plan: What to score.
        folder: Where the stores are; made when the first score is kept.

    Returns:
        The same stages, with the same fingerprints.

    Raises:
        PipelineError: Nobody knows what the scores of a stage depend on.
        MissingError: The revision of a model is unknown.

    Example:
        >>> import pandas as pd, pyterrier as pt
        >>> from pt_cascade import Cascade
        >>> from pt_cascade.execution.plans import make_plan
        >>> found = pd.DataFrame({"qid": ["1"], "query": ["q"], "docno": ["d"], "score": [1.0], "rank": [0]})
        >>> ones = Cascade.of(pt.Transformer.from_df(found) >> pt.apply.doc_score(lambda row: 1.0))
        >>> plan = keep_scores(make_plan(ones.with_stage("doc_score", depends="point")), "kept")
        >>> [type(stage.transformers[0]).__name__ for stage in plan.stages]
        ['SourceTransformer', 'Cached']
    """
    unknown = [stage.name for stage in plan.stages if _depends(stage) == "unknown"]
    if unknown:
        problems = [f"nobody knows whether the scores of stage {name!r} depend on query and document alone" for name in unknown]
        fix = f"Cascade.of(pipeline).with_stage({unknown[0]!r}, depends='point'), if they do"
        raise PipelineError("scores cannot be kept across tables", problems, fix=fix)
    return replace(plan, stages=tuple(_keep(stage, Path(folder)) for stage in plan.stages))


def _keep(stage: Stage, folder: Path) -> Stage:
    if _depends(stage) != "point":
        return stage
    scorer = stage.transformers[stage.scorer]
    name = f"{quote(look_up(scorer).name, safe='')}-{hash_identity(identify_any(scorer))[:16]}.sqlite"
    parts = list(stage.transformers)
    parts[stage.scorer] = cached(scorer, folder / name, depends="point")
    return replace(stage, transformers=tuple(parts))


def _depends(stage: Stage) -> str:
    """Tell what the scores of a stage depend on, if they can be kept at all: else nothing."""
    scorer = stage.transformers[stage.scorer]
    known = look_up(scorer)
    if stage.documents == "new" or known.documents != "same" or isinstance(scorer, Cached):
        return ""
    return known.depends if known.depends != "unknown" else stage.depends
