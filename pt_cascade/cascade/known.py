"""What the transformers of PyTerrier and its plugins do in a cascade; a class that is not listed and declares nothing is unknown.

A transformer declares itself by the attributes ``stage_name``, ``depends`` and ``documents``, as our own stages do.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, TypeAlias

from pt_cascade.cascade.wrappers import held, is_lazy, remove_caches, wrapped

if TYPE_CHECKING:
    import pyterrier as pt

    from pt_cascade.cascade.stage import Depends, Documents, Stage

Role: TypeAlias = Literal["scorer", "loader", "adjuster"]


@dataclass(frozen=True)
class Known:
    """What a class does in a cascade.

    Attributes:
        name: The stage's name; empty: made from the class name.
        role: Creates the score, prepares for the next scorer, or adjusts the score before; None: found by inspection.
        depends: What its scores depend on; ``pointwise`` for a loader or adjuster that treats each row alone.
        documents: What it does to documents that it is given.
        listed: Whether the class declares itself or is in the table below.
    """

    name: str = ""
    role: Role | None = None
    depends: Depends = "unknown"
    documents: Documents = "reranks"
    listed: bool = True


_RETRIEVER = Known(role="scorer", depends="pointwise", documents="any")
_VECTOR_RETRIEVER = Known("dense", "scorer", "pointwise", "any")
_VECTOR_SCORER = Known("bi_encoder", "scorer", "pointwise")
_ADAPTIVE = Known("", "scorer", "listwise", "any")
_ROWS = Known(role="loader", depends="pointwise")
_SET = Known(role="loader", documents="any")
_ROW_FUNCTION = Known()
RESET = "reset_results"

KNOWN: dict[str, Known] = {
    # PyTerrier
    "pyterrier.terrier.retriever.Retriever": _RETRIEVER,
    "pyterrier.transformer.SourceTransformer": Known("run", "scorer", "pointwise", "any"),
    "pyterrier._ops.ScalarProduct": Known(role="adjuster", depends="pointwise"),
    "pyterrier._ops.Sum": Known("sum", "scorer", "unknown", "any"),
    "pyterrier._ops.Concatenate": Known("concatenate", "scorer", "listwise", "any"),
    "pyterrier._ops.SetUnion": _SET,
    "pyterrier._ops.SetIntersection": _SET,
    "pyterrier._ops.FeatureUnion": Known(role="loader"),  # keeps the score; the learner after it ranks
    "pyterrier.ltr.RegressionTransformer": Known(role="scorer"),
    "pyterrier.ltr.FastRankEstimator": Known(role="scorer"),
    "pyterrier.transformer.IdentityTransformer": _ROWS,
    "pyterrier.terrier.rewrite._ResetResults": Known(RESET, depends="pointwise", documents="any"),
    "pyterrier.text.SlidingWindowPassager": Known("sliding", "loader", "pointwise", "any"),
    "pyterrier.text.DePassager": Known("", "adjuster", "pointwise", "any"),  # undoes sliding: see _declare
    "pyterrier.terrier._text_loader.TerrierTextLoader": _ROWS,
    "pyterrier.datasets._irds.IRDSTextLoader": _ROWS,
    "pyterrier.apply_base.ApplyDocumentScoringTransformer": Known("doc_score"),
    "pyterrier.apply_base.ApplyByRowTransformer": _ROW_FUNCTION,
    "pyterrier.apply_base.ApplyDocFeatureTransformer": _ROW_FUNCTION,
    "pyterrier.apply_base.ApplyQueryTransformer": _ROW_FUNCTION,
    "pyterrier.apply_base.DropColumnTransformer": _ROWS,
    "pyterrier.apply_base.RenameColumnsTransformer": _ROWS,
    # PISA
    "pyterrier_pisa.PisaRetrieve": _RETRIEVER,
    # dense retrieval
    "pyterrier_dr.flex.np_retr.NumpyRetriever": _VECTOR_RETRIEVER,
    "pyterrier_dr.flex.torch_retr.TorchRetriever": _VECTOR_RETRIEVER,
    "pyterrier_dr.flex.faiss_retr.FaissRetriever": _VECTOR_RETRIEVER,
    "pyterrier_dr.flex.np_retr.NumpyScorer": _VECTOR_SCORER,
    "pyterrier_dr.flex.torch_retr.TorchScorer": _VECTOR_SCORER,
    "pyterrier_dr.flex.np_retr.NumpyVectorLoader": _ROWS,
    "pyterrier_dr.biencoder.BiQueryEncoder": _ROWS,
    "pyterrier_dr.biencoder.BiDocEncoder": _ROWS,
    "pyterrier_dr.biencoder.BiScorer": _VECTOR_SCORER,
    "pyterrier_dr._mmr.MmrScorer": Known("mmr", "scorer", "listwise"),
    # adaptive re-ranking reads the whole list and adds neighbours
    "pyterrier_dr.flex.gar.FlexGar": _ADAPTIVE,
    "pyterrier_dr.flex.ladr.LadrPreemptive": _ADAPTIVE,
    "pyterrier_dr.flex.ladr.LadrAdaptive": _ADAPTIVE,
    "pyterrier_adaptive.gar.GAR": _ADAPTIVE,
    # pyterrier_t5 pads batches, so scores depend on the batch; MonoT5 is pointwise at batch size 1 only (see look_up)
    "pyterrier_t5.MonoT5ReRanker": Known("mono_t5", "scorer"),
    "pyterrier_t5.mT5ReRanker": Known("mono_t5", "scorer"),
    "pyterrier_t5.DuoT5ReRanker": Known("duo_t5", "scorer", "pairwise"),
    # fusion, caches, LLMs
    "pyterrier_alpha.fusion.RRFusion": Known("rrf", "scorer", "listwise", "any"),
    "pyterrier_caching.scorer_cache.Sqlite3ScorerCache": Known("scorer_cache", "scorer"),
    "pyterrier_caching.scorer_cache.Hdf5ScorerCache": Known("scorer_cache", "scorer"),
    "pyterrier_caching.retriever_cache.DbmRetrieverCache": Known("retriever_cache", "scorer", "pointwise", "any"),
    "pyterrier_caching.util.Lazy": Known("lazy", "scorer", documents="any"),
    "pyterrier_generative.GenerativeRanker": Known("llm", "scorer", "listwise"),
}


def look_up(transformer: pt.Transformer) -> Known:
    """Return what a transformer declares, else what the table has for its class; a cache counts as what it caches."""
    inner = wrapped(transformer)
    if inner is not None and not hasattr(transformer, "documents"):
        return look_up(inner)
    loads = transformer.fn_transformer if is_lazy(transformer) else None
    kind = loads if isinstance(loads, type) else type(transformer)
    declared = loads if isinstance(loads, type) else transformer
    names = [f"{base.__module__}.{base.__qualname__}" for base in kind.__mro__]
    known = next((KNOWN[name] for name in names if name in KNOWN), Known(listed=hasattr(declared, "documents")))
    depends: Depends = getattr(declared, "depends", known.depends)
    if known.name == "mono_t5" and known.depends == "unknown" and getattr(transformer, "batch_size", 0) == 1:
        depends = "pointwise"
    elif reads_whole_frame(transformer):
        depends = "listwise"
    name = getattr(declared, "stage_name", "") or known.name or _name(transformer, kind)
    return replace(known, name=name, depends=depends, documents=getattr(declared, "documents", known.documents))


def show(transformer: pt.Transformer) -> str:
    """Return a transformer's ``repr``, or its name where that is an address in memory."""
    text = repr(transformer)
    return look_up(transformer).name if " object at 0x" in text else text


def find_dependence(stage: Stage) -> Depends:
    """Return what the scores of a stage depend on; if the stage does not say, what is known of its scorer."""
    known = look_up(remove_caches(stage).transformers[stage.scorer]).depends
    return known if stage.depends == "unknown" and known != "pointwise" else stage.depends


def keeps_ranking(transformer: pt.Transformer) -> bool:
    """Whether a loader is known to return its input rows with unchanged scores and ranks."""
    known, written = look_up(transformer), {getattr(transformer, "col", ""), *getattr(transformer, "columns", ())}
    return known.listed and known.documents == "reranks" and not written & {"qid", "docno", "score", "rank"}


def reads_whole_frame(transformer: pt.Transformer) -> bool:
    """Whether scores depend on all rows of the frame, as those of ``pt.text.scorer`` without a background index do."""
    return any(
        any(base.__qualname__ == "TextIndexProcessor" for base in type(part).__mro__) and part.background_indexref is None
        for part in held(transformer)
    )


def _name(transformer: pt.Transformer, kind: type) -> str:
    """Name a retriever after its weighting model, anything else after its class."""
    if type(transformer).__name__ == "Retriever":
        return str(getattr(transformer, "controls", {}).get("wmodel", "terrier")).lower()
    if type(transformer).__name__ == "PisaRetrieve":
        return str(transformer.scorer.value)
    words = re.sub(r"^Apply|Transformer$|ReRanker$|Reranker$", "", kind.__name__)
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", words).lower() or kind.__name__.lower()
