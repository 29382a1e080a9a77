"""What is known of PyTerrier's and its plugins' classes; what is not listed here and declares nothing is unknown.

Any transformer may declare itself, as our own stages do, with the class attributes ``stage_name``, ``depends`` and ``documents``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, TypeAlias

from pt_cascade.cascade.stand_ins import held, is_lazy, live, wrapped

if TYPE_CHECKING:
    import pyterrier as pt

    from pt_cascade.cascade.stage import Depends, Documents, Stage

Role: TypeAlias = Literal["scorer", "loader", "adjuster"]


@dataclass(frozen=True)
class Known:
    """What a class does in a cascade.

    Attributes:
        name: The stage's name; empty: made of the class's name.
        role: Whether it creates the score, prepares for the next scorer, or changes the last one's score; None: by inspection.
        depends: What its scores depend on; for a loader or adjuster, ``pointwise`` means that it treats each row by itself.
        documents: What it does to the documents when it is given some.
        listed: Whether anybody said so, the class itself or the table below.
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
    "pyterrier._ops.FeatureUnion": Known(role="loader"),  # passes the score through; the learner after it ranks
    "pyterrier.ltr.RegressionTransformer": Known(role="scorer"),
    "pyterrier.ltr.FastRankEstimator": Known(role="scorer"),
    "pyterrier.transformer.IdentityTransformer": _ROWS,
    "pyterrier.terrier.rewrite._ResetResults": Known(RESET, depends="pointwise", documents="any"),
    "pyterrier.text.SlidingWindowPassager": Known(role="loader", depends="pointwise", documents="any"),
    "pyterrier.text.DePassager": Known(role="adjuster", documents="any"),
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
    # adaptive re-ranking looks at the list, and adds neighbours to it
    "pyterrier_dr.flex.gar.FlexGar": _ADAPTIVE,
    "pyterrier_dr.flex.ladr.LadrPreemptive": _ADAPTIVE,
    "pyterrier_dr.flex.ladr.LadrAdaptive": _ADAPTIVE,
    "pyterrier_adaptive.gar.GAR": _ADAPTIVE,
    # T5: MonoT5 claims point, but stock scores move with the batch, so only at batch size 1
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
    """Tell what is known of a transformer: by its own declaration, else by its class, else nothing.

    A cache of pyterrier_caching is what it caches; ``Lazy`` is the class that it will load, if it was given a class.

    Args:
        transformer: Any PyTerrier transformer.

    Returns:
        What its class does; a class nobody knows has role None and depends ``unknown``.

    Example:
        >>> import pyterrier as pt
        >>> look_up(pt.apply.doc_score(lambda row: 1.0)).depends
        'unknown'
    """
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


def find_dependence(stage: Stage) -> Depends:
    """Tell what the scores of a stage depend on; a scorer that is known to compare documents does so behind any loader.

    Args:
        stage: Any.

    Example:
        >>> import pyterrier as pt
        >>> from pt_cascade import Stage
        >>> find_dependence(Stage("ones", (pt.apply.doc_score(lambda row: 1.0),)))
        'unknown'
    """
    known = look_up(live(stage).transformers[stage.scorer]).depends
    return known if stage.depends == "unknown" and known != "pointwise" else stage.depends


def keeps_ranking(transformer: pt.Transformer) -> bool:
    """Tell whether a transformer is known to give the rows that it is given, with their scores and ranks, whatever they are.

    Args:
        transformer: One that neither creates nor adjusts a score.

    Example:
        >>> import pyterrier as pt
        >>> keeps_ranking(pt.apply.text(lambda row: "")), keeps_ranking(pt.apply.generic(lambda results: results))
        (True, False)
    """
    known, written = look_up(transformer), {getattr(transformer, "col", ""), *getattr(transformer, "columns", ())}
    return known.listed and known.documents == "reranks" and not written & {"qid", "docno", "score", "rank"}


def reads_whole_frame(transformer: pt.Transformer) -> bool:
    """Tell whether a transformer's scores depend on all rows of a frame, those of other queries included.

    ``pt.text.scorer`` without a background index takes its collection statistics from the frame.

    Args:
        transformer: Any PyTerrier transformer; what it holds counts as well.

    Example:
        >>> import pyterrier as pt
        >>> reads_whole_frame(pt.apply.doc_score(lambda row: 1.0))
        False
    """
    return any(
        any(base.__qualname__ == "TextIndexProcessor" for base in type(part).__mro__) and part.background_indexref is None
        for part in held(transformer)
    )


def _name(transformer: pt.Transformer, kind: type) -> str:
    """A retriever is called after its weighting model, anything else after its class."""
    if type(transformer).__name__ == "Retriever":
        return str(getattr(transformer, "controls", {}).get("wmodel", "terrier")).lower()
    if type(transformer).__name__ == "PisaRetrieve":
        return str(transformer.scorer.value)
    words = re.sub(r"^Apply|Transformer$|ReRanker$|Reranker$", "", kind.__name__)
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", words).lower() or kind.__name__.lower()
