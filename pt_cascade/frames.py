"""What a frame of topics, results or qrels is, and the guards that keep it so.

======== ========================= ==========================================================================
frame    columns                   rules
======== ========================= ==========================================================================
topics   qid, query                str, none missing, qid unique
results  qid, docno, score, rank   str, str, finite float64, int64 from 0; (qid, docno) unique; other columns kept
qrels    qid, docno, label         str, str, int64; (qid, docno) unique
======== ========================= ==========================================================================

**The tie rule** is PyTerrier's (``pt.model.add_ranks``): rank by score descending, equal scores by *row order*, from 0; rows stay
where they are. Nothing here changes the frame it is given; what comes back is another frame, with the same index.
"""

from __future__ import annotations

from numbers import Integral, Real
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from pt_cascade.errors import FrameError
from pt_cascade.ranking import is_ranking, pair_codes, ranks

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from pt_cascade.ranking import Floats, Ints

_SHOWN = 3
_EXACT = 2**53  # float64 holds every whole number below
_GRADE = "grade with whole numbers, and drop what was not judged"
_NO_NUL = r'topics["query"] = topics["query"].str.replace("\x00", " ")'
_ADD_RANKS = 'results = pt.model.add_ranks(results.drop(columns="rank"))'
_KEEP_BEST = 'results = results.sort_values("score", ascending=False).drop_duplicates(["qid", "docno"])'
_MEND_SCORES = "mend the scorer, or drop those rows: results = results[np.isfinite(results.score)]"


def canonical_topics(topics: pd.DataFrame) -> pd.DataFrame:
    """Return the topics with str qids and queries, each qid once.

    Args:
        topics: Frame[qid, query]; integer qids become str, further columns stay.

    Returns:
        Frame[qid: str, query: str, ...], the same rows in the same order.

    Raises:
        FrameError: A column is missing; a qid is missing, neither text nor a whole number, or stands twice; a query is missing
            or not text.

    Example:
        >>> canonical_topics(pd.DataFrame({"qid": [7], "query": ["cumulative sum"]}))["qid"].tolist()
        ['7']
    """
    guard = _Guard(topics, "topics", ("qid", "query"))
    qid, query = guard.text("qid", numbers=True), guard.text("query", numbers=False)
    nul = np.array([isinstance(text, str) and "\x00" in text for text in query], bool)  # PISA dies of one
    guard.find("query", "holds a NUL character", nul, _NO_NUL)
    guard.once(("qid",), 'topics = topics.drop_duplicates("qid")')
    guard.refuse()
    return topics.assign(qid=qid, query=query)


def canonical_input(frame: pd.DataFrame) -> pd.DataFrame:
    """Return topics, or results to re-rank, with str ids; a query may be missing, and a rank is not checked.

    Args:
        frame: Frame[qid, query, ...] of topics, or Frame[qid, docno, ...] of results.
    """
    columns = getattr(frame, "columns", ("query",))
    if "docno" not in columns:
        return canonical_topics(frame) if "query" in columns else canonical_topics(frame.assign(query="-")).drop(columns="query")
    bare = frame.drop(columns="rank", errors="ignore")
    checked = canonical_results(bare if "score" in frame else bare.assign(score=0.0))
    return frame.assign(qid=checked["qid"], docno=checked["docno"])


def canonical_qrels(qrels: pd.DataFrame) -> pd.DataFrame:
    """Return the judgments with str ids and int64 labels, each pair once.

    Args:
        qrels: Frame[qid, docno, label]; labels are whole numbers, further columns stay.

    Returns:
        Frame[qid: str, docno: str, label: int64, ...], the same rows in the same order.

    Raises:
        FrameError: A column is missing; an id is missing or neither text nor a whole number; a label is not a whole number;
            a (qid, docno) stands twice.

    Example:
        >>> canonical_qrels(pd.DataFrame({"qid": [1], "docno": ["d"], "label": [2.0]}))["label"].tolist()
        [2]
    """
    guard = _Guard(qrels, "qrels", ("qid", "docno", "label"))
    qid, docno = guard.text("qid", numbers=True), guard.text("docno", numbers=True)
    label = guard.number("label", "a whole number", lambda x: (x == np.floor(x)) & (np.abs(x) < _EXACT), _GRADE)
    guard.once(("qid", "docno"), 'qrels = qrels.drop_duplicates(["qid", "docno"])')
    guard.refuse()
    return qrels.assign(qid=qid, docno=docno, label=label.astype(np.int64))


def canonical_results(results: pd.DataFrame, stage: str = "") -> pd.DataFrame:
    """Return the results as PyTerrier means them, or one error that names every misfit.

    Args:
        results: Frame[qid, docno, score, ...]. A rank, where there is one, is kept if it orders by score, descending, from 0 and
            without gaps, whatever its order among equal scores: PyTerrier cuts by it. Without one, the tie rule gives it.
        stage: The stage that made the frame, for the error.

    Returns:
        Frame[qid: str, docno: str, score: float64, rank: int64, ...], the same rows in the same order.

    Raises:
        FrameError: A column is missing; a score is not a finite number, or a whole number beyond 2**53 that float64 would round;
            a (qid, docno) stands twice; an id is missing or neither text nor a whole number; a rank is not score descending from 0.

    Example:
        >>> frame = pd.DataFrame({"qid": [1, 1], "docno": ["a", "b"], "score": [0.5, 2]})
        >>> canonical_results(frame)["rank"].tolist()
        [1, 0]
    """
    guard = _Guard(results, "results", ("qid", "docno", "score"), stage)
    qid, docno = guard.text("qid", numbers=True), guard.text("docno", numbers=True)
    score = guard.number("score", "a finite number", np.isfinite, _MEND_SCORES)
    found = guard.number("rank", "a whole number", np.isfinite, _ADD_RANKS) if "rank" in results else None
    guard.once(("qid", "docno"), _KEEP_BEST)
    guard.refuse()
    rank = ranks(qid, score)
    if found is not None and not (found == rank).all():
        if not is_ranking(qid, score, found):
            guard.ranked(found, rank)
            guard.refuse()
        rank = found.astype(np.int64)
    return results.assign(qid=qid, docno=docno, score=score, rank=rank)


def check_text(results: pd.DataFrame, column: str, stage: str) -> None:
    """Refuse a text column in which a text is missing; an empty text is a text.

    Args:
        results: Frame[qid, docno, ...]; fine where it has no such column.
        column: The name of the text column.
        stage: Who would read it, for the error.

    Raises:
        FrameError: A text is None or NaN, or is not a str.

    Example:
        >>> check_text(pd.DataFrame({"qid": ["q"], "docno": ["d"], "text": [""]}), "text", "mono_t5")
    """
    if column not in results:
        return
    texts = results[column]
    is_str = pd.api.types.infer_dtype(texts, skipna=False) == "string"
    bad = texts.isna().to_numpy(bool) if is_str else ~_are(texts, str)
    if bad.any():
        fix = "load the text of every document, e.g. pt.text.get_text(index), or drop those rows before this stage"
        fix = fix if column != "query" else "give every row its query"
        problem = f"{column} is missing or not text{_where(results, bad, column)}"
        raise FrameError(f"stage {stage!r} cannot read its {'queries' if column == 'query' else 'documents'}", [problem], fix=fix)


class _Guard:
    """Looks at the columns of a frame, gathers what is wrong with them, and refuses it all at once."""

    def __init__(self, frame: pd.DataFrame, noun: str, columns: tuple[str, ...], stage: str = "") -> None:
        self.frame, self.noun = frame, noun
        self.what = f"stage {stage!r} gave {noun} that are not usable" if stage else f"{noun} are not usable"
        if not hasattr(frame, "columns"):
            problem = f"they are a {type(frame).__name__}, expected a DataFrame of {', '.join(columns)}"
            raise FrameError(self.what, [problem], fix=f'{noun} = pd.DataFrame({{"{columns[0]}": ["1"], "{columns[1]}": ["..."]}})')
        self.problems: dict[str, str] = {}
        self.odd: set[str] = set()
        found = list(frame.columns)
        if odd := [name for name in columns if found.count(name) != 1]:
            problem = f"missing or repeated column(s) {', '.join(odd)}, expected {', '.join(columns)}"
            mend = f".loc[:, ~{noun}.columns.duplicated()]" if odd[0] in found else f'.rename(columns={{"...": "{odd[0]}"}})'
            raise FrameError(self.what, [f"{problem}, found {', '.join(map(str, found)) or 'none'}"], fix=f"{noun} = {noun}{mend}")

    def find(self, column: str, problem: str, bad: NDArray[np.bool_], fix: str = "") -> None:
        """Note a problem, if there is a bad row."""
        if bad.any():
            self.problems[f"{column} {problem}{_where(self.frame, bad, column)}"] = fix
            self.odd.add(column)

    def text(self, name: str, *, numbers: bool) -> pd.Series[str]:
        """Give a column as text; where numbers are allowed, it may be of whole numbers instead."""
        column = self.frame[name]
        kind = pd.api.types.infer_dtype(column, skipna=False)
        if kind == "string" and column.dtype == object:
            return column
        missing = column.isna().to_numpy(bool)
        self.find(name, "is missing", missing, "look where it got lost, e.g. in a merge")
        if kind == "string" or missing.any():
            return column
        if column.empty or (kind == "integer" and numbers):
            return column.astype(str)
        text, whole = _are(column, str), _are(column, Integral)
        bad = ~(text | whole) if numbers else ~text
        fix = self.cast(name, int) if kind == "floating" else f"make every {name} text"
        self.find(name, f"is not text{' or a whole number' * numbers}", bad, fix)
        if not bad.any() and text.any() and whole.any():
            self.find(name, "is a number, but text elsewhere,", whole, self.cast(name, str))
        return column.astype(object).astype(str)

    def number(self, name: str, wanted: str, is_good: Callable[[Floats], NDArray[np.bool_]], fix: str = "") -> Floats:
        """Give a column as float64; text and truth values are no numbers."""
        column = self.frame[name]
        if pd.api.types.is_float_dtype(column) or pd.api.types.is_integer_dtype(column):
            number = column.to_numpy(np.float64, na_value=np.nan)
        else:
            real = _are(column, Real)
            number = np.array([float(value) if ok else np.nan for value, ok in zip(column, real, strict=True)], np.float64)
            fix = fix if real.any() else self.cast(name, float)
        self.find(name, f"is not {wanted}", ~(np.isfinite(number) & is_good(number)), fix)
        if (np.abs(number) >= _EXACT).any():
            rounded = [isinstance(whole, Integral) and int(whole) != int(real) for whole, real in zip(column, number, strict=True)]
            mend = f'{self.noun}["{name}"] = {self.noun}.groupby("qid")["{name}"].rank()'
            self.find(name, "is a whole number that float64 would round", np.array(rounded), mend)
        return number

    def once(self, columns: tuple[str, ...], fix: str) -> None:
        """Note the rows that repeat an earlier one."""
        if not self.odd & set(columns):
            keys = [self.frame[name] for name in columns]
            again = pd.Series(pair_codes(*keys) if len(keys) > 1 else keys[0]).duplicated().to_numpy(bool)
            self.find(
                columns[0] if len(columns) == 1 else f"({', '.join(columns)})", "stands already in an earlier row", again, fix
            )

    def ranked(self, found: Floats, rank: Ints) -> None:
        """Note the ranks that differ from those of the tie rule."""
        if (found == rank + 1).all():
            self.problems["its ranks start at 1, expected 0"] = _ADD_RANKS
        else:
            where = _where(self.frame.assign(expected=rank), found != rank, "rank", "expected")
            self.problems[f"rank is not score descending, ties by row order, from 0,{where}"] = _ADD_RANKS

    def cast(self, column: str, kind: type) -> str:
        """The line that gives a column another type."""
        return f'{self.noun} = {self.noun}.astype({{"{column}": {kind.__name__}}})'

    def refuse(self) -> None:
        """Raise all that was found."""
        if self.problems:
            raise FrameError(self.what, self.problems, fix="; ".join(dict.fromkeys(filter(None, self.problems.values()))))


def _are(column: pd.Series[Any], kind: type) -> NDArray[np.bool_]:
    """Tell which values are of a kind; a truth value is no number."""
    return np.array([isinstance(value, kind) and not isinstance(value, bool) for value in column], bool)


def _where(frame: pd.DataFrame, bad: NDArray[np.bool_], *columns: str) -> str:
    """Say in how many rows, and show the first of them."""
    names = [name for name in dict.fromkeys(("qid", "docno", *columns)) if name in frame]
    rows = frame.loc[bad, names].head(_SHOWN).astype(object).itertuples(index=False)
    shown = "; ".join(", ".join(f"{name} {value!r:.60}" for name, value in zip(names, row, strict=True)) for row in rows)
    return f" in {int(bad.sum())} of {len(frame)} row(s) ({shown}{'; ...' if bad.sum() > _SHOWN else ''})"
