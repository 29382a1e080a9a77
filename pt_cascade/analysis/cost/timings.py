"""Timings: the time of each stage for each query at several depths, and the cost fitted to it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, TypeAlias, get_args

import numpy as np
import pandas as pd

from pt_cascade.analysis.cost.fitting import fit_cost
from pt_cascade.analysis.cost.latency import check_percentiles, take_percentiles
from pt_cascade.analysis.cost.timing_files import COLUMNS, COUNTS, load_timings, save_timings
from pt_cascade.errors import TableError
from pt_cascade.markup import Shown, Table
from pt_cascade.numbers import count_of, is_word

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping

    from pt_cascade.analysis.cost.cost import Cost
    from pt_cascade.analysis.cost.fitting import Per

Mode: TypeAlias = Literal["interactive", "throughput"]
_KEYS = ["stage", "qid", "repeat", "share"]


@dataclass(frozen=True, eq=False, repr=False)
class Timings(Shown):
    """The time of each stage of a cascade for each query, at the cascade's cut-offs and at shares of them.

    Attributes:
        frame: Frame[stage, qid, repeat, share, docs_in, docs_ranked, docs_out, pairs, tokens, ms], a row for each stage, query,
            repeat and share, stages in order. ``repeat`` counts from 0; ``share`` is the factor of the cascade's cut-offs;
            ``docs_in``, ``docs_ranked`` and ``docs_out`` count the documents that the stage got (0 for a retriever), ranked, and
            passed on;
            ``pairs`` counts the documents, or passages, that its model scored; ``tokens`` are those that its model read, NaN where
            they were not counted; ``ms`` are milliseconds. Optional: ``usd``, the US dollars that the stage counted
            (``llm_judge(prices=...)``), NaN where it counted none.
        mode: ``interactive``: each query was timed alone; ``throughput``: all were timed together, and ``ms`` is the stage's time
            divided by their number, so only means are known.
        machine: E.g. ``{"cores": "2", "torch": "2.8.0", "device": "cpu"}``.
        pairwise: The names of the pairwise stages: of n documents they score n(n - 1) pairs.

    Raises:
        TableError: The frame does not hold that; all problems are listed.

    Example:
        >>> from pt_cascade.analysis.cost.timing_files import COLUMNS
        >>> rows = [("bm25", "1", 0, 1.0, 0, 10, 10, 0, np.nan, 3.0), ("t5", "1", 0, 1.0, 10, 10, 5, 10, np.nan, 45.0),
        ...         ("bm25", "1", 0, 0.5, 0, 10, 5, 0, np.nan, 3.0), ("t5", "1", 0, 0.5, 5, 5, 2, 5, np.nan, 25.0)]
        >>> timings = Timings(pd.DataFrame(rows, columns=list(COLUMNS)))
        >>> cost = timings.cost()
        >>> round(cost.stages[1].fixed_ms, 6), round(cost.stages[1].per_pair_ms, 6), round(cost.latency((8, 5), ()).ms, 6)
        (5.0, 4.0, 40.0)
    """

    frame: pd.DataFrame
    mode: Mode = "interactive"
    machine: Mapping[str, str] = field(default_factory=dict)
    pairwise: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse a frame that holds no timings, all problems at once."""
        given: object = self.frame  # types are hints
        if not isinstance(given, pd.DataFrame):
            raise TableError("these are not timings", [f"they are a {type(given).__name__}, expected what profile returns"])
        lacking = [name for name in COLUMNS if name not in self.frame]
        if lacking:
            found = ", ".join(map(str, self.frame.columns)) or "none"
            raise TableError("these are not timings", [f"missing columns: {', '.join(lacking)}, found {found}"])
        if problems := self._problems():
            raise TableError("these are not timings", problems)

    def _problems(self) -> list[str]:
        """List what would make a cost wrong."""
        problems = (
            [] if is_word(self.mode, get_args(Mode)) else [f"mode is {self.mode!r}, expected one of {', '.join(get_args(Mode))}"]
        )
        if not len(self.frame):
            return [*problems, "there are no rows"]
        problems += [
            f"pairwise names {name!r}, expected a stage after the first" for name in self.pairwise if name not in self.stages[1:]
        ]
        problems += [f"stage {name!r} holds a character that is not printed" for name in self.stages if not str(name).isprintable()]
        for name in (*COUNTS, "share", "tokens", "ms", *(["usd"] if "usd" in self.frame else [])):
            problems += _check_column(name, self.frame[name])
        runs, repeated = len(self.frame[["qid", "repeat"]].drop_duplicates()), int(self.frame.duplicated(_KEYS).sum())
        wanted = len(self.stages) * len(self.shares) * runs
        if repeated or len(self.frame) != wanted:
            found = f"{count_of(len(self.frame), 'row')}, of which {repeated} repeat the ({', '.join(_KEYS)}) of an earlier one"
            each = f"{count_of(len(self.stages), 'stage')}, {count_of(len(self.shares), 'share')} and {runs} (qid, repeat)"
            problems.append(f"{found}, expected {wanted}, one for each of {each}")
        return problems

    @property
    def stages(self) -> tuple[str, ...]:
        """The names of the stages, in order."""
        return tuple(self.frame["stage"].unique())

    @property
    def shares(self) -> tuple[float, ...]:
        """The shares of the cut-offs, the largest first."""
        return tuple(sorted(self.frame["share"].unique().tolist(), reverse=True))

    @property
    def queries(self) -> int:
        """How many different queries were timed."""
        return int(self.frame["qid"].nunique())

    def __repr__(self) -> str:
        repeats = int(self.frame["repeat"].nunique())
        shares = ", ".join(f"{share:g}" for share in self.shares)
        stages = ", ".join(self.stages)
        return f"{type(self).__name__}({stages}: {self.queries} queries, {repeats} repeats, shares {shares}, {self.mode})"

    def cost(self, per: Per = "pair") -> Cost:
        """Fit each stage's fixed time and time a pair, and keep each query's times.

        The fit is by non-negative least squares, each depth's error relative to its mean time. At the profiled cascade's own
        cut-offs (its largest share) the mean and percentiles are those of the measured sums; elsewhere they follow the measured
        times between the profiled depths, and the fit beyond them. No deeper cut-off takes less time.

        Args:
            per: ``pair``, or ``token``: stages that count their tokens get a time a token instead, and ``tokens_per_pair``.

        Returns:
            The cost; from ``throughput`` timings it has means only.

        Raises:
            SweepError: A stage got the same number of documents every time, or per is ``token`` and no stage counted its tokens.

        References:
            Lawson & Hanson, "Solving Least Squares Problems", 1974, chapter 23, as in ``scipy.optimize.nnls``.
        """
        return fit_cost(self.frame, per, self.pairwise, together=self.mode == "throughput")

    def summary(self, percentiles: tuple[float, ...] | None = None) -> pd.DataFrame:
        """Return what each stage costs, and its time at the largest share.

        Args:
            percentiles: Percentiles of ``interactive`` timings; None: those of 50, 95 and 99 that so many
                queries give.

        Returns:
            Frame[stage, docs_in, fixed_ms, per_pair_ms, ms, p50_ms, p95_ms, p99_ms], a row a stage and one, ``cascade``, for the
            sum: documents and milliseconds are means a query; the percentiles of the sum are not the sums of the percentiles.
        """
        cost, table = self.cost(), self._summarise(percentiles)
        table.insert(2, "fixed_ms", table["stage"].map({one.stage: one.fixed_ms for one in cost.stages}))
        table.insert(3, "per_pair_ms", table["stage"].map({one.stage: one.per_pair_ms for one in cost.stages[1:]}))
        return table

    def _summarise(self, percentiles: tuple[float, ...] | None = None) -> pd.DataFrame:
        """Return the columns of ``summary`` that were measured, not fitted."""
        rows = self.frame[self.frame["share"] == self.shares[0]]
        times = rows.pivot_table(index=["qid", "repeat"], columns="stage", values="ms")[list(self.stages)]
        times = times.assign(cascade=times.sum(axis=1))
        table = pd.DataFrame({"docs_in": rows.groupby("stage")["docs_in"].mean()}, index=pd.Index(times.columns, name="stage"))
        table = table.assign(ms=times.mean()).reset_index()
        if self.mode == "interactive":
            levels = check_percentiles(percentiles, self.queries)
            for level, column in zip(levels, take_percentiles(times.to_numpy().T, levels).T, strict=True):
                table[f"p{level:g}_ms"] = column
        return table

    def tabulate(self) -> Table:
        """Return each stage's measured time at the largest share, for a notebook or a paper."""
        table = self._summarise()
        names = {"docs_in": "docs in", "ms": "mean ms"} | {name: f"{name[:-3]} ms" for name in map(str, table) if name[0] == "p"}
        numbers = dict.fromkeys(names.values(), "{:,.2f}".format) | {"docs in": "{:,.1f}".format}
        how = "one at a time" if self.mode == "interactive" else "together"
        return Table(table.rename(columns=names), f"Times of {self.queries:,} queries, {how}", numbers)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the timings to a Parquet file, in one step: on failure an older file stays as it was.

        Args:
            path: The file.

        Raises:
            MissingError: There is no folder for it.
        """
        about = {"mode": self.mode, "machine": dict(self.machine), "pairwise": list(self.pairwise)}
        save_timings(path, self.frame, about)

    @staticmethod
    def load(path: str | os.PathLike[str]) -> Timings:
        """Read what ``save`` wrote.

        Args:
            path: The file.

        Raises:
            MissingError: There is no such file.
            TableError: It is damaged, of another format, or not written by ``save``.
        """
        frame, about = load_timings(path)
        try:
            return Timings(frame, about["mode"], about["machine"], tuple(about["pairwise"]))
        except TableError as error:
            raise TableError(f"cannot read the timings of {path}", error.problems) from error


def _check_column(name: str, column: pd.Series[float]) -> list[str]:
    """List what is wrong with a column of numbers."""
    if not pd.api.types.is_numeric_dtype(column) or pd.api.types.is_bool_dtype(column):
        return [f"{name} is {column.dtype}, expected numbers"]
    values = column.to_numpy(np.float64, na_value=np.nan)
    good = np.isfinite(values) & (values >= 0) & ((values == np.floor(values)) | (name not in COUNTS))
    bad = ~(good | (np.isnan(values) & (name in ("tokens", "usd"))))
    if not bad.any():
        return []
    return [f"{name} is {values[bad][0]:g} in row {int(bad.argmax())}, expected {'whole ' * (name in COUNTS)}numbers, 0 or more"]
