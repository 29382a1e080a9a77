"""The keys of a score cache: hashes of what a score was computed from."""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING, cast

import numpy as np
import pandas as pd

from pt_cascade.errors import FrameError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from pt_cascade.ranking import Ints

    Hashes = NDArray[np.uint8]  # shape (m, 16)


@dataclass(frozen=True, eq=False)
class Keys:
    """The m different keys of n rows: two rows have one key if all that is read of them is equal.

    Attributes:
        groups: 16 bytes each: hashes of a query, or of a query with its whole list.
        group: Shape (m,). The number of each key's group.
        item: Shape (m,). 64 bits of a document's hash, or the place of a document in its list.
        row: Shape (m,). The first row with each key, ascending.
        key: Shape (n,). Each row's key, from 0 to m - 1.
    """

    groups: tuple[bytes, ...]
    group: Ints
    item: Ints
    row: Ints
    key: Ints


def point_keys(results: pd.DataFrame, reads: Iterable[str], identity: str) -> Keys:
    """Make one key for each different query text and document, identified by the columns in ``reads``.

    Example:
        >>> one = pd.DataFrame({"qid": ["1", "2"], "query": "q", "docno": ["a", "b"], "text": "lion"})
        >>> point_keys(one, ["text"], "").key.tolist(), point_keys(one, ["docno"], "").key.tolist()
        ([0, 0], [0, 1])
    """
    names = sorted({*reads})
    return _make_keys(results["query"], *_number_rows(results, names), [identity, "pointwise", *names])


def comparison_keys(results: pd.DataFrame, reads: Iterable[str], identity: str, first: Ints, second: Ints) -> Keys:
    """Make one key for each different query text and two documents, in this order; ``first`` and ``second`` are row numbers."""
    names = sorted({*reads})
    document, hashes = _number_rows(results, names)
    pair, pairs = pd.factorize(document[first] * np.int64(len(hashes)) + document[second])
    both = _hash_rows(np.hstack([hashes[pairs // len(hashes)], hashes[pairs % len(hashes)]]))
    return _make_keys(results["query"].iloc[first], pair, both, [identity, "comparison", *names])


def list_keys(results: pd.DataFrame, reads: Iterable[str], identity: str) -> Keys:
    """Make one group for each different list: its documents in row order, with their ranks, and the query of each."""
    names = sorted({*reads, "query", *({"rank"} & {*results.columns})})
    query = pd.factorize(results["qid"])[0]
    document, hashes = _number_rows(results, names)
    place, lists = np.empty(len(results), np.int64), []
    for rows in np.split(np.argsort(query, kind="stable"), np.cumsum(np.bincount(query))[:-1]):
        place[rows] = np.arange(len(rows))
        lists.append(_hash_group([identity, "list", *names], hashes[document[rows]].tobytes()))
    group, groups = pd.factorize(np.array(lists, object))
    row = np.flatnonzero(_find_first(group)[group[query]] == query)  # of queries with the same list, the first is scored
    code = group[query] * np.int64(len(results)) + place
    key = pd.Index(code[row]).get_indexer(pd.Index(code)).astype(np.int64)
    return Keys(tuple(groups), group[query][row], place[row], row, key)


def _make_keys(query: pd.Series[str], document: Ints, hashes: Hashes, prefix: list[str]) -> Keys:
    """Make the keys of queries and numbered documents; the query is the group."""
    number, queries = _number_cells(query)
    key, pairs = pd.factorize(number * np.int64(len(hashes)) + document)
    items = np.ascontiguousarray(hashes[:, :8]).view("<i8").ravel().astype(np.int64)
    groups = tuple(_hash_group(prefix, one.tobytes()) for one in queries)
    return Keys(groups, pairs // len(hashes), items[pairs % len(hashes)], _find_first(key), key)


def _number_rows(results: pd.DataFrame, names: list[str]) -> tuple[Ints, Hashes]:
    """Number the different rows of some columns as they appear, and hash each once."""
    if not names:
        return np.zeros(len(results), np.int64), np.zeros((1, 16), np.uint8)
    row, table = _number_cells(results[names[0]])
    for name in names[1:]:
        cell, hashes = _number_cells(results[name])
        row, both = pd.factorize(row * np.int64(len(hashes)) + cell)
        table = np.hstack([table[both // len(hashes)], hashes[both % len(hashes)]])
    return row, table if len(names) == 1 else _hash_rows(table)


def _number_cells(column: pd.Series) -> tuple[Ints, Hashes]:
    """Number the different values of a column as they appear, and hash each once; the type of the column does not count."""
    if isinstance(column.dtype, (pd.StringDtype, pd.CategoricalDtype)):  # pandas finds equal values without making Python texts
        code, values = pd.factorize(column, use_na_sentinel=False)
        cell, hashes = _number_cells(pd.Series(values, dtype=object, name=column.name))
        return cell[code], hashes
    cells = column.tolist()
    if not {*map(type, cells)} <= {str}:  # an array that stands in many rows is written once
        written = {key: _write(cell, str(column.name)) for key, cell in {id(cell): cell for cell in cells}.items()}
        cells = [written[id(cell)] for cell in cells]
    seen: defaultdict[str | bytes, int] = defaultdict(count().__next__)
    code = np.fromiter(map(seen.__getitem__, cells), np.int64, len(cells))
    return code, _hash_all(b"s" + cell.encode("utf-8", "surrogatepass") if isinstance(cell, str) else cell for cell in seen)


def _write(cell: object, column: str) -> str | bytes:
    if isinstance(cell, str):
        return str(cell)
    value = None if pd.api.types.is_scalar(cell) and pd.isna(cast("float", cell)) else cell
    try:
        return b"j" + json.dumps(value, sort_keys=True, default=_to_json).encode()
    except (TypeError, ValueError) as error:
        what = "a score cannot be cached, because its input has no value that can be hashed"
        found = f"column {column} holds {cell!r:.80} ({type(cell).__name__})"
        problem = f"{found}, expected text, numbers, arrays, lists or dictionaries by text"
        raise FrameError(what, [problem], fix="cached(stage, path, reads=['the columns that the stage reads'])") from error


def _to_json(value: object) -> object:
    """Give a number of NumPy, or an array, which is not a list, a form that JSON can write."""
    if isinstance(value, np.generic) and isinstance(item := value.item(), int | float):
        return item
    if isinstance(value, np.ndarray):
        whole = value.ravel().tolist() if value.dtype.hasobject else _hash_all([value.tobytes()]).tobytes().hex()
        return {"array": [str(value.dtype), value.shape, whole]}
    raise TypeError


def _hash_group(prefix: list[str], content: bytes) -> bytes:
    return hashlib.blake2b(json.dumps(prefix).encode() + content, digest_size=16).digest()


def _hash_rows(table: Hashes) -> Hashes:
    raw, step = table.tobytes(), table.shape[1]
    return _hash_all(raw[at : at + step] for at in range(0, len(raw), step))


def _hash_all(parts: Iterable[bytes]) -> Hashes:
    hasher = hashlib.blake2b
    return np.frombuffer(b"".join(hasher(part, digest_size=16).digest() for part in parts), np.uint8).reshape(-1, 16)


def _find_first(number: Ints) -> Ints:
    """Find where each number stands first; they are given as they appear, from 0."""
    return np.flatnonzero(~pd.Series(number).duplicated().to_numpy())
