"""Under which keys the scores of some rows are kept: by what was read, not by what it is called."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

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


def pair_keys(results: pd.DataFrame, reads: Sequence[str], salt: str) -> Keys:
    """Make the keys of scores that depend on query and document alone.

    Args:
        results: Frame[qid, query, docno, ...], n rows.
        reads: The columns that tell a document.
        salt: What else the scores depend on: the hash of the stage's identity.

    Returns:
        One key for each different query text and document.

    Example:
        >>> one = pd.DataFrame({"qid": ["1", "2"], "query": "q", "docno": ["a", "b"], "text": "lion"})
        >>> pair_keys(one, ["text"], "").key.tolist(), pair_keys(one, ["docno"], "").key.tolist()
        ([0, 0], [0, 1])
    """
    query, queries = pd.factorize(results["query"])
    document, hashes = _hash_documents(results, reads)
    key, pairs = pd.factorize(query * np.int64(len(hashes)) + document)
    groups = tuple(_digest(salt, "pair", str(text)) for text in queries)
    items = np.array([int.from_bytes(hash_[:8], "big", signed=True) for hash_ in hashes], np.int64)
    return Keys(groups, pairs // len(hashes), items[pairs % len(hashes)], _first(key), key)


def list_keys(results: pd.DataFrame, reads: Sequence[str], salt: str) -> Keys:
    """Make the keys of scores that depend on the whole list: the query, and its documents with their ranks in row order.

    Args:
        results: As for ``pair_keys``; with ``rank`` where there is one.
        reads: As for ``pair_keys``.
        salt: As for ``pair_keys``.

    Returns:
        One group for each different list; the item is the row's place in it, from 0.
    """
    query = pd.factorize(results["qid"])[0]
    document, hashes = _hash_documents(results, reads)
    rank = results["rank"].to_numpy(np.int64) if "rank" in results else np.full(len(results), -1)
    texts = results["query"].to_numpy(object)
    place, lists = np.empty(len(results), np.int64), []
    for rows in np.split(np.argsort(query, kind="stable"), np.cumsum(np.bincount(query))[:-1]):
        place[rows] = np.arange(len(rows))
        told = (part for row in rows for part in (hashes[document[row]], int(rank[row]).to_bytes(8, "big", signed=True)))
        lists.append(_digest(salt, "list", texts[rows[0]], *told))
    group, groups = pd.factorize(np.array(lists, object))
    speaker = _first(group)  # of queries that have one list, the first is asked, with all of its rows
    row = np.flatnonzero(speaker[group[query]] == query)
    code = group[query] * np.int64(len(results)) + place
    key = pd.Index(code[row]).get_indexer(pd.Index(code)).astype(np.int64)
    return Keys(tuple(groups), group[query][row], place[row], row, key)


def _hash_documents(results: pd.DataFrame, reads: Sequence[str]) -> tuple[Ints, list[bytes]]:
    """Number the different documents, and hash each once."""
    code, hashes = np.zeros(len(results), np.int64), [b""]
    for name in reads:
        value, values = pd.factorize(results[name], use_na_sentinel=False)
        told = [_digest(name) if pd.isna(one) else _digest(name, str(one)) for one in values]
        code, both = pd.factorize(code * np.int64(len(told)) + value)
        hashes = [_digest(hashes[pair // len(told)], told[pair % len(told)]) for pair in both.tolist()]
    return code, hashes


def _digest(*parts: str | bytes) -> bytes:
    """Hash some parts, each after its length, so that no two lists of parts are alike."""
    return hashlib.blake2b(b"".join(_measured(parts)), digest_size=16).digest()


def _measured(parts: Iterable[str | bytes]) -> Iterable[bytes]:
    for part in parts:
        raw = part.encode("utf-8", "surrogatepass") if isinstance(part, str) else part
        yield len(raw).to_bytes(8, "big") + raw


def _first(number: Ints) -> Ints:
    """Find where each number stands first; they are given as they appear, from 0."""
    return np.flatnonzero(~pd.Series(number).duplicated().to_numpy())
