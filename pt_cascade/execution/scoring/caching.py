"""The scores of a plan's re-ranking stages, kept across tables: one store for each stage, in one folder."""

from __future__ import annotations

import warnings
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias
from urllib.parse import quote

from pt_cascade.cascade.known import look_up
from pt_cascade.errors import CascadeWarning, PipelineError
from pt_cascade.stages.base.identity import can_identify, hash_identity, identify_any
from pt_cascade.stages.cached import Cached, cached

if TYPE_CHECKING:
    import os

    import pyterrier as pt

    from pt_cascade.cascade import Stage
    from pt_cascade.execution.scoring.plan import Plan
    from pt_cascade.stages.base.identity import Identity

What: TypeAlias = Literal["nothing", "scores", "untold", "unknown"]


def add_caches(plan: Plan, folder: str | os.PathLike[str]) -> Plan:
    """Return a plan whose re-ranking stages answer from kept scores as far as they go.

    A store is named after its stage and the hash of its identity, so that another state of a model has another store. Of a last
    stage that compares documents, the comparisons are kept. What retrieves, depends on the whole list, or keeps its scores already,
    is left as it is; so is what does not say what it is, with a warning.

    Args:
        plan: What to score.
        folder: Where the stores are; made when the first score is kept.

    Returns:
        The same stages, with the same fingerprints.

    Raises:
        PipelineError: Nobody knows what the scores of a stage depend on.
        MissingError: The revision of a model is unknown.

    Warns:
        CascadeWarning: Some stages have no method ``identify()``, so that their scores are not kept.

    Example:
        >>> import pandas as pd, pyterrier as pt
        >>> from pt_cascade import Cascade
        >>> from pt_cascade.execution.scoring.plan import make_plan
        >>> found = pd.DataFrame({"qid": ["1"], "query": ["q"], "docno": ["d"], "score": [1.0], "rank": [0]})
        >>> ones = pt.apply.doc_score(lambda row: 1.0)
        >>> ones.identify = lambda: {"class": "ones"}
        >>> told = Cascade.of(pt.Transformer.from_df(found) >> ones).with_stage("doc_score", depends="pointwise")
        >>> plan = add_caches(make_plan(told), "kept")
        >>> [type(stage.transformers[0]).__name__ for stage in plan.stages]
        ['SourceTransformer', 'Cached']
    """
    whats = [_find_out(stage) for stage in plan.stages]
    unknown = [stage.name for stage, what in zip(plan.stages, whats, strict=True) if what == "unknown"]
    if unknown:
        problems = [f"nobody knows whether the scores of stage {name!r} depend on query and document alone" for name in unknown]
        fix = f"Cascade.of(pipeline).with_stage({unknown[0]!r}, depends='pointwise'), if they do"
        raise PipelineError("scores cannot be kept across tables", problems, fix=fix)
    if untold := [stage.name for stage, what in zip(plan.stages, whats, strict=True) if what == "untold"]:
        names = ", ".join(map(repr, untold))
        message = (
            f"the scores of stage(s) {names} are not kept: without a method identify() nobody knows of which model, version and "
            "settings they are. To keep them, put in the place of each: "
            "cached(stage, 'path', identity='its model, version and settings', depends='pointwise')"
        )
        warnings.warn(message, CascadeWarning, stacklevel=3)
    return replace(plan, stages=tuple(_keep(stage, what, Path(folder)) for stage, what in zip(plan.stages, whats, strict=True)))


def _keep(stage: Stage, what: What, folder: Path) -> Stage:
    parts, at = list(stage.transformers), stage.scorer
    scorer = parts[at]
    if what == "scores":
        parts[at] = cached(scorer, folder / _name(scorer, identify_any(scorer)), depends="pointwise")
    return replace(stage, transformers=tuple(parts))


def _name(scorer: pt.Transformer, identity: Identity) -> str:
    return f"{quote(look_up(scorer).name, safe='')}-{hash_identity(identity)[:16]}.sqlite"


def _find_out(stage: Stage) -> What:
    """Tell what of a stage can be kept, if anything."""
    scorer = stage.transformers[stage.scorer]
    known = look_up(scorer)
    if stage.documents == "retrieves" or known.documents != "reranks" or isinstance(scorer, Cached):
        return "nothing"
    depends = known.depends if known.depends != "unknown" else stage.depends
    if depends in ("pairwise", "listwise"):
        return "nothing"
    if not can_identify(scorer):
        return "untold"
    return "scores" if depends == "pointwise" else "unknown"
