"""Reads a PyTerrier pipeline into stages: a scorer, the transformers that prepare for it or adjust its scores, and a cut-off."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import takewhile
from typing import TYPE_CHECKING

import pyterrier as pt

from pt_cascade.analysis.grid.cutoffs import check_cutoff
from pt_cascade.cascade.fusing import FuseStages, KeepScores, add_fusion, read_fusion
from pt_cascade.cascade.known import RESET, look_up
from pt_cascade.cascade.roles import RESULTS, TOPICS, read_role
from pt_cascade.cascade.stage import Stage, unique_names
from pt_cascade.errors import PipelineError
from pt_cascade.pruning import Prune

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pt_cascade.analysis.fusion.stage_fusion import StageFusion
    from pt_cascade.analysis.grid.cutoffs import Tail
    from pt_cascade.cascade.roles import Columns
    from pt_cascade.cascade.stage import Depends, Documents

_WHAT = "this pipeline cannot be read as a cascade"
_BY_HAND = (
    'declare that it re-ranks its input: transformer.documents = "reranks"; '
    'or write the stages yourself: Cascade((Stage("bm25", (bm25,), cutoff=100), Stage("name", (transformer,))))'
)


@dataclass
class _Draft:
    """A stage being read."""

    stage: Stage
    retrieves: bool = False
    given: bool = False  # as a Stage, which is not joined with others

    def extend(self, parts: list[pt.Transformer]) -> None:
        """Add transformers after it; a cut-off before them becomes one of them, and passages give it a name of their own."""
        stage, known = self.stage, [look_up(part) for part in parts]
        name = "_".join([stage.name, *(one.name for one in known if one.role == "loader" and one.documents == "any")])
        parts = [*([] if stage.cut is None else [stage.cut]), *parts]
        transformers = [*stage.transformers, *parts]
        depends, documents = _declare(stage.depends, stage.documents, parts)
        made = replace(stage, transformers=tuple(transformers), cutoff=None, depends=depends, documents=documents)
        made = made if self.given else _make_draft(transformers, stage.scorer, retrieves=self.retrieves).stage
        self.stage = replace(made, name=name)


def _make_draft(transformers: list[pt.Transformer], scorer: int, *, retrieves: bool) -> _Draft:
    known, aside = look_up(transformers[scorer]), [*transformers[:scorer], *transformers[scorer + 1 :]]
    depends, documents = _declare(known.depends, "retrieves" if retrieves else known.documents, aside)
    return _Draft(Stage(known.name, tuple(transformers), None, depends, documents, scorer), retrieves)


def _declare(depends: Depends, documents: Documents, aside: list[pt.Transformer]) -> tuple[Depends, Documents]:
    """Return what a stage depends on and does to documents, given the transformers beside its scorer.

    Passages that are put together again are the documents that they were cut from.
    """
    known = [look_up(part) for part in aside]
    changing = [part for part in known if part.documents == "any"]
    passages = [part.role for part in changing] == ["loader", "adjuster"] and changing[0].name == "sliding"
    changed = bool(changing and not passages) or not all(part.listed for part in known)
    return (
        depends if depends == "listwise" or all(part.depends == "pointwise" for part in known) else "unknown",
        "any" if changed and documents == "reranks" else documents,
    )


def _flatten(pipeline: pt.Transformer, cutoffs: list[tuple[pt.RankCutoff, int]]) -> Iterator[pt.Transformer | Stage]:
    """List the transformers of nested pipelines and cascades in order; add the cut-offs among them to ``cutoffs``."""
    if hasattr(pipeline, "cutoffs_read"):  # a Cascade
        refuse_tail(pipeline, pipeline.tail)
        cutoffs += pipeline.cutoffs_read
        yield from (*add_fusion(pipeline.stages, pipeline.fusion), *pipeline.ending)
    elif isinstance(pipeline, pt.Compose):
        for part in pipeline:
            yield from _flatten(part, cutoffs)
    else:
        if isinstance(pipeline, pt.RankCutoff):
            cutoffs.append((pipeline, pipeline.k))
        yield pipeline


def compose(stages: Sequence[Stage], ending: Sequence[pt.Transformer], fusion: StageFusion | None) -> pt.Transformer:
    """Return stages, their cut-offs, their fusion and the ending as a plain pipeline."""
    parts: list[pt.Transformer] = []
    for item in add_fusion(stages, fusion):
        parts += item.transformers if isinstance(item, Stage) else (item,)
        if isinstance(item, Stage) and item.cut is not None:
            parts.append(item.cut)
    parts += ending
    return parts[0] if len(parts) == 1 else pt.Compose(*parts)


def refuse_changes(cutoffs: Sequence[tuple[pt.RankCutoff, int]]) -> None:
    """Refuse cut-offs that have changed since they were read, each with its k at that time."""
    if changed := [f"{cutoff!r} was {k}" for cutoff, k in cutoffs if cutoff.k != k]:
        fix = "GridScan over pipeline, or without GridScan: ptc.sweep, Cascade.of(pipeline).with_cutoffs(50)"
        raise PipelineError("a cut-off changed after the pipeline was read with Cascade.of(pipeline)", changed, fix=fix)


def refuse_tail(cascade: pt.Transformer, tail: Tail) -> None:
    """Refuse a kept tail in a part of a pipeline: what follows would rank it again."""
    if tail == "keep":
        problem = f"{cascade!r} keeps its tail, so it can only be the whole cascade"
        fix = "give the whole cascade the option: Cascade.of(pipeline).options(tail='keep')"
        raise PipelineError(_WHAT, [problem], fix=fix)


def read(
    pipeline: pt.Transformer,
) -> tuple[tuple[Stage, ...], tuple[pt.Transformer, ...], StageFusion | None, tuple[tuple[pt.RankCutoff, int], ...]]:
    """Read a pipeline into stages, what follows the last cut-off, the fusion, and its cut-offs; a Stage is left as it is."""
    if not isinstance(pipeline, pt.Transformer):
        found = f"{pipeline!r} ({type(pipeline).__name__}), expected a PyTerrier transformer"
        raise PipelineError("this is not a pipeline", [found], fix="Cascade.of(retriever % 1000 >> reranker % 20)")
    cutoffs: list[tuple[pt.RankCutoff, int]] = []
    try:
        flat = list(_flatten(pipeline, cutoffs))
        stages, ending = _read_stages([item for item in flat if not isinstance(item, (KeepScores, FuseStages))])
    except RecursionError as error:
        problem = "its transformers hold one another too deeply"
        raise PipelineError(_WHAT, [problem], fix="pt.Compose(*transformers)") from error
    named, fusion = read_fusion(flat, stages, ending)
    return named, ending, fusion, tuple(cutoffs)


def _read_stages(pipeline: Sequence[pt.Transformer | Stage]) -> tuple[tuple[Stage, ...], tuple[pt.Transformer, ...]]:
    """Read a flat pipeline without a fusion into stages and the transformers after the last cut-off."""
    attempts: list[list[str]] = []
    for start in _starts(pipeline):
        problems: list[str] = []
        drafts, ending = _read_from(pipeline, start, problems)
        if not problems:
            stages = [draft.stage for draft in _join_retrievers(drafts)]
            names = unique_names(stage.name for stage in stages)
            return tuple(replace(stage, name=name) for stage, name in zip(stages, names, strict=True)), tuple(ending)
        attempts.append(problems)
    fewest = min(attempts, key=len)
    if any("expected one cut-off" in problem for problem in fewest):
        fix = "prune(Margin(0.2, ceiling=100))"
    elif all("cut-off of stage" in problem for problem in fewest):
        fix = "stage % 100"
    else:
        fix = _BY_HAND if any("it raised" in problem for problem in fewest) else "retriever % 1000 >> reranker % 20"
    raise PipelineError(_WHAT, fewest, fix=fix)


def _join_retrievers(drafts: list[_Draft]) -> list[_Draft]:
    """Join everything up to the last retriever into the first stage, e.g. query expansion from feedback documents."""
    read = takewhile(lambda draft: not draft.given, drafts)
    last = max((n for n, draft in enumerate(read) if draft.retrieves), default=0)
    if not last:
        return drafts
    transformers: list[pt.Transformer] = []
    scorer, cut = 0, None
    for draft in drafts[: last + 1]:
        stage = draft.stage
        transformers += [] if cut is None else [cut]
        if look_up(stage.transformers[stage.scorer]).name != RESET:  # restores the results of an earlier scorer
            scorer = len(transformers) + stage.scorer
        transformers += stage.transformers
        cut = stage.cut
    joined = _make_draft(transformers, scorer, retrieves=True)
    joined.stage = replace(joined.stage, cutoff=stage.cutoff, rule=stage.rule)
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
) -> tuple[list[_Draft], list[pt.Transformer]]:
    """Read the pipeline from these input columns; add what cannot be read to ``problems``."""
    done: list[_Draft] = []
    waiting: list[pt.Transformer] = []
    given = columns
    for item in pipeline:
        given = given if waiting else columns
        if isinstance(item, Stage):
            depends, documents = _declare(item.depends, item.documents, waiting)
            transformers, scorer = (*waiting, *item.transformers), item.scorer + len(waiting)
            stage = replace(item, transformers=transformers, depends=depends, documents=documents, scorer=scorer)
            done.append(_Draft(stage, given=True))
            waiting, columns = [], sorted({*columns, *RESULTS})
        elif isinstance(item, pt.RankCutoff | Prune):
            _cut(item, done, waiting, problems)
            waiting = []
        else:
            role, after, error = read_role(item, columns)
            # an unlisted transformer that changes scores is a stage of its own if it comes first or follows a cut-off
            alone = look_up(item).role is None and (not done or done[-1].stage.cutoff is not None)
            if role is None:
                problems.append(f"the role of {item!r} with columns {', '.join(columns)} is unknown: it raised {error}")
            elif role == "scorer" or (role == "adjuster" and alone):
                retrieves = "docno" not in columns or "docno" not in given
                done.append(_make_draft([*waiting, item], len(waiting), retrieves=retrieves))
                waiting = []
            elif role == "adjuster" and done:
                done[-1].extend([*waiting, item])
                waiting = []
            else:
                waiting.append(item)
            columns = after
    if not done and not problems:
        problems.append("no transformer in it creates a score")
    return done, waiting


def _cut(cutoff: pt.RankCutoff | Prune, done: list[_Draft], waiting: list[pt.Transformer], problems: list[str]) -> None:
    """Set the last stage's cut-off; the transformers between them become part of that stage."""
    if not done:
        problems.append(f"{cutoff!r} has no ranking to cut: no transformer before it creates a score")
        return
    if (rule := done[-1].stage.rule) is not None:
        problems.append(f"{cutoff!r} follows {Prune(rule)!r} of stage {done[-1].stage.name!r}, expected one cut-off: its ceiling")
        return
    try:
        k = check_cutoff(cutoff.rule.ceiling if isinstance(cutoff, Prune) else cutoff.k, done[-1].stage.name)
    except PipelineError as error:
        problems.append(": ".join([error.what, *error.problems]))
        return
    if waiting:
        done[-1].extend(waiting)
    last = done[-1].stage
    k = k if last.cutoff is None else min(k or last.cutoff, last.cutoff)
    done[-1].stage = replace(last, cutoff=k, rule=cutoff.rule if isinstance(cutoff, Prune) else None)
