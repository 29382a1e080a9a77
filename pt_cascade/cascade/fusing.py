"""A cascade that ends in a fusion of its stages' scores: the fused ranking, and the same in a plain PyTerrier pipeline.

In a pipeline ``KeepScores`` writes the score and rank of a stage in two columns, and ``FuseStages`` reads and removes them.
The rules of the fusion are in ``pt_cascade.analysis.fusion.stage_fusion``.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from itertools import chain
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pyterrier as pt

from pt_cascade.analysis.fusion.stage_fusion import StageFusion, rename_stages
from pt_cascade.cascade.columns import ColumnsError
from pt_cascade.cascade.known import show
from pt_cascade.cascade.stage import Stage
from pt_cascade.errors import PipelineError, StageError
from pt_cascade.frames import canonical_results
from pt_cascade.guards import show_rows
from pt_cascade.pruning import Prune
from pt_cascade.ranking import locate

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from pt_cascade.ranking import Floats

_WHAT = "the stages cannot be fused"
_FIX = 'Cascade.of(bm25 % 1000 >> bi_encoder % 20).fused({"bm25": 0.4, "bi_encoder": 0.6})'


def fuse_last(
    fusion: StageFusion,
    last: str,
    before: Mapping[str, tuple[pd.DataFrame, pd.DataFrame]],
    ranked: pd.DataFrame,
    unscored: pd.DataFrame,
) -> pd.DataFrame:
    """Give the results of the last stage their fused scores, query by query, the best document first.

    Documents that a stage with a weight did not score follow below in their order; a query with no others keeps its scores.

    Args:
        fusion: The weights and options.
        last: The name of the last stage.
        before: By name of each stage before it: Frame[qid, docno, score, rank, ...] of what its cut-off passed on, and
            Frame[qid, docno] of what it did not score, as it failed or ran out of time.
        ranked: The first of these of the last stage, before its cut-off.
        unscored: The second of these of the last stage.
    """
    lacking = {**{name: pairs for name, (_, pairs) in before.items()}, last: unscored}
    apart = np.zeros(len(ranked), np.bool_)
    for name in _weighted(fusion, lacking):
        if len(lacking[name]):
            apart |= locate(ranked, lacking[name]) >= 0
    found = {}
    for name in _weighted(fusion, before):
        frame, _ = before[name]
        rows = locate(ranked, frame)  # -1 where it has none: the NaN at the end
        found[name] = [np.append(frame[column].to_numpy(np.float64), np.nan)[rows] for column in ("score", "rank")]
    return _fuse_some(fusion, last, found, ranked, apart)


def _fuse_some(
    fusion: StageFusion, last: str, found: Mapping[str, Sequence[Floats]], ranked: pd.DataFrame, apart: NDArray[np.bool_]
) -> pd.DataFrame:
    """Fuse documents, but those ``apart``, which follow below; the score and rank at the stages before: shape (documents,) each."""
    found = {**found, last: [ranked[column].to_numpy(np.float64) for column in ("score", "rank")]}
    lacking = {name: ~(np.isfinite(score) | apart) for name, (score, _) in found.items()}
    if problems := [f"stage {name!r} gave no score{show_rows(ranked, rows)}" for name, rows in lacking.items() if rows.any()]:
        fix = f"leave such a stage out, e.g. cascade.fused({{{last!r}: 1}}), or do not fuse: cascade.fused(None)"
        raise StageError(_WHAT, problems, fix=fix)
    query = pd.factorize(ranked["qid"])[0].astype(np.int64)
    scores, places = (np.array(values) for values in zip(*found.values(), strict=True))
    order, fused = fusion.rank(list(found), query, scores, places, apart)
    sizes = np.bincount(query)
    rank = np.arange(len(order)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    return ranked.iloc[order].reset_index(drop=True).assign(score=fused[order], rank=rank)


def _weighted(fusion: StageFusion, stages: Iterable[str]) -> list[str]:
    """Return the stages that have a weight, in order."""
    weights = dict(fusion.weights)
    return [name for name in stages if name in weights]


class _Part(pt.Transformer):  # type: ignore[misc]
    """A transformer that holds none; PyTerrier's inspection takes an empty tuple for transformers."""

    def subtransformers(self) -> dict[str, pt.Transformer]:
        """Return none."""
        return {}


@dataclass(frozen=True)
class KeepScores(_Part):
    """Writes the score and rank of a stage in the columns ``score_of_<stage>`` and ``rank_of_<stage>``.

    Attributes:
        stage: The name of the stage.
        failed: The columns in which it marks documents that it could not score; these get -inf, as a later stage may mark its own
            there.
    """

    stage: str
    failed: tuple[str, ...] = field(default=(), repr=False)

    def transform(self, inp: pd.DataFrame) -> pd.DataFrame:
        """Add the two columns to Frame[qid, docno, score, ...]."""
        pt.validate.result_frame(inp, extra_columns=["score"], context=self)
        ranked = canonical_results(inp, self.stage)
        score = ranked["score"].mask(find_marked(inp, self.failed), -np.inf)
        return inp.assign(**dict(zip(_columns(self.stage), (score, ranked["rank"]), strict=True)))


@dataclass(frozen=True)
class FuseStages(_Part):
    """Ranks by the scores of several stages: of the last one, and of those before it, which ``KeepScores`` kept.

    Attributes:
        fusion: The weights and options.
        stages: The names of all stages of the cascade.
        failed: The columns in which the last stage, if it has a weight, marks documents that it could not score; these follow
            below, as do those that ``KeepScores`` gave -inf.
    """

    fusion: StageFusion
    stages: tuple[str, ...]
    failed: tuple[str, ...] = ()

    def transform(self, inp: pd.DataFrame) -> pd.DataFrame:
        """Rank Frame[qid, docno, score, ...] with the columns of ``KeepScores``, which are removed."""
        *before, last = self.stages
        kept = {name: _columns(name) for name in _weighted(self.fusion, before)}
        columns = [column for pair in kept.values() for column in pair]
        try:
            pt.validate.result_frame(inp, extra_columns=["score", *columns], context=self)
        except pt.validate.InputValidationError as error:
            lost = [name for name, pair in kept.items() if not {*pair} <= {*inp}]
            problems = [f"the scores of stage {name!r} are lost: a stage after it dropped its columns" for name in lost]
            fix = "run the cascade itself, which keeps them: Cascade.of(pipeline).transform(topics)"
            raise ColumnsError(_WHAT, problems, fix=fix, modes=error.modes) from error
        ranked = canonical_results(inp, last).drop(columns=columns)
        found = {name: [inp[one].to_numpy(np.float64) for one in pair] for name, pair in kept.items()}
        apart = np.isneginf([score for score, _ in found.values()]).any(axis=0) | find_marked(inp, self.failed)
        return _fuse_some(self.fusion, last, found, ranked, apart)


def find_marked(results: pd.DataFrame, columns: Iterable[str]) -> NDArray[np.bool_]:
    """Mark the rows that any of some columns marks, as far as there are such columns."""
    marks = [results[name].to_numpy(np.bool_) for name in columns if name in results]
    return np.asarray(np.any([np.zeros(len(results), np.bool_), *marks], axis=0))


def _columns(stage: str) -> tuple[str, str]:
    return f"score_of_{stage}", f"rank_of_{stage}"


def add_fusion(stages: Sequence[Stage], fusion: StageFusion | None) -> Iterator[Stage | pt.Transformer]:
    """Yield stages with the transformers that fuse them between; the cut-off of the last stage follows."""
    if fusion is None:
        yield from stages
        return
    *before, last = stages
    kept = _weighted(fusion, [stage.name for stage in before])
    for stage in before:
        yield stage
        if stage.name in kept:
            yield KeepScores(stage.name, list_marks(stage))
    yield replace(last, cutoff=None, rule=None)
    yield FuseStages(fusion, tuple(stage.name for stage in stages), list_marks(last) if _weighted(fusion, [last.name]) else ())
    if last.cut is not None:
        yield last.cut


def list_marks(stage: Stage) -> tuple[str, ...]:
    """List the columns in which a stage marks documents that it could not score."""
    return tuple(dict.fromkeys(name for part in stage.transformers if (name := getattr(part, "failed_column", ""))))


def read_fusion(
    pipeline: Sequence[pt.Transformer | Stage], stages: tuple[Stage, ...], ending: Sequence[pt.Transformer]
) -> tuple[tuple[Stage, ...], StageFusion | None]:
    """Find the fusion in a flat pipeline that was read without it; return the stages under the names that it gives them."""
    marks = [item for item in pipeline if isinstance(item, (KeepScores, FuseStages))]
    if not marks:
        return stages, None
    what, fuse = "this pipeline cannot be read as a cascade", marks[-1]
    if not isinstance(fuse, FuseStages):
        raise PipelineError(what, [f"{fuse!r} keeps scores for a fusion, which is not there"], fix=_FIX)
    if len(fuse.stages) == len(stages):
        stages = tuple(replace(stage, name=name) for stage, name in zip(stages, fuse.stages, strict=True))
    at, parts, wanted = pipeline.index(fuse), _list_parts(pipeline), _list_parts([*add_fusion(stages, fuse.fusion), *ending])
    if [*map(_identify, parts)] != [*map(_identify, wanted)]:
        after = [show(part) for part in _list_parts(pipeline[at + 1 :]) if not any(part is one for one in ending)]
        found = f"it is followed by {', '.join(after)}" if after else f"the stages are {', '.join(stage.name for stage in stages)}"
        problem = f"{fuse!r} is not after the last stage of its cascade, as Cascade.pipeline() puts it: {found}"
        raise PipelineError(what, [problem], fix=f"leave the fusion out, and fuse all stages: {_FIX}")
    before = pipeline[at - 1]
    cut = before.cut if isinstance(before, Stage) else before
    if isinstance(cut, pt.RankCutoff | Prune):
        step = f">> {cut!r}" if isinstance(cut, Prune) else f"% {cut.k}"
        problem = f"the cut-off {step} of stage {stages[-1].name!r} is before the fusion; it comes after the fusion"
        raise PipelineError(what, [problem], fix=f"stage >> FuseStages(...) {step}, or {_FIX}")
    return stages, fuse.fusion


def _list_parts(items: Iterable[Stage | pt.Transformer]) -> list[pt.Transformer]:
    """List the transformers of a flat pipeline without its cut-offs."""
    parts = chain.from_iterable(item.transformers if isinstance(item, Stage) else (item,) for item in items)
    return [part for part in parts if not isinstance(part, pt.RankCutoff | Prune)]


def _identify(part: pt.Transformer) -> object:
    """Give what is equal for the same transformer: the fusion and its parts by value, all others by identity."""
    return part if isinstance(part, (KeepScores, FuseStages)) else id(part)


def check_fusion(fusion: StageFusion | None, stages: Sequence[Stage]) -> StageFusion | None:
    """Refuse a fusion of other stages, or of one; return it with the weights in the order of the stages."""
    if fusion is None:
        return None
    if not isinstance(fusion, StageFusion):
        raise PipelineError(
            _WHAT, [f"fusion is {fusion!r:.60} ({type(fusion).__name__}), expected a StageFusion or None"], fix=_FIX
        )
    names = [stage.name for stage in stages]
    if len(names) == 1:
        raise PipelineError(_WHAT, [f"there is one, {names[0]!r}, expected two or more"], fix=_FIX)
    fusion.weigh(names)
    return rename_stages(fusion, {name: name for name in names})


def show_stages(stages: Sequence[Stage], fusion: StageFusion | None) -> str:
    """Return a cascade as one line, e.g. bm25 → 1000 · t5 → 20; a fusion is before the last cut-off."""
    *before, last = stages
    return " · ".join(map(repr, [*before, last if fusion is None else replace(last, name=f"{last.name} · {fusion}")]))


def describe_stages(stages: Sequence[Stage], fusion: StageFusion | None) -> pd.DataFrame:
    """Return a row for each stage and for the fusion; see ``Cascade.describe``."""
    *before, last = stages
    shown = stages if fusion is None else [*before, replace(last, cutoff=None, rule=None)]
    rows = [(one.name, one.shown_cut, one.depends, one.documents, " >> ".join(map(show, one.transformers))) for one in shown]
    rows += [] if fusion is None else [("fused", last.shown_cut, "listwise", "reranks", repr(fusion))]
    return pd.DataFrame(rows, columns=["stage", "cutoff", "depends", "documents", "transformers"])


def list_stages(stages: Sequence[Stage], fusion: StageFusion | None) -> pd.DataFrame:
    """Return a row for each stage and for the fusion: the cut-off, and options that are set; no path of an index or a model."""
    frame = describe_stages(stages, fusion).drop(columns="transformers").rename(columns={"cutoff": "cut-off"})
    frame.loc[len(stages) :, "stage"] = repr(fusion)
    told = [(None if one.on_error == "raise" else one.on_error, one.time_limit_ms) for one in stages]
    return frame.join(pd.DataFrame(told, columns=["on error", "time limit ms"]).dropna(axis=1, how="all"))
