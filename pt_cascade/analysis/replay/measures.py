"""Measures as the kernel computes them, equal to what ir_measures computes, and which of them it leaves to ir_measures."""

from __future__ import annotations

import re
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING

import ir_measures
import numpy as np
import pandas as pd
from ir_measures import Measure

from pt_cascade.analysis.grid.cutoffs import NO_CUT
from pt_cascade.analysis.replay import kernel as kernels
from pt_cascade.errors import CascadeWarning, SweepError, did_you_mean

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
_COUNTS = ("NumQ", "NumRel", "NumRet", "NumRelRet")
_LARGEST = 1_000_000  # trec_eval counts the documents of every grade up to the highest, each time anew
_GDEVAL = 4  # the highest grade of gdeval, which computes ERR and the exponential nDCG
_NEEDS_NO_RELEVANT = ("Judged", "NumQ", "NumRet")
_BY_DOCNO = 1  # RR with a cut-off and Judged are not trec_eval's: they break ties by docno, ascending, on float64


@dataclass(frozen=True, eq=False)
class Judged:
    """A table's documents and queries under some judgments.

    Attributes:
        labels: Shape (rows of the table's frame,). The judgment of each row, ``kernels.UNJUDGED`` for none.
        queries: The positions, among the table's topics, of the queries that count: those with a judgment.
        relevant: For each query that counts, all its labels, retrieved or not, descending.
    """

    labels: NDArray[np.int32]
    queries: Ints
    relevant: tuple[Ints, ...]


def judge(table: Scores, qrels: pd.DataFrame) -> Judged:
    """Look up the judgments of a table's documents.

    Args:
        table: The scores.
        qrels: Frame[qid: str, docno: str, label: int64], canonical.

    Raises:
        SweepError: There is no judgment, or no topic has one.
    """
    if not len(qrels):
        raise SweepError(
            "nothing can be measured", ["the qrels are empty"], fix="give Frame[qid, docno, label] with a row a judgment"
        )
    asked = pd.Index(table.topics["qid"])
    known = qrels[qrels["qid"].isin(asked)]
    if not len(known):
        found = f"topics have qids such as {asked[0] if len(asked) else '(none)'}, the qrels such as {qrels['qid'].iloc[0]}"
        raise SweepError("nothing can be measured", [f"no topic has a judgment: {found}"], fix="give the qrels of these topics")
    label = known["label"].to_numpy(np.int64)
    query = asked.get_indexer(pd.Index(known["qid"]))
    docno = pd.Index(known["docno"].unique())
    rows = np.flatnonzero(table.frame["docno"].isin(docno).to_numpy(np.bool_))
    judged = query * np.int64(len(docno)) + docno.get_indexer(pd.Index(known["docno"]))
    retrieved = table.queries[rows] * len(docno) + docno.get_indexer(pd.Index(table.frame["docno"].iloc[rows]))
    at = pd.Index(judged).get_indexer(pd.Index(retrieved))
    labels = np.full(len(table.frame), kernels.UNJUDGED, np.int32)
    labels[rows[at >= 0]] = label[at[at >= 0]]
    by_query = np.lexsort((-label, query))
    queries, first = np.unique(query[by_query], return_index=True)
    return Judged(labels, queries.astype(np.int64), tuple(np.split(label[by_query], first[1:])))


def check_labels(
    qrels: pd.DataFrame, measures: Sequence[Measure], *, found: pd.DataFrame | None = None, numbered: bool = True
) -> None:
    """Refuse labels and ids that a measure does not take, and warn of measures to which no label is relevant.

    Args:
        qrels: Frame[qid, docno, label: int64, ...], of the queries that count.
        measures: What is to be measured.
        found: Frame[docno, ...], of what was retrieved, as far as it is known.
        numbered: Whether qids become numbers before gdeval sees them, which reads nothing else.

    Raises:
        SweepError: A label is beyond 1,000,000, or, where gdeval computes a measure, beyond 4, a qid is no number, or a docno
            has white space.

    Warns:
        CascadeWarning: No label reaches the lowest relevant one of a measure, which is 0 then for every ranking.
    """
    low, high = (0, 0) if qrels.empty else (int(qrels["label"].min()), int(qrels["label"].max()))
    gdeval = [str(measure) for measure in measures if is_gdeval(measure)]
    bound, whose = (_GDEVAL, f" for gdeval, which computes {', '.join(gdeval)}") if gdeval else (_LARGEST, "")
    fix = f'qrels["label"] = qrels["label"].clip(-{bound}, {bound})'
    problems = [f"label {label} is beyond {bound:,}{whose}" for label in sorted({low, high}) if label > bound or label < -_LARGEST]
    if gdeval and not numbered and not qrels["qid"].str.isdecimal().all():
        problems.append(f"a qid is no whole number{whose}, e.g. {qrels['qid'][~qrels['qid'].str.isdecimal()].iloc[0]!r}")
        fix = "sweep(score(cascade, topics), qrels, measures)"
    docnos = pd.concat([qrels["docno"], *([] if found is None else [found["docno"]])])
    if gdeval and (blank := docnos.str.contains(r"[ \t-\r]", na=False)).any():
        problems.append(f"{int(blank.sum())} row(s) have a docno with white space{whose}, e.g. {docnos[blank].iloc[0]!r}")
        fix = r'for frame in (*runs, qrels): frame["docno"] = frame["docno"].str.replace(r"\s", "_", regex=True)'
    if problems:
        raise SweepError("nothing can be measured", problems, fix=fix)
    idle = [str(one) for one in measures if one.NAME not in _NEEDS_NO_RELEVANT and high < one.params.get("rel", 1)]
    if idle and len(qrels):
        told = f"no document is relevant: the labels are {low} to {high}, so that {', '.join(idle)} is 0 whatever is ranked"
        warnings.warn(told, CascadeWarning, stacklevel=3)


def is_gdeval(measure: Measure) -> bool:
    """Tell whether the script gdeval computes a measure, which splits what it reads at white space."""
    return bool(measure.NAME == "ERR" or measure.params.get("dcg") == "exp-log2")


def spare_trec_eval(qrels: pd.DataFrame) -> pd.DataFrame:
    """Give label 0 to the documents of queries whose labels are all negative: trec_eval may never return from those.

    Example:
        >>> spare_trec_eval(pd.DataFrame({"qid": ["1", "1", "2"], "label": [-1, 2, -1]}))["label"].tolist()
        [-1, 2, 0]
    """
    best = qrels.groupby("qid")["label"].transform("max")
    return qrels.assign(label=qrels["label"].where(best >= 0, 0))


def parse_measures(measures: Sequence[Measure | str]) -> tuple[Measure, ...]:
    """Return measures, each once, whatever form they came in.

    Args:
        measures: Of ir_measures, or their names, e.g. ``nDCG@10`` or ``"nDCG@10"``.

    Raises:
        SweepError: There is none, or one is unknown.

    Example:
        >>> parse_measures(["nDCG@10", ir_measures.R @ 100])
        (nDCG@10, R@100)
    """
    read = [_parse(measure) for measure in ([measures] if isinstance(measures, str | Measure) else measures)]
    if problems := [problem for _, problem in read if problem] or ["no measure was given"] * (not read):
        raise SweepError("these cannot be measured", problems, fix='["nDCG@10", "R@100"]')
    return tuple(dict.fromkeys(measure for measure, _ in read))


def _parse(given: Measure | str) -> tuple[Measure | None, str]:
    """Return a measure, and what is wrong with it."""
    try:
        measure = ir_measures.parse_measure(given) if isinstance(given, str) else given
        if not isinstance(measure, Measure):
            return None, f"{given!r} ({type(given).__name__}) is no measure"
        if lacking := [name for name, info in measure.SUPPORTED_PARAMS.items() if info.required and name not in measure.params]:
            return None, f"{given!r} needs its {', '.join(lacking)}, as in P@10 or SDCG(max_rel=3)@10"
        if not ir_measures.DefaultPipeline.supports(measure):
            return None, f"{given!r}: no installed package of ir_measures computes it"
    except (NameError, ValueError, SyntaxError, KeyError, AssertionError, TypeError) as error:
        return None, f"{given!r} is unknown to ir_measures: {error}{_suggest(str(given))}"
    return measure, f"{given!r} has a cut-off below 1" if measure.params.get("cutoff", 1) < 1 else ""


def _suggest(name: str) -> str:
    """Return the measure that a misspelt name most resembles, cut-off and parameters aside."""
    measure = re.split(r"[@(]", name)[0]
    return "" if measure in ir_measures.measures.registry else did_you_mean(measure, ir_measures.measures.registry)


def adds_up(measure: Measure) -> bool:
    """Tell whether a measure is summed over queries instead of averaged, as ``pt.Experiment`` has it: by the names of counts.

    Example:
        >>> adds_up(ir_measures.NumRet), adds_up(ir_measures.NumRet(rel=1)), adds_up(ir_measures.AP)
        (True, False, False)
    """
    return str(measure) in _COUNTS


def in_kernel(measure: Measure) -> bool:
    """Tell whether the kernel computes a measure; all others go through ir_measures.

    Example:
        >>> in_kernel(ir_measures.nDCG @ 10), in_kernel(ir_measures.nDCG(judged_only=True) @ 10), in_kernel(ir_measures.RBP)
        (True, False, False)
    """
    allowed = {"cutoff", "rel"} if measure.NAME != "nDCG" else {"cutoff"}
    return measure.NAME in _KINDS and set(measure.params) <= allowed and measure.params.get("rel", 1) >= 1


def encode(measures: Sequence[Measure]) -> NDArray[np.int32]:
    """Write the kernel's measures as numbers: kind, cut-off, lowest relevant label, order of evaluation.

    Args:
        measures: Each ``in_kernel``.

    Returns:
        Shape (measures, 4).

    Example:
        >>> encode([ir_measures.R(rel=2) @ 100]).tolist()
        [[2, 100, 2, 0]]
    """
    rows = []
    for measure in measures:
        cutoff = measure.params.get("cutoff", NO_CUT)
        other = measure.NAME == "Judged" or (measure.NAME == "RR" and cutoff != NO_CUT)
        rows.append((_KINDS[measure.NAME], cutoff, measure.params.get("rel", 1), _BY_DOCNO * other))
    return np.array(rows, np.int32).reshape(len(rows), 4)


def normalise(codes: NDArray[np.int32], judged: Judged, n_queries: int) -> Floats:
    """Give what each measure divides by, for each query.

    Args:
        codes: Shape (measures, 4), see ``encode``.
        judged: The judgments.
        n_queries: Of the table.

    Returns:
        Shape (measures, queries): the ideal DCG (labels descending over log2(rank + 1), ranks from 1, Järvelin and Kekäläinen 2002,
        as trec_eval has it), the number of relevant documents for R and AP, the cut-off for P, else 1.
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
