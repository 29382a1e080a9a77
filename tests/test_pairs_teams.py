"""Sets that change by some documents, against the sums over each set by itself; and duels that were never fought."""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tabling import make_qrels
from test_pairs_replay import HOWS, make_table

from pt_cascade.analysis.bouts import arrange, tally
from pt_cascade.analysis.cutoffs import NO_CUT
from pt_cascade.analysis.duels import Duels, find_unmet
from pt_cascade.analysis.preferences import aggregate
from pt_cascade.analysis.sweeps import sweep
from pt_cascade.analysis.teams import gather, line_up, sit_down
from pt_cascade.errors import TableError

if TYPE_CHECKING:
    from pt_cascade.analysis.bouts import Bouts

DOCS = 8
SETS = st.lists(st.lists(st.integers(0, DOCS - 1), min_size=1, max_size=DOCS, unique=True), min_size=1, max_size=6)


def make_bouts(how: str, seed: int) -> tuple[np.ndarray, Bouts]:
    """Probabilities of few values among all documents of a query, and the bouts of them."""
    wins = np.random.default_rng(seed).integers(0, 5, (DOCS, DOCS)) / 4
    first, second = np.nonzero(~np.eye(DOCS, dtype=bool))
    return wins, arrange(Duels(how, first, second, wins[first, second]), np.array([0, DOCS]), np.arange(DOCS))


@settings(max_examples=60)
@given(st.sampled_from(HOWS), st.integers(0, 99), SETS, st.permutations(range(DOCS)))
def test_a_set_that_changes_scores_as_one_made_anew(how: str, seed: int, sets: list[list[int]], ties: list[int]) -> None:
    """Oracle: preferences.aggregate over each set, bit for bit, whoever was there before; ordered by score, then by ties."""
    wins, bouts = make_bouts(how, seed)
    seats, gains, team = np.empty(DOCS + 1, np.int32), np.empty((DOCS, DOCS), np.int64), np.empty(DOCS + 1, np.int32)
    stamps, totals, scores, size = np.zeros(DOCS + 2, np.int64), np.zeros(DOCS + 1, np.int64), np.zeros(DOCS + 1), 0
    sit_down(bouts.first, bouts.second, bouts.terms, 0, seats, gains)
    step_by_step = [members[:end] for members in sets for end in range(len(members), 0, -1)]  # one leaves at a time
    for members in step_by_step:
        size = gather(np.array(members, np.int32), team, size, seats, gains, totals, stamps, bouts.kind)
        line_up(team, size, totals, scores, np.array(ties, np.int32), bouts.kind)
        wanted = dict(zip(members, aggregate(wins[np.ix_(members, members)], how).tolist(), strict=True))
        assert team[:size].tolist() == sorted(members, key=lambda doc: (-wanted[doc], ties[doc]))
        assert {int(doc): float(scores[doc]) for doc in team[:size]} == wanted
        told, lacking = tally(bouts, np.array(members), np.zeros(size, np.int64))
        assert told.tolist() == list(wanted.values())
        assert not lacking.any()


@settings(max_examples=40)
@given(st.integers(0, 9), st.sets(st.tuples(st.integers(0, 3), st.integers(4, 7)), max_size=6), SETS)
def test_a_duel_that_was_not_fought_is_noticed(seed: int, lost: set[tuple[int, int]], sets: list[list[int]]) -> None:
    """A set is refused if and only if two of it have no duel; two such are named, and counted for each document."""
    wins, _ = make_bouts("sum", seed)
    for one, other in lost:
        wins[one, other] = wins[other, one] = np.nan
    first, second = np.nonzero(~np.eye(DOCS, dtype=bool) & ~np.isnan(wins))
    bouts = arrange(Duels("sum", first, second, wins[first, second]), np.array([0, DOCS]), np.arange(DOCS))
    seats, gains, team = np.empty(DOCS + 1, np.int32), np.empty((DOCS, DOCS), np.int64), np.empty(DOCS + 1, np.int32)
    stamps, totals, size = np.zeros(DOCS + 2, np.int64), np.zeros(DOCS + 1, np.int64), 0
    sit_down(bouts.first, bouts.second, bouts.terms, 0, seats, gains)
    for members in sets:
        missing = [pair for pair in lost if {*pair} <= {*members}]
        size = gather(np.array(members, np.int32), team, size, seats, gains, totals, stamps, bouts.kind)
        _, lacking = tally(bouts, np.array(members), np.zeros(len(members), np.int64))
        assert lacking.tolist() == [sum(doc in pair for pair in missing) for doc in members]
        pairs = np.array([(i, j) for i, j in product(members, members) if i != j]).reshape(-1, 2)
        assert len(find_unmet(bouts, pairs[:, 0], pairs[:, 1])) == 2 * len(missing)
        if size < 0:
            assert tuple(sorted(divmod(~size, len(team)))) in missing
            return
        assert not missing


@settings(max_examples=30)
@given(st.data())
def test_the_kernel_names_a_lacking_duel_if_and_only_if_a_vector_needs_it(data: st.DataObject) -> None:
    """Oracle: covers, asked vector by vector; the two documents of the message are those that were left out."""
    one, other = sorted(data.draw(st.lists(st.integers(0, 5), min_size=2, max_size=2, unique=True)))
    wins = np.full((6, 6), 0.25)
    wins[np.diag_indices(6)] = wins[one, other] = wins[other, one] = np.nan
    table = make_table(wins, bm25=[6, 5, 4, 3, 2, 1], bi=data.draw(st.permutations([1.0, 2.0, 2.0, 3.0, 4.0, 4.0])))
    vectors = data.draw(st.lists(st.tuples(*[st.integers(1, 6)] * 3), min_size=1, max_size=6, unique=True))
    qrels = make_qrels(1).head(1).assign(qid="1", docno="a", label=1)
    covered = [table.covers(vector) for vector in vectors]
    if all(covered):
        assert len(sweep(table, qrels, ["AP"], grid=vectors).frame) == len(vectors)
        return
    with pytest.raises(TableError) as caught:
        sweep(table, qrels, ["AP"], grid=vectors)
    names = {"abcdef"[one], "abcdef"[other]}
    assert any(f"docno {left} against {right}," in str(caught.value) for left, right in (sorted(names), sorted(names)[::-1]))


def test_an_unscored_pair_before_the_duels_is_named() -> None:
    """The stage that lacks a score is named, as without duels."""
    wins = np.full((3, 3), 0.25)
    wins[np.diag_indices(3)] = np.nan
    table = make_table(wins, bm25=[3, 2, 1], bi=[1, np.nan, 2])
    qrels = make_qrels(1).head(1).assign(qid="1", docno="a", label=1)
    with pytest.raises(TableError, match=r"needs qid 1, docno b scored by 'bi'"):
        sweep(table, qrels, ["AP"], grid=[(2, 1, 1), (NO_CUT, 1, 1)])
    assert len(sweep(table, qrels, ["AP"], grid=[(1, 1, 1)]).frame) == 1


def test_the_pointwise_stages_keep_their_own_kernel() -> None:
    """A path of a table with duels that does not end in them is swept as in a table without any."""
    wins = np.full((3, 3), 0.25)
    wins[np.diag_indices(3)] = np.nan
    table = make_table(wins, bm25=[3, 2, 1], bi=[1, 3, 2])
    qrels = make_qrels(1).head(1).assign(qid="1", docno="b", label=1)
    got = sweep(table, qrels, ["RR"], grid=[(1, 1), (3, 2)], stages=("bm25", "bi"))
    assert got.means.tolist() == [[0.0], [1.0]]


@settings(max_examples=60)
@given(st.sets(st.tuples(*[st.integers(0, 6)] * 2)), st.lists(st.tuples(*[st.integers(0, 9)] * 2)))
def test_what_was_not_fought_is_found(fought: set[tuple[int, int]], asked: list[tuple[int, int]]) -> None:
    """Oracle: a set of pairs; duels of no documents, and documents beyond all that fought, are none."""
    known = np.array(sorted(fought), np.int64).reshape(-1, 2)
    wanted = np.array(asked, np.int64).reshape(-1, 2)
    unmet = find_unmet(Duels("sum", known[:, 0], known[:, 1], np.zeros(len(known))), wanted[:, 0], wanted[:, 1])
    assert unmet.tolist() == [n for n, pair in enumerate(asked) if pair not in fought]
