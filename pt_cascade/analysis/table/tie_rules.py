"""The tie rule of a stage: the order of the rows that it returns, and which of two documents with equal scores ranks first."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple, TypeAlias, get_args

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from pt_cascade.ranking import locate

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from numpy.typing import NDArray

    from pt_cascade.ranking import Ints

Order: TypeAlias = Literal["given", "rank", "docno", "docno descending", "docid"]
STATIC: tuple[Order, ...] = ("docno", "docno descending", "docid")  # the same for any candidates


class TieRule(NamedTuple):
    """How a stage orders its rows and equal scores; docid is a column of whole numbers, as Terrier's."""

    rows: Order = "given"  # the order of the rows of a query: as they came in, by the rank that the stage gives, or by a column
    ties: Order = "given"  # which of two equal scores ranks first: as they came in, by the rank before the stage, or by a column


TieRules: TypeAlias = frozenset[TieRule]
_LAST = 2.0**62
PLAIN = TieRule()  # that of pt.model.add_ranks
EVERY_RULE: TieRules = frozenset(TieRule(rows, ties) for rows in get_args(Order) for ties in get_args(Order))


def choose_rule(possible: TieRules) -> TieRule:
    """Return the simplest of the rules that agree with the observed output."""
    orders = get_args(Order)
    return min(possible, key=lambda rule: (orders.index(rule.rows), orders.index(rule.ties)))


def narrow_rules(possible: TieRules, given: pd.DataFrame, ranked: pd.DataFrame) -> TieRules:
    """Keep the rules by which a stage may have ordered its output.

    ``given`` is its input, Frame[qid, docno, rank, ...]; ``ranked`` its output, Frame[qid, docno, score, rank, ...], of documents
    of the input only, with ``docid`` where it returns one.
    """
    place, query = locate(ranked, given), pd.factorize(ranked["qid"])[0]
    rank, score = ranked["rank"].to_numpy(), ranked["score"].to_numpy(np.float64)
    keys = static_keys(ranked, {order for rule in possible for order in rule})
    by_rows, by_rank = np.argsort(query, kind="stable"), np.lexsort((rank, query))
    tied = np.r_[False, np.diff(score[by_rank]) == 0][: len(score)]
    rows = {"given": place, "rank": rank, **keys}
    ties = {"given": place, "rank": given["rank"].to_numpy()[place], **keys}
    follows = {order for order, key in rows.items() if not _falls(query, key, by_rows).any()}
    breaks = {order for order, key in ties.items() if not (_falls(query, key, by_rank) & tied).any()}
    return frozenset(rule for rule in possible if rule.rows in follows and rule.ties in breaks)


def static_keys(documents: pd.DataFrame, orders: Iterable[Order]) -> Mapping[Order, Ints]:
    """Give each document its key, lowest first, in those of the orders that do not depend on the candidates: shape (n,) each."""
    wanted = [order for order in STATIC if order in set(orders) and (order != "docid" or "docid" in documents)]
    number = number_docnos(documents["docno"]) if wanted and wanted != ["docid"] else None
    keys: dict[Order, Ints] = {}
    for order in wanted:
        if number is None or order == "docid":
            keys[order] = documents["docid"].astype(np.float64).fillna(_LAST).to_numpy().astype(np.int64)
        else:
            keys[order] = number if order == "docno" else -number
    return keys


def number_docnos(docno: pd.Series[str]) -> Ints:
    """Number docnos so that the numbers compare as the docnos do, byte by byte."""
    numbers: Ints = pc.rank(pa.array(docno), sort_keys="ascending", tiebreaker="dense").to_numpy().astype(np.int64)
    return numbers


def _falls(query: Ints, key: Ints, order: Ints) -> NDArray[np.bool_]:
    """Mark, in an order of the rows, those whose key is below that of the row before, in the same query."""
    query, key = query[order], key[order]
    falls: NDArray[np.bool_] = np.r_[False, (np.diff(query) == 0) & (np.diff(key) < 0)][: len(query)]
    return falls
