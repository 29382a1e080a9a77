"""Reads a PyTerrier pipeline into stages: a scorer, the transformers that prepare for it or adjust its scores, and a cut-off."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from itertools import chain, takewhile
from typing import TYPE_CHECKING

import pyterrier as pt

from pt_cascade.analysis.grid.cutoffs import check_cutoff
from pt_cascade.cascade.known import RESET, look_up
from pt_cascade.cascade.roles import RESULTS, TOPICS, read_role
from pt_cascade.cascade.stage import Stage, unique_names
from pt_cascade.cascade.wrappers import held
from pt_cascade.errors import PipelineError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pt_cascade.cascade.known import Known
    from pt_cascade.cascade.roles import Columns
    from pt_cascade.cascade.stage import Depends, Documents

_BY_HAND = (
    'declare that it re-ranks its input: transformer.documents = "reranks"; '
    'or write the stages yourself: Cascade((Stage("bm25", (bm25,), cutoff=100), Stage("name", (transformer,))))'
)


@dataclass
class _Draft:
    """A stage being read."""

    transformers: list[pt.Transformer] = field(default_factory=list)
    scorer: int = 0
    retrieves: bool = False
    trimmed: bool = False
    cutoff: int | None = None

    def finish(self) -> Stage:
        """Make the stage."""
        scorer = look_up(self.transformers[self.scorer])
        aside = [look_up(part) for n, part in enumerate(self.transformers) if n != self.scorer]
        depends, documents = _declare(scorer.depends, "any" if self.trimmed else scorer.documents, aside)
        return Stage(
            scorer.name, tuple(self.transformers), self.cutoff, depends, "retrieves" if self.retrieves else documents, self.scorer
        )


def _declare(depends: Depends, documents: Documents, aside: Sequence[Known]) -> tuple[Depends, Documents]:
    """Return what a stage depends on and does to documents, given the transformers beside its scorer."""
    changed = any(part.documents == "any" or not part.listed for part in aside)
    return (
        depends if depends == "listwise" or all(part.depends == "pointwise" for part in aside) else "unknown",
        "any" if changed and documents == "reranks" else documents,
    )


def read(pipeline: Sequence[pt.Transformer | Stage]) -> tuple[tuple[Stage, ...], tuple[pt.Transformer, ...]]:
    """Read a flat pipeline into stages, and the transformers after the last cut-off; a Stage is left as it is."""
    for part in chain.from_iterable(held(item) for item in pipeline if isinstance(item, pt.Transformer)):
        if type(part).__name__ == "UniformTransformer":
            problem = f"{part!r} returns the same rows for all queries"
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
    """Join everything up to the last retriever into the first stage, e.g. query expansion from feedback documents."""
    first = [draft for draft in takewhile(lambda draft: isinstance(draft, _Draft), drafts) if isinstance(draft, _Draft)]
    last = max((n for n, draft in enumerate(first) if draft.retrieves), default=0)
    if not last:
        return drafts
    joined = _Draft(retrieves=True)
    for draft in first[: last + 1]:
        if joined.cutoff is not None:
            joined.transformers.append(pt.RankCutoff(joined.cutoff))
        if look_up(draft.transformers[draft.scorer]).name != RESET:  # restores the results of an earlier scorer
            joined.scorer = len(joined.transformers) + draft.scorer
        joined.transformers += draft.transformers
        joined.cutoff = draft.cutoff
    return [joined, *drafts[last + 1 :]]


def _starts(pipeline: Sequence[pt.Transformer | Stage]) -> Iterator[Columns]:
    """Yield the input columns to try: topics, results, results with text, and the inputs that the first transformer names."""
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
    """Read the pipeline from these input columns; add what cannot be read to ``problems``."""
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
                problems.append(f"the role of {item!r} with columns {', '.join(columns)} is unknown: it raised {error}")
            elif role == "scorer" or (role == "adjuster" and _stands_alone(item, done)):
                done.append(_Draft([*waiting, item], len(waiting), "docno" not in columns or "docno" not in given))
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


def _stands_alone(item: pt.Transformer, done: list[_Draft | Stage]) -> bool:
    """Whether an unlisted transformer that changes scores is a stage of its own: it comes first or follows a cut-off."""
    return look_up(item).role is None and (not done or done[-1].cutoff is not None)


def _cut(cutoff: pt.RankCutoff, done: list[_Draft | Stage], waiting: list[pt.Transformer], problems: list[str]) -> None:
    """Set the last stage's cut-off; the transformers between them become part of that stage."""
    if not done:
        problems.append(f"{cutoff!r} has no ranking to cut: no transformer before it creates a score")
        return
    last = done[-1]
    name = last.name if isinstance(last, Stage) else look_up(last.transformers[last.scorer]).name
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
    """Add transformers to the last stage; a cut-off before them becomes part of its pipeline."""
    last = done[-1]
    parts = [*([] if last.cutoff is None else [pt.RankCutoff(last.cutoff)]), *parts]
    if isinstance(last, Stage):
        done[-1] = replace(last, transformers=(*last.transformers, *parts), cutoff=None, depends="unknown", documents="any")
        return
    last.transformers += parts
    last.trimmed = last.trimmed or any(isinstance(part, pt.RankCutoff) for part in parts)
    last.cutoff = None
