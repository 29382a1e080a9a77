"""A stage: a scorer with the transformers that prepare for it or adjust its scores, and the cut-off after it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Literal, SupportsIndex, TypeAlias, get_args

import pyterrier as pt

from pt_cascade.analysis.grid.cutoffs import Tail, check_cutoff
from pt_cascade.errors import PipelineError, did_you_mean, naming, warn
from pt_cascade.numbers import check_word, count_of, is_amount, is_whole, is_word
from pt_cascade.pruning import Prune

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pt_cascade.analysis.grid.cutoffs import Cutoff
    from pt_cascade.analysis.pruning.rules import Rule

Depends: TypeAlias = Literal["pointwise", "pairwise", "listwise", "unknown"]
Documents: TypeAlias = Literal["retrieves", "reranks", "any"]
OnError: TypeAlias = Literal["raise", "keep"]


@dataclass(frozen=True, repr=False)
class Stage:
    """One ranker of a cascade: its transformers, what they do to the documents, and the cut-off.

    Stages are equal if their transformers are: those of PyTerrier compare by value, those of many plugins by identity.

    Attributes:
        name: Unique within a cascade.
        transformers: In order: loaders of text or vectors, the scorer, and what adjusts its scores.
        cutoff: How many documents of each query are passed on, at most, 1 or more; None: all.
        depends: What a score depends on: ``pointwise`` (query, document), ``pairwise`` (query, two documents), ``listwise`` (the
            whole list), or ``unknown``, which is never treated as ``pointwise``.
        documents: ``retrieves``: it finds documents; ``reranks``: it returns exactly the documents it is given; ``any``: it may
            add or remove some.
        scorer: Position in ``transformers`` of the one that creates the score; one from the end, as -1, becomes one from 0.
        on_error: What follows where it fails on a query, see ``Cascade.options``.
        time_limit_ms: How long it may score a query, see ``Cascade.options``.
        rule: Chooses the cut-off of each query, see ``prune``; its ceiling is ``cutoff``. None: the same for all.

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
    on_error: OnError = "raise"
    time_limit_ms: float | None = None
    rule: Rule | None = None

    def __post_init__(self) -> None:
        """Check all fields."""
        object.__setattr__(self, "transformers", tuple(self.transformers))
        if not isinstance(self.name, str):
            raise PipelineError("a stage cannot be made", [f"its name is {self.name!r:.60}, expected text"])
        problems = [] if self.name else ["it has no name"]
        problems += [] if self.name.isprintable() else ["its name holds a character that is not printed"]
        if not self.transformers:
            problems.append("it has no transformer")
        problems += check_word("depends", self.depends, get_args(Depends))
        problems += check_word("documents", self.documents, get_args(Documents))
        if not -len(self.transformers) <= self.scorer < max(len(self.transformers), 1):
            problems.append(f"scorer is {self.scorer}, but it has {count_of(len(self.transformers), 'transformer')}")
        problems += check_word("on_error", self.on_error, get_args(OnError))
        if is_word(self.on_error, ("keep",)) and self.documents == "retrieves":
            problems.append("on_error='keep' needs an order to keep, but it retrieves")
        if (limit := self.time_limit_ms) is not None and not (is_amount(limit) and limit):
            problems.append(f"time_limit_ms is {limit!r}, expected milliseconds above 0, or None")
        elif limit is not None and (self.depends, self.documents) != ("pointwise", "reranks"):
            needed = "needs a stage that is pointwise and reranks, as it scores some documents without others"
            problems.append(f"time_limit_ms {needed}; it is {self.depends} and {self.documents}")
        if problems:
            raise PipelineError(f"stage {self.name!r} cannot be made", problems)
        object.__setattr__(self, "scorer", self.scorer % len(self.transformers))
        object.__setattr__(self, "cutoff", check_cutoff(self.cutoff, self.name))
        if self.rule is not None:
            with naming(self.name):
                object.__setattr__(self, "rule", replace(self.rule, ceiling=self.cutoff))

    @property
    def cut(self) -> pt.Transformer | None:
        """The transformer that cuts its ranking; None: all is passed on."""
        if self.rule is not None:
            return Prune(self.rule)
        return None if self.cutoff is None else pt.RankCutoff(self.cutoff)

    @property
    def shown_cut(self) -> str:
        """The cut-off and the rule as words, e.g. ``100 (margin 0.2)``; empty: all is passed on."""
        return " ".join([*([] if self.cutoff is None else [str(self.cutoff)]), *([] if self.rule is None else [f"({self.rule})"])])

    @property
    def runs_by_query(self) -> bool:
        """Whether it is called for each query by itself."""
        return self.on_error == "keep" or self.time_limit_ms is not None

    def __repr__(self) -> str:
        return f"{self.name} → {self.shown_cut}" if self.shown_cut else self.name


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


def check_stages(stages: Sequence[Stage], tail: Tail) -> None:
    """Refuse repeated names and an unknown tail; warn of a cut-off that is larger than the one before it."""
    if odd := [f"{one!r:.60} ({type(one).__name__}) is not a Stage" for one in stages if not isinstance(one, Stage)]:
        raise PipelineError("this is not a cascade", odd, fix="Cascade.of(retriever % 1000 >> reranker % 20)")
    names = [stage.name for stage in stages]
    if not names:
        raise PipelineError("a cascade needs at least one stage", fix="Cascade.of(retriever % 1000 >> reranker % 20)")
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise PipelineError("stages have the same name", [", ".join(twice)], fix="give each Stage its own name")
    if problems := check_word("tail", tail, get_args(Tail)):
        raise PipelineError("this is not a cascade", problems)
    for before, after in pairwise(stages):
        if after.documents == "reranks" and before.cutoff and after.cutoff and after.cutoff > before.cutoff:
            warn(f"the cut-off of {after!r} has no effect: {before!r} passes on at most {before.cutoff} documents")


def find_position(stages: Sequence[Stage], stage: str | SupportsIndex) -> int:
    """Return the position from 0 of a stage, by its name or position; see ``Cascade.position``."""
    names = [one.name for one in stages]
    if isinstance(stage, str) and stage in names:
        return names.index(stage)
    if is_whole(stage, -len(names)) and stage < len(names):
        return int(stage) % len(names)
    raise PipelineError(f"no stage {stage!r}", [f"the stages are {', '.join(names)}{did_you_mean(stage, names)}"])


def take_first(stages: Sequence[Stage], n: int) -> tuple[Stage, ...]:
    """Return the first n stages, 1 to all; see ``Cascade.prefix``."""
    if not (is_whole(n, 1) and n <= len(stages)):
        raise PipelineError(f"{' · '.join(map(repr, stages))} has no prefix of {n!r} stages", [f"expected 1 to {len(stages)}"])
    return tuple(stages[:n])


def declare(stages: Sequence[Stage], n: int, name: str, depends: Depends | None, documents: Documents | None) -> tuple[Stage, ...]:
    """Return the stages with another declaration of stage number n; see ``Cascade.with_stage``."""
    old = stages[n]
    name = old.name if is_word(name, ("",)) else name
    depends, documents = old.depends if depends is None else depends, old.documents if documents is None else documents
    return (*stages[:n], replace(old, name=name, depends=depends, documents=documents), *stages[n + 1 :])


def set_cutoffs(stages: Sequence[Stage], cutoffs: Sequence[Cutoff], by_name: Mapping[str, Cutoff]) -> tuple[Stage, ...]:
    """Return the stages with other cut-offs; see ``Cascade.with_cutoffs``."""
    if len(cutoffs) > len(stages):
        raise PipelineError(f"{len(cutoffs)} cut-offs for {count_of(len(stages), 'stage')}", [" · ".join(map(repr, stages))])
    new = dict(enumerate(cutoffs)) | {find_position(stages, name): cutoff for name, cutoff in by_name.items()}
    return tuple(replace(one, cutoff=check_cutoff(new[n], one.name)) if n in new else one for n, one in enumerate(stages))


def set_options(
    stages: Sequence[Stage], on_error: OnError | Mapping[str, OnError] | None, time_limit_ms: Mapping[str, float | None] | None
) -> tuple[Stage, ...]:
    """Return the stages with other options, or an error with all problems; one ``keep`` is for all stages that re-rank."""
    names, what = [stage.name for stage in stages], "the cascade cannot have these options"
    if isinstance(on_error, str):
        able = [stage.name for stage in stages if on_error != "keep" or stage.documents != "retrieves"]
        on_error = dict.fromkeys(able, on_error)
    given = {"on_error": on_error, "time_limit_ms": time_limit_ms}
    if odd := [name for name, value in given.items() if not isinstance(value, Mapping | None)]:
        raise PipelineError(what, [f"{name} is {given[name]!r:.60}, expected a dict by stage name" for name in odd])
    errors, limits, new = on_error or {}, time_limit_ms or {}, []
    problems = [f"there is no stage {name!r}{did_you_mean(name, names)}" for name in {**errors, **limits} if name not in names]
    for stage in stages:
        on, limit = errors.get(stage.name, stage.on_error), limits.get(stage.name, stage.time_limit_ms)
        try:
            new.append(replace(stage, on_error=on, time_limit_ms=limit))
        except PipelineError as error:
            problems += [f"stage {stage.name!r}: {problem}" for problem in error.problems]
    if problems:
        raise PipelineError(what, problems)
    return tuple(new)
