"""The score caches of re-ranking stages: one file for each stage, in one folder."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from pt_cascade.caches import check_trusted
from pt_cascade.cascade.known import look_up
from pt_cascade.errors import PipelineError, warn
from pt_cascade.files import to_path
from pt_cascade.stages.base.identity import can_identify, hash_identity, identify_any
from pt_cascade.stages.cached import Cached, cached

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable

    from pt_cascade.cascade import Stage


def add_caches(stages: Iterable[Stage], folder: str | os.PathLike[str]) -> tuple[Stage, ...]:
    """Return stages of which the pointwise re-ranking ones are cached, each in a file named after it and its identity.

    A stage without a method ``identify()`` is not cached, with a CascadeWarning; an unknown dependence is a PipelineError.

    Example:
        >>> import pandas as pd, pyterrier as pt
        >>> from pt_cascade import Cascade
        >>> found = pd.DataFrame({"qid": ["1"], "query": ["q"], "docno": ["d"], "score": [1.0], "rank": [0]})
        >>> ones = pt.apply.doc_score(lambda row: 1.0)
        >>> ones.identify = lambda: {"class": "ones"}
        >>> cascade = Cascade.of(pt.Transformer.from_df(found) >> ones).with_stage("doc_score", depends="pointwise")
        >>> [type(stage.transformers[0]).__name__ for stage in add_caches(cascade, "scores")]
        ['SourceTransformer', 'Cached']
    """
    check_trusted(to_path(folder), lambda other: f"score_cache={other!r}")
    made, nameless, unknown = {stage.name: stage for stage in stages}, list[str](), list[str]()
    for name, stage in made.items():
        scorer, known = stage.transformers[stage.scorer], look_up(stage.transformers[stage.scorer])
        depends = known.depends if known.depends != "unknown" else stage.depends
        reranks = stage.documents != "retrieves" and known.documents == "reranks" and depends not in ("pairwise", "listwise")
        if not reranks or isinstance(scorer, Cached):
            continue
        if not can_identify(scorer):
            nameless.append(repr(name))
        elif depends == "pointwise":
            file = f"{quote(known.name, safe='')}-{hash_identity(identify_any(scorer))[:16]}.sqlite"
            parts = list(stage.transformers)
            parts[stage.scorer] = cached(scorer, Path(folder) / file, depends="pointwise")
            made[name] = replace(stage, transformers=tuple(parts))
        else:
            unknown.append(name)
    if unknown:
        problems = [f"it is unknown whether the scores of stage {name!r} depend on query and document alone" for name in unknown]
        fix = f"Cascade.of(pipeline).with_stage({unknown[0]!r}, depends='pointwise'), if they do"
        raise PipelineError("scores cannot be cached", problems, fix=fix)
    if nameless:
        message = (
            f"the scores of these stages are not cached: {', '.join(nameless)}. Without a method identify(), their model, "
            "version and settings are unknown. To cache them, replace each by "
            "cached(stage, 'path', identity='its model, version and settings', depends='pointwise')"
        )
        warn(message)
    return tuple(made.values())
