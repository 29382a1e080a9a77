"""Timings: what each stage took for each query at several depths, and the cost that follows from it."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from pt_cascade.analysis.cost.fitting import fit_cost
from pt_cascade.analysis.cost.latency import take_percentiles
from pt_cascade.analysis.cost.timing_data import TimingData
from pt_cascade.analysis.cost.timing_files import load_timings, save_timings

if TYPE_CHECKING:
    import os

    from pt_cascade.analysis.cost.cost import Cost
    from pt_cascade.analysis.cost.timing_data import Per


@dataclass(frozen=True, eq=False, repr=False)
class Timings(TimingData):
    """What each stage of a cascade took for each query, at its own cut-offs and at shares of them.

    Attributes:
        frame: Frame[stage, qid, repeat, share, docs_in, docs_ranked, docs_out, tokens, ms], a row for each stage, query, repeat and
            share; stages in order. ``repeat`` counts from 0; ``share`` is what the cascade's cut-offs were multiplied by;
            ``docs_in`` is what the stage was given (0 for a retriever), ``docs_ranked`` what it ranked, ``docs_out`` what passed
            its cut-off, all in documents; ``tokens`` is what its model read, NaN where it does not tell; ``ms`` are milliseconds.
        mode: ``interactive``: each row timed one query; ``throughput``: all queries were timed together, and ``ms`` is the stage's
            time divided by their number, which gives means and no percentiles.
        machine: On what, e.g. ``{"cores": "2", "torch": "2.8.0", "device": "cpu"}``.
        pairwise: The names of the stages that compare each two documents: of n documents they score n(n - 1) pairs.

    Raises:
        TableError: The frame is not that, all reasons at once.

    Example:
        >>> from pt_cascade.analysis.cost.timing_data import COLUMNS
        >>> rows = [("bm25", "1", 0, 1.0, 0, 10, 10, np.nan, 3.0), ("t5", "1", 0, 1.0, 10, 10, 5, np.nan, 45.0),
        ...         ("bm25", "1", 0, 0.5, 0, 10, 5, np.nan, 3.0), ("t5", "1", 0, 0.5, 5, 5, 2, np.nan, 25.0)]
        >>> timings = Timings(pd.DataFrame(rows, columns=list(COLUMNS)))
        >>> cost = timings.cost()
        >>> round(cost.stages[1].fixed_ms, 6), round(cost.stages[1].per_pair_ms, 6), round(cost.latency((8, 5), ()).ms, 6)
        (5.0, 4.0, 40.0)
    """

    def cost(self, per: Per = "pair") -> Cost:
        """Fit each stage's fixed time and its time a pair, and keep how the queries' own times differ from that.

        Non-negative least squares, each depth's error relative to its mean time. At the depths that were profiled the cost's means
        are the measured ones, and its percentiles those of the measured sums.

        Args:
            per: ``pair``, or ``token``: stages that tell their tokens get a time a token instead, and ``tokens_per_pair``.

        Returns:
            The cost; from ``throughput`` timings one that gives means only.

        Raises:
            SweepError: A stage was given the same number of documents every time, which does not tell the fixed part from the rest;
                or per is ``token`` and no stage tells its tokens.

        References:
            Lawson & Hanson, "Solving Least Squares Problems", 1974, chapter 23, as in ``scipy.optimize.nnls``.
        """
        return fit_cost(self, per)

    def summary(self, percentiles: tuple[float, ...] = (50, 95)) -> pd.DataFrame:
        """Sum up: what each stage costs, and what it took at the largest share.

        Args:
            percentiles: Which, for ``interactive`` timings.

        Returns:
            Frame[stage, docs_in, fixed_ms, per_pair_ms, ms, p50_ms, p95_ms], a row a stage and one, ``cascade``, for the sum:
            documents and milliseconds are means a query; the percentiles of the sum are not the sums of the percentiles.
        """
        cost = self.cost()
        rows = self.frame[self.frame["share"] == self.shares[0]]
        times = rows.pivot_table(index=["qid", "repeat"], columns="stage", values="ms")[list(self.stages)]
        times = times.assign(cascade=times.sum(axis=1))
        given = rows.groupby("stage", sort=False)["docs_in"].mean()
        table = pd.DataFrame(
            {
                "stage": [*self.stages, "cascade"],
                "docs_in": [*given[list(self.stages)], np.nan],
                "fixed_ms": [*(one.fixed_ms for one in cost.stages), np.nan],
                "per_pair_ms": [np.nan, *(one.per_pair_ms for one in cost.stages[1:]), np.nan],
                "ms": times.mean().to_numpy(),
            }
        )
        if self.mode == "interactive":
            for level, column in zip(percentiles, take_percentiles(times.to_numpy().T, percentiles).T, strict=True):
                table[f"p{level:g}_ms"] = column
        return table

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the timings to a parquet file, in one step; what fails before leaves an older file as it was.

        Args:
            path: The file.

        Raises:
            MissingError: Its folder is not there.
        """
        save_timings(self, path)

    @staticmethod
    def load(path: str | os.PathLike[str]) -> Timings:
        """Read what ``save`` wrote.

        Args:
            path: The file.

        Raises:
            MissingError: There is no such file.
            TableError: It is damaged, truncated, foreign or of another format.
        """
        data = load_timings(path)
        return Timings(*(getattr(data, field.name) for field in fields(data)))
