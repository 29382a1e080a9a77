"""Splits a frame of results into its queries, each with its instruction and its documents in order of rank."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from pt_cascade.guards import ADD_RANKS, Guard, are_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pt_cascade.ranking import Ints

INSTRUCTION = "instruction"
_AS_TEXT = 'topics["instruction"] = topics["instruction"].astype(str)'


@dataclass(frozen=True)
class Query:
    """A query and its documents in order of rank, equal ranks in row order."""

    number: int  # its place in order of first appearance
    qid: str
    text: str
    instruction: str
    rows: Ints = field(compare=False)  # the rows of its documents
    docnos: tuple[str, ...]
    texts: tuple[str, ...]


def read_queries(results: pd.DataFrame, text_field: str, instruction: str) -> list[Query]:
    """Split a frame, in order of first appearance; a column ``instruction`` adds a line to the instruction."""
    given = results[INSTRUCTION] if INSTRUCTION in results else pd.Series("", results.index)
    own = given.where(given.notna(), "").astype(str).str.strip().to_numpy(object)
    number, qids = pd.factorize(results["qid"])
    rank = results["rank"].to_numpy(np.float64) if "rank" in results else np.zeros(len(results))
    order = np.lexsort((rank, number))
    docnos, texts, words = (results[name].to_numpy(object) for name in ("docno", text_field, "query"))
    queries = []
    for n, rows in enumerate(np.split(order, np.flatnonzero(np.diff(number[order])) + 1)):
        wanted = "\n".join(filter(None, (instruction.strip(), own[rows[0]])))
        queries.append(Query(n, str(qids[n]), str(words[rows[0]]), wanted, rows, tuple(docnos[rows]), tuple(texts[rows])))
    return queries


def check_frame(results: pd.DataFrame, columns: Sequence[str]) -> None:
    """Raise FrameError where a column is repeated, or qids, ranks, queries or instructions are missing or ambiguous."""
    optional = [name for name in ("rank", INSTRUCTION) if name in results]
    guard = Guard(results, "results", ("qid", "docno", *columns, *optional))
    guard.find("qid", "is missing", results["qid"].isna().to_numpy(bool), "find where it went missing, e.g. in a merge")
    if "rank" in results:
        guard.number("rank", "a number", np.isfinite, ADD_RANKS)
    if INSTRUCTION in results:
        wrong = results[INSTRUCTION].notna().to_numpy(bool) & ~are_of(results[INSTRUCTION], str)
        guard.find(INSTRUCTION, "is not text", wrong, _AS_TEXT)
    for name in ("query", *([INSTRUCTION] if INSTRUCTION in results else [])):
        values = results[name].astype(object).where(results[name].notna(), "")
        several = (values != values.groupby(results["qid"]).transform("first")).to_numpy(bool) & results["qid"].notna().to_numpy()
        guard.find("qid", f"has more than one {name}", several, "give each rewritten query its own qid")
    guard.refuse()
