"""Runs the stages of a cascade one after the other over one frame, and checks what each returns."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from pt_cascade.cascade.calls import NO_PAIRS, call, check_documents, rank_by_query, rank_together
from pt_cascade.cascade.fusing import find_marked, fuse_last, list_marks
from pt_cascade.errors import warn
from pt_cascade.frames import canonical_input, canonical_results
from pt_cascade.numbers import count_of
from pt_cascade.progress import show_step
from pt_cascade.ranking import append_below, locate

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from typing import TypeAlias

    import pyterrier as pt
    from numpy.typing import NDArray

    from pt_cascade.analysis.fusion.stage_fusion import StageFusion
    from pt_cascade.analysis.grid.cutoffs import Tail
    from pt_cascade.cascade.stage import Stage

    Fuse: TypeAlias = Callable[[pd.DataFrame, pd.DataFrame], pd.DataFrame]


@dataclass(frozen=True)
class Step:
    """One run of one stage.

    Attributes:
        stage: The stage.
        given: Its input, Frame[qid, query, ...] or Frame[qid, docno, ...].
        ranked: Its output before the cut-off, Frame[qid, docno, score, rank, ...]; the fused one where ``fusion`` is.
        kept: The rows of ``ranked`` that pass the cut-off.
        pairs: Shape (pairs,): the qid of each pair that the scorer scores, one for each row, or as many as its method
            ``count_pairs(frame)`` says; empty for a retriever.
        ms: Milliseconds that its transformers, the fusion and the cut-off took, without the checks.
        unscored: Frame[qid, docno] of the documents that it did not score, where it failed or ran out of time.
        errors: The error of each query that it failed on, by qid.
        fusion: The fusion of the stages; None but for the last stage of a cascade that has one.
    """

    stage: Stage
    given: pd.DataFrame
    ranked: pd.DataFrame
    kept: pd.DataFrame
    pairs: pd.Series[str]
    ms: float
    unscored: pd.DataFrame = field(default_factory=NO_PAIRS.copy)
    errors: Mapping[str, str] = field(default_factory=dict)
    fusion: StageFusion | None = None

    @property
    def failed(self) -> NDArray[np.bool_]:
        """The rows of ``ranked`` that the column named by a transformer's ``failed_column`` marks as failed."""
        return find_marked(self.ranked, list_marks(self.stage))

    def trace(self, qids: pd.Index[str]) -> dict[str, NDArray[np.generic]]:
        """Return the counts and the time of each query, as columns of one entry a query."""

        def count(qid: pd.Series[str]) -> NDArray[np.int64]:
            return np.bincount(qids.get_indexer(pd.Index(qid, dtype=object)), minlength=len(qids))

        return {
            "stage": np.full(len(qids), self.stage.name, dtype=object),
            "qid": qids.to_numpy(),
            "docs_in": count(self.given["qid"]) if "docno" in self.given else np.zeros(len(qids), np.int64),
            "docs_ranked": count(self.ranked["qid"]),
            "docs_out": count(self.kept["qid"]),
            "pairs": count(self.pairs),
            "ms": np.full(len(qids), self.ms / max(len(qids), 1)),
            "shared_by": np.full(len(qids), len(qids)),
            "unscored": count(self.unscored["qid"]),
            "error": np.array([self.errors.get(qid, "") for qid in qids], dtype=object),
        }

    def list_unscored(self) -> pd.DataFrame:
        """Return Frame[stage, qid, unscored, error], a row for each query with documents that were not scored."""
        count = self.unscored["qid"].value_counts(sort=False).rename_axis("qid").reset_index(name="unscored")
        return count.assign(stage=self.stage.name, error=[self.errors.get(qid, "") for qid in count["qid"]])


def walk(
    stages: Iterable[Stage],
    frame: pd.DataFrame,
    *,
    fusion: StageFusion | None = None,
    clock: Callable[[], float] = time.perf_counter,
    done: Sequence[Step] = (),
) -> Iterator[Step]:
    """Yield one Step for each stage, the last one with the fusion; a transformer is not called for an empty frame.

    After steps that are ``done`` go on with the next stage; a fusion needs those of all stages, else the last one is enough.
    """
    stages, given = tuple(stages), done[-1].kept if done else canonical_input(frame)
    start = [stage.name for stage in stages].index(done[-1].stage.name) + 1 if done else 0
    before = {step.stage.name: _for_fusion(step) for step in done if fusion is not None}
    for n, stage in enumerate(stages[start:], start + 1):
        fuse = partial(fuse_last, fusion, stage.name, before) if fusion is not None and n == len(stages) else None
        step = run_stage(stage, given, clock, fuse)
        yield step if fuse is None else replace(step, fusion=fusion)
        given = step.kept
        if fusion is not None:
            before[stage.name] = _for_fusion(step)


def _for_fusion(step: Step) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return what a step passes on, and what it did not score."""
    return step.kept, _add_failed(step.unscored, step.stage, step.ranked)


def run_stage(stage: Stage, given: pd.DataFrame, clock: Callable[[], float] = time.perf_counter, fuse: Fuse | None = None) -> Step:
    """Run one stage on checked topics or results: its transformers, the checks, the fusion, the cut-off."""
    show_step(stage.name)
    by_query = stage.runs_by_query and "docno" in given and len(given)
    output = (rank_by_query if by_query else rank_together)(stage, given, clock)
    ranked = canonical_results(output.frame, stage.name)
    check_documents(stage, given, ranked)
    kept, ms = ranked, output.ms
    if len(ranked):
        ranked = ranked.assign(score=output.frame["score"])  # with its dtype, as in the plain pipeline
        start = clock()
        ranked = ranked if fuse is None else fuse(ranked, _add_failed(output.unscored, stage, ranked))
        kept = ranked if stage.cut is None else stage.cut.transform(ranked)
        ms += 1000 * (clock() - start)
    return Step(stage, given, ranked, kept, output.pairs, ms, output.unscored, output.errors)


def _add_failed(unscored: pd.DataFrame, stage: Stage, ranked: pd.DataFrame) -> pd.DataFrame:
    """Add the documents that a stage marks as failed to Frame[qid, docno] of those that it did not score."""
    failed = find_marked(ranked, list_marks(stage))
    return pd.concat([unscored, ranked.loc[failed, ["qid", "docno"]]]) if failed.any() else unscored


def run_ending(ending: Iterable[pt.Transformer], results: pd.DataFrame) -> pd.DataFrame:
    """Run what follows the last stage."""
    for part in ending:
        results = call(part, results, "the ending")
    return results


def run_steps(
    stages: Iterable[Stage],
    frame: pd.DataFrame,
    tail: Tail,
    *,
    fusion: StageFusion | None = None,
    below: pd.DataFrame | None = None,
) -> pd.DataFrame:
    """Run stages, append the tail and what is known to stand below it; warn of what was not scored."""
    steps: list[Step] = []
    unscored: list[pd.DataFrame] = []
    for step in walk(stages, frame, fusion=fusion):
        frame = step.kept
        steps += [step] if tail == "keep" else []
        unscored.append(step.list_unscored())
    warn_unscored(unscored)
    return append_tail(frame, steps, below) if tail == "keep" else frame


def append_tail(results: pd.DataFrame, steps: Sequence[Step], below: pd.DataFrame | None = None) -> pd.DataFrame:
    """Append the documents that the cut-offs removed, the last stage's first; ``cut_by`` names the stage, empty for the results."""
    head = results.assign(cut_by="")
    found = [head]
    for step in reversed(steps):
        if step.stage.cut is not None:
            cut = step.ranked[locate(step.ranked, step.kept) < 0]
            found.append(cut.sort_values("rank", kind="stable").assign(cut_by=step.stage.name))
    found += [] if below is None else [below]
    once = pd.concat(found, ignore_index=True).drop_duplicates(["qid", "docno"])  # a later stage may have found one again
    return canonical_results(append_below(head, once.iloc[len(head) :])) if len(once) > len(head) else head


def warn_unscored(batches: Sequence[pd.DataFrame]) -> None:
    """Warn of each stage that did not score all documents, as its options allow; see ``Step.list_unscored``."""
    for name, rows in pd.concat(batches).groupby("stage", sort=False) if batches else ():
        failed, late = rows[rows["error"] != ""], rows[rows["error"] == ""]
        parts = []
        if len(failed):
            first = failed.iloc[0]
            kept = f"failed on {count_of(len(failed), 'query')}, whose order stays as it was; the first is qid {first['qid']!r}"
            parts.append(f"{kept}: {first['error']}")
        if len(late):
            count = (
                f"did not score {count_of(late['unscored'].sum(), 'document')} of {count_of(len(late), 'query')} in its time limit"
            )
            parts.append(f"{count}; they follow below in the order that they had")
        for part in parts:
            warn(f"stage {name!r} {part}")
