"""A stage: a scorer with the transformers that prepare for it or adjust its scores, and the cut-off after it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias, get_args

from pt_cascade.analysis.grid.cutoffs import check_cutoff
from pt_cascade.errors import PipelineError
from pt_cascade.numbers import is_word

if TYPE_CHECKING:
    from collections.abc import Iterable

    import pyterrier as pt

Depends: TypeAlias = Literal["pointwise", "pairwise", "listwise", "unknown"]
Documents: TypeAlias = Literal["retrieves", "reranks", "any"]


@dataclass(frozen=True, repr=False)
class Stage:
    """One ranker of a cascade: its transformers, what they do to the documents, and the cut-off.

    Stages are equal if their transformers are: those of PyTerrier compare by value, those of many plugins by identity.

    Attributes:
        name: Unique within a cascade.
        transformers: In order: loaders of text or vectors, the scorer, and what adjusts its scores.
        cutoff: How many documents of each query are passed on, 1 or more; None: all.
        depends: What a score depends on: ``pointwise`` (query, document), ``pairwise`` (query, two documents), ``listwise`` (the
            whole list), or ``unknown``, which is never treated as ``pointwise``.
        documents: ``retrieves``: it finds documents; ``reranks``: it returns exactly the documents it is given; ``any``: it may
            add or remove some.
        scorer: Position in ``transformers`` of the one that creates the score.

    Raises:
        PipelineError: A field has another value.

    Example:
        >>> import pyterrier as pt
        >>> Stage("length", (pt.apply.doc_score(lambda row: len(row["text"])),), 10, depends="pointwise", documents="reranks")
        length → 10
    """

    name: str
    transformers: tuple[pt.Transformer, ...]
    cutoff: int | None = None
    depends: Depends = "unknown"
    documents: Documents = "any"
    scorer: int = -1

    def __post_init__(self) -> None:
        """Check all fields."""
        object.__setattr__(self, "transformers", tuple(self.transformers))
        if not isinstance(self.name, str):
            raise PipelineError("a stage cannot be made", [f"its name is {self.name!r:.60}, expected text"])
        problems = [] if self.name else ["it has no name"]
        problems += [] if self.name.isprintable() else ["its name holds a character that is not printed"]
        if not self.transformers:
            problems.append("it has no transformer")
        if not is_word(self.depends, get_args(Depends)):
            problems.append(f"depends is {self.depends!r}, expected one of {', '.join(get_args(Depends))}")
        if not is_word(self.documents, get_args(Documents)):
            problems.append(f"documents is {self.documents!r}, expected one of {', '.join(get_args(Documents))}")
        if not -len(self.transformers) <= self.scorer < max(len(self.transformers), 1):
            problems.append(f"scorer is {self.scorer}, but it has {len(self.transformers)} transformer(s)")
        if problems:
            raise PipelineError(f"stage {self.name!r} cannot be made", problems)
        object.__setattr__(self, "cutoff", check_cutoff(self.cutoff, self.name))

    def __repr__(self) -> str:
        return self.name if self.cutoff is None else f"{self.name} → {self.cutoff}"


def unique_names(names: Iterable[str]) -> list[str]:
    """Number repeated names: ``bm25``, ``mono_t5``, ``bm25_2``."""
    given: dict[str, None] = {}
    next_number: dict[str, int] = {}
    for name in names:
        free = name
        while free in given:
            next_number[name] = next_number.get(name, 1) + 1
            free = f"{name}_{next_number[name]}"
        given[free] = None
    return [*given]
