"""Compares a cascade with its shorter versions: effectiveness by ``pt.Experiment``, cost by the trace of ``run``."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pyterrier as pt
from ir_measures import Measure

from pt_cascade.analysis.certificates.order_statistics import queries_to_show
from pt_cascade.analysis.cost.fitting import count_pairs
from pt_cascade.analysis.cost.latency import take_percentiles
from pt_cascade.analysis.grid.cutoffs import as_tuple
from pt_cascade.analysis.replay.measures import check_labels, is_gdeval, raise_negative_labels
from pt_cascade.analysis.table.checks import check_queries
from pt_cascade.cascade import Cascade
from pt_cascade.collections.collection import unjudged
from pt_cascade.errors import CascadeError, FrameError, first_line
from pt_cascade.execution.runner import run
from pt_cascade.frames import canonical_qrels, canonical_topics
from pt_cascade.markup import Shown, Table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pt_cascade.analysis.cost.timings import Timings
    from pt_cascade.execution.score_table import ScoreTable
    from pt_cascade.ranking import Floats


_WARM_UP = 3  # queries
_LATE = 95  # the percentile that is shown
_ALPHA = 0.05  # of the marks of a table


@dataclass(frozen=True)
class Comparison(Shown):
    """The effectiveness and cost of each stage of a cascade.

    Attributes:
        effectiveness: The result of ``pt.Experiment``: one row a system with ``name``, each measure, and p-values against the first
            stage (paired t-test, plain and Holm-corrected) unless there is one system or one query.
        cost: Frame[stage, docs_in, docs_out, pairs, ms, p95_ms]: means a query and the 95th percentile of the time, one query at a
            time after 3 that are not counted, if 20 or more were timed; the last row is the whole cascade.
        queries: How many queries were run.
    """

    effectiveness: pd.DataFrame
    cost: pd.DataFrame
    queries: int

    @property
    def ms(self) -> Floats:
        """Shape (systems,): the mean milliseconds of each system, which runs the first stages."""
        ms = self.cost["ms"].to_numpy(np.float64)
        sums: Floats = np.minimum(np.r_[ms[:-1].cumsum(), ms[-1]][: len(self.effectiveness)], ms[-1])
        return sums

    def tabulate(self) -> Table:
        """Return each system's measures and mean time, for a notebook or a paper."""
        columns = [str(column) for column in self.effectiveness]
        measures = [column for column in columns if column != "name" and " " not in column]
        table = self.effectiveness[["name", *measures]].rename(columns={"name": "system"}).assign(**{"mean ms": self.ms})
        tested = {name: f"{name} p-value corrected" for name in measures}
        marks = {name: (self.effectiveness[p] < _ALPHA).tolist() for name, p in tested.items() if p in columns}
        formats = dict.fromkeys(measures, "{:.4f}".format) | {"mean ms": "{:,.1f}".format}
        caption = f"{self.queries:,} queries"
        caption += "; † differs from the first stage, p < 0.05, paired t-test with Holm's correction" * bool(marks)
        return Table(table, caption, formats, measures, marks)


def compare(
    cascade: pt.Transformer,
    topics: pd.DataFrame,
    qrels: pd.DataFrame,
    measures: Sequence[Measure],
    *,
    timed: int | None = None,
    table: ScoreTable | None = None,
    timings: Timings | None = None,
    verbose: bool = False,
) -> Comparison:
    """Compare a cascade with all its prefixes over the judged topics; as in ``pt.Experiment``, a topic without results counts 0.

    Args:
        cascade: A Cascade, or any pipeline that ``Cascade.of`` reads, that starts from topics.
        topics: Frame[qid, query].
        qrels: Frame[qid, docno, label].
        measures: Of ir_measures, e.g. ``[nDCG@10, R@100]``.
        timed: How many queries to time; None: all.
        timings: What ``profile`` measured, from which the cost follows, equal to that of a sweep with ``timings.cost()``; None: the
            cascade is run.
        table: The cascade's scores, from which the rankings follow, see ``Cascade.finish``; None: the systems run.
        verbose: Show progress bars.

    Returns:
        Effectiveness and cost. Prefixes end without a cut-off, except the first stage and the whole cascade; one that ends in a
        fusion comes without it as well.

    Raises:
        CascadeError: A frame is not valid, no topic has a judgment, or a stage failed.

    Example:
        >>> from ir_measures import RR
        >>> topics = pd.DataFrame({"qid": ["1"], "query": ["q"]})
        >>> qrels = pd.DataFrame({"qid": ["1"], "docno": ["b"], "label": [1]})
        >>> found = pd.DataFrame({"qid": ["1", "1"], "query": "q", "docno": ["a", "b"], "score": [2.0, 1.0], "rank": [0, 1]})
        >>> compare(pt.Transformer.from_df(found) % 2, topics, qrels, [RR]).effectiveness["RR"].tolist()
        [0.5]
    """
    whole = Cascade.of(cascade)
    topics, qrels = canonical_topics(topics), canonical_qrels(qrels)
    if table is not None:
        check_queries(table, topics)
    if problem := unjudged(topics, qrels):
        raise FrameError("the comparison has no judged topic", [problem])
    qrels = qrels[qrels["qid"].isin(topics["qid"])]
    measures = as_tuple(measures)
    known = [measure for measure in measures if isinstance(measure, Measure)]
    asked = whole.prefix(1).transform(topics) if table is None and any(map(is_gdeval, known)) else None
    check_labels(qrels, known, found=asked if table is None else table.frame, numbered=False)
    effectiveness = _evaluate(whole, topics, raise_negative_labels(qrels), measures, table)
    names = list(dict.fromkeys(str(measure) for measure in measures))
    effectiveness = effectiveness[["name", *names, *(column for column in effectiveness if column not in ("name", *names))]]
    if timings is not None:
        trace = timings.frame[timings.frame["share"] == timings.shares[0]]
        trace = trace.assign(pairs=count_pairs(trace, timings.pairwise))
        return Comparison(effectiveness, _cost(trace), topics["qid"].nunique())
    for n in range(min(_WARM_UP, len(topics))):  # as in ``profile``; models load when they are first used
        whole.transform(topics.iloc[[n]])
    trace = run(whole, topics.head(timed) if timed else topics, query_batch_size=1, verbose=verbose).trace.assign(repeat=0)
    return Comparison(effectiveness, _cost(trace), topics["qid"].nunique())


def _evaluate(
    whole: Cascade, topics: pd.DataFrame, qrels: pd.DataFrame, measures: Sequence[Measure], table: ScoreTable | None
) -> pd.DataFrame:
    """Evaluate the prefixes, run as plain pipelines with shared parts, or replayed from a table."""
    prefixes = [whole.prefix(n) for n in range(2, len(whole))]
    uncut = [replace(one, stages=(*one.stages[:-1], replace(one[-1], cutoff=None, rule=None))) for one in prefixes]
    both = [whole] if whole.fusion is None else [whole.fused(None), whole]
    systems = [whole.prefix(1), *uncut, *(both if len(whole) > 1 else [])]
    tested = len(systems) > 1 and topics["qid"].isin(qrels["qid"]).sum() > 1
    try:
        effectiveness: pd.DataFrame = pt.Experiment(
            [_prepare(system) if table is None else _finish(system, table) for system in systems],
            topics,
            qrels,
            list(measures),
            names=[repr(system) for system in systems],
            baseline=0 if tested else None,
            correction="holm" if tested else None,
            plan="tree" if table is None else "linear",
            verbose=False,
        )
    except CascadeError:
        raise
    except Exception as error:
        whole.transform(topics)  # again with checks, whose error names the stage
        raise CascadeError("the systems cannot be evaluated", [f"{type(error).__name__}: {first_line(error)}"]) from error
    return effectiveness


def _finish(system: Cascade, table: ScoreTable) -> pd.DataFrame:
    """Replay a system, with ids as objects, which ir_measures reads faster than Arrow's."""
    return system.finish(table)[["qid", "docno", "score", "rank"]].astype({"qid": object, "docno": object})


def _prepare(system: Cascade) -> pt.Transformer:
    """Return the plain pipeline, whose parts an experiment shares between systems; or a cascade that has options."""
    optional = system.tail == "keep" or any(stage.runs_by_query for stage in system)
    return system if optional else system.pipeline()


def _cost(trace: pd.DataFrame) -> pd.DataFrame:
    """Average a trace over its queries, for each stage and the whole cascade."""
    stages = trace.groupby("stage", sort=False)
    p95 = stages["ms"].agg(lambda ms: take_percentiles(ms.to_numpy(), [_LATE])[0])
    cost = stages[["docs_in", "docs_out", "pairs", "ms"]].mean().assign(p95_ms=p95).reset_index()
    whole = trace.groupby(["qid", "repeat"], sort=False)[["pairs", "ms"]].sum()
    last = {
        "stage": "cascade",
        "docs_in": 0.0,
        "docs_out": cost["docs_out"].iloc[-1],
        **whole.mean(),
        "p95_ms": take_percentiles(whole["ms"].to_numpy(), [_LATE])[0],
    }
    found = pd.concat([cost, pd.DataFrame([last])], ignore_index=True)
    return found if trace["qid"].nunique() >= queries_to_show(_LATE) else found.drop(columns="p95_ms")
