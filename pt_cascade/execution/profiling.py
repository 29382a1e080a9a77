"""Times a cascade, stage by stage and query by query, at its cut-offs and at shares of them."""

from __future__ import annotations

import os
import platform
import sys
import time
import warnings
from dataclasses import replace
from itertools import product
from typing import TYPE_CHECKING, get_args

import numpy as np
import pandas as pd

from pt_cascade.analysis.certificates.order_statistics import queries_to_bound, queries_to_show
from pt_cascade.analysis.cost.timing_files import COLUMNS
from pt_cascade.analysis.cost.timings import Mode, Timings
from pt_cascade.cascade import Cascade, Step, walk
from pt_cascade.cascade.calls import call, count_rows
from pt_cascade.cascade.known import find_dependence
from pt_cascade.cascade.wrappers import refuse_bare_caches, remove_caches
from pt_cascade.errors import CascadeError, CascadeWarning, FrameError, warn
from pt_cascade.execution.runner import read_accounts
from pt_cascade.execution.versions import versions
from pt_cascade.frames import canonical_topics
from pt_cascade.numbers import is_amount, is_whole, is_word
from pt_cascade.progress import show_progress

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import pyterrier as pt
    from numpy.typing import NDArray

    from pt_cascade.ranking import Floats

SHARES = (1.0, 0.3, 0.1, 0.03)
_LATE = 95


def profile(  # noqa: PLR0913 - the names are public
    cascade: pt.Transformer,
    topics: pd.DataFrame,
    mode: Mode = "interactive",
    *,
    repeats: int = 3,
    warmup: int = 3,
    shares: Sequence[float] = SHARES,
    seconds: float | None = None,
    clock: Callable[[], float] = time.perf_counter,
    verbose: bool = False,
) -> Timings:
    """Time every stage of a cascade for every query at several depths, to predict the cost of any cut-offs.

    Several depths separate a stage's fixed time from its time a document: each repeat runs each query once for each share, with all
    cut-offs multiplied by it. Runs of different shares alternate, so that a disturbance of the machine affects all of them.

    Times cover a stage's transformers and cut-off, without checks, token counts and the warm-up; work on a GPU is waited for. Score
    caches are bypassed: the models run. So are ``Cascade.options``: a stage scores everything, and may not fail.

    Args:
        cascade: A Cascade, or any pipeline that ``Cascade.of`` reads, that starts from topics.
        topics: Frame[qid, query]. To show p95 takes 20 queries, p99 100; to keep to a budget at p95 takes 59, at p99 299.
            Repeats do not replace them.
        mode: ``interactive``: one query at a time, with percentiles; ``throughput``: all at once, with means only.
        repeats: How often each query is run at each share, 1 or more.
        warmup: How many queries run first at each share, not counted; for ``throughput`` all, if 1 or more.
        shares: Of each cut-off (or of the documents that a stage passed on in the warm-up, if fewer), above 0, possibly above 1.
        seconds: About how long it may take after the warm-up, whose last query decides how many of the queries are timed, the first
            ones; None: all of them. Without a warm-up it has no effect.
        clock: Seconds.
        verbose: Show a progress bar.

    Returns:
        The timings; ``tokens`` if a transformer has a method ``count_tokens(frame)`` that returns the tokens read for each row.

    Raises:
        CascadeError: An argument or a frame is not valid, or a stage failed.

    Warns:
        CascadeWarning: Fewer queries were timed than given.

    Example:
        >>> import pyterrier as pt
        >>> found = pd.DataFrame({"qid": "1", "query": "q", "docno": ["a", "b"], "score": [2.0, 1.0], "rank": [0, 1]})
        >>> pipeline = pt.Transformer.from_df(found) % 2 >> pt.apply.doc_score(lambda row: 1.0) % 1
        >>> timings = profile(pipeline, pd.DataFrame({"qid": ["1"], "query": ["q"]}), repeats=1, shares=(1.0, 0.5))
        >>> timings.frame[["stage", "share", "docs_in", "docs_out"]].to_numpy().tolist()
        [['run', 1.0, 0, 2], ['doc_score', 1.0, 2, 1], ['run', 0.5, 0, 1], ['doc_score', 0.5, 1, 1]]
    """
    shares = _check_options(mode, repeats, warmup, shares, seconds)
    queries = _split(topics, mode)
    load, clock = f"{os.getloadavg()[0]:.2f}", _wait_for_gpus(clock)
    bare = _bypass_caches(Cascade.of(cascade))
    counted: dict[tuple[int, float], list[Floats]] = {}
    parts: list[dict[str, NDArray[np.generic]]] = []
    with show_progress("profile", "run", None, shown=verbose) as bar:
        scaled, pace = _warm_up(bare, queries[:warmup], shares, clock)
        if seconds is not None:
            queries = _fit_in(queries, seconds, repeats * pace)
        bar.reset(repeats * len(shares) * len(queries))
        for repeat, turn, number in product(range(repeats), range(len(shares)), range(len(queries))):
            share = shares[(number + turn) % len(shares)]  # other than that of the query before, and of the turn before
            qids = queries[number]["qid"]
            steps = list(walk(scaled[share], queries[number], fusion=scaled[share].fusion, clock=clock))
            if (number, share) not in counted:
                counted[number, share] = [_count_tokens(step, qids) for step in steps]
            for step, tokens in zip(steps, counted[number, share], strict=True):
                run = {"repeat": np.full(len(qids), repeat), "share": np.full(len(qids), share), "tokens": tokens}
                parts.append({**run, "usd": _read_usd(step, qids), **step.trace(pd.Index(qids, dtype=object))})
            bar.update()
    frame = pd.DataFrame({name: np.concatenate([part[name] for part in parts]) for name in (*COLUMNS, "usd")})
    frame = frame if frame["usd"].notna().any() else frame.drop(columns="usd")
    pairwise = tuple(stage.name for stage in scaled[1.0].stages[1:] if find_dependence(stage) == "pairwise")
    return Timings(frame, mode, {**_describe_machine(), "load": load}, pairwise)


def _bypass_caches(cascade: Cascade) -> Cascade:
    """Replace caches by their models, and rules by their ceilings: the times hold for any number of documents."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CascadeWarning)  # of cut-offs without effect: given when the cascade was made
        bare = replace(cascade, stages=tuple(replace(remove_caches(stage, load=True), rule=None) for stage in cascade))
    for stage in bare:
        refuse_bare_caches(stage)
    return bare


def _wait_for_gpus(clock: Callable[[], float]) -> Callable[[], float]:
    """Return a clock that waits for the GPUs in use; torch is not loaded for it."""

    def read() -> float:
        torch = sys.modules.get("torch")
        if torch is not None and torch.cuda.is_initialized():
            for device in range(torch.cuda.device_count()):
                if torch.cuda.memory_reserved(device):
                    torch.cuda.synchronize(device)
        return clock()

    return read


def _warm_up(
    cascade: Cascade, queries: list[pd.DataFrame], shares: tuple[float, ...], clock: Callable[[], float]
) -> tuple[dict[float, Cascade], float]:
    """Run some queries at every share; return the cascade with each share of its cut-offs, or of fewer documents passed on.

    And how many seconds the last query took, summed over the shares.
    """
    most, start = [0] * len(cascade), clock()
    for query in queries:
        start = clock()
        for n, step in enumerate(walk(cascade, query, fusion=cascade.fusion)):
            most[n] = max(most[n], int(step.kept["qid"].value_counts().max()) if len(step.kept) else 0)
    depths = [min(k, seen) if k and seen else k or seen or None for k, seen in zip(cascade.cutoffs, most, strict=True)]
    scaled, pace = {1.0: cascade}, clock() - start
    for share in shares:
        if share != 1:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", CascadeWarning)  # as in ``_bypass_caches``
                scaled[share] = cascade.with_cutoffs(*(None if depth is None else max(1, round(depth * share)) for depth in depths))
            for query in queries:
                start = clock()
                list(walk(scaled[share], query, fusion=cascade.fusion))
            pace += clock() - start
    return scaled, pace


def _fit_in(queries: list[pd.DataFrame], seconds: float, pace: float) -> list[pd.DataFrame]:
    """Keep as many of the first queries as fit into the time at a pace in seconds a query, one at least."""
    count = max(int(min(seconds / pace, len(queries))), 1) if pace > 0 else len(queries)
    if count < len(queries):
        took = f"{len(queries)} would take about {pace * len(queries):.0f} s, and seconds is {seconds:g}"
        message = (
            f"{count} queries are timed: {took}; p95 takes {queries_to_show(_LATE)}, a budget at p95 {queries_to_bound(_LATE)}"
        )
        warn(message)
    return queries[:count]


def _read_usd(step: Step, qids: pd.Series[str]) -> Floats:
    """Return the US dollars that a stage counted for each query, NaN if it counts none."""
    counted = [values for name, values in read_accounts(step, pd.Index(qids, dtype=object)).items() if name.endswith("usd")]
    return np.sum(counted, axis=0) if counted else np.full(len(qids), np.nan)


def _count_tokens(step: Step, qids: pd.Series[str]) -> Floats:
    """Return the tokens that a stage's model reads for each query, NaN if unknown; its loaders run again."""
    parts = step.stage.transformers
    reader = next((n for n, part in enumerate(parts) if callable(getattr(part, "count_tokens", None))), None)
    if reader is None:
        return np.full(len(qids), np.nan)
    frame = step.given
    if not len(frame):
        return np.zeros(len(qids))
    for part in parts[:reader]:
        frame = call(part, frame, step.stage.name)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CascadeWarning)  # given when the stage ran
        tokens = count_rows(parts[reader], "count_tokens", frame, step.stage.name)
    sums: Floats = np.bincount(pd.Index(qids).get_indexer(pd.Index(frame["qid"])), tokens, len(qids)).astype(np.float64)
    return sums


def _check_options(mode: Mode, repeats: int, warmup: int, shares: Sequence[float], seconds: float | None) -> tuple[float, ...]:
    problems = []
    if seconds is not None and not (is_amount(seconds) and seconds > 0):
        problems.append(f"seconds is {seconds!r}, expected a number above 0, or None")
    if not is_word(mode, get_args(Mode)):
        problems.append(f"mode is {mode!r}, expected one of {', '.join(get_args(Mode))}")
    for name, value, least in (("repeats", repeats, 1), ("warmup", warmup, 0)):
        if not is_whole(value, least):
            problems.append(f"{name} is {value!r}, expected a whole number from {least}")
    given = list(shares) if isinstance(shares, (list, tuple)) else []
    if not given or not all(is_amount(share) and share > 0 for share in given) or len({*given}) < len(given):
        problems.append(f"shares is {shares!r}, expected different numbers above 0, such as {SHARES}")
    if problems:
        raise CascadeError("the cascade cannot be profiled", problems, fix="profile(cascade, topics, repeats=3, warmup=3)")
    return tuple(sorted(map(float, given), reverse=True))


def _split(topics: pd.DataFrame, mode: Mode) -> list[pd.DataFrame]:
    """Return one frame a query, or one of all."""
    checked = canonical_topics(topics)
    problems = [] if len(checked) else ["there is no topic"]
    problems += ["they hold documents (docno): a profile starts from queries"] if "docno" in checked else []
    if problems:
        raise FrameError("these topics cannot be profiled", problems)
    return [checked.iloc[[n]] for n in range(len(checked))] if mode == "interactive" else [checked]


def _describe_machine() -> dict[str, str]:
    """Return the machine and the versions; of torch if it is loaded."""
    facts = {"system": f"{platform.system()} {platform.machine()}", "cores": str(os.cpu_count()), **versions(loaded=True)}
    if (torch := sys.modules.get("torch")) is not None:
        device = torch.cuda.get_device_name() if torch.cuda.is_initialized() else "cpu"
        facts |= {"torch": str(torch.__version__), "threads": str(torch.get_num_threads()), "device": str(device)}
    return facts
