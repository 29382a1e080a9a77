"""Runs a cascade over topics in chunks of queries, with a trace; removed documents can follow as a tail."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, get_args

import numpy as np
import pandas as pd
import pyterrier as pt
from tqdm import tqdm

from pt_cascade.analysis.grid.cutoffs import Tail
from pt_cascade.cascade import Cascade, Step, walk
from pt_cascade.cascade.known import reads_whole_frame
from pt_cascade.cascade.steps import run_ending
from pt_cascade.errors import CascadeError
from pt_cascade.execution.query_batches import split_queries
from pt_cascade.execution.tails import append_tail
from pt_cascade.frames import canonical_input
from pt_cascade.numbers import is_whole

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from pt_cascade.ranking import Floats


@dataclass(frozen=True)
class Run:
    """The results of a cascade and a trace of its stages.

    Attributes:
        results: Frame[qid, docno, score, rank, ...] of the last stage, queries in topic order.
        trace: Frame[stage, qid, docs_in, docs_out, pairs, ms, shared_by], one row for each stage and query. ``docs_in`` is 0 for a
            retriever; ``docs_out`` counts the documents that pass the cut-off; ``pairs`` the scored (query, document) pairs;
            ``ms`` is the stage's time for the chunk divided by its number of queries, ``shared_by``. The columns that a
            transformer names in ``accounts`` follow (``llm_judge``: calls, tokens, dollars), NaN for other stages.
    """

    results: pd.DataFrame
    trace: pd.DataFrame


def run(
    cascade: pt.Transformer,
    topics: pd.DataFrame,
    *,
    tail: Tail = "drop",
    chunk_size: int | None = None,
    verbose: bool = False,
    clock: Callable[[], float] = time.perf_counter,
) -> Run:
    """Run a cascade stage by stage over the topics, and trace each stage.

    With ``tail="drop"`` the ranking is the plain pipeline's, unless a stage in chunks reads rows of other queries. Chunks bound the
    memory between stages; ``run_chunks`` also bounds that of the results.

    Args:
        cascade: A Cascade, or any pipeline that ``Cascade.of`` reads.
        topics: Frame[qid, query], or Frame[qid, query, docno, ...] of results to re-rank.
        tail: ``drop``: removed documents are dropped, as with PyTerrier's ``%``; ``keep``: they follow below the ranking, those of
            the last cut-off first, in their old order.
        chunk_size: Queries that pass the stages together, 1 or more; None: all, also where a stage is known to score by all rows
            of a frame (``pt.text.scorer`` without a background index).
        verbose: Show a progress bar, one tick a query.
        clock: Seconds, for the trace.

    Returns:
        The results and the trace.

    Raises:
        CascadeError: An argument or a frame is not valid, or a stage failed; or in chunks, a transformer loaded by ``Lazy``
            scores by all rows of a frame.

    Example:
        >>> topics = pd.DataFrame({"qid": ["1"], "query": ["q"]})
        >>> found = pd.DataFrame({"qid": ["1", "1"], "query": "q", "docno": ["a", "b"], "score": [2.0, 1.0], "rank": [0, 1]})
        >>> done = run(pt.Transformer.from_df(found) % 1, topics)
        >>> done.results["docno"].tolist(), done.trace["docs_out"].tolist()
        (['a'], [1])
    """
    chunks = list(run_chunks(cascade, topics, tail=tail, chunk_size=chunk_size, verbose=verbose, clock=clock))
    frames = [chunk.results for chunk in chunks if len(chunk.results)] or [chunk.results for chunk in chunks[:1]]
    results = frames[0] if len(frames) == 1 else pd.concat(frames, ignore_index=True)
    return Run(results, pd.concat([chunk.trace for chunk in chunks], ignore_index=True))


def run_chunks(
    cascade: pt.Transformer,
    topics: pd.DataFrame,
    *,
    tail: Tail = "drop",
    chunk_size: int | None = 100,
    verbose: bool = False,
    clock: Callable[[], float] = time.perf_counter,
) -> Iterator[Run]:
    """Yield a Run for each chunk of queries, in topic order; arguments as for ``run``.

    Example:
        >>> topics = pd.DataFrame({"qid": ["1", "2"], "query": ["p", "q"]})
        >>> found = pd.DataFrame({"qid": ["1", "2"], "query": ["p", "q"], "docno": "a", "score": 1.0, "rank": 0})
        >>> [chunk.results["qid"].tolist() for chunk in run_chunks(pt.Transformer.from_df(found), topics, chunk_size=1)]
        [['1'], ['2']]
    """
    _check_options(tail, chunk_size)
    stages, topics = Cascade.of(cascade), canonical_input(topics)
    chunks = split_queries(topics, None if _find_whole(stages) else chunk_size)
    with tqdm(total=topics["qid"].nunique(), desc="cascade", unit="query", disable=not verbose) as bar:
        for chunk in chunks:
            done = _run_chunk(stages, chunk, tail, clock)
            if len(chunks) > 1 and (whole := _find_whole(stages)):
                problem = f"stage {whole[0]!r}, once loaded, scores by all rows of a frame"
                raise CascadeError("the cascade cannot be run in chunks", [problem], fix="run(cascade, topics, chunk_size=None)")
            bar.update(len(done.trace) // len(stages))
            yield done


@dataclass(frozen=True)
class Runner(pt.Transformer):  # type: ignore[misc]
    """A cascade with the options of ``run``, as a PyTerrier transformer, e.g. to compare tails in ``pt.Experiment``.

    Attributes:
        cascade: What to run.
        tail: As for ``run``.
        chunk_size: As for ``run``.

    Example:
        >>> topics = pd.DataFrame({"qid": ["1"], "query": ["q"]})
        >>> found = pd.DataFrame({"qid": ["1", "1"], "query": "q", "docno": ["a", "b"], "score": [2.0, 1.0], "rank": [0, 1]})
        >>> Runner(Cascade.of(pt.Transformer.from_df(found) % 1), tail="keep").transform(topics)["docno"].tolist()
        ['a', 'b']
    """

    cascade: Cascade
    tail: Tail = "drop"
    chunk_size: int | None = None

    def __post_init__(self) -> None:
        """Check the options."""
        _check_options(self.tail, self.chunk_size)
        object.__setattr__(self, "cascade", Cascade.of(self.cascade))

    def transform(self, inp: pd.DataFrame) -> pd.DataFrame:
        """Run the cascade over Frame[qid, query, ...]; see ``run``."""
        return run(self.cascade, inp, tail=self.tail, chunk_size=self.chunk_size).results

    def transform_inputs(self) -> list[list[str]]:
        """Return the input columns of the cascade."""
        return self.cascade.transform_inputs()

    def transform_outputs(self, input_columns: list[str]) -> list[str]:
        """Return the output columns of the cascade, and ``cut_by`` with a kept tail."""
        return self.cascade.transform_outputs(input_columns) + (["cut_by"] if self.tail == "keep" else [])


def _check_options(tail: Tail, chunk_size: int | None) -> None:
    problems = []
    if tail not in get_args(Tail):
        problems.append(f"tail is {tail!r}, expected one of {', '.join(get_args(Tail))}")
    if chunk_size is not None and not is_whole(chunk_size, least=1):
        problems.append(f"chunk_size is {chunk_size!r}, expected 1 or more queries, or None for all")
    if problems:
        raise CascadeError("the cascade cannot be run", problems, fix='run(cascade, topics, tail="drop", chunk_size=100)')


def _find_whole(cascade: Cascade) -> list[str]:
    """Return the names of the stages known to score by all rows of a frame."""
    return [stage.name for stage in cascade if any(map(reads_whole_frame, stage.transformers))]


def _run_chunk(cascade: Cascade, topics: pd.DataFrame, tail: Tail, clock: Callable[[], float]) -> Run:
    qids = pd.Index(topics["qid"].unique(), dtype=object)
    traces: list[dict[str, NDArray[np.generic]]] = []
    steps: list[Step] = []
    for step in walk(cascade, topics, clock=clock):
        traces.append({**step.trace(qids), **_read_accounts(step, qids)})
        steps = [*steps, step] if tail == "keep" else [step]
    results = append_tail(steps) if tail == "keep" else steps[-1].kept
    nothing = np.full(len(qids), np.nan)  # for a stage without this column
    names = dict.fromkeys(name for part in traces for name in part if name != "docs_ranked")
    trace = pd.DataFrame({name: np.concatenate([part.get(name, nothing) for part in traces]) for name in names})
    results = run_ending(cascade.ending, results)
    place = qids.get_indexer(pd.Index(results["qid"], dtype=object))
    return Run(results if (np.diff(place) >= 0).all() else results.iloc[np.argsort(place, kind="stable")], trace)


def _read_accounts(step: Step, qids: pd.Index[str]) -> dict[str, Floats]:
    """Return the ``accounts`` columns of a stage by query, 0 for a query without rows."""
    names = [name for part in step.stage.transformers for name in getattr(part, "accounts", ()) if name in step.ranked]
    if not names:
        return {}
    first = step.ranked.drop_duplicates("qid").set_index("qid")[names].astype(np.float64).reindex(qids, fill_value=0.0)
    return {name: first[name].to_numpy() for name in names}
