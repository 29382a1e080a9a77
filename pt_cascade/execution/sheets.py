"""One chunk of queries, scored stage by stage: each (query, document, stage) once, whichever cascades want it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import partial
from itertools import combinations
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

import numpy as np
import pandas as pd

from pt_cascade.analysis.duels import Duels, find_unmet
from pt_cascade.analysis.needed import meetings, needed
from pt_cascade.analysis.orders import place_all
from pt_cascade.analysis.tie_rules import EVERY_RULE, PLAIN, choose_rule, static_keys
from pt_cascade.cascade import walk
from pt_cascade.errors import PipelineError
from pt_cascade.execution.comparing import Duelling, ask_duels, pick_few
from pt_cascade.execution.rehearsal import rehearse
from pt_cascade.execution.rows import find_failed, refuse_failed, refuse_other_documents, rerank
from pt_cascade.execution.tie_probing import observe, probe_copies, settle
from pt_cascade.ranking import locate

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from numpy.typing import NDArray

    from pt_cascade.analysis.tables import Path
    from pt_cascade.analysis.tie_rules import Order, TieRule, TieRules
    from pt_cascade.cascade import Stage, Step
    from pt_cascade.execution.plans import Plan
    from pt_cascade.execution.tie_probing import Dimension
    from pt_cascade.ranking import Floats, Ints

    Watch: TypeAlias = Callable[[Step | Duelling], None]


@dataclass(frozen=True, eq=False)
class Sheet:
    """What is known of one chunk when it is done.

    Attributes:
        frame: Frame[qid, docno, rank, docid, <stage>...], rows of a query together, in the order in which the first stage returned
            them; ``docid`` is that of the re-rankers' answers, NaN where they have none.
        rules: The tie rules that agree with the answers of each re-ranking stage, by its name.
        cut: Whether the first stage had found more for some query than was passed on.
        duels: What each pairwise stage said, of rows of the frame.
    """

    frame: pd.DataFrame
    rules: Mapping[str, TieRules]
    cut: bool
    duels: Mapping[str, Duels] = field(default_factory=dict)


class Source(NamedTuple):
    """Rows that a stage returned, with all their columns, and where their documents stand in the sheet."""

    place: Ints
    frame: pd.DataFrame


@dataclass(eq=False)
class _Draft:
    """A sheet being filled; documents of a query in the first stage's rank order."""

    first: pd.DataFrame
    offsets: Ints
    rows: Ints
    rules: dict[str, TieRules]
    docids: Floats
    scores: dict[str, Floats] = field(default_factory=dict)
    sources: dict[str, list[Source]] = field(default_factory=dict)
    duels: dict[str, Duels] = field(default_factory=dict)  # of documents, not of rows

    def wanted(self, path: Path, stages: int) -> NDArray[np.bool_]:
        """Mark what the stage after the first so many of a path must score."""
        return needed(self.offsets, self._places(path.stages[:stages]), path.depths[:stages])

    def unmet(self, path: Path) -> tuple[Ints, Ints]:
        """List the documents, in both orders, that a path's pairwise last stage has not been asked about and must be."""
        upper, lower = meetings(self.offsets, self._places(path.stages[:-1]), path.depths)
        first, second = np.concatenate([upper, lower]), np.concatenate([lower, upper])
        new = find_unmet(self.duels[path.stages[-1]], first, second)
        order = np.lexsort((second[new], first[new]))
        return first[new][order], second[new][order]

    def _places(self, names: Sequence[str]) -> NDArray[np.int32]:
        """Place all documents at some stages."""
        scores = np.stack([self.scores[name] for name in names])
        rules = self.chosen(names)
        return place_all(self.offsets, self.rows, scores, rules, self.keys({order for rule in rules for order in rule}))

    def keys(self, orders: Collection[Order]) -> Mapping[Order, Ints]:
        return static_keys(self.first[["docno"]].iloc[self.rows].assign(docid=self.docids), orders)

    def chosen(self, names: Sequence[str]) -> list[TieRule]:
        """The tie rule that each stage is taken to follow."""
        return [choose_rule(self.rules[name]) if name in self.rules else PLAIN for name in names]

    def settle(self, plan: Plan) -> None:
        """Find out how stages that score each document by itself break ties, where what they returned does not tell."""
        for stage in plan.stages:
            if stage.name in self.rules and stage.name in self.scores:
                before = {path.stages[path.stages.index(stage.name) - 1] for path in plan.paths if stage.name in path.stages[1:]}
                sources = [source for name in sorted(before) for source in self.sources.get(name, ())]
                find = partial(self._find, self.scores[stage.name], sources)
                self.rules[stage.name] = settle(stage, self.rules[stage.name], find)

    def _find(self, score: Floats, sources: Sequence[Source], what: Dimension, orders: Collection[Order]) -> pd.DataFrame | None:
        """Give two documents of a query, of equal scores for ``ties``, which two of the orders rank otherwise, or any such two."""
        if len(orders) == 1:
            return None
        score = np.where(np.isfinite(score), score, np.nan)
        query = np.repeat(np.arange(len(self.offsets) - 1), np.diff(self.offsets))
        level = score if what == "ties" else np.where(np.isnan(score), np.nan, 0.0)
        keys: dict[Order, Floats | Ints] = dict(self.keys(orders))
        if what == "rows" and "rank" in orders:
            keys["rank"] = -score
        for one, other in [*combinations(keys.values(), 2), (score, -score if what == "rows" else None)]:
            order = np.lexsort((one, level, query))
            same = (np.diff(query[order]) == 0) & (np.diff(level[order]) == 0)
            found = np.flatnonzero(same if other is None else same & (np.diff(other[order]) < 0))
            if len(found):
                return self._rows(order[found[0] : found[0] + 2], sources)
        return None

    @staticmethod
    def _rows(documents: Ints, sources: Sequence[Source]) -> pd.DataFrame:
        """Give some documents as rows of the stages before."""
        rows = [next(source.frame[source.place == one] for source in sources if one in source.place) for one in documents]
        frame: pd.DataFrame = pd.concat(rows, ignore_index=True, join="inner")
        return frame

    def ask(self, stage: Stage, path: Path, source: Source, mark: NDArray[np.bool_], watch: Watch) -> None:
        """Let a stage of a path score the marked rows of a source."""
        given = rerank(source.frame[mark])
        if stage.name not in self.rules:
            self.rules[stage.name] = probe_copies(stage, given, EVERY_RULE)
        step = next(walk((stage,), given))
        refuse_other_documents(step, path.stages.index(stage.name), last=stage.name == path.stages[-1] and not path.live)
        refuse_failed(step, failed := find_failed(step), keep=True)
        self.rules[stage.name] = observe(step, self.rules[stage.name])
        watch(step)
        place = source.place[mark][locate(step.ranked, step.given)]
        self._keep_docids(place, step.ranked)
        self.scores[stage.name][place] = np.where(failed, -np.inf, step.ranked["score"].to_numpy(np.float64))
        self.sources.setdefault(stage.name, []).append(Source(place, step.ranked))

    def _keep_docids(self, place: Ints, ranked: pd.DataFrame) -> None:
        """Keep the docids that a stage returned; refuse those of two indexes where ties are broken by them."""
        if "docid" not in ranked:
            return
        docids, before = ranked["docid"].to_numpy(np.float64), self.docids[place]
        other = np.flatnonzero((docids != before) & ~np.isnan(before))
        if len(other) and any("docid" in choose_rule(rules) for rules in self.rules.values()):
            pair = ranked.iloc[other[0]]
            problem = f"docno {pair['docno']!r} has docid {before[other[0]]:.0f} in one stage and {pair['docid']} in another"
            raise PipelineError("equal scores cannot be ordered by docid", [problem], fix="stage >> pt.apply.docid(drop=True)")
        self.docids[place] = docids

    def duel(self, stage: Stage, path: Path, watch: Watch) -> None:
        """Let a path's pairwise last stage compare what it has not compared yet."""
        first, second = self.unmet(path)
        if not len(first):
            return
        source = self._gather(path.stages[-2], np.unique(first))
        slot = np.full(len(self.rows), -1)
        slot[source.place] = np.arange(len(source.place))
        p = ask_duels(stage, source.frame, slot[first], slot[second], kept=True)
        known = self.duels[stage.name]
        self.duels[stage.name] = Duels.gather(
            known.aggregation,
            np.concatenate([known.first, first]),
            np.concatenate([known.second, second]),
            np.concatenate([known.p, p]),
        )
        live = None
        if stage.name not in self.rules:
            few = source.frame.iloc[slot[pick_few(first, second)]]
            live = next(walk((stage,), rerank(few)))
            self.rules[stage.name] = rehearse(stage, few, observe(live, EVERY_RULE))
        watch(Duelling(stage, source.frame, slot[first], slot[second], p, live))

    def _gather(self, before: str, documents: Ints) -> Source:
        """Give the rows of some documents as a stage passed them on."""
        marks = [np.isin(source.place, documents) for source in self.sources[before]]
        frames = [source.frame[mark] for source, mark in zip(self.sources[before], marks, strict=True)]
        places = [source.place[mark] for source, mark in zip(self.sources[before], marks, strict=True)]
        return Source(np.concatenate(places), rerank(pd.concat(frames, join="inner")))


def fill_sheet(plan: Plan, topics: pd.DataFrame, rules: Mapping[str, TieRules], watch: Watch) -> Sheet:
    """Score one chunk of queries.

    Args:
        plan: What to score.
        topics: Frame[qid, query, ...] of the chunk, or Frame[qid, docno, ...] of results to re-rank.
        rules: The tie rules that agree with the answers in earlier chunks.
        watch: Is shown each stage's step, or comparison, before the next one runs.

    Returns:
        The sheet.

    Raises:
        CascadeError: A stage failed, lost a document, or cannot be replayed.
    """
    step = next(walk((replace(plan.stages[0], cutoff=plan.depth),), topics))
    refuse_failed(step, find_failed(step), keep=False)
    watch(step)
    draft, names = _draft(plan, topics, step.kept, rules), [stage.name for stage in plan.stages]
    chosen: list[TieRule] = []
    while draft.chosen(names) != chosen:  # by another rule other documents may be wanted
        chosen = draft.chosen(names)
        _fill(draft, plan, watch)
        draft.settle(plan)
    columns = {name: score[draft.rows.argsort()] for name, score in [("docid", draft.docids), *draft.scores.items()]}
    duels = {
        name: Duels.gather(each.aggregation, draft.rows[each.first], draft.rows[each.second], each.p)
        for name, each in draft.duels.items()
    }
    frame = draft.first[["qid", "docno", "rank"]].astype({"qid": str, "docno": str, "rank": np.int64}).assign(**columns)
    return Sheet(frame, draft.rules, len(step.kept) < len(step.ranked), duels)


def _fill(draft: _Draft, plan: Plan, watch: Watch) -> None:
    """Ask every stage of every path for what it has not scored yet."""
    for path in plan.paths:
        for n, name in enumerate(path.stages[1:], start=1):
            if name in draft.duels:
                draft.duel(plan.stage(name), path, watch)
                continue
            todo = draft.wanted(path, n) & np.isnan(draft.scores[name])
            for source in tuple(draft.sources.get(path.stages[n - 1], ())):
                mark = todo[source.place]
                if mark.any():
                    draft.ask(plan.stage(name), path, source, mark, watch)


def _draft(plan: Plan, topics: pd.DataFrame, kept: pd.DataFrame, rules: Mapping[str, TieRules]) -> _Draft:
    """Begin with what the first stage passed on, queries in topic order, rows of a query together and in their order."""
    query = pd.Index(topics["qid"].astype(str).unique()).get_indexer(pd.Index(kept["qid"]))
    order = np.argsort(query, kind="stable")
    first = kept.take(order).reset_index(drop=True)
    offsets = np.r_[0, np.cumsum(np.bincount(query, minlength=topics["qid"].nunique()))].astype(np.int64)
    place = offsets[query[order]] + first["rank"].to_numpy(np.int64)
    rows = np.empty(len(first), np.int64)
    rows[place] = np.arange(len(first))
    draft = _Draft(first, offsets, rows, dict(rules), np.full(len(first), np.nan))
    none = np.zeros(0, np.int64)
    draft.duels.update({name: Duels(how, none, none, none.astype(np.float64)) for name, how in plan.duelling.items()})
    for stage in plan.stages:
        if stage.name not in draft.duels:
            draft.scores[stage.name] = np.full(len(first), np.nan)
    name = plan.stages[0].name
    draft.scores[name][place] = first["score"].to_numpy(np.float64)
    draft.sources[name] = [Source(place, first)] if len(first) else []
    return draft
