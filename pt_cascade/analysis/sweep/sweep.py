"""Computes every cut-off vector's effectiveness, cost and latency from one table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from pt_cascade.analysis.cost.cost import Cost, StageCost
from pt_cascade.analysis.grid.grids import Grid, as_grid, default_grid
from pt_cascade.analysis.replay.measures import adds_up, check_labels, in_kernel, match_labels, parse_measures
from pt_cascade.analysis.replay.replay import check_tail
from pt_cascade.analysis.replay.replayer import Replayer
from pt_cascade.analysis.replay.required_documents import find_ends
from pt_cascade.analysis.sweep.result import Sweep
from pt_cascade.analysis.sweep.rows import list_rows, read_fusions
from pt_cascade.analysis.table.checks import check_queries
from pt_cascade.analysis.table.data import Scores
from pt_cascade.analysis.table.from_runs import add_judged_queries
from pt_cascade.errors import SweepError, TableError
from pt_cascade.frames import canonical_qrels, canonical_topics

if TYPE_CHECKING:
    from collections.abc import Iterable

    import pandas as pd
    from ir_measures import Measure

    from pt_cascade.analysis.fusion.stage_fusion import StageFusion
    from pt_cascade.analysis.grid.cutoffs import Cutoff, Tail
    from pt_cascade.analysis.grid.grids import Axis, Form
    from pt_cascade.analysis.table.data import Path

_MOST_ROWS = 10_000_000


def sweep(  # noqa: PLR0913 - the names are public
    table: Scores,
    qrels: pd.DataFrame,
    measures: Sequence[Measure | str],
    cost: Cost | Sequence[StageCost] | None = None,
    grid: Grid | Iterable[Sequence[Cutoff]] | Mapping[str, Axis] | Form | None = None,
    tail: Tail = "drop",
    *,
    stages: Sequence[str] | None = None,
    by_rank: bool = False,
    topics: pd.DataFrame | None = None,
    fusion: StageFusion | Iterable[StageFusion | None] | None = None,
) -> Sweep:
    """Measure every cut-off vector of a grid, exactly as ``pt.Experiment`` would measure the pipeline at each.

    Means are over the table's topics that have a judgment; a query without results counts 0. A table made of runs without topics
    does not know which queries were asked: there all judged queries count, 0 if they are in no run, as in ir_measures and
    trec_eval -c.

    Args:
        table: The scores.
        qrels: Frame[qid, docno, label].
        measures: Measures of ir_measures, or their names. nDCG, RR, R, P, AP, Judged and Success are computed in the kernel; any
            other by ir_measures, from a replay of each vector.
        cost: The costs of the stages: ``timings.cost()``, or a StageCost for each stage; None: no costs. That of a last stage that
            is not in the table, since it runs live, is added where it is given.
        grid: A Grid, or vectors of cut-offs; ``full``: every vector up to the depths of the table; ``log``: those of cut-offs 1, 2,
            3, 5, 7, 10, 20, ...; None: ``full`` if that is feasible, else ``log``; or a dict of cut-offs for some stages, as
            ``{"k1": [10, 100]}``, the others as for None. The last stage keeps its own cut-off, unless the grid has it.
        tail: ``drop``: documents that a stage cuts are removed, as with PyTerrier's ``%``; ``keep``: they follow below.
        stages: The path of the table, by the names of its stages; None: the first path.
        by_rank: Evaluate rankings in their own order; else as ``pt.Experiment``, which gives scores to trec_eval: documents with
            scores equal in float32 are ordered by docno, descending.
        topics: Frame[qid, query]: the topics of the judgments, as ``collection.topics``, which must be those of the table; None:
            not compared.
        fusion: Fusions of the stages' scores, each tried at every vector: ``ptc.fusions(cascade)``, or some with None for the last
            stage's own ranking; the default grid is then ``log``. None: not fused.

    Returns:
        The sweep; see ``Sweep.frame``. Its ``repr`` shows how many queries count, and how many were left out.

    Raises:
        SweepError: The qrels are empty, share no query with the table or have labels that a measure cannot take, a measure is
            unknown, or the grid or cost does not fit.
        TableError: The table does not cover the grid; the error names the call that would. Or the topics ask other queries than
            the table's.

    Warns:
        CascadeWarning: No label is relevant for a measure, no judged document is in the table, some queries of the topics are not
            those of the table, or judged queries are in no run of a table made of runs.

    Example:
        >>> import pandas as pd
        >>> from pt_cascade.analysis.table.data import Column, Path, Scores
        >>> frame = pd.DataFrame({"qid": "1", "docno": ["a", "b"], "rank": [0, 1], "bm25": [2.0, 1.0], "t5": [0.1, 0.9]})
        >>> topics = pd.DataFrame({"qid": ["1"], "query": ["q"]})
        >>> table = Scores(frame, topics, (Column("bm25"), Column("t5")), (Path(("bm25", "t5"), (2, None)),))
        >>> sweep(table, pd.DataFrame({"qid": ["1"], "docno": ["b"], "label": [1]}), ["RR"]).frame["RR"].tolist()
        [0.0, 1.0]
    """
    given: object = table  # types are hints
    if not isinstance(given, Scores):
        problem = f"it is a {type(given).__name__}, expected a ScoreTable"
        raise TableError("this is not a score table", [problem], fix="table = ScoreTable.load(path)")
    path = table.find_path(stages)
    check_tail(tail)
    known, wanted = canonical_qrels(qrels), parse_measures(measures)
    if topics is not None:
        check_queries(table, canonical_topics(topics))
    table = add_judged_queries(table, known)
    check_labels(known[known["qid"].isin(table.topics["qid"])], wanted, found=table.frame)
    fusions = read_fusions(fusion, path)
    replayer = Replayer(table, path, match_labels(table, known), wanted, tail, by_rank, fusions)
    n_queries = len(replayer.judged.queries)
    if grid is None or isinstance(grid, str | Mapping):
        vectors = default_grid(
            replayer.reach,
            path.cutoffs[len(path.stages) - 1],
            n_queries,
            form=grid if isinstance(grid, str) else None if all(map(in_kernel, wanted)) and not fusions else "log",
            axes=grid if isinstance(grid, Mapping) else None,
            alone=len(path.stages) == 1,
            ends=find_ends(replayer.table, replayer.path, replayer.reach),
        )
    else:
        vectors = as_grid(grid, path.stages)
    _check_rows(vectors, replayer)
    counts = [1 if adds_up(measure) else n_queries for measure in replayer.measures]
    costs = None if cost is None else _read_cost(cost, path)
    return Sweep(replayer, vectors, replayer.sums(list_rows(vectors, replayer.fusions))[0] / counts, costs)


def _check_rows(grid: Grid, replayer: Replayer) -> None:
    """Refuse a sweep of fusions that is too large for memory."""
    if (rows := len(grid) * len(replayer.fusions)) > _MOST_ROWS:
        problem = f"{len(grid):,} vectors × {len(replayer.fusions):,} fusions are {rows:,} rows, expected at most {_MOST_ROWS:,}"
        raise SweepError("the sweep is too large", [problem], fix='grid="log"')


def _read_cost(cost: Cost | Sequence[StageCost], path: Path) -> Cost:
    """Return the cost of a path's stages, and of the stage that runs live after them, where it is given."""
    costs = Cost.of(*cost) if isinstance(cost, Sequence) and all(isinstance(one, StageCost) for one in cost) else cost
    if isinstance(costs, Cost):
        names = [one.stage for one in costs.stages]
        if path.live and (path.live in names or (not any(names) and len(names) > len(path.stages))):
            return replace(costs.select((*path.stages, path.live)), live=True)
        return costs.select(path.stages)
    given: object = cost
    problem = f"it is a {type(given).__name__}, expected a Cost or a list with a StageCost for each stage"
    raise SweepError("cost has the wrong type", [problem], fix="cost=timings.cost()")
