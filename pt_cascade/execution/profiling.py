"""Times a cascade, stage by stage and query by query, at its cut-offs and at shares of them."""

from __future__ import annotations

import os
import platform
import sys
import time
import warnings
from dataclasses import dataclass, replace
from importlib.metadata import version
from typing import TYPE_CHECKING, get_args

import numpy as np
import pandas as pd
from tqdm import tqdm

from pt_cascade.analysis.cost.timing_files import COLUMNS
from pt_cascade.analysis.cost.timings import Mode, Timings
from pt_cascade.cascade import Cascade, Step, walk
from pt_cascade.cascade.known import find_dependence
from pt_cascade.cascade.steps import call
from pt_cascade.cascade.wrappers import live, refuse_bare_caches
from pt_cascade.errors import CascadeError, CascadeWarning, FrameError, StageError
from pt_cascade.frames import canonical_topics
from pt_cascade.numbers import is_amount, is_whole

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import pyterrier as pt
    from numpy.typing import NDArray

    from pt_cascade.ranking import Floats

SHARES = (1.0, 0.3, 0.1, 0.03)
_PACKAGES = ("pt_cascade", "pyterrier", "numpy", "pandas")


def profile(
    cascade: pt.Transformer,
    topics: pd.DataFrame,
    mode: Mode = "interactive",
    *,
    repeats: int = 3,
    warmup: int = 3,
    shares: Sequence[float] = SHARES,
    clock: Callable[[], float] = time.perf_counter,
    verbose: bool = False,
) -> Timings:
    """Time every stage of a cascade for every query at several depths, to predict the cost of any cut-offs.

    Several depths separate a stage's fixed time from its time a document: each repeat runs each query once for each share, with all
    cut-offs multiplied by it. Runs of different shares alternate, so that a disturbance of the machine affects all of them.

    Times cover a stage's transformers and cut-off, without checks, token counts and the warm-up; work on a GPU is waited for. Score
    caches are bypassed: the models run.

    Args:
        cascade: A Cascade, or any pipeline that ``Cascade.of`` reads, that starts from topics.
        topics: Frame[qid, query]. p95 needs 20 queries, p99 needs 100; repeats do not replace them.
        mode: ``interactive``: one query at a time, with percentiles; ``throughput``: all at once, with means only.
        repeats: How often each query is run at each share, 1 or more.
        warmup: How many queries run first at each share, not counted; for ``throughput`` all, if 1 or more.
        shares: Of each cut-off (or of the documents that a stage passed on in the warm-up, if fewer), above 0, possibly above 1.
        clock: Seconds.
        verbose: Show a progress bar.

    Returns:
        The timings; ``tokens`` if a transformer has a method ``count_tokens(frame)`` that returns the tokens read for each row.

    Raises:
        CascadeError: An argument or a frame is not valid, or a stage failed.

    Example:
        >>> import pyterrier as pt
        >>> found = pd.DataFrame({"qid": "1", "query": "q", "docno": ["a", "b"], "score": [2.0, 1.0], "rank": [0, 1]})
        >>> pipeline = pt.Transformer.from_df(found) % 2 >> pt.apply.doc_score(lambda row: 1.0) % 1
        >>> timings = profile(pipeline, pd.DataFrame({"qid": ["1"], "query": ["q"]}), repeats=1, shares=(1.0, 0.5))
        >>> timings.frame[["stage", "share", "docs_in", "docs_out"]].to_numpy().tolist()
        [['run', 1.0, 0, 2], ['doc_score', 1.0, 2, 1], ['run', 0.5, 0, 1], ['doc_score', 0.5, 1, 1]]
    """
    shares = _check_options(mode, repeats, warmup, shares)
    queries = _split(topics, mode)
    machine = _describe_machine()
    runner = _Runner(_bypass_caches(Cascade.of(cascade)), clock)
    depths = _warm_up(runner, queries[:warmup], shares)
    counted: dict[tuple[int, float], list[Floats]] = {}
    parts: list[dict[str, NDArray[np.generic]]] = []
    with tqdm(total=repeats * len(shares) * len(queries), desc="profile", unit="run", disable=not verbose) as bar:
        for repeat, number, share in _turns(repeats, len(queries), shares):
            qids = queries[number]["qid"]
            steps = runner.run(queries[number], share, depths)
            if (number, share) not in counted:
                counted[number, share] = [_count_tokens(step, qids) for step in steps]
            for step, tokens in zip(steps, counted[number, share], strict=True):
                run = {"repeat": np.full(len(qids), repeat), "share": np.full(len(qids), share), "tokens": tokens}
                parts.append({**run, **step.trace(pd.Index(qids, dtype=object))})
            bar.update()
    frame = pd.DataFrame({name: np.concatenate([part[name] for part in parts]) for name in COLUMNS})
    pairwise = tuple(stage.name for stage in runner.cascade.stages[1:] if find_dependence(stage) == "pairwise")
    return Timings(frame, mode, {**machine, **_describe_torch()}, pairwise)


@dataclass(frozen=True)
class _Runner:
    """Runs a cascade at shares of its cut-offs."""

    cascade: Cascade
    clock: Callable[[], float]

    def run(self, frame: pd.DataFrame, share: float, depths: Sequence[int | None]) -> list[Step]:
        """Run some queries; ``depths``: how many documents each stage passes on at share 1, None if unknown."""
        cutoffs = [one if share == 1 else _scale(depth, share) for one, depth in zip(self.cascade.cutoffs, depths, strict=True)]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", CascadeWarning)  # of cut-offs without effect: given when the cascade was made
            scaled = self.cascade.with_cutoffs(*cutoffs)
        return list(walk(scaled, frame, clock=_wait_for_gpus(self.clock)))


def _bypass_caches(cascade: Cascade) -> Cascade:
    """Replace caches by their models."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CascadeWarning)  # as in ``_Runner.run``
        bare = replace(cascade, stages=tuple(live(stage, load=True) for stage in cascade))
    for stage in bare:
        refuse_bare_caches(stage)
    return bare


def _scale(depth: int | None, share: float) -> int | None:
    return None if depth is None else max(1, round(depth * share))


def _wait_for_gpus(clock: Callable[[], float]) -> Callable[[], float]:
    """Return a clock that waits for the GPUs in use; torch is not loaded for it."""
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_initialized():
        return clock
    used = [device for device in range(torch.cuda.device_count()) if torch.cuda.memory_reserved(device)]

    def read() -> float:
        for device in used:
            torch.cuda.synchronize(device)
        return clock()

    return read


def _warm_up(runner: _Runner, queries: list[pd.DataFrame], shares: tuple[float, ...]) -> list[int | None]:
    """Run some queries at every share; return how many documents each stage passes on at share 1."""
    most = [0] * len(runner.cascade)
    for query in queries:
        for n, step in enumerate(runner.run(query, 1.0, runner.cascade.cutoffs)):
            most[n] = max(most[n], int(step.kept.groupby("qid").size().max()) if len(step.kept) else 0)
    cutoffs = runner.cascade.cutoffs
    depths = [min(k, seen) if k and seen else k or seen or None for k, seen in zip(cutoffs, most, strict=True)]
    for share in shares:
        for query in queries if share != 1 else []:
            runner.run(query, share, depths)
    return depths


def _turns(repeats: int, queries: int, shares: tuple[float, ...]) -> Iterator[tuple[int, int, float]]:
    """Yield (repeat, query, share), with another share than the neighbour query and the previous turn."""
    for repeat in range(repeats):
        for turn in range(len(shares)):
            for number in range(queries):
                yield repeat, number, shares[(number + turn) % len(shares)]


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
        tokens = np.asarray(parts[reader].count_tokens(frame), np.float64)
    if tokens.shape != (len(frame),) or not (np.isfinite(tokens) & (tokens >= 0)).all():
        problem = (
            f"count_tokens of {parts[reader]!r} gave shape {tokens.shape}, expected a number from 0 for each of {len(frame)} row(s)"
        )
        raise StageError(f"the tokens of stage {step.stage.name!r} cannot be counted", [problem])
    sums: Floats = np.bincount(pd.Index(qids).get_indexer(pd.Index(frame["qid"])), tokens, len(qids)).astype(np.float64)
    return sums


def _check_options(mode: Mode, repeats: int, warmup: int, shares: Sequence[float]) -> tuple[float, ...]:
    problems = []
    if mode not in get_args(Mode):
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
    """Return the machine, its load and the versions."""
    facts = {
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "cores": str(os.cpu_count()),
    }
    return {**facts, "load": f"{os.getloadavg()[0]:.2f}", **{name: version(name) for name in _PACKAGES}}


def _describe_torch() -> dict[str, str]:
    torch = sys.modules.get("torch")
    if torch is None:
        return {}
    device = torch.cuda.get_device_name() if torch.cuda.is_initialized() else "cpu"
    return {"torch": str(torch.__version__), "threads": str(torch.get_num_threads()), "device": str(device)}
