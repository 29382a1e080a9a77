"""What a frame of topics, results or qrels is, and the guards that keep it so.

======== ========================= ==========================================================================
frame    columns                   rules
======== ========================= ==========================================================================
topics   qid, query                str, none missing, qid unique
results  qid, docno, score, rank   str, str, finite float64, int64 from 0; (qid, docno) unique; other columns kept
qrels    qid, docno, label         str, str, int64; (qid, docno) unique
======== ========================= ==========================================================================

**The tie rule** is PyTerrier's (``pt.model.add_ranks``): rank by score descending, equal scores by *row order*, from 0; rows stay
where they are. Nothing here changes the frame it is given.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from pt_cascade.errors import FrameError
from pt_cascade.ranking import pair_codes, ranks

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from pt_cascade.ranking import Floats, Ints

_SHOWN = 3
_ADD_RANKS = 'results = pt.model.add_ranks(results.drop(columns="rank"))'


def canonical_topics(topics: pd.DataFrame) -> pd.DataFrame:
    """Return the topics with str qids and queries, each qid once.

    Args:
        topics: Frame[qid, query]; integer qids become str, further columns stay.

    Returns:
        Frame[qid: str, query: str, ...], the same rows in the same order.

    Raises:
        FrameError: A column is missing, a value is missing, not text, or a qid stands twice.

    Example:
        >>> canonical_topics(pd.DataFrame({"qid": [7], "query": ["cumulative sum"]}))["qid"].tolist()
        ['7']
    """
    _require(topics, ("qid", "query"), "topics")
    problems: list[str] = []
    qid = _as_text(topics, "qid", problems)
    _as_text(topics, "query", problems, numbers=False)
    if not problems and (twice := qid[qid.duplicated()]).size:
        problems.append(f"{twice.nunique()} qid(s) stand more than once ({_shown(list(twice.unique()))}), expected each once")
    _refuse("topics are not usable", problems, 'topics = topics.drop_duplicates("qid")')
    return _with(topics, {"qid": qid})


def canonical_qrels(qrels: pd.DataFrame) -> pd.DataFrame:
    """Return the judgments with str ids and int64 labels, each pair once.

    Args:
        qrels: Frame[qid, docno, label]; labels are whole numbers, further columns stay.

    Returns:
        Frame[qid: str, docno: str, label: int64, ...], the same rows in the same order.

    Raises:
        FrameError: A column is missing, a label is not a whole number, or a pair is judged twice.

    Example:
        >>> canonical_qrels(pd.DataFrame({"qid": [1], "docno": ["d"], "label": [2.0]}))["label"].tolist()
        [2]
    """
    _require(qrels, ("qid", "docno", "label"), "qrels")
    problems: list[str] = []
    qid, docno = _as_text(qrels, "qid", problems), _as_text(qrels, "docno", problems)
    label = pd.to_numeric(qrels["label"], errors="coerce").to_numpy(np.float64)
    odd = ~np.isfinite(label) | (label != np.floor(label))
    if odd.any():
        problems.append(_at("label is not a whole number", qrels, odd))
    if not problems and (twice := pd.DataFrame({"qid": qid, "docno": docno}).duplicated().to_numpy()).any():
        problems.append(_at("judged more than once", qrels, twice))
    _refuse("qrels are not usable", problems, 'qrels = qrels.drop_duplicates(["qid", "docno"])')
    return _with(qrels, {"qid": qid, "docno": docno, "label": label.astype(np.int64)})


def canonical_results(results: pd.DataFrame, stage: str = "results") -> pd.DataFrame:
    """Return the results as PyTerrier means them, or one error that names every misfit.

    Args:
        results: Frame[qid, docno, score, ...]; a rank, where there is one, must be the one that the tie rule gives.
        stage: Who made the frame, for the error.

    Returns:
        Frame[qid: str, docno: str, score: float64, rank: int64, ...], the same rows in the same order.

    Raises:
        FrameError: A column is missing; a score is NaN or infinite; a (qid, docno) stands twice; an id is missing or neither
            text nor a whole number; a rank is not score descending, ties by row order, from 0.

    Example:
        >>> frame = pd.DataFrame({"qid": [1, 1], "docno": ["a", "b"], "score": [0.5, 2]})
        >>> canonical_results(frame)["rank"].tolist()
        [1, 0]
    """
    _require(results, ("qid", "docno", "score"), stage)
    problems: list[str] = []
    qid, docno = _as_text(results, "qid", problems), _as_text(results, "docno", problems)
    score = _as_scores(results, problems)
    codes = pair_codes(qid, docno) if not problems else np.empty(0, np.int64)
    if (twice := _repeated(codes)).any():
        problems.append(_at("(qid, docno) stands more than once", results, twice))
    _refuse(f"stage {stage!r} gave results that are not usable", problems, _remedy(problems))
    rank = ranks(qid, score)
    if "rank" in results and (wrong := results["rank"].to_numpy() != rank).any():
        _refuse_ranks(results, rank, wrong, stage)
    return _with(results, {"qid": qid, "docno": docno, "score": score, "rank": rank})


def check_text(results: pd.DataFrame, column: str, stage: str) -> None:
    """Refuse a text column in which a text is missing; an empty text is a text.

    Args:
        results: Frame[qid, docno, ...]; fine where it has no such column.
        column: The name of the text column.
        stage: Who would read it, for the error.

    Raises:
        FrameError: A text is None or NaN, or is not a str.
    """
    if column not in results or pd.api.types.infer_dtype(results[column], skipna=False) in ("string", "empty"):
        return
    bad = ~results[column].map(lambda text: isinstance(text, str)).to_numpy(bool)
    if bad.any():
        problem = _at(f"{column} is missing or not text", results, bad)
        fix = "load the text of every document, e.g. pt.text.get_text(index), or drop those rows before this stage"
        raise FrameError(f"stage {stage!r} cannot read its documents", [problem], fix=fix)


def _with(frame: pd.DataFrame, columns: dict[str, pd.Series[str] | Floats | Ints]) -> pd.DataFrame:
    """Assign the columns whose type is new; the values of the others are known to be the same."""
    new = {name: column for name, column in columns.items() if name not in frame or frame[name].dtype != column.dtype}
    return frame.assign(**new) if new else frame


def _require(frame: pd.DataFrame, columns: tuple[str, ...], what: str) -> None:
    missing = [name for name in columns if name not in frame]
    if missing:
        found = ", ".join(map(str, frame.columns)) or "none"
        problem = f"expected {', '.join(columns)}; found {found}"
        raise FrameError(f"{what}: missing column(s) {', '.join(missing)}", [problem])


def _as_text(frame: pd.DataFrame, name: str, problems: list[str], *, numbers: bool = True) -> pd.Series[str]:
    column = frame[name]
    kind = pd.api.types.infer_dtype(column, skipna=False)
    if kind in ("string", "empty"):
        return column if kind == "string" else column.astype(object)
    if kind == "categorical":
        plain = column.astype(column.cat.categories.dtype)
        return _as_text(frame.assign(**{name: plain}), name, problems, numbers=numbers)
    if kind == "integer" and numbers:
        return column.astype(str)
    good = column.map(lambda value: isinstance(value, str)).to_numpy(bool)
    wanted = "text or a whole number, all of one type" if numbers else "text"
    problems.append(_at(f"{name} has {kind} values, expected {wanted}", frame, ~good))
    return column


def _as_scores(results: pd.DataFrame, problems: list[str]) -> Floats:
    column = results["score"]
    if column.dtype == object:
        column = pd.to_numeric(column, errors="coerce")
    if not pd.api.types.is_numeric_dtype(column) or pd.api.types.is_bool_dtype(column):
        problems.append(f"score is {column.dtype}, expected a number")
        return np.zeros(len(results))
    score = column.to_numpy(np.float64, na_value=np.nan)
    if not (fine := np.isfinite(score)).all():
        problems.append(_at("score is NaN or infinite", results, ~fine))
    return score


def _repeated(codes: Ints) -> NDArray[np.bool_]:
    return pd.Series(codes).duplicated().to_numpy()


def _refuse_ranks(results: pd.DataFrame, rank: Ints, wrong: NDArray[np.bool_], stage: str) -> None:
    row = int(np.flatnonzero(wrong)[0])
    found = results["rank"].iloc[row]
    if (results["rank"].to_numpy() == rank + 1).all():
        problem = "its ranks start at 1, expected 0"
    else:
        who = f"qid {results['qid'].iloc[row]}, docno {results['docno'].iloc[row]}"
        rule = "score descending, ties by row order, from 0"
        problem = f"{int(wrong.sum())} rank(s) are not {rule}: {who} has {found}, expected {rank[row]}"
    raise FrameError(f"stage {stage!r} gave results that are not usable", [problem], fix=_ADD_RANKS)


def _remedy(problems: list[str]) -> str:
    if any("NaN" in problem for problem in problems):
        return "mend the scorer, or drop those rows: results = results[np.isfinite(results.score)]"
    if any("more than once" in problem for problem in problems):
        return 'results = results.sort_values("score", ascending=False).drop_duplicates(["qid", "docno"])'
    return 'results = results.astype({"qid": str, "docno": str})'


def _refuse(what: str, problems: list[str], fix: str) -> None:
    if problems:
        raise FrameError(what, problems, fix=fix)


def _at(what: str, frame: pd.DataFrame, bad: NDArray[np.bool_]) -> str:
    """Name the first rows that are bad."""
    columns = [name for name in ("qid", "docno") if name in frame]
    rows = frame.loc[bad, columns].head(_SHOWN).itertuples(index=False)
    where = "; ".join(", ".join(f"{name} {value}" for name, value in zip(columns, row, strict=True)) for row in rows)
    return f"{what} in {int(bad.sum())} of {len(frame)} row(s) ({where}{'; ...' if bad.sum() > _SHOWN else ''})"


def _shown(values: Sequence[object]) -> str:
    return ", ".join(map(str, list(values)[:_SHOWN])) + (", ..." if len(values) > _SHOWN else "")
