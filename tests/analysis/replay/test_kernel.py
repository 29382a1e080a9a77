"""The kernel against loops in plain Python that compute everything again for each query and vector."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import accumulate, product
from math import log2
from random import Random
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pt_cascade.analysis.grid.cutoffs import NO_CUT
from pt_cascade.analysis.replay.compiling import compiled
from pt_cascade.analysis.replay.kernel import DONE, sum_measures
from pt_cascade.analysis.replay.kernel_measures import AP, JUDGED, NDCG, PRECISION, RECALL, RR, SUCCESS, UNJUDGED
from pt_cascade.analysis.replay.kernel_types import MeasureSpec, Ranked
from pt_cascade.analysis.replay.replayer import index_grid

if TYPE_CHECKING:
    from collections.abc import Callable

CODES = [
    *((kind, cutoff, rel, order) for kind in (RR, RECALL, PRECISION, AP, SUCCESS) for cutoff, rel, order in ((3, 1, 0), (7, 2, 1))),
    *((NDCG, cutoff, 1, order) for cutoff, order in ((1, 0), (4, 1), (NO_CUT, 0))),
    *((JUDGED, cutoff, 1, order) for cutoff, order in ((2, 1), (NO_CUT, 0))),
    (AP, NO_CUT, 1, 0),
]


@dataclass
class Case:
    """Some queries: each a list of stages' rankings (places of its documents), two rankings of evaluation, and labels."""

    queries: list[tuple[list[list[int]], list[list[int]], list[int]]]
    vectors: list[tuple[int, ...]]
    keep: bool

    def run(self, codes: list[tuple[int, ...]] = CODES, groups: list[int] | None = None) -> tuple[int, np.ndarray]:
        """Let the kernel sum."""
        counts = [len(labels) for _, _, labels in self.queries]
        places = [[*stages, *evaluated] for stages, evaluated, _ in self.queries]
        ranked = Ranked(
            np.r_[0, np.cumsum(counts)].astype(np.int64),
            np.concatenate([np.array(place, np.int32).reshape(len(place), -1) for place in places], axis=1),
            np.array([all(order == stages[-1] for order in evaluated) for stages, evaluated, _ in self.queries]),
            np.array([label for _, _, labels in self.queries for label in labels], np.int32),
        )
        groups = [0] * len(self.queries) if groups is None else groups
        sums = np.zeros((max(groups) + 1, len(self.vectors), len(codes)))
        norms = np.array([[float(n + 2) for _ in self.queries] for n in range(len(codes))])
        norms[:, 0] *= 0.5
        wanted = MeasureSpec(np.array(codes, np.int32), norms, max(code[1] for code in codes))
        index = index_grid(np.array(self.vectors, np.int32), keep=self.keep)
        every = np.arange(len(self.queries))
        return sum_measures(every, ranked, index, wanted, np.array(groups), sums), sums

    def show(self, query: int, vector: tuple[int, ...]) -> tuple[list[int], list[list[int]]]:
        """Cut stage by stage; return what follows below, and what is kept in each order of evaluation."""
        stages, evaluated, labels = self.queries[query]
        left, fallen = list(range(len(labels))), []
        for place, k in zip(stages, vector, strict=True):
            ranked = sorted(left, key=place.__getitem__)
            left, fallen = ranked[:k], ranked[k:] + fallen
        return fallen if self.keep else [], [sorted(left, key=order.__getitem__) for order in evaluated]

    def measure(self, query: int, vector: tuple[int, ...], code: tuple[int, ...], norm: float) -> float:
        """Write a measure down as its definition reads."""
        kind, cutoff, rel, order = code
        tail, heads = self.show(query, vector)
        labels = [self.queries[query][2][doc] for doc in (heads[order] + tail)[:cutoff]]
        hits = [n for n, label in enumerate(labels, 1) if label >= rel]
        values: dict[int, Callable[[], float]] = {
            NDCG: lambda: sum(max(label, 0) / log2(n + 1) for n, label in enumerate(labels, 1)) / norm,
            RR: lambda: 1 / hits[0] if hits else 0.0,
            RECALL: lambda: len(hits) / norm,
            PRECISION: lambda: len(hits) / norm,
            AP: lambda: sum(n / hit for n, hit in enumerate(hits, 1)) / norm,
            JUDGED: lambda: np.mean([label != UNJUDGED for label in labels]) if labels else 0.0,
            SUCCESS: lambda: bool(hits) / norm,
        }
        return float(values[kind]())


def make_case(seed: int, stages: int) -> Case:
    """Up to three queries of up to nine documents, half of them tied; a small grid, or part of one."""
    random = Random(seed)  # noqa: S311 - toys
    queries = []
    for _ in range(random.randint(1, 3)):
        docs = random.choice([0, 1, 3, 5, 7, 9, 9])
        rankings = [list(range(docs)), *(random.sample(range(docs), docs) for _ in range(stages - 1))]
        runs = [*accumulate(random.choices([0, 1], k=docs))]
        tied = [_reverse_runs(rankings[-1], runs) if random.random() < 0.5 else rankings[-1] for _ in range(2)]
        queries.append((rankings, tied, random.choices([UNJUDGED, UNJUDGED, -1, 0, 1, 2, 3], k=docs)))
    last = sorted(random.sample([*range(1, 11), NO_CUT], random.choice([1, 1, 2] if stages > 2 else [4, 8])))
    every = [*product(*[range(1, 10 if stages < 4 else 5)] * (stages - 1), last)]
    some = sorted(random.sample(every, random.randint(1, len(every))))
    return Case(queries, random.choice([every, some]), random.random() < 0.5)


CASES = st.builds(make_case, st.integers(0, 2**32), st.sampled_from([1, 2, 3, 3, 4]))


def _reverse_runs(place: list[int], runs: list[int]) -> list[int]:
    """Turn round the documents of each run of places, as ties are broken by docno instead of by row."""
    by_place = sorted(range(len(place)), key=lambda doc: (runs[place[doc]], -place[doc]))
    return [by_place.index(doc) for doc in range(len(place))]


@settings(max_examples=150)
@given(CASES, st.lists(st.sampled_from(CODES), min_size=1, max_size=5, unique=True))
def test_it_sums_what_plain_loops_sum(case: Case, codes: list[tuple[int, ...]]) -> None:
    """Oracle: every query cut, evaluated and measured on its own, by the definitions, for every vector."""
    done, sums = case.run(codes, groups=[n % 2 for n in range(len(case.queries))])
    assert done == DONE
    for group, (v, vector), (n, code) in product(range(len(sums)), enumerate(case.vectors), enumerate(codes)):
        queries = range(group, len(case.queries), 2)
        wanted = sum(case.measure(query, vector, code, (n + 2) * (0.5 if query == 0 else 1)) for query in queries)
        assert sums[group, v, n] == pytest.approx(wanted, abs=1e-12), (vector, code)


@settings(max_examples=40)
@given(CASES, st.data())
def test_a_pair_that_was_not_scored_is_named_if_and_only_if_it_is_needed(case: Case, data: st.DataObject) -> None:
    """A document without a place stops the kernel where a vector hands it on, and nowhere else."""
    stages = len(case.vectors[0])
    sizes = [len(labels) for _, _, labels in case.queries]
    query = data.draw(st.integers(0, len(sizes) - 1))
    if stages == 1 or not sizes[query]:
        return
    stage, doc = data.draw(st.integers(1, stages - 1)), data.draw(st.integers(0, sizes[query] - 1))
    before = Case([(rankings[:stage], [rankings[stage - 1]] * 2, labels) for rankings, _, labels in case.queries], [], keep=False)
    needed = any(doc in before.show(query, vector[:stage])[1][0] for vector in case.vectors)
    case.queries[query][0][stage] = [-1 if n == doc else place for n, place in enumerate(case.queries[query][0][stage])]
    done, _ = case.run(CODES[:2])
    assert done == (stage * sum(sizes) + sum(sizes[:query]) + doc if needed else DONE)


def test_it_compiles_where_no_folder_keeps_what_is_compiled() -> None:
    """As in a container without a home, where the packages are read-only: numba finds no place for the code of a text."""
    names: dict[str, Callable[[int], int]] = {}
    exec("def double(number): return 2 * number", names)  # noqa: S102 - a text has no file
    assert compiled(names["double"])(21) == 42
