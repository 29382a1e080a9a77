"""Under which keys the scores of some rows are kept: by what was read, not by what it is called."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from pt_cascade.stages.scorecache.cell_hashes import hash_all, measure, number_cells

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from pt_cascade.ranking import Ints


@dataclass(frozen=True, eq=False)
class Keys:
    """The different keys of some rows.

    Two rows have one key if they would be scored alike: two topics with one text, two documents with one text.

    Attributes:
        groups: The g different groups, 16 bytes each: a query, or a query with its whole list.
        group: Shape (m,). The group of each key.
        item: Shape (m,). Its item: a 64-bit hash of the document, or its place in the list.
        row: Shape (m,). The first row with that key, ascending.
        key: Shape (n,). The key of each row, from 0 to m - 1.
    """

    groups: tuple[bytes, ...]
    group: Ints
    item: Ints
    row: Ints
    key: Ints

    def take(self, chosen: Ints) -> tuple[list[bytes], Ints, Ints]:
        """Give the groups, their numbers and the items of some keys, as a store wants them.

        Args:
            chosen: Shape (k,). Which keys.
        """
        numbers, group = np.unique(self.group[chosen], return_inverse=True)
        return [self.groups[number] for number in numbers], group, self.item[chosen]


def pair_keys(results: pd.DataFrame, reads: Iterable[str], salt: str) -> Keys:
    """Make the keys of scores that depend on query and document alone.

    Args:
        results: Frame[qid, query, docno, ...], n rows.
        reads: The columns that tell a document, in any order.
        salt: What else the scores depend on: the hash of the stage's identity.

    Returns:
        One key for each different query text and document.

    Raises:
        FrameError: A cell has no value to tell it by.

    Example:
        >>> one = pd.DataFrame({"qid": ["1", "2"], "query": "q", "docno": ["a", "b"], "text": "lion"})
        >>> pair_keys(one, ["text"], "").key.tolist(), pair_keys(one, ["docno"], "").key.tolist()
        ([0, 0], [0, 1])
    """
    names = sorted({*reads})
    query, queries = number_cells(results["query"])
    document, hashes = number_rows(results, names)
    key, pairs = pd.factorize(query * np.int64(len(hashes)) + document)
    groups = tuple(hash_group(salt, "pair", names, one) for one in queries)
    return Keys(groups, pairs // len(hashes), to_items(hashes)[pairs % len(hashes)], _first(key), key)


def list_keys(results: pd.DataFrame, reads: Iterable[str], salt: str) -> Keys:
    """Make the keys of scores that depend on the whole list: its documents in row order, with their ranks, and the query of each.

    Args:
        results: As for ``pair_keys``; with ``rank`` where there is one.
        reads: As for ``pair_keys``.
        salt: As for ``pair_keys``.

    Returns:
        One group for each different list; the item is the row's place in it, from 0.

    Raises:
        FrameError: A cell has no value to tell it by.
    """
    names = sorted({*reads, "query", *({"rank"} & {*results.columns})})
    query = pd.factorize(results["qid"])[0]
    document, hashes = number_rows(results, names)
    place, lists = np.empty(len(results), np.int64), []
    for rows in np.split(np.argsort(query, kind="stable"), np.cumsum(np.bincount(query))[:-1]):
        place[rows] = np.arange(len(rows))
        lists.append(hash_group(salt, "list", names, hashes[document[rows]].tobytes()))
    group, groups = pd.factorize(np.array(lists, object))
    speaker = _first(group)  # of queries that have one list, the first is asked, with all of its rows
    row = np.flatnonzero(speaker[group[query]] == query)
    code = group[query] * np.int64(len(results)) + place
    key = pd.Index(code[row]).get_indexer(pd.Index(code)).astype(np.int64)
    return Keys(tuple(groups), group[query][row], place[row], row, key)


def number_rows(results: pd.DataFrame, names: list[str]) -> tuple[Ints, NDArray[np.uint8]]:
    """Number the different rows of some columns, and hash each once; a cell too, whatever stands beside it.

    Args:
        results: Frame of n rows.
        names: Columns; of none, all rows are one.

    Returns:
        Shape (n,): the number of each row, as they appear, from 0. Shape (m, 16): the hashes.

    Raises:
        FrameError: A cell has no value to tell it by.
    """
    code, table = np.zeros(len(results), np.int64), np.zeros((1, 16), np.uint8)
    for n, name in enumerate(names):
        value, values = number_cells(results[name])
        mine = np.frombuffer(b"".join(values), np.uint8).reshape(-1, 16)
        if not n:
            code, table = value, mine
            continue
        code, both = pd.factorize(code * np.int64(len(mine)) + value)
        table = np.hstack([table[both // len(mine)], mine[both % len(mine)]])
    if len(names) > 1:
        table = hash_rows(table)
    return code, table


def hash_rows(table: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Hash the rows of a table of bytes, shape (m, k), to shape (m, 16)."""
    raw, step = table.tobytes(), table.shape[1]
    hashes = hash_all(raw[at : at + step] for at in range(0, len(raw), step))
    return np.frombuffer(b"".join(hashes), np.uint8).reshape(-1, 16)


def hash_group(salt: str, kind: str, names: list[str], told: bytes) -> bytes:
    """Hash a group: of whose scores, of what kind, by which columns, and of what.

    Args:
        salt: The hash of the stage's identity.
        kind: E.g. ``pairwise``.
        names: The columns that tell an item.
        told: The hash of the query, or all of a list.
    """
    words = measure(name.encode("utf-8", "surrogatepass") for name in names)
    return hash_all([measure((salt.encode(), kind.encode(), words, told))])[0]


def to_items(hashes: NDArray[np.uint8]) -> Ints:
    """Take the first 64 bits of hashes as numbers.

    Args:
        hashes: Shape (m, 16).
    """
    return np.ascontiguousarray(hashes[:, :8]).view(">i8").ravel().astype(np.int64)


def _first(number: Ints) -> Ints:
    """Find where each number stands first; they are given as they appear, from 0."""
    return np.flatnonzero(~pd.Series(number).duplicated().to_numpy())
