"""Runs a cascade over topics in batches of queries, with a trace."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, get_args

import numpy as np
import pandas as pd
import pyterrier as pt

from pt_cascade.analysis.grid.cutoffs import Tail
from pt_cascade.cascade import Cascade, Step, walk
from pt_cascade.cascade.known import reads_whole_frame
from pt_cascade.cascade.steps import append_tail, run_ending, warn_unscored
from pt_cascade.errors import CascadeError
from pt_cascade.frames import canonical_input
from pt_cascade.numbers import is_whole, is_word
from pt_cascade.progress import show_progress

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from numpy.typing import NDArray

    from pt_cascade.ranking import Floats, Ints


@dataclass(frozen=True)
class Run:
    """The results of a cascade and a trace of its stages.

    Attributes:
        results: Frame[qid, docno, score, rank, ...] of the last stage, queries in topic order.
        trace: Frame[stage, qid, docs_in, docs_out, pairs, ms, shared_by, unscored, error], one row for each stage and query.
            ``docs_in`` is 0 for a retriever; ``docs_out`` counts the documents that pass the cut-off; ``pairs`` the scored (query,
            document) pairs; ``ms`` is the time of the stage's transformers and cut-off for the batch, without checks, divided by
            its number of queries, ``shared_by``; a model loads in its first batch, which ``profile`` does not count. ``unscored``
            counts the documents that the stage failed on, for the reason ``error``, or had no time for, see ``Cascade.options``.
            The columns that a transformer names in ``accounts`` follow (``llm_judge``: calls, tokens, dollars), NaN for other
            stages.
    """

    results: pd.DataFrame
    trace: pd.DataFrame


def run(
    cascade: pt.Transformer,
    topics: pd.DataFrame,
    *,
    tail: Tail | None = None,
    query_batch_size: int | None = None,
    verbose: bool = False,
    clock: Callable[[], float] = time.perf_counter,
) -> Run:
    """Run a cascade stage by stage over the topics, and trace each stage; its ``options`` hold.

    With ``tail="drop"`` the ranking is the plain pipeline's, unless a stage in batches reads rows of other queries. Batches bound
    the memory between stages. For many queries, into files, see ``run_batch``.

    Args:
        cascade: A Cascade, or any pipeline that ``Cascade.of`` reads.
        topics: Frame[qid, query], or Frame[qid, query, docno, ...] of results to re-rank.
        tail: ``drop`` or ``keep`` the documents that the cut-offs remove, see ``Cascade.options``; None: as the cascade says.
        query_batch_size: Queries that pass the stages together, 1 or more; None: all, also where a stage is known to score by all
            rows of a frame (``pt.text.scorer`` without a background index).
        verbose: Show a progress bar, one tick a query.
        clock: Seconds, for the trace.

    Returns:
        The results and the trace.

    Raises:
        CascadeError: An argument or a frame is not valid, or a stage failed; or in batches, a transformer loaded by ``Lazy``
            scores by all rows of a frame.

    Example:
        >>> topics = pd.DataFrame({"qid": ["1"], "query": ["q"]})
        >>> found = pd.DataFrame({"qid": ["1", "1"], "query": "q", "docno": ["a", "b"], "score": [2.0, 1.0], "rank": [0, 1]})
        >>> done = run(pt.Transformer.from_df(found) % 1, topics)
        >>> done.results["docno"].tolist(), done.trace["docs_out"].tolist()
        (['a'], [1])
    """
    _check_options(tail, query_batch_size)
    stages, topics = Cascade.of(cascade).options(tail=tail), canonical_input(topics)
    batches = split_queries(topics, None if _find_whole(stages) else query_batch_size)
    done: list[Run] = []
    with show_progress("cascade", "query", topics["qid"].nunique(), shown=verbose) as bar:
        for batch in batches:
            passage = Passage(batch)
            passage.advance(stages, stages[-1].name, clock=clock)
            done.append(passage.finish(stages)[0])
            if len(batches) > 1:
                refuse_whole(stages)
            bar.update(batch["qid"].nunique())
    frames = [one.results for one in done if len(one.results)] or [done[0].results]
    results = frames[0] if len(frames) == 1 else pd.concat(frames, ignore_index=True)
    trace = pd.concat([one.trace for one in done], ignore_index=True)
    warn_unscored([trace[trace["unscored"] > 0]])
    return Run(results, trace)


@dataclass(frozen=True)
class Runner(pt.Transformer):  # type: ignore[misc]
    """A cascade with the options of ``run``, as a PyTerrier transformer, e.g. to compare tails in ``pt.Experiment``.

    Attributes:
        cascade: What to run.
        tail: As for ``run``.
        query_batch_size: As for ``run``.

    Example:
        >>> topics = pd.DataFrame({"qid": ["1"], "query": ["q"]})
        >>> found = pd.DataFrame({"qid": ["1", "1"], "query": "q", "docno": ["a", "b"], "score": [2.0, 1.0], "rank": [0, 1]})
        >>> Runner(Cascade.of(pt.Transformer.from_df(found) % 1), tail="keep").transform(topics)["docno"].tolist()
        ['a', 'b']
    """

    cascade: Cascade
    tail: Tail | None = None
    query_batch_size: int | None = None

    def __post_init__(self) -> None:
        """Check the options."""
        _check_options(self.tail, self.query_batch_size)
        object.__setattr__(self, "cascade", Cascade.of(self.cascade))

    def transform(self, inp: pd.DataFrame) -> pd.DataFrame:
        """Run the cascade over Frame[qid, query, ...]; see ``run``."""
        return run(self.cascade, inp, tail=self.tail, query_batch_size=self.query_batch_size).results

    def transform_inputs(self) -> list[list[str]]:
        """Return the input columns of the cascade."""
        return self.cascade.transform_inputs()

    def transform_outputs(self, input_columns: list[str]) -> list[str]:
        """Return the output columns of the cascade."""
        return self.cascade.options(tail=self.tail).transform_outputs(input_columns)


def split_queries(topics: pd.DataFrame, size: int | None, first: int | None = None) -> list[pd.DataFrame]:
    """Split a frame into batches of ``size`` queries (the first of ``first``), in order of first appearance; at least one."""
    if size is None or not len(topics):
        return [topics]
    return [topics.take(rows) for rows in split_rows(topics, size, first)]


def split_rows(topics: pd.DataFrame, size: int, first: int | None = None) -> list[Ints]:
    """Return the rows of each batch of ``split_queries``; one row or more is given."""
    query = pd.factorize(topics["qid"])[0]
    order = np.argsort(query, kind="stable")
    ends = np.searchsorted(query[order], [*range(first or size, query.max() + 1, size)])
    return [np.sort(rows) for rows in np.split(order, ends)]


def _check_options(tail: Tail | None, query_batch_size: int | None) -> None:
    problems = []
    if tail is not None and not is_word(tail, get_args(Tail)):
        problems.append(f"tail is {tail!r}, expected one of {', '.join(get_args(Tail))}")
    if query_batch_size is not None and not is_whole(query_batch_size, least=1):
        problems.append(f"query_batch_size is {query_batch_size!r}, expected 1 or more queries, or None for all")
    if problems:
        raise CascadeError("the cascade cannot be run", problems, fix='run(cascade, topics, tail="drop", query_batch_size=100)')


def _find_whole(cascade: Cascade) -> list[str]:
    """Return the names of the stages known to score by all rows of a frame."""
    return [stage.name for stage in cascade if any(map(reads_whole_frame, stage.transformers))]


def refuse_whole(cascade: Cascade) -> None:
    """Refuse a cascade that cannot be run in batches; a stage loaded by ``Lazy`` is known when it has run."""
    if whole := _find_whole(cascade):
        problem = f"stage {whole[0]!r}, once loaded, scores by all rows of a frame"
        fix = "run(cascade, topics)"
        raise CascadeError("the cascade cannot be run in batches of queries", [problem], fix=fix)


@dataclass
class Passage:
    """The way of a batch of queries through the stages of a cascade, which may go on in another process.

    Attributes:
        topics: What the first stage is given.
        prefixes: Names of stages whose ranking is kept in ``found``.
        steps: Those that what follows needs: of all stages with a fusion or a kept tail, else of the last one what it passes on.
        traces: The columns of the trace, for each stage.
        found: By stage name: what it passes on.
    """

    topics: pd.DataFrame
    prefixes: Collection[str] = ()
    steps: list[Step] = field(default_factory=list)
    traces: list[dict[str, NDArray[np.generic]]] = field(default_factory=list)
    found: dict[str, pd.DataFrame] = field(default_factory=dict)

    @property
    def qids(self) -> pd.Index[str]:
        """The qids in topic order."""
        qids: pd.Index[str] = pd.Index(self.topics["qid"].unique(), dtype=object)
        return qids

    def advance(self, cascade: Cascade, last: str, *, clock: Callable[[], float] = time.perf_counter) -> None:
        """Run the stages that follow, up to the one named ``last``."""
        qids, needed = self.qids, cascade.tail == "keep" or cascade.fusion is not None
        for step in walk(cascade, self.topics, fusion=cascade.fusion, clock=clock, done=tuple(self.steps)):
            self.traces.append({**step.trace(qids), **read_accounts(step, qids)})
            self.steps = [*self.steps, step] if needed else [replace(step, given=step.kept, ranked=step.kept)]
            if step.stage.name in self.prefixes:
                self.found[step.stage.name] = _order(_end(cascade, self.steps), qids)
            if step.stage.name == last:
                return

    def finish(self, cascade: Cascade) -> tuple[Run, dict[str, pd.DataFrame]]:
        """Return the results after the last stage with the whole trace, and what each stage of ``prefixes`` passes on."""
        qids, traces = self.qids, self.traces
        nothing = np.full(len(qids), np.nan)  # for a stage without this column
        names = dict.fromkeys(name for part in traces for name in part if name != "docs_ranked")
        trace = pd.DataFrame({name: np.concatenate([part.get(name, nothing) for part in traces]) for name in names})
        return Run(_order(run_ending(cascade.ending, _end(cascade, self.steps)), qids), trace), self.found


def _end(cascade: Cascade, steps: list[Step]) -> pd.DataFrame:
    """Return the ranking after some steps."""
    return append_tail(steps[-1].kept, steps) if cascade.tail == "keep" else steps[-1].kept


def _order(results: pd.DataFrame, qids: pd.Index[str]) -> pd.DataFrame:
    """Put the queries in topic order."""
    place = qids.get_indexer(pd.Index(results["qid"], dtype=object))
    return results if (np.diff(place) >= 0).all() else results.iloc[np.argsort(place, kind="stable")]


def read_accounts(step: Step, qids: pd.Index[str]) -> dict[str, Floats]:
    """Return the ``accounts`` columns of a stage by query, 0 for a query without rows."""
    names = [name for part in step.stage.transformers for name in getattr(part, "accounts", ()) if name in step.ranked]
    if not names:
        return {}
    first = step.ranked.drop_duplicates("qid").set_index("qid")[names].astype(np.float64).reindex(qids, fill_value=0.0)
    return {name: first[name].to_numpy() for name in names}
