"""The stages: each function gives a plain PyTerrier transformer from plain arguments; a model loads when first used."""

from pt_cascade.stages.bi_encoder import bi_encoder
from pt_cascade.stages.bm25 import bm25
from pt_cascade.stages.cached import cached
from pt_cascade.stages.catalogue import list_stages
from pt_cascade.stages.cross_encoder import cross_encoder
from pt_cascade.stages.dense import dense
from pt_cascade.stages.duo_t5 import duo_t5
from pt_cascade.stages.hybrid import hybrid
from pt_cascade.stages.indexing.build_index import build_index
from pt_cascade.stages.indexing.text_store import build_texts, text_loader
from pt_cascade.stages.late_interaction import late_interaction
from pt_cascade.stages.llm_judge import llm_judge
from pt_cascade.stages.mono_t5 import mono_t5
from pt_cascade.stages.passages import passages
from pt_cascade.stages.vectors.build_vectors import build_vectors

__all__ = [
    "bi_encoder",
    "bm25",
    "build_index",
    "build_texts",
    "build_vectors",
    "cached",
    "cross_encoder",
    "dense",
    "duo_t5",
    "hybrid",
    "late_interaction",
    "list_stages",
    "llm_judge",
    "mono_t5",
    "passages",
    "text_loader",
]
