"""The role of a transformer in a pipeline: it creates the score, adjusts it, or loads something for the next scorer.

Taken from the class or its declaration; else from what it returns for no rows; else from what it returns for a few made-up rows. It
creates the score if it returns one without being given one; it adjusts the score if it needs one and changes it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, TypeAlias

import numpy as np
import pandas as pd
import pyterrier as pt

from pt_cascade.cascade.known import look_up
from pt_cascade.cascade.wrappers import is_lazy, wrapped
from pt_cascade.errors import first_line

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pt_cascade.cascade.known import Role

Columns: TypeAlias = "list[str]"

TOPICS = ["qid", "query"]
RESULTS = ["qid", "query", "docno", "score", "rank"]
_RANKED = ("score", "rank")
_SAMPLE = 4  # sample documents


class Reading(NamedTuple):
    """The role of a transformer, None if unknown; the columns that it returns; the error that it raised."""

    role: Role | None
    columns: Columns
    error: str = ""


def read_role(transformer: pt.Transformer, columns: Columns) -> Reading:
    """Find the role of a transformer that is given these columns; see the module."""
    known, bare = look_up(transformer), transformer
    while not hasattr(bare, "stands_for") and (cached := wrapped(bare)) is not None:
        bare = cached
    if known.role == "loader" and known.documents == "any" and "docno" not in columns:  # set operations of retrievers
        return Reading("loader", [*columns, "docno"])
    ranked = [*columns, *(name for name in ("docno", *_RANKED) if name not in columns)]
    if is_lazy(bare):
        return Reading("scorer", ranked)
    full, _ = _inspect(bare, columns)
    if known.role is not None and (full or known.documents == "any" or "docno" in columns):
        return Reading(known.role, full or (ranked if known.role == "scorer" else columns))
    bare_columns = [name for name in columns if name not in _RANKED]
    unscored, error = _inspect(bare, bare_columns)
    if full is None and unscored is None:
        unscored, _ = _inspect(bare, bare_columns, sample=True)
        full, error = _inspect(bare, columns, sample=True)
    if unscored is not None and {"score", "docno"} <= set(unscored):
        return Reading("scorer", full or unscored)
    if unscored is None and full is None:
        declared = known.listed and "docno" in columns
        return Reading("scorer", ranked) if declared else Reading(None, columns, error)
    adjusts = unscored is None and {"score", "docno"} <= set(full or ()) and (known.listed or _changes_scores(bare, columns))
    return Reading("adjuster" if adjusts else "loader", full or columns)


def _inspect(transformer: pt.Transformer, columns: Columns, *, sample: bool = False) -> tuple[Columns | None, str]:
    """Return the output columns for no rows, or for sample rows; or the error."""
    found = pt.inspect.transformer_outputs(transformer, columns, strict=False)
    if found or not sample:
        return found or None, ""
    try:
        return list(transformer.transform(_sample_rows(columns)).columns), ""
    except Exception as error:  # noqa: BLE001 - a user's function may raise anything
        cause = error.__cause__ or error
        return None, f"{type(cause).__name__}: {first_line(cause)}"


def _changes_scores(transformer: pt.Transformer, columns: Columns) -> bool:
    """Whether a transformer changes the score of any sample row; True if it fails on them."""
    given = _sample_rows(columns)
    try:
        out = transformer.transform(given.copy())
        before = given.set_index(["qid", "docno"])["score"].reindex(pd.MultiIndex.from_frame(out[["qid", "docno"]]))
        return not np.array_equal(before.to_numpy(np.float64), out["score"].to_numpy(np.float64))
    except Exception:  # noqa: BLE001 - likewise
        return True


def _sample_rows(columns: Sequence[str]) -> pd.DataFrame:
    """Make a sample query, with a few documents if there is a docno; unknown columns hold text."""
    count = _SAMPLE if "docno" in columns else 1
    numbers = np.arange(count)
    special: dict[str, object] = {
        "qid": "1",
        "query": "sample query",
        "docid": numbers,
        "score": 1.0 / (2 + numbers),
        "rank": numbers,
        "features": [np.array([1.0, float(n)]) for n in numbers],
        "query_toks": [{"sample": 1.0}] * count,
        "stashed_results_0": [[{"docno": "docno 0", "score": 1.0, "rank": 0}]] * count,
    }
    text = {name: [f"{name} {n}" for n in numbers] for name in columns}
    return pd.DataFrame({name: special.get(name, text[name]) for name in columns}, index=range(count))
