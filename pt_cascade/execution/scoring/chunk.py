"""Scores one batch of queries: each (query, document, stage) once, for all cascades."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import partial
from itertools import combinations
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd

from pt_cascade.analysis.replay.rankings import place_all
from pt_cascade.analysis.replay.required_documents import required_documents
from pt_cascade.analysis.table.tie_rules import EVERY_RULE, PLAIN, TieRule, choose_rule, static_keys
from pt_cascade.cascade.calls import list_changes
from pt_cascade.cascade.steps import run_stage
from pt_cascade.errors import PipelineError, StageError
from pt_cascade.execution.scoring.tie_rules import observe, settle
from pt_cascade.guards import show_rows
from pt_cascade.numbers import count_of
from pt_cascade.ranking import locate

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from numpy.typing import NDArray

    from pt_cascade.analysis.table.data import Path
    from pt_cascade.analysis.table.tie_rules import Order, TieRules
    from pt_cascade.cascade import Stage, Step
    from pt_cascade.execution.scoring.plan import Plan
    from pt_cascade.execution.scoring.tie_rules import Dimension
    from pt_cascade.ranking import Floats, Ints


@dataclass(frozen=True, eq=False)
class ChunkScores:
    """The scores of one batch of queries.

    Attributes:
        frame: Frame[qid, docno, rank, docid, <stage>...], the rows of a query together, in the order of the first stage; ``docid``
            as the re-rankers return it, else NaN.
        rules: The tie rules that agree with the results of each re-ranking stage, by its name.
        cut: Whether a query fills the first stage's cut-off, so that it may have more documents.
        left_out: Why a query is not in the frame, by qid: a stage with ``on_error="keep"`` did not score all its documents.
    """

    frame: pd.DataFrame
    rules: Mapping[str, TieRules]
    cut: bool
    left_out: Mapping[str, str] = field(default_factory=dict)


class _Output(NamedTuple):
    """Rows that a stage returned, and the position of each row's document in the batch."""

    position: Ints
    frame: pd.DataFrame


@dataclass(eq=False)
class _Chunk:
    """The state of one batch; documents are ordered by query, then by the first stage's rank."""

    first: pd.DataFrame
    offsets: Ints
    rows: Ints  # of each document in ``first``
    rules: dict[str, TieRules]
    docids: Floats
    scores: dict[str, Floats] = field(default_factory=dict)
    outputs: dict[str, list[_Output]] = field(default_factory=dict)
    steps: list[Step] = field(default_factory=list)
    left_out: dict[str, str] = field(default_factory=dict)

    def keys(self, orders: Collection[Order]) -> Mapping[Order, Ints]:
        return static_keys(self.first[["docno"]].iloc[self.rows].assign(docid=self.docids), orders)

    def chosen_rules(self, names: Sequence[str]) -> list[TieRule]:
        """Return the tie rule assumed for each stage."""
        return [choose_rule(self.rules.get(name, frozenset({PLAIN}))) for name in names]

    def score_required(self, plan: Plan) -> None:
        """Score the documents that the cut-offs of a path require and that are not scored yet, on every path."""
        for path in plan.paths:
            for n, name in enumerate(path.stages[1:], start=1):
                before = path.stages[:n]
                rules = self.chosen_rules(before)
                keys = self.keys({order for rule in rules for order in rule})
                places = place_all(self.offsets, self.rows, np.stack([self.scores[stage] for stage in before]), rules, keys)
                todo = required_documents(self.offsets, places, path.depths[:n]) & np.isnan(self.scores[name])
                todo &= ~self.first["qid"].isin(self.left_out).to_numpy()[self.rows]
                for output in tuple(self.outputs.get(before[-1], ())):
                    mark = todo[output.position]
                    if mark.any():
                        self.score(plan.stages[name], output, mark, path)

    def score(self, stage: Stage, output: _Output, mark: NDArray[np.bool_], path: Path) -> None:
        """Score the marked rows of the previous stage's output."""
        given = rerank(output.frame[mark])
        step = _leave_out(run_stage(stage, given), self.left_out)
        _refuse_changes(step, path)
        _refuse_failed(step, keep=True)
        self.rules[stage.name] = observe(step, self.rules.get(stage.name, EVERY_RULE))
        self.steps.append(step)
        position = output.position[mark][locate(step.ranked, given)]
        self.keep_docids(position, step.ranked)
        self.scores[stage.name][position] = np.where(step.failed, -np.inf, step.ranked["score"].to_numpy(np.float64))
        self.outputs.setdefault(stage.name, []).append(_Output(position, step.ranked))

    def keep_docids(self, position: Ints, ranked: pd.DataFrame) -> None:
        """Store the docids of a stage's results; refuse different ones for a document if ties are ordered by docid."""
        if "docid" not in ranked:
            return
        docids, before = ranked["docid"].to_numpy(np.float64), self.docids[position]
        other = np.flatnonzero((docids != before) & ~np.isnan(before))
        if len(other) and any("docid" in choose_rule(rules) for rules in self.rules.values()):
            pair = ranked.iloc[other[0]]
            problem = f"docno {pair['docno']!r} has docid {before[other[0]]:.0f} in one stage and {pair['docid']} in another"
            raise PipelineError("equal scores cannot be ordered by docid", [problem], fix="stage >> pt.apply.docid(drop=True)")
        self.docids[position] = docids

    def find_pair(
        self, score: Floats, outputs: Sequence[_Output], dimension: Dimension, orders: Collection[Order]
    ) -> pd.DataFrame | None:
        """Return two documents of a query that the orders rank differently, for ``ties`` with equal scores."""
        if len(orders) == 1:
            return None
        score = np.where(np.isfinite(score), score, np.nan)
        query = np.repeat(np.arange(len(self.offsets) - 1), np.diff(self.offsets))
        level = score if dimension == "ties" else np.where(np.isnan(score), np.nan, 0.0)
        keys: dict[Order, Floats | Ints] = dict(self.keys(orders))
        if dimension == "rows" and "rank" in orders:
            keys["rank"] = -score
        for one, other in [*combinations(keys.values(), 2), (score, -score if dimension == "rows" else None)]:
            order = np.lexsort((one, level, query))
            same = (np.diff(query[order]) == 0) & (np.diff(level[order]) == 0)
            found = np.flatnonzero(same if other is None else same & (np.diff(other[order]) < 0))
            if len(found):
                documents = order[found[0] : found[0] + 2]
                rows = [next(each.frame[each.position == one] for each in outputs if one in each.position) for one in documents]
                pair: pd.DataFrame = pd.concat(rows, ignore_index=True, join="inner")
                return pair
        return None


def score_chunk(plan: Plan, topics: pd.DataFrame, rules: Mapping[str, TieRules]) -> tuple[ChunkScores, list[Step]]:
    """Score one batch of queries; return the scores and every run of a stage."""
    names, left_out = [*plan.stages], dict[str, str]()
    step = _leave_out(run_stage(replace(plan.stages[names[0]], cutoff=plan.depth), topics), left_out)
    _refuse_failed(step, keep=False)
    chunk = _begin(names, topics, step, rules)
    chunk.left_out.update(left_out)
    chosen: list[TieRule] = []
    while chunk.chosen_rules(names) != chosen:  # another tie rule may require other documents
        chosen = chunk.chosen_rules(names)
        chunk.score_required(plan)
        for name in (name for name in names if name in chunk.rules):
            before = {path.stages[path.stages.index(name) - 1] for path in plan.paths if name in path.stages[1:]}
            outputs = [output for one in sorted(before) for output in chunk.outputs.get(one, ())]
            chunk.rules[name] = settle(plan.stages[name], chunk.rules[name], partial(chunk.find_pair, chunk.scores[name], outputs))
    full = plan.depth is not None and bool((step.kept["qid"].value_counts() >= plan.depth).any())
    columns = {"docid": chunk.docids, **{name: chunk.scores[name] for name in names}}
    columns = {name: values[chunk.rows.argsort()] for name, values in columns.items()}  # in the row order of the first stage
    frame = chunk.first[["qid", "docno", "rank"]].astype({"qid": str, "docno": str, "rank": np.int64}).assign(**columns)
    return ChunkScores(frame[~frame["qid"].isin(chunk.left_out)], chunk.rules, full, chunk.left_out), chunk.steps


def _begin(names: Sequence[str], topics: pd.DataFrame, step: Step, rules: Mapping[str, TieRules]) -> _Chunk:
    """Start from the first stage's results, queries in topic order."""
    query = pd.Index(topics["qid"].unique()).get_indexer(pd.Index(step.kept["qid"]))
    order = np.argsort(query, kind="stable")
    first = step.kept.take(order).reset_index(drop=True)
    offsets = np.r_[0, np.cumsum(np.bincount(query, minlength=topics["qid"].nunique()))].astype(np.int64)
    position = offsets[query[order]] + first["rank"].to_numpy(np.int64)
    rows = np.empty(len(first), np.int64)
    rows[position] = np.arange(len(first))
    scores = {name: np.full(len(first), np.nan) for name in names}
    scores[names[0]][position] = first["score"].to_numpy(np.float64)
    outputs = {names[0]: [_Output(position, first)] if len(first) else []}
    return _Chunk(first, offsets, rows, dict(rules), np.full(len(first), np.nan), scores, outputs, [step])


def rerank(results: pd.DataFrame) -> pd.DataFrame:
    """Rank the rows of each query from 0 in their old order; results without ranks stay without."""
    if "rank" not in results:
        return results.reset_index(drop=True)
    rank = results.groupby("qid", sort=False)["rank"].rank(method="first").to_numpy(np.float64).astype(np.int64) - 1
    return results.assign(rank=rank).reset_index(drop=True)


def _leave_out(step: Step, left_out: dict[str, str]) -> Step:
    """Return a step without the queries that it did not score whole, and add them to ``left_out``; refuse them by default."""
    unscored = step.list_unscored()
    if not len(unscored):
        return step
    found = f"{count_of(unscored['unscored'].sum(), 'document')} of {count_of(len(unscored), 'query')}"
    late = f"{found} were not scored within {step.stage.time_limit_ms} ms"
    if step.stage.on_error == "raise":
        fix = f"score(cascade.options(time_limit_ms={{{step.stage.name!r}: None}}), topics), or on_error='keep' to leave them out"
        raise StageError(f"stage {step.stage.name!r} could not score every document", [late], fix=fix)
    left_out |= {qid: error or f"stage {step.stage.name!r} ran out of time" for qid, error in unscored[["qid", "error"]].to_numpy()}
    kept = {name: getattr(step, name) for name in ("given", "ranked", "kept")}
    return replace(step, **{name: frame[~frame["qid"].isin(left_out)].reset_index(drop=True) for name, frame in kept.items()})


def _refuse_changes(step: Step, path: Path) -> None:
    """Refuse a stage that adds or removes documents, as its results then depend on the cut-offs before it."""
    if step.stage.documents != "reranks" and (problems := list_changes(step.given, step.ranked)):  # else refused by run_stage
        name = step.stage.name
        fix = f"run it as the last stage: cascade.with_stage({name!r}, depends='listwise'), then cascade.finish(table)"
        if name != path.stages[-1] or path.live:
            fix = f"score the stages before it, e.g. score(cascade.prefix({path.stages.index(name)}), topics)"
        raise PipelineError(f"stage {name!r} cannot be replayed: it changes the documents", problems, fix=fix)


def _refuse_failed(step: Step, *, keep: bool) -> None:
    """Refuse pairs that a stage could not score; with ``keep`` and ``on_error="keep"`` they may rank below the others."""
    if not step.failed.any():
        return
    problem = f"it failed{show_rows(step.ranked, step.failed)}"
    policies = {getattr(part, "on_error", "raise") for part in step.stage.transformers if getattr(part, "failed_column", "")}
    if not keep or policies != {"keep"}:
        fix = "call score again when the stage works (finished batches are reused)"
        fix += ", or make it with on_error='keep'" if keep else ""
        raise StageError(f"stage {step.stage.name!r} could not score every document", [problem], fix=fix)
