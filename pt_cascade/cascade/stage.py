"""A stage: everything up to and including a transformer that creates the score, and the cut-off after it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias, get_args

from pt_cascade.analysis.grid.cutoffs import check_cutoff
from pt_cascade.errors import PipelineError

if TYPE_CHECKING:
    from collections.abc import Iterable

    import pyterrier as pt

Depends: TypeAlias = Literal["pointwise", "pairwise", "listwise", "unknown"]
Documents: TypeAlias = Literal["retrieves", "reranks", "any"]


@dataclass(frozen=True, repr=False)
class Stage:
    """One ranker of a cascade, what it may do to its input, and how much of its ranking goes on.

    Two stages are equal if their transformers are (PyTerrier's own compare by value, many plugins' by identity).

    Attributes:
        name: What the cascade calls it; unique within a cascade.
        transformers: What runs, in order: loaders of text or vectors, the scorer, and what adjusts its scores.
        cutoff: How many documents of each query go on, at least 1; None: all of them.
        depends: What a score depends on: ``pointwise`` (query, document), ``pairwise`` (query, two documents), ``listwise`` (the
            whole list), or ``unknown``, which is never taken for ``pointwise``.
        documents: ``retrieves``: it finds documents; ``reranks``: it returns exactly the documents it was given; ``any``: it may
            add or lose some.
        scorer: Position in ``transformers`` of the one that creates the score.

    Raises:
        PipelineError: A field is none of the above.

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
        """Refuse what is not a stage, all reasons at once."""
        object.__setattr__(self, "transformers", tuple(self.transformers))
        problems = [] if self.name else ["it has no name"]
        if not self.transformers:
            problems.append("it has no transformer")
        if self.depends not in get_args(Depends):
            problems.append(f"depends is {self.depends!r}, expected one of {', '.join(get_args(Depends))}")
        if self.documents not in get_args(Documents):
            problems.append(f"documents is {self.documents!r}, expected one of {', '.join(get_args(Documents))}")
        if not -len(self.transformers) <= self.scorer < max(len(self.transformers), 1):
            problems.append(f"scorer is {self.scorer}, but it has {len(self.transformers)} transformer(s)")
        if problems:
            raise PipelineError(f"stage {self.name!r} cannot be made", problems)
        object.__setattr__(self, "cutoff", check_cutoff(self.cutoff, self.name))

    def __repr__(self) -> str:
        return self.name if self.cutoff is None else f"{self.name} → {self.cutoff}"


def unique_names(names: Iterable[str]) -> list[str]:
    """Number the names that stand more than once."""
    given: list[str] = []
    for name in names:
        free = (f"{name}_{n}" if n > 1 else name for n in range(1, len(given) + 2))
        given.append(next(new for new in free if new not in given))
    return given
