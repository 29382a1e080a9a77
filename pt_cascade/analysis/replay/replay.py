"""The ranking of any cut-off vector from the table, equal to that of the live cascade in rows, ranks and ties."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, get_args

import numpy as np
import pandas as pd

from pt_cascade.analysis.fusion.stage_fusion import StageFusion
from pt_cascade.analysis.grid.cutoffs import NO_CUT, Tail, check_cutoffs
from pt_cascade.analysis.pruning.rules import Rule
from pt_cascade.analysis.replay.rankings import cached_rankings
from pt_cascade.errors import SweepError, TableError, did_you_mean, naming
from pt_cascade.numbers import count_of, is_word
from pt_cascade.ranking import append_below, score_below

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pt_cascade.analysis.grid.cutoffs import Cutoff
    from pt_cascade.analysis.replay.rankings import Rankings
    from pt_cascade.analysis.table.data import Scores
    from pt_cascade.ranking import Floats, Ints

    Rules = Mapping[str, Rule]

NO_RULES: Rules = MappingProxyType({})


def replay(
    table: Scores,
    cutoffs: Sequence[Cutoff],
    *,
    tail: Tail = "drop",
    stages: Sequence[str] | None = None,
    fusion: StageFusion | None = None,
    prune: Rules = NO_RULES,
) -> pd.DataFrame:
    """Return the ranking of the live cascade at these cut-offs; see ``ScoreTable.replay``."""
    check_tail(tail)
    path = table.find_path(stages)
    if path.live and len(cutoffs) == len(path.stages) + 1:
        problem = f"stage {path.live!r} depends on the whole list, so its scores are not in the table"
        raise TableError("the cascade cannot be replayed", [problem], fix="cascade.finish(table, cutoffs)")
    checked = check_cutoffs(cutoffs, path.stages)
    given: object = fusion  # types are hints
    if not isinstance(given, StageFusion | None):
        problem = f"fusion is {given!r:.60} ({type(given).__name__}), expected a StageFusion or None"
        raise TableError("the stages cannot be fused", [problem], fix=f"fusion=ptc.StageFusion({dict.fromkeys(path.stages, 1)})")
    if fusion is not None:
        fusion.weigh(path.stages)  # refuses other stages
    check_rules(prune, path.stages)
    rankings = cached_rankings(table, path.stages)
    return replay_path(rankings, table, path.stages, checked, tail, fusion, prune=prune)


def replay_path(
    rankings: Rankings,
    table: Scores,
    stages: Sequence[str],
    cutoffs: Sequence[int | None],
    tail: Tail,
    fusion: StageFusion | None = None,
    *,
    prune: Rules = NO_RULES,
) -> pd.DataFrame:
    """Return the same from computed rankings and checked arguments."""
    kept, rank, score, cuts = walk_table(table, stages, cutoffs, rankings, fusion, prune)
    results = _frame(table, kept, rank, score, rankings)
    return results if tail == "drop" else _append(table, results, cuts, stages, rankings)


def covers(table: Scores, cutoffs: Sequence[Cutoff], *, stages: Sequence[str] | None = None) -> bool:
    """Tell whether every pair that these cut-offs need is in the table; see ``ScoreTable.covers``."""
    path = table.find_path(stages)
    try:
        replay(table, cutoffs, stages=path.stages)
    except TableError:
        return False
    return True


def check_tail(tail: Tail) -> None:
    """Refuse an unknown value of ``tail``."""
    if not is_word(tail, get_args(Tail)):
        raise SweepError(f"tail is {tail!r}", [f"expected one of {', '.join(get_args(Tail))}"])


def check_rules(prune: Rules, stages: Sequence[str]) -> None:
    """Refuse what is no dict of rules, and rules for stages that there are not."""
    given: object = prune  # types are hints
    if not isinstance(given, Mapping) or not all(isinstance(rule, Rule) for rule in given.values()):
        problem = f"prune is {given!r:.60} ({type(given).__name__}), expected a dict of rules by stage, or None"
        raise SweepError("the rules do not fit the stages", [problem], fix=f"{{{stages[0]!r}: Margin(0.2)}}")
    if unknown := [name for name in prune if name not in stages]:
        known = f"{unknown[0]!r} has a rule; the stages that can have one are {', '.join(stages)}"
        raise SweepError(
            "the rules do not fit the stages", [known + did_you_mean(unknown[0], stages)], fix=f"{{{stages[0]!r}: Margin(0.2)}}"
        )


def uncovered_error(table: Scores, stages: Sequence[str], cutoffs: Sequence[int | None], stage: str, where: str) -> TableError:
    """Return the error for cut-offs that need what was not scored; it names the call that would cover them."""
    asked = [None if k in (None, NO_CUT) else int(k) for k in cutoffs]
    own = table.find_path(stages).depths if any(path.stages == tuple(stages) for path in table.paths) else ()
    depths = [*asked[: len(stages) - 1], *own[len(asked) :]]
    depths += asked[-1:] * (len(stages) - 1 - len(depths))
    depths = [None if k is None or known is None else max(k, known) for k, known in zip(depths, own or depths, strict=True)]
    problem = f"{' → '.join(stages)} at {tuple(asked)} needs {where} scored by {stage!r}"
    made = f"; the table was made with depths={own}" if own and own[0] is not None else ""
    fix = (
        f"score(cascade, topics, depths={tuple(depths)})"
        if len(stages) > 1
        else f"score(cascade, topics), with {stage} % {asked[0]}"
    )
    if table.about.get("made of") == "runs":
        fix = f'give deeper runs, or ScoreTable.from_runs(..., missing="last"), which ranks pairs that run {stage!r} lacks last'
    return TableError("the table does not cover these cut-offs", [problem + made], fix=fix)


def check_depth(table: Scores, stages: Sequence[str], cutoffs: Sequence[int | None]) -> None:
    """Refuse a first cut-off beyond the depth of the first stage."""
    first = cutoffs[0]
    if table.depth is not None and (first is None or first > table.depth):
        raise uncovered_error(table, stages, cutoffs, stages[0], f"documents beyond the first {table.depth} of each query")


def rank_at_stage(
    table: Scores, stages: Sequence[str], cutoffs: Sequence[int | None], rankings: Rankings, n: int, kept: Ints
) -> tuple[Ints, Floats]:
    """Rank the documents that reach a stage (``kept``, positions in ``rankings``), and give their scores there.

    Returns positions among ``kept``, query by query in the ranking of the stage, and the score of each; both of shape (documents,).
    Raises a TableError where the stage did not score a document. ``cutoffs`` may be those of the first stages only.
    """
    place, query = rankings.places[n, kept], table.queries[rankings.rows[kept]]
    if (place < 0).any():
        missing = kept[place < 0]
        row = table.frame.iloc[rankings.rows[missing[0]]]
        one = f"qid {row['qid']}, docno {row['docno']}"
        where = one if len(missing) == 1 else f"{count_of(len(missing), 'pair')}, e.g. {one},"
        raise uncovered_error(table, stages, cutoffs, stages[n], where)
    score = table.frame[stages[n]].to_numpy(np.float64)[rankings.rows[kept]]
    return np.lexsort((place, query)), score_below(query, score, place) if np.isneginf(score).any() else score


def walk_table(
    table: Scores,
    stages: Sequence[str],
    cutoffs: Sequence[int | None],
    rankings: Rankings,
    fusion: StageFusion | None,
    prune: Rules,
) -> tuple[Ints, Ints, Floats, list[Ints]]:
    """Cut stage by stage; return the rows kept in their order, their ranks and scores, and what each stage cut, in rank order."""
    if fusion is None:
        return _walk(table, stages, cutoffs, rankings, prune)
    before = {name: rule for name, rule in prune.items() if name != stages[-1]}
    kept, _, _, cuts = _walk(table, stages, (*cutoffs[:-1], None), rankings, before)
    kept, rank, score, cuts[-1] = _fuse(table, stages, cutoffs[-1], rankings, fusion, kept, prune)
    return kept, rank, score, cuts


def _walk(
    table: Scores, stages: Sequence[str], cutoffs: Sequence[int | None], rankings: Rankings, prune: Rules
) -> tuple[Ints, Ints, Floats, list[Ints]]:
    """Do the same without a fusion."""
    check_depth(table, stages, cutoffs)
    query = table.queries[rankings.rows]
    kept = np.argsort(rankings.rows, kind="stable")  # the rows of the first stage, in its order
    columns = {column.stage: column for column in table.columns}
    rank, score, cuts = np.zeros(0, np.int64), np.zeros(0), []
    for n, (name, cutoff) in enumerate(zip(stages, cutoffs, strict=True)):
        by_rank, score = rank_at_stage(table, stages, cutoffs, rankings, n, kept)
        starts = np.r_[0, np.cumsum(np.bincount(query[kept], minlength=len(table.topics)))]
        rank = np.empty(len(kept), np.int64)
        rank[by_rank] = np.arange(len(kept)) - starts[query[kept[by_rank]]]
        limit = _limit(prune, name, cutoff, score[by_rank], starts)
        if n and (rows := columns[name].rule.rows) != "given":
            order = by_rank if rows == "rank" else np.lexsort((rankings.keys[rows][kept], query[kept]))
            kept, rank, score = kept[order], rank[order], score[order]
        inside = rank < limit[query[kept]]
        fallen = np.flatnonzero(~inside)
        cuts.append(kept[fallen[np.argsort(rank[fallen], kind="stable")]])
        kept, rank, score = kept[inside], rank[inside], score[inside]
    return kept, rank, score, cuts


def _limit(prune: Rules, stage: str, cutoff: int | None, score: Floats, starts: Ints) -> Ints:
    """Give each query's cut-off at a stage: lists of descending scores, of which each begins at ``starts``."""
    if stage not in prune:
        return np.full(len(starts) - 1, NO_CUT if cutoff is None else cutoff)
    with naming(stage):
        return prune[stage].within(cutoff).count(score, starts)


def _fuse(
    table: Scores,
    stages: Sequence[str],
    cutoff: int | None,
    rankings: Rankings,
    fusion: StageFusion,
    kept: Ints,
    prune: Rules,
) -> tuple[Ints, Ints, Floats, Ints]:
    """Rank what reaches the last stage by the fused scores and cut it; return as ``walk_table``, with what is cut."""
    query = table.queries[rankings.rows[kept]]
    scores = read_scores(table, stages)[:, rankings.rows[kept]]
    order, score = fusion.rank(stages, query, scores, rankings.places[:, kept], fusion.find_unfused(stages, scores))
    kept, score, query = kept[order], score[order], query[order]
    starts = np.r_[0, np.cumsum(np.bincount(query, minlength=len(table.topics)))]
    rank = np.arange(len(kept)) - starts[query]
    inside = rank < _limit(prune, stages[-1], cutoff, score, starts)[query]
    cut = np.flatnonzero(~inside)
    return kept[inside], rank[inside], score[inside], kept[cut[np.argsort(rank[cut], kind="stable")]]


def read_scores(table: Scores, stages: Sequence[str]) -> Floats:
    """Return the scores of the stages, shape (stages, rows of the table); NaN: not scored, -inf: failed."""
    return np.stack([table.frame[name].to_numpy(np.float64) for name in stages])


def _frame(table: Scores, at: Ints, rank: Ints, score: Floats, rankings: Rankings) -> pd.DataFrame:
    """Write documents as results."""
    rows = table.frame.iloc[rankings.rows[at]]
    query = table.topics["query"].to_numpy(object)[table.queries[rankings.rows[at]]]
    frame = pd.DataFrame({"qid": rows["qid"].to_numpy(object), "query": query, "docno": rows["docno"].to_numpy(object)}, dtype=str)
    return frame.assign(score=score, rank=rank)


def _append(table: Scores, head: pd.DataFrame, cuts: Sequence[Ints], stages: Sequence[str], rankings: Rankings) -> pd.DataFrame:
    """Append what was cut, the last stage's cut first."""
    at = np.concatenate(cuts[::-1])
    cut_by = np.repeat(np.array(stages[::-1], object), [len(cut) for cut in cuts[::-1]])
    below = _frame(table, at, np.zeros(len(at), np.int64), np.zeros(len(at)), rankings)
    return append_below(head.assign(cut_by=""), below.assign(cut_by=cut_by))
