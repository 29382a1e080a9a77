"""Who meets in a pairwise last stage, against every cut-off vector tried one by one."""

from __future__ import annotations

from itertools import combinations, product

import numpy as np
from hypothesis import given, settings
from test_needed import orders

from pt_cascade.analysis.needed import meetings, needed


def try_all(places: list[list[int]], depths: list[int | None]) -> set[tuple[int, int]]:
    """Cut a query's documents by every vector, and write down every two that are left together once."""
    docs = len(places[0])
    met: set[tuple[int, int]] = set()
    for cutoffs in product(*(range(1, (min(depth or docs, docs) or 1) + 1) for depth in depths)):
        left = list(range(docs))
        for place, k in zip(places, cutoffs, strict=True):
            left = sorted(left, key=place.__getitem__)[:k]
        met |= set(combinations(sorted(left), 2))
    return met


@settings(max_examples=60)
@given(orders())
def test_exactly_the_documents_that_some_cutoffs_hand_on_together_meet(
    drawn: tuple[list[list[list[int]]], list[int | None]],
) -> None:
    """Oracle: every cut-off vector within the depths, one by one: no pair is missing, none to spare, none stands twice."""
    queries, depths = drawn
    offsets = np.r_[0, np.cumsum([len(places[0]) for places in queries])].astype(np.int64)
    places = np.concatenate([np.array(places, np.int32).reshape(len(depths), -1) for places in queries], axis=1)
    for stage in range(1, len(depths)):  # what nobody needs there was not scored
        places[stage, ~needed(offsets, places[:stage], depths[:stage])] = -1
    upper, lower = meetings(offsets, places, depths)
    wanted = [
        (int(begin) + i, int(begin) + j)
        for begin, query in zip(offsets[:-1], queries, strict=True)
        for i, j in sorted(try_all(query, depths), key=lambda pair: pair[::-1])
    ]
    assert list(zip(upper.tolist(), lower.tolist(), strict=True)) == wanted


def test_of_three_stages_in_random_order_few_of_all_pairs_meet() -> None:
    """At (1000, 100, 20), stages in random order: fewer than a third of the pairs of documents that are needed at all."""
    random = np.random.default_rng(0)
    places = np.stack([np.arange(1000), random.permutation(1000), random.permutation(1000)]).astype(np.int32)
    offsets, depths = np.array([0, 1000]), (1000, 100, 20)
    documents = int(needed(offsets, places, depths).sum())
    upper, _ = meetings(offsets, places, depths)
    assert 20 * 19 // 2 < len(upper) < documents * (documents - 1) // 2 / 3


def test_a_single_stage_before_lets_all_within_its_depth_meet() -> None:
    """Golden, by hand: of four documents the first three meet at depth 3; at depth 1 nobody meets anybody."""
    place = np.arange(4, dtype=np.int32)[None]
    assert np.stack(meetings(np.array([0, 4]), place, (3,))).tolist() == [[0, 0, 1], [1, 2, 2]]
    assert [len(side) for side in meetings(np.array([0, 4]), place, (1,))] == [0, 0]
