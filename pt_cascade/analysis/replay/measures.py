"""Measures of the kernel, equal to those of ir_measures; all other measures are computed by ir_measures."""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

import ir_measures
import numpy as np
import pandas as pd
from ir_measures import Measure

from pt_cascade.analysis.grid.cutoffs import NO_CUT, as_tuple
from pt_cascade.analysis.replay import kernel_measures as kernels
from pt_cascade.errors import SweepError, closest, warn
from pt_cascade.numbers import count_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from pt_cascade.analysis.table.data import Scores
    from pt_cascade.ranking import Floats, Ints

_KINDS = {
    "nDCG": kernels.NDCG,
    "RR": kernels.RR,
    "R": kernels.RECALL,
    "P": kernels.PRECISION,
    "AP": kernels.AP,
    "Judged": kernels.JUDGED,
    "Success": kernels.SUCCESS,
}
_UNREADABLE = (NameError, ValueError, SyntaxError, KeyError, AssertionError, TypeError)  # of ir_measures, for a name
_COUNTS = ("NumQ", "NumRel", "NumRet", "NumRelRet")
_LARGEST = 1_000_000  # of labels, since trec_eval loops over all grades up to the highest; and of cut-offs
_GDEVAL = 4  # the highest grade of gdeval, which computes ERR and the exponential nDCG
_NEEDS_NO_RELEVANT = ("Judged", "NumQ", "NumRet")
_UNUSABLE = "the qrels are not usable for these measures"
_BY_DOCNO = 1  # RR with a cut-off and Judged are not trec_eval's: they break ties by docno, ascending, on float64

_SOME = 100  # a table with less than one in so many judgments is hardly of their collection


@dataclass(frozen=True, eq=False)
class Judged:
    """The documents and queries of a table with their judgments."""

    qrels: pd.DataFrame  # Frame[qid, docno, label], canonical
    labels: NDArray[np.int32]  # (rows of the table's frame,): judgments, ``kernels.UNJUDGED`` for none
    queries: Ints  # positions of the judged queries among the table's topics
    relevant: tuple[Ints, ...]  # for each judged query all its labels, retrieved or not, descending


def match_labels(table: Scores, qrels: pd.DataFrame) -> Judged:
    """Match canonical qrels with a table's documents; refuse qrels without any of its queries."""
    if not len(qrels):
        raise SweepError(_UNUSABLE, ["they are empty"], fix="pass a Frame[qid, docno, label] with a row for each judgment")
    asked = pd.Index(table.topics["qid"])
    known = qrels[qrels["qid"].isin(asked)]
    if not len(known):
        found = (
            f"the topics have qids such as {asked[0] if len(asked) else '(none)'}, the qrels qids such as {qrels['qid'].iloc[0]}"
        )
        raise SweepError(_UNUSABLE, [f"no topic has a judgment: {found}"], fix="pass the qrels of these topics")
    label, query, docnos = known["label"].to_numpy(np.int64), asked.get_indexer(pd.Index(known["qid"])), known["docno"].unique()
    column, own = (pd.Index(docnos).get_indexer(pd.Index(frame["docno"])) for frame in (table.frame, known))
    rows = np.flatnonzero(column >= 0)
    labels = np.full(len(table.frame), kernels.UNJUDGED, np.int32)
    at = pd.Index(query * np.int64(len(docnos)) + own).get_indexer(pd.Index(table.queries[rows] * len(docnos) + column[rows]))
    labels[rows[at >= 0]] = label[at[at >= 0]]
    matched = int((at >= 0).sum())
    if len(table.frame) and (not len(rows) or _SOME * (matched + 1) < len(known)):
        shown = f"docnos such as {known['docno'].iloc[0]!r}; the table has docnos such as {table.frame['docno'].iloc[0]!r}"
        found = f"only {matched:,} of the {len(known):,} judged documents of these queries are in the table"
        message = f"{found}, {shown}: are they of one collection?"
        warn(message)
    by_query = np.lexsort((-label, query))
    queries, first = np.unique(query[by_query], return_index=True)
    return Judged(qrels, labels, queries.astype(np.int64), tuple(np.split(label[by_query], first[1:])))


def check_labels(
    qrels: pd.DataFrame, measures: Sequence[Measure], *, found: pd.DataFrame | None = None, numbered: bool = True
) -> None:
    """Refuse labels and ids that a measure cannot take, and warn of measures for which no label is relevant.

    ``found``: Frame[docno, ...] of the retrieved documents, as far as they are known. ``numbered``: qids become numbers before
    gdeval, which reads nothing else, gets them.
    """
    low, high = (0, 0) if qrels.empty else (int(qrels["label"].min()), int(qrels["label"].max()))
    gdeval = [str(measure) for measure in measures if is_gdeval(measure)]
    bound, whose = (_GDEVAL, f" for gdeval, which computes {', '.join(gdeval)}") if gdeval else (_LARGEST, "")
    fix = f'qrels["label"] = qrels["label"].clip(-{bound}, {bound})'
    outside = [label for label in sorted({low, high}) if not -_LARGEST <= label <= bound]
    problems = [f"label {label} is out of range, expected {-_LARGEST:,} to {bound:,}{whose}" for label in outside]
    if gdeval and not numbered and not qrels["qid"].str.isdecimal().all():
        problems.append(f"a qid is not a whole number{whose}, e.g. {qrels['qid'][~qrels['qid'].str.isdecimal()].iloc[0]!r}")
        fix = "sweep(score(cascade, topics), qrels, measures)"
    docnos = pd.concat([qrels["docno"], *([] if found is None else [found["docno"]])])
    if gdeval and (blank := docnos.str.contains(r"[ \t-\r]", na=False)).any():
        problems.append(f"{count_of(blank.sum(), 'row')} with white space in the docno{whose}, e.g. {docnos[blank].iloc[0]!r}")
        fix = r'for frame in (*runs, qrels): frame["docno"] = frame["docno"].str.replace(r"\s", "_", regex=True)'
    if problems:
        raise SweepError(_UNUSABLE, problems, fix=fix)
    idle = [str(one) for one in measures if one.NAME not in _NEEDS_NO_RELEVANT and high < one.params.get("rel", 1)]
    if idle and len(qrels):
        message = f"no document is relevant: the labels are {low} to {high}, so {', '.join(idle)} is 0 for every ranking"
        warn(message)


def is_gdeval(measure: Measure) -> bool:
    """Tell whether the script gdeval computes a measure, which splits what it reads at white space."""
    return bool(measure.NAME == "ERR" or measure.params.get("dcg") == "exp-log2")


def raise_negative_labels(qrels: pd.DataFrame) -> pd.DataFrame:
    """Give label 0 to the documents of queries whose labels are all negative: trec_eval may never return from them."""
    best = qrels.groupby("qid")["label"].transform("max")
    return qrels.assign(label=qrels["label"].where(best >= 0, 0))


def parse_measures(measures: Sequence[Measure | str]) -> tuple[Measure, ...]:
    """Return measures of ir_measures, each once, from measures or their names."""
    read = [_parse(measure) for measure in as_tuple(measures)]
    if problems := [problem for _, problem in read if problem] or ["no measure was given"] * (not read):
        raise SweepError("cannot compute the measures", problems, fix='["nDCG@10", "R@100"]')
    return tuple(dict.fromkeys(measure for measure, _ in read))


def _parse(given: Measure | str) -> tuple[Measure | None, str]:
    """Return a measure, and what is wrong with it."""
    try:
        measure = ir_measures.parse_measure(given) if isinstance(given, str) else given
        if not isinstance(measure, Measure):
            return None, f"{given!r} ({type(given).__name__}) is not a measure"
        if lacking := [name for name, info in measure.SUPPORTED_PARAMS.items() if info.required and name not in measure.params]:
            return None, f"{given!r} needs a {', '.join(lacking)}, as in P@10 or SDCG(max_rel=3)@10"
        if not ir_measures.DefaultPipeline.supports(measure):
            return None, f"{given!r}: ir_measures has no installed provider for it"
    except _UNREADABLE as error:
        return None, f"{given!r} is unknown to ir_measures: {error}{_suggest(str(given))}"
    bad = [name for name in ("cutoff", "rel") if not 1 <= measure.params.get(name, 1) <= _LARGEST]
    return measure, f"{given!r} has a {' and a '.join(bad)} out of range, expected 1 to {_LARGEST:,}" if bad else ""


def _suggest(name: str) -> str:
    """Return the measure that a misspelt name most resembles, or that trec_eval gives this name."""
    with suppress(*_UNREADABLE):
        [of_trec] = ir_measures.parse_trec_measure(name)
        return f"; did you mean {str(of_trec)!r}?"
    measure = re.split(r"[@(]", name)[0]
    near = "" if measure in ir_measures.measures.registry else closest(measure, ir_measures.measures.registry)
    with suppress(*_UNREADABLE):
        near = near and str(ir_measures.parse_measure(near + name.removeprefix(measure)))
    return f"; did you mean {near!r}?" if near else ""


def find_rel(measures: Sequence[Measure], rel: int | None = None) -> int:
    """Return ``rel``; if it is None, the lowest label that is relevant for the first measure with one, as R(rel=2)@100; else 1."""
    return next((int(measure.params["rel"]) for measure in measures if "rel" in measure.params), 1) if rel is None else rel


def adds_up(measure: Measure) -> bool:
    """Tell whether a measure is summed over queries instead of averaged, as in ``pt.Experiment``."""
    return str(measure) in _COUNTS


def in_kernel(measure: Measure) -> bool:
    """Tell whether the kernel computes a measure."""
    allowed = {"cutoff", "rel"} if measure.NAME != "nDCG" else {"cutoff"}
    return measure.NAME in _KINDS and set(measure.params) <= allowed and measure.params.get("rel", 1) >= 1


def encode(measures: Sequence[Measure]) -> NDArray[np.int32]:
    """Write the kernel's measures as numbers, see ``MeasureSpec.codes``."""
    rows = []
    for measure in measures:
        cutoff = measure.params.get("cutoff", NO_CUT)
        other = measure.NAME == "Judged" or (measure.NAME == "RR" and cutoff != NO_CUT)
        rows.append((_KINDS[measure.NAME], cutoff, measure.params.get("rel", 1), _BY_DOCNO * other))
    return np.array(rows, np.int32).reshape(len(rows), 4)


def compute_norms(codes: NDArray[np.int32], judged: Judged, n_queries: int) -> Floats:
    """Give the divisor of each measure for each query: shape (measures, queries).

    For nDCG the ideal DCG (labels descending over log2(rank + 1), ranks from 1, Järvelin and Kekäläinen 2002, as in trec_eval), for
    R and AP the number of relevant documents, for P the cut-off, else 1.
    """
    norms = np.ones((len(codes), n_queries))
    for query, labels in zip(judged.queries, judged.relevant, strict=True):
        gains = labels[labels > 0]
        for n, (kind, cutoff, rel, _) in enumerate(codes):
            if kind == kernels.NDCG:
                top = gains[:cutoff]
                norms[n, query] = (top / np.log2(np.arange(len(top)) + 2.0)).sum()
            elif kind in (kernels.RECALL, kernels.AP):
                norms[n, query] = (labels >= rel).sum()
            elif kind == kernels.PRECISION:
                norms[n, query] = cutoff
    return norms
