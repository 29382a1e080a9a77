"""A PyTerrier pipeline read into stages: who creates a score, who prepares for it, who adjusts it, and where the cut-offs are."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from itertools import chain, takewhile
from typing import TYPE_CHECKING

import pyterrier as pt

from pt_cascade.analysis.grid.cutoffs import check_cutoff
from pt_cascade.cascade.known import RESET, look_up
from pt_cascade.cascade.roles import RESULTS, TOPICS, read_role
from pt_cascade.cascade.stage import Stage, unique_names
from pt_cascade.cascade.stand_ins import held
from pt_cascade.errors import PipelineError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pt_cascade.cascade.known import Known
    from pt_cascade.cascade.roles import Columns
    from pt_cascade.cascade.stage import Depends, Documents

_BY_HAND = (
    'say that it re-ranks the documents that it is given: transformer.documents = "reranks"; '
    'or write the stages yourself: Cascade((Stage("bm25", (bm25,), cutoff=100), Stage("name", (transformer,))))'
)


@dataclass
class _Draft:
    """A stage being read."""

    transformers: list[pt.Transformer] = field(default_factory=list)
    known: list[Known] = field(default_factory=list)
    scorer: int = 0
    retrieves: bool = False
    trimmed: bool = False
    cutoff: int | None = None

    def add(self, transformer: pt.Transformer) -> None:
        self.transformers.append(transformer)
        self.known.append(look_up(transformer))

    def finish(self) -> Stage:
        """Make the stage; what is unknown of one part is unknown of all."""
        scorer = self.known[self.scorer]
        aside = [known for n, known in enumerate(self.known) if n != self.scorer]
        depends, documents = _declare(scorer.depends, "any" if self.trimmed else scorer.documents, aside)
        return Stage(
            scorer.name, tuple(self.transformers), self.cutoff, depends, "retrieves" if self.retrieves else documents, self.scorer
        )


def _declare(depends: Depends, documents: Documents, aside: Sequence[Known]) -> tuple[Depends, Documents]:
    """Tell what a stage depends on and does to documents, with what stands beside its scorer."""
    changed = any(part.documents == "any" or not part.listed for part in aside)
    return (
        depends if depends == "listwise" or all(part.depends == "pointwise" for part in aside) else "unknown",
        "any" if changed and documents == "reranks" else documents,
    )


def read(pipeline: Sequence[pt.Transformer | Stage]) -> tuple[tuple[Stage, ...], tuple[pt.Transformer, ...]]:
    """Read a flat pipeline into its stages, and what comes after the last of them.

    A transformer *creates the score* if ``score`` is among its outputs when it is not among its inputs; it *adjusts* the score if
    it works only where there is one, and changes it; else it *loads* something (a text, a vector, a rewritten query) for the next
    scorer. See ``roles``. What stands before a retriever in the middle, e.g. to expand its query, is part of the first stage.

    Args:
        pipeline: The transformers in order, each ``%`` a ``pt.RankCutoff``; a ready Stage stands for itself.

    Returns:
        The stages, with unique names, and the transformers that follow the last score and its cut-off.

    Raises:
        PipelineError: A transformer cannot be inspected, nothing creates a score, or a cut-off has nothing to cut.
    """
    for part in chain.from_iterable(held(item) for item in pipeline if isinstance(item, pt.Transformer)):
        if type(part).__name__ == "UniformTransformer":
            problem = f"{part!r} returns the same rows whatever queries it is given"
            raise PipelineError("this pipeline cannot be read as a cascade", [problem], fix="pt.Transformer.from_df(run)")
    attempts: list[list[str]] = []
    for start in _starts(pipeline):
        problems: list[str] = []
        drafts, ending = _read_from(pipeline, start, problems)
        if not problems:
            stages = [draft if isinstance(draft, Stage) else draft.finish() for draft in _join_retrievers(drafts)]
            names = unique_names(stage.name for stage in stages)
            return tuple(replace(stage, name=name) for stage, name in zip(stages, names, strict=True)), tuple(ending)
        attempts.append(problems)
    fewest = min(attempts, key=len)
    if all("cut-off of stage" in problem for problem in fewest):
        fix = "stage % 100"
    else:
        fix = _BY_HAND if any("it raised" in problem for problem in fewest) else "retriever % 1000 >> reranker % 20"
    raise PipelineError("this pipeline cannot be read as a cascade", fewest, fix=fix)


def _join_retrievers(drafts: list[_Draft | Stage]) -> list[_Draft | Stage]:
    """Make one first stage of all up to the last retriever, which finds other documents than it is given."""
    first = [draft for draft in takewhile(lambda draft: isinstance(draft, _Draft), drafts) if isinstance(draft, _Draft)]
    last = max((n for n, draft in enumerate(first) if draft.retrieves), default=0)
    if not last:
        return drafts
    joined = _Draft(retrieves=True)
    for draft in first[: last + 1]:
        if joined.cutoff is not None:
            joined.add(pt.RankCutoff(joined.cutoff))
        if draft.known[draft.scorer].name != RESET:  # which gives back what an earlier one scored
            joined.scorer = len(joined.transformers) + draft.scorer
        for part in draft.transformers:
            joined.add(part)
        joined.cutoff = draft.cutoff
    return [joined, *drafts[last + 1 :]]


def _starts(pipeline: Sequence[pt.Transformer | Stage]) -> Iterator[Columns]:
    """Topics, results, results with text, or whatever else the first transformer says it wants."""
    yield list(TOPICS)
    wants: list[Columns] = []
    if pipeline and not isinstance(pipeline[0], Stage):
        wants = pt.inspect.transformer_inputs(pipeline[0], strict=False) or []
    yield from (["qid", *(column for column in wanted if column != "qid")] for wanted in wants if "docno" not in wanted)
    yield list(RESULTS)
    yield [*RESULTS, "text"]
    yield from ([*RESULTS, *(column for column in wanted if column not in RESULTS)] for wanted in wants)


def _read_from(
    pipeline: Sequence[pt.Transformer | Stage], columns: Columns, problems: list[str]
) -> tuple[list[_Draft | Stage], list[pt.Transformer]]:
    """Walk the pipeline, knowing which columns flow into each transformer."""
    done: list[_Draft | Stage] = []
    waiting: list[pt.Transformer] = []
    given = columns
    for item in pipeline:
        given = given if waiting else columns
        if isinstance(item, Stage):
            scorer = item.scorer % len(item.transformers) + len(waiting)
            depends, documents = _declare(item.depends, item.documents, [look_up(part) for part in waiting])
            transformers = (*waiting, *item.transformers)
            done.append(replace(item, transformers=transformers, scorer=scorer, depends=depends, documents=documents))
            waiting, columns = [], sorted({*columns, *RESULTS})
        elif isinstance(item, pt.RankCutoff):
            _cut(item, done, waiting, problems)
            waiting = []
        else:
            role, after, error = read_role(item, columns)
            if role is None:
                problems.append(f"what {item!r} does with columns {', '.join(columns)} cannot be found out: it raised {error}")
            elif role == "scorer" or (role == "adjuster" and _stands_alone(item, done)):
                done.append(_draft(waiting, item, retrieves="docno" not in columns or "docno" not in given))
                waiting = []
            elif role == "adjuster" and done:
                _extend(done, [*waiting, item])
                waiting = []
            else:
                waiting.append(item)
            columns = after
    if not done and not problems:
        problems.append("no transformer in it creates a score")
    return done, waiting


def _draft(waiting: list[pt.Transformer], scorer: pt.Transformer, *, retrieves: bool) -> _Draft:
    """Begin a stage with a scorer and what was loaded for it."""
    draft = _Draft(scorer=len(waiting), retrieves=retrieves)
    for part in (*waiting, scorer):
        draft.add(part)
    return draft


def _stands_alone(item: pt.Transformer, done: list[_Draft | Stage]) -> bool:
    """Tell whether what changes a score is a ranker of its own: it is not known to adjust, and follows a cut-off, or nothing."""
    return look_up(item).role is None and (not done or done[-1].cutoff is not None)


def _cut(cutoff: pt.RankCutoff, done: list[_Draft | Stage], waiting: list[pt.Transformer], problems: list[str]) -> None:
    """Give the last stage its cut-off; what stands between them is then part of the stage."""
    if not done:
        problems.append(f"{cutoff!r} has nothing to cut: no transformer before it creates a score")
        return
    last = done[-1]
    name = last.name if isinstance(last, Stage) else last.known[last.scorer].name
    try:
        k = check_cutoff(cutoff.k, name)
    except PipelineError as error:
        problems.append(": ".join([error.what, *error.problems]))
        return
    if waiting:
        _extend(done, waiting)
        last = done[-1]
    k = k if last.cutoff is None else min(k or last.cutoff, last.cutoff)
    if isinstance(last, Stage):
        done[-1] = replace(last, cutoff=k)
    else:
        last.cutoff = k


def _extend(done: list[_Draft | Stage], parts: list[pt.Transformer]) -> None:
    """Put what follows a scorer, and the cut-off that may stand between, into its stage."""
    last = done[-1]
    parts = [*([] if last.cutoff is None else [pt.RankCutoff(last.cutoff)]), *parts]
    if isinstance(last, Stage):
        done[-1] = replace(last, transformers=(*last.transformers, *parts), cutoff=None, depends="unknown", documents="any")
        return
    for part in parts:
        last.add(part)
        last.trimmed = last.trimmed or isinstance(part, pt.RankCutoff)
    last.cutoff = None
