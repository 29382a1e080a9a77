"""A table's scores as integers: each stage's ranking of a query's documents, ties broken, computed once.

A cut-off never changes which of two documents a stage prefers, nor how it breaks a tie: ties are broken by the order of the rows,
which is that of a stage before, down to the first. So each stage has one fixed ranking for each query, and ranking under any
cut-offs is comparing places in it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

import numpy as np

from pt_cascade.analysis.table.tie_rules import TieRule, number_docnos, static_keys

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import pandas as pd
    from numpy.typing import NDArray

    from pt_cascade.analysis.table.data import Scores
    from pt_cascade.analysis.table.tie_rules import Order
    from pt_cascade.ranking import Floats, Ints

    Numbers = NDArray[np.int32]
    Flags = NDArray[np.bool_]

NOT_SCORED = -1
_KEPT: WeakKeyDictionary[Scores, dict[tuple[tuple[str, ...], bool], Rankings]] = WeakKeyDictionary()
_LAST = np.iinfo(np.int64).max
_CELLS = 1 << 20  # of a block of queries that are sorted together


@dataclass(frozen=True, eq=False)
class Rankings:
    """One path of a table for the kernel: each query's documents in stage-1 rank order, and their place at every stage."""

    offsets: Ints  # (queries + 1,): where each query's documents begin
    rows: Ints  # (documents,): the row of ``table.frame`` that stands there
    every: Numbers  # (stages + 2, documents): ``places``, then ``evaluated``
    agree: Flags  # (queries,): whether all three rankings of the last stage are equal, as where no scores tie
    keys: Mapping[Order, Ints]  # (documents,) each: the orders that do not depend on the candidates

    @property
    def places(self) -> Numbers:
        """Shape (stages, documents): the document's place in the stage's order, from 0; -1 where it was not scored."""
        return self.every[:-2]

    @property
    def evaluated(self) -> Numbers:
        """Shape (2, documents): the place when the last stage's scores are evaluated.

        First by trec_eval (float32, descending, then docno descending), then by the MS MARCO and judged measures of ir_measures
        (float64, descending, then docno ascending).
        """
        return self.every[-2:]


def compute_rankings(table: Scores, stages: Sequence[str], *, by_rank: bool = False) -> Rankings:
    """Compute every stage's ranking for a path of a table; ``by_rank``: evaluate in rank order, not by trec_eval's tie rule."""
    rules = [column.rule for name in stages for column in table.columns if column.stage == name]
    offsets = np.r_[0, np.cumsum(table.retrieved)].astype(np.int64)
    rows = np.empty(len(table.frame), np.int64)
    rows[offsets[table.queries] + table.frame["rank"].to_numpy(np.int64)] = np.arange(len(rows))
    scores = np.stack([table.frame[name].to_numpy(np.float64)[rows] for name in stages])
    keys = static_keys(table.frame, {order for rule in rules for order in rule})
    keys = {order: key[rows] for order, key in keys.items()}
    places = place_all(offsets, rows, scores, rules, keys)
    every = np.concatenate([places, places[-1:], places[-1:]])
    if not by_rank:
        _break_ties(offsets, scores[-1], table.frame["docno"], rows, every[-2:])
    agree = np.ones(len(offsets) - 1, np.bool_)
    moved = (every[-2:] != every[-3]).any(axis=0)
    agree[np.searchsorted(offsets, np.flatnonzero(moved), side="right") - 1] = False
    return Rankings(offsets, rows, every, agree, keys)


def cached_rankings(table: Scores, stages: Sequence[str], *, by_rank: bool = False) -> Rankings:
    """Return what ``compute_rankings`` returns, computed once for a table and kept as long as the table."""
    kept, key = _KEPT.setdefault(table, {}), (tuple(stages), by_rank)
    if key not in kept:
        kept[key] = compute_rankings(table, stages, by_rank=by_rank)
    return kept[key]


def place_all(offsets: Ints, rows: Ints, scores: Floats, rules: Sequence[TieRule], keys: Mapping[Order, Ints]) -> Numbers:
    """Give every document its place in every stage's ranking: shape (stages, n), from 0 in each query, -1 if not scored.

    Args:
        offsets: Shape (queries + 1,).
        rows: Shape (n,). Where each document stood among the rows of the first stage; documents stand in its rank order.
        scores: Shape (stages, n). NaN: not scored; -inf: failed, ranks last, in the order of the rank before.
        rules: The tie rule of each stage; the first stage's is not used.
        keys: Shape (n,) for each order that does not depend on the candidates, see ``static_keys``.
    """
    places = np.full(scores.shape, NOT_SCORED, np.int32)
    for at, real in _blocks(offsets):
        orders = {order: np.argsort(np.where(real, key[at], _LAST), axis=1, kind="stable") for order, key in keys.items()}
        orders["rank"] = np.broadcast_to(np.arange(at.shape[1]), at.shape)  # of the stage before
        orders["given"] = np.argsort(np.where(real, rows[at], _LAST), axis=1, kind="stable")  # of the rows passed on
        places[0, at[real]] = orders["rank"][real]
        for stage in range(1, len(scores)):
            given = orders[rules[stage].ties]
            mine = np.take_along_axis(np.where(real, scores[stage, at], np.nan), given, axis=1)
            falling = np.argsort(-mine, axis=1, kind="stable")  # NaN last
            if rules[stage].ties != "rank" and (failed := np.isneginf(mine)).any():
                place = np.take_along_axis(np.argsort(orders["rank"], axis=1), given, axis=1)
                falling = np.lexsort((np.where(failed, place, 0), -mine), axis=1)
            orders["rank"] = np.take_along_axis(given, falling, axis=1)
            scored = ~np.isnan(np.take_along_axis(mine, falling, axis=1))
            document = np.take_along_axis(at, orders["rank"], axis=1)
            places[stage, document[scored]] = np.nonzero(scored)[1]
            orders["given"] = orders[rules[stage].rows]
    return places


def _blocks(offsets: Ints) -> Iterator[tuple[Ints, Flags]]:
    """Yield blocks of queries: their documents, a row a query, and which are real; the others pad a row at its end."""
    counts = np.diff(offsets)
    first = 0
    while first < len(counts):
        wide = np.maximum.accumulate(counts[first : first + _CELLS])
        last = first + max(1, int(np.searchsorted(wide * np.arange(1, len(wide) + 1), _CELLS, side="right")))
        column = np.arange(counts[first:last].max())
        real = column < counts[first:last, None]
        yield np.where(real, offsets[first:last, None] + column, 0), real
        first = last


def _break_ties(offsets: Ints, score: Floats, docno: pd.Series[str], rows: Ints, evaluated: Numbers) -> None:
    """Put documents of equal scores into the two orders of evaluation."""
    begin = np.repeat(offsets[:-1], np.diff(offsets))
    scored = np.flatnonzero(evaluated[0] != NOT_SCORED)
    ordered = np.full(len(rows), -1, np.int64)  # documents by query and place, gaps at the end
    ordered[begin[scored] + evaluated[0, scored]] = scored
    with np.errstate(over="ignore"):
        read: list[NDArray[np.floating]] = [score.astype(np.float32), score]
    apart = np.where(np.isneginf(score), ~np.arange(len(score)), 0)  # failed documents tie with none
    level = [_levels(np.where(ordered < 0, np.nan, value[ordered]), begin, apart[ordered]) for value in read]
    tied = np.flatnonzero(np.bincount(level[0], minlength=1)[level[0]] > 1)
    documents = ordered[tied]
    name = number_docnos(docno.iloc[rows[documents]])
    for kind, names in enumerate((-name, name)):
        among = documents[np.lexsort((names, level[kind][tied]))]
        evaluated[kind, among] = tied - begin[tied]


def _levels(value: NDArray[np.floating], begin: Ints, apart: Ints) -> Ints:
    """Number runs of equal values within a query; documents that are ``apart`` have a number of their own."""
    step = np.ones(len(value), np.int64)
    step[1:] = (value[1:] != value[:-1]) | (apart[1:] != apart[:-1]) | (begin[1:] != begin[:-1])
    return np.cumsum(step)
