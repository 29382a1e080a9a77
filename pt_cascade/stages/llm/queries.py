"""A frame of results as cases to be judged: each query with its instruction and its documents, in the order of their ranks."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from pt_cascade.errors import FrameError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pt_cascade.ranking import Ints

INSTRUCTION = "instruction"


@dataclass(frozen=True)
class Case:
    """A query and its documents, in the order of their ranks, equal ones in row order."""

    number: int  # which query of the frame it is
    qid: str
    query: str
    instruction: str
    rows: Ints = field(compare=False)  # where its documents stand in the frame
    docnos: tuple[str, ...]
    texts: tuple[str, ...]


def read_cases(results: pd.DataFrame, text_field: str, instruction: str) -> list[Case]:
    """Take a frame apart, a case a query, in order of first appearance; without a rank, the rows are taken as ranked.

    A column ``instruction`` adds to what is asked of every query; None, NaN and an empty text add nothing.

    Raises:
        FrameError: The rows of a query differ in its text or instruction, or an instruction is no text.
    """
    own = _read_instructions(results)
    _check_alike(results, own)
    query, qids = pd.factorize(results["qid"])
    rank = pd.to_numeric(results["rank"]).to_numpy(np.float64) if "rank" in results else np.zeros(len(results))
    order = np.lexsort((rank, query))
    docnos, texts, words = (results[name].to_numpy(object) for name in ("docno", text_field, "query"))
    cases = []
    for number, rows in enumerate(np.split(order, np.flatnonzero(np.diff(query[order])) + 1)):
        wanted = "\n".join(filter(None, (instruction.strip(), own[rows[0]])))
        said = (tuple(docnos[rows]), tuple(texts[rows]))
        cases.append(Case(number, str(qids[number]), str(words[rows[0]]), wanted, rows, *said))
    return cases


def check_frame(results: pd.DataFrame, columns: Sequence[str]) -> None:
    """Refuse a frame of which nobody could tell the queries, the order or the texts.

    Raises:
        FrameError: A column stands twice, a qid is missing, or a rank is no number.
    """
    names = list(results.columns)
    read = dict.fromkeys(("qid", "docno", "rank", INSTRUCTION, *columns))
    if twice := [name for name in read if names.count(name) > 1]:
        fix = "results = results.loc[:, ~results.columns.duplicated()]"
        raise FrameError("llm_judge cannot tell what to read", [f"column {name} stands twice" for name in twice], fix=fix)
    problems = {}
    if missing := int(results["qid"].isna().sum()):
        problems[f"qid is missing in {missing} of {len(results)} row(s)"] = "find where it went missing, e.g. in a merge"
    if "rank" in results and (bad := pd.to_numeric(results["rank"], errors="coerce").isna().to_numpy(bool)).any():
        first = f"first qid {results['qid'].iloc[int(bad.argmax())]}: {results['rank'].iloc[int(bad.argmax())]!r:.60}"
        problems[f"rank is no number in {int(bad.sum())} of {len(results)} row(s), {first}"] = (
            'results = pt.model.add_ranks(results.drop(columns="rank"))'
        )
    if problems:
        raise FrameError("llm_judge cannot order its documents", list(problems), fix="; ".join(problems.values()))


def _read_instructions(results: pd.DataFrame) -> list[str]:
    if INSTRUCTION not in results:
        return [""] * len(results)
    column = results[INSTRUCTION]
    missing = column.isna().to_numpy(bool)
    values = column.to_numpy(object)
    wrong = [row for row, value in enumerate(values) if not missing[row] and not isinstance(value, str)]
    if wrong:
        where = f"{len(wrong)} of {len(values)} row(s), first qid {results['qid'].iloc[wrong[0]]}: {values[wrong[0]]!r:.60}"
        fix = 'topics["instruction"] = topics["instruction"].astype(str)'
        raise FrameError("llm_judge cannot read its instructions", [f"instruction is not text in {where}"], fix=fix)
    return ["" if gone else str(value).strip() for value, gone in zip(values, missing, strict=True)]


def _check_alike(results: pd.DataFrame, instructions: list[str]) -> None:
    """A query is asked as one."""
    told = pd.DataFrame({"qid": results["qid"].to_numpy(object), "query": results["query"].to_numpy(object)})
    different = told.assign(instruction=instructions).drop_duplicates()
    twice = different.loc[different.duplicated("qid"), "qid"]
    if len(twice):
        problem = f"{twice.nunique()} qid(s) have more than one query or instruction, first {twice.iloc[0]}"
        raise FrameError("llm_judge cannot tell what is asked", [problem], fix="give a rewritten query a qid of its own")
