"""What a cascade costs at any vector of cut-offs, in milliseconds, model calls and money: by hand, or from a profile."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from pt_cascade.analysis.cost.latency import (
    Latency,
    check_percentiles,
    summarise,
    take_percentiles,
)
from pt_cascade.analysis.cost.sample import Sample, sample_from_counts
from pt_cascade.analysis.cost.stage_cost import StageCost
from pt_cascade.analysis.grid.cutoffs import NO_CUT, as_tuple, as_vectors, check_cutoffs
from pt_cascade.errors import SweepError
from pt_cascade.numbers import is_word

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from pt_cascade.analysis.grid.cutoffs import Cutoff
    from pt_cascade.ranking import Floats, Ints

__all__ = ["Cost", "StageCost"]
_CELLS = 1_000_000  # vectors x queries computed together, 8 MB an array


@dataclass(frozen=True)
class Cost:
    """What the stages of a cascade cost together, at any cut-offs.

    A stage gets at most as many documents as each cut-off before it passes on, and as the query retrieved. A re-ranker without
    documents does not run, nor a pairwise one with a single document. The first stage retrieves: its cost is ``fixed_ms``.

    Attributes:
        stages: One entry a stage.
        sample: The profiled queries and their times; None: the cost was given by hand.
        live: Whether the last stage has no cut-off in the vectors, since it is in no score table: it gets what the last cut-off
            passes on.

    Raises:
        SweepError: There is no stage, an entry is not a StageCost, or two have the same name.

    Example:
        The textbook: 1000 → 100 → 20 → 5 at 0.05, 2 and 50 ms a pair is 1.25 s; 500 pairs at 50 ms are 25 s; 500 at 1 ms, then
        50 at 50 ms, are 3 s.

        >>> free, bi, small, large = StageCost("bm25"), *(StageCost(per_pair_ms=ms) for ms in (0.05, 2, 50))
        >>> Cost.of(free, bi, small, large).latency((1000, 100, 20, 5)).ms
        1250.0
        >>> Cost.of(free, large).latency((500, 10)).ms
        25000.0
        >>> Cost.of(free, StageCost(per_pair_ms=1), large).latency((500, 50, 10)).ms
        3000.0
    """

    stages: tuple[StageCost, ...]
    sample: Sample | None = field(default=None, repr=False)
    live: bool = False

    def __post_init__(self) -> None:
        """Refuse stages that make no cascade, all problems at once."""
        object.__setattr__(self, "stages", as_tuple(self.stages))
        problems = [f"{one!r:.60} is not a StageCost" for one in self.stages if not isinstance(one, StageCost)]
        names = [one.stage for one in self.stages if isinstance(one, StageCost) and one.stage]
        problems += [
            f"stage {name!r} has {names.count(name)} costs, expected one" for name in dict.fromkeys(names) if names.count(name) > 1
        ]
        problems += [] if self.stages else ["there is no stage, expected a StageCost for each stage"]
        if problems:
            raise SweepError(
                "these stages do not make a cost", problems, fix="Cost.of(StageCost('bm25'), StageCost('t5', per_pair_ms=50))"
            )

    @classmethod
    def of(cls, *stages: StageCost) -> Cost:
        """Make a cost by hand: one StageCost a stage, in order."""
        return cls(stages)

    def select(self, names: Sequence[str]) -> Cost:
        """Return the cost of a path through the stages.

        Args:
            names: Stages in order. Costs without any name get these names, and must be as many.

        Raises:
            SweepError: A stage has no cost.

        Example:
            >>> cost = Cost.of(StageCost("bm25"), StageCost("bi", per_pair_ms=0.05), StageCost("t5", per_pair_ms=50))
            >>> cost.select(["bm25", "t5"]).latency((10, 5)).ms
            500.0
        """
        names = (*as_tuple(names), *(one.stage for one in self.stages[-1:] if self.live))
        if len(names) == len(self.stages) and not any(one.stage for one in self.stages):
            return replace(self, stages=tuple(replace(one, stage=name) for one, name in zip(self.stages, names, strict=True)))
        own = [one.stage for one in self.stages]
        if missing := [str(name) for name in names if not (is_word(name, own) and name)]:
            known = ", ".join(name or "a stage without name" for name in own)
            problem = f"there is no cost for {', '.join(missing)}, only for {known}"
            raise SweepError("the cost does not cover the stages", [problem], fix=f"StageCost({missing[0]!r}, per_pair_ms=...)")
        places = [own.index(name) for name in names]
        sample = self.sample
        if sample is not None:
            times, usd = (tuple(each[place] for place in places if each) for each in (sample.times, sample.usd))
            sample = replace(sample, times=times, usd=usd)
        return Cost(tuple(self.stages[place] for place in places), sample, self.live)

    def latency(
        self,
        cutoffs: Sequence[Cutoff],
        percentiles: Sequence[float] | None = None,
        docs: Sequence[int] | NDArray[np.generic] | None = None,
    ) -> Latency:
        """Return how long a query takes at one vector of cut-offs: the mean, and percentiles of the sum over stages.

        Args:
            cutoffs: One a stage; None: no cut. The last one costs nothing.
            percentiles: Numbers from 1 to 100; None: those of 50, 95 and 99 above which at least one query lies.
            docs: Shape (queries,). How many documents each query retrieves, for a cost given by hand; without it every query
                retrieves enough, and there are no percentiles. A profiled cost ignores it: it has its own queries.

        Raises:
            SweepError: An argument is out of range, the number of documents is unknown, or the queries were timed together.

        Example:
            >>> late = Cost.of(StageCost(fixed_ms=1), StageCost(per_pair_ms=2)).latency((10, 5), (50,), docs=[4, 50])
            >>> late.ms, late.joint_ms
            (15.0, (9.0,))
        """
        names = [one.stage or f"stage {n}" for n, one in enumerate(self.stages, start=1)]
        checked = check_cutoffs(cutoffs, names[: len(names) - self.live])
        if percentiles is not None and as_tuple(percentiles) and self.sample is not None and not self.sample.percentiles:
            problem = "its queries were timed together (mode 'throughput'), so only their mean time is known"
            fix = "cost.latency(cutoffs, percentiles=()), or profile(cascade, topics, mode='interactive')"
            raise SweepError("the cost has no percentiles", [problem], fix=fix)
        sample, levels = self._prepare(percentiles, docs)
        depths = _depths(as_vectors([checked]), len(self.stages), sample)
        times = np.concatenate([self._time(n, depths[:, n], sample)[1] for n in range(len(self.stages))])
        return summarise(times, checked, levels, sample.queries)

    def frame(
        self,
        vectors: NDArray[np.generic],
        docs: Sequence[int] | NDArray[np.generic] | None = None,
        percentiles: Sequence[float] | None = None,
    ) -> pd.DataFrame:
        """Return what a query costs at many vectors of cut-offs.

        Args:
            vectors: Shape (vectors, stages), whole numbers, 1 or more; 2**31 - 1 and more: no cut.
            docs: As for ``latency``.
            percentiles: As for ``latency``.

        Returns:
            Frame[ms, p50_ms, p95_ms, p99_ms, pairs, usd], one row a vector. Mean milliseconds; percentiles, where single queries'
            times are known; mean pairs that the stages after the first score; mean US dollars, where a stage has a price.

        Raises:
            SweepError: The vectors or docs are out of range, or the number of documents is unknown.

        Example:
            >>> Cost.of(StageCost(), StageCost(per_pair_ms=2, usd_per_search=0.002)).frame(np.array([[150, 5]])).to_dict("records")
            [{'ms': 300.0, 'pairs': 150.0, 'usd': 0.004}]
        """
        sample, levels = self._prepare(percentiles, docs)
        depths = _depths(_check_vectors(vectors, len(self.stages) - self.live), len(self.stages), sample)
        _, first, code = np.unique(depths, axis=0, return_index=True, return_inverse=True)
        size = max(_CELLS // len(sample.retrieved), 1)
        parts = [self._measure(depths[first[at : at + size]], sample, levels) for at in range(0, max(len(first), 1), size)]
        columns = {name: np.concatenate([part[name] for part in parts])[code] for name in parts[0]}
        return pd.DataFrame(columns)

    def times_at(self, documents: Ints) -> Floats:
        """Time queries that differ in what each stage passes on, shape (queries, stages): (queries, rows of the sample or 1)."""
        sample = self.sample or sample_from_counts(None)
        depths = _depths(documents, len(self.stages), sample)
        return sum((self._time(n, depth, sample)[1] for n, depth in enumerate(depths.T)), np.zeros(1))

    def _prepare(
        self, percentiles: Sequence[float] | None, docs: Sequence[int] | NDArray[np.generic] | None
    ) -> tuple[Sample, tuple[float, ...]]:
        """Return the queries, and the percentiles that are known for them."""
        sample = sample_from_counts(docs) if self.sample is None else self.sample
        return sample, check_percentiles(percentiles, sample.queries) if sample.percentiles else ()

    def _time(self, n: int, depth: Ints, sample: Sample) -> tuple[Floats, Floats]:
        """Give the documents and milliseconds of stage n, shape (depths, rows) each."""
        stage = self.stages[n]
        given = np.minimum(depth[:, None], sample.retrieved).astype(np.float64)
        ms = sample.times[n].at(given, stage) if sample.times else stage.ms(given)
        return given, ms if n == 0 else np.where(given >= stage.least, ms, 0.0)

    def _usd(self, n: int, given: Floats, ms: Floats, sample: Sample) -> Floats:
        """Give the US dollars of stage n for so many documents and milliseconds, of the same shape; dollars fit as times do."""
        stage = self.stages[n]
        if not sample.usd:
            return stage.usd(given, ms)
        counted = sample.usd[n].at(given, stage.price)
        return replace(stage, usd_per_pair=0.0).usd(given, ms) + np.where(given >= stage.least, counted, 0.0)

    def _measure(self, depths: Ints, sample: Sample, levels: tuple[float, ...]) -> dict[str, Floats]:
        """Sum over the stages, computing each once for each of its depths."""
        ms, pairs, usd = (np.zeros(len(depths)) for _ in range(3))
        sums = np.zeros((len(depths), len(sample.retrieved) if levels else 0))
        for n, stage in enumerate(self.stages):
            depth, code = np.unique(depths[:, n], return_inverse=True)
            given, times = self._time(n, depth, sample)
            ms += times.mean(axis=1)[code]
            pairs += stage.pairs(given).mean(axis=1)[code]
            usd += self._usd(n, given, times, sample).mean(axis=1)[code]
            if levels:
                sums += times[code]
        named = {f"p{level:g}_ms": column for level, column in zip(levels, take_percentiles(sums, levels).T, strict=True)}
        priced = any(one.priced for one in self.stages)
        return {"ms": ms, **named, "pairs": pairs, **({"usd": usd} if priced else {})}


def _check_vectors(vectors: NDArray[np.generic], stages: int) -> Ints:
    """Check an array of cut-offs."""
    array = np.asarray(vectors)
    problems = []
    if array.ndim != 2 or array.shape[-1] != stages:  # noqa: PLR2004 - vectors and stages
        problems.append(f"the shape is {array.shape}, expected (vectors, {stages}), a cut-off for each stage")
    if array.dtype.kind not in "iu":
        problems.append(f"the type is {array.dtype}, expected whole numbers, {NO_CUT} for no cut")
    elif array.size and array.min() < 1:
        problems.append(f"the smallest is {array.min()}, expected 1 or more")
    if problems:
        raise SweepError("vectors are not cut-offs", problems)
    return np.minimum(array, NO_CUT).astype(np.int64)


def _depths(vectors: NDArray[np.integer], stages: int, sample: Sample) -> Ints:
    """Give how many documents may reach each stage, shape (vectors, stages); 0 for the first."""
    depths = np.zeros((len(vectors), stages), np.int64)
    np.minimum.accumulate(vectors[:, : stages - 1], axis=1, out=depths[:, 1:])
    most = int(sample.retrieved.max())
    if most == NO_CUT and (depths == NO_CUT).any():
        problem = "a cut-off is None, and the number of documents that a query retrieves is unknown"
        raise SweepError(
            "the number of documents of a stage is unknown", [problem], fix="pass docs=table.retrieved, or set that cut-off"
        )
    return np.minimum(depths, most)
