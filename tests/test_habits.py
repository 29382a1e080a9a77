"""How a stage orders rows and ties, seen from what it returns; what follows no rule is refused."""

from __future__ import annotations

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from judges import Judge

from pt_cascade import Stage
from pt_cascade.cascade import Step
from pt_cascade.errors import PipelineError
from pt_cascade.execution.habits import Habit, combine, observe, settle
from pt_cascade.ranking import locate

KEEPS, ROWS = frozenset({"keeps"}), frozenset({"rows"})


def given_frame(docnos: str, ranks: list[int], qid: str = "1") -> pd.DataFrame:
    """A frame that a stage is given."""
    return pd.DataFrame({"qid": qid, "docno": list(docnos), "rank": ranks})


def look(given: pd.DataFrame, ranked: pd.DataFrame, before: Habit | None = None) -> Habit:
    """Observe a stage that made the one of the other."""
    stage = Stage("s", (Judge(),))
    return observe(Step(stage, given, ranked, ranked, given["qid"], 0.0), before or Habit())


def ranked_frame(docnos: str, scores: list[float], ranks: list[int], qid: str = "1") -> pd.DataFrame:
    """A frame that a stage returns."""
    return given_frame(docnos, ranks, qid).assign(score=scores)


@pytest.mark.parametrize(
    ("ranked", "rows", "ties"),
    [
        (ranked_frame("abc", [1, 2, 3], [2, 1, 0]), {"keeps"}, {"rows", "rank"}),
        (ranked_frame("cba", [3, 2, 1], [0, 1, 2]), {"sorts"}, {"rows", "rank"}),
        (ranked_frame("abc", [3, 2, 1], [0, 1, 2]), {"keeps", "sorts"}, {"rows", "rank"}),
        (ranked_frame("abc", [1, 1, 1], [0, 1, 2]), {"keeps", "sorts"}, {"rows"}),
        (ranked_frame("abc", [1, 1, 1], [2, 0, 1]), {"keeps"}, {"rank"}),
        (ranked_frame("bca", [1, 1, 1], [0, 1, 2]), {"sorts"}, {"rank"}),
    ],
)
def test_the_rules_that_fit_are_told(ranked: pd.DataFrame, rows: set[str], ties: set[str]) -> None:
    """Given a, b, c with ranks 2, 0, 1: by hand, which rules explain what came back."""
    habit = look(given_frame("abc", [2, 0, 1]), ranked)
    assert (habit.rows, habit.ties) == (rows, ties)
    assert habit.told == ("keeps" if "keeps" in rows else "sorts", "rows" if "rows" in ties else "rank")


def test_queries_do_not_order_one_another() -> None:
    """A stage that returns its queries in another order keeps the rows of each."""
    given = pd.concat([given_frame("ab", [1, 0], "1"), given_frame("ab", [1, 0], "2")])
    ranked = pd.concat([ranked_frame("ab", [1, 1], [0, 1], "2"), ranked_frame("ab", [1, 2], [1, 0], "1")])
    assert look(given, ranked) == Habit(KEEPS, ROWS)


REFUSED = {
    "rows": (
        ranked_frame("bac", [1, 2, 3], [2, 1, 0]),
        Habit(),
        "stage 's' cannot be replayed: it returns its rows neither as they were given nor by rank, or now so, now so: "
        "for qid '1' it was given a, b, c and returned b, a, c with ranks 2, 1, 0. "
        'Fix: end it with pt.apply.generic(lambda results: results.sort_values(["qid", "rank"])), or keep the order of the rows',
    ),
    "rows, by and by": (
        ranked_frame("cba", [3, 2, 1], [0, 1, 2]),
        Habit(rows=KEEPS),
        "stage 's' cannot be replayed: it returns its rows neither as they were given nor by rank, or now so, now so: "
        "for qid '1' it was given a, b, c and returned c, b, a with ranks 0, 1, 2. "
        'Fix: end it with pt.apply.generic(lambda results: results.sort_values(["qid", "rank"])), or keep the order of the rows',
    ),
    "ties": (
        ranked_frame("abc", [1, 1, 1], [2, 1, 0]),
        Habit(),
        "stage 's' cannot be replayed: it ranks equal scores neither by the order of the rows it is given nor by their rank, "
        "or now so, now so: for qid '1' it ranked c above b, both 1.0; they were given in row(s) 2, 1 with rank(s) 1, 0. "
        "Fix: end it with pt.apply.generic(pt.model.add_ranks), which ranks equal scores by row order",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_follows_no_rule_is_refused(case: str) -> None:
    """The error shows the first rows that no rule explains."""
    ranked, before, message = REFUSED[case]
    with pytest.raises(PipelineError) as error:
        look(given_frame("abc", [2, 0, 1]), ranked, before)
    assert str(error.value) == message


@pytest.mark.parametrize("rows", ["keeps", "sorts"])
@pytest.mark.parametrize("ties", ["rows", "rank"])
def test_two_documents_tell_two_rules_apart(rows: str, ties: str) -> None:
    """Two of equal and two of different scores are asked for, each only while it is open; without such, it stays open."""
    judge = Judge(levels=2, rows=rows, ties=ties)
    docs = [f"d{n}" for n in range(20)]
    ones, zeros = ([doc for doc in docs if judge.judge("q", doc) == value] for value in (1.0, 0.0))

    def find(equal: bool) -> pd.DataFrame:  # noqa: FBT001 - as there
        two = ones[:2] if equal else [zeros[0], ones[0]]
        return pd.DataFrame({"qid": "1", "query": "q", "docno": two, "score": 0.0, "rank": 5})

    stage = Stage("s", (judge,), depends="point", documents="same")
    habit = settle(stage, Habit(), find)
    assert (habit.rows, habit.ties) == ({rows}, {ties})
    asked = len(judge.log.calls)
    assert settle(stage, habit, find) == habit
    assert settle(stage, Habit(), lambda _: None) == Habit()
    assert len(judge.log.calls) == asked <= 2


def test_chunks_are_put_together() -> None:
    """What one chunk rules out stays ruled out; chunks that rule everything out are refused."""
    assert combine([{"s": Habit(KEEPS)}, {"s": Habit(ties=ROWS), "t": Habit()}]) == {"s": Habit(KEEPS, ROWS), "t": Habit()}
    with pytest.raises(PipelineError) as error:
        combine([{"s": Habit(KEEPS)}, {"s": Habit(frozenset({"sorts"}))}])
    assert str(error.value) == "stage 's' cannot be replayed: it orders equal scores, or its rows, now so, now so"


@settings(max_examples=25)
@given(
    st.lists(st.tuples(st.sampled_from("12"), st.sampled_from("abcd")), unique=True),
    st.lists(st.tuples(st.sampled_from("12"), st.sampled_from("abcd")), unique=True),
)
def test_every_pair_is_located(left: list[tuple[str, str]], right: list[tuple[str, str]]) -> None:
    """Each row's position in the other frame, by a plain search; -1 where it is not there."""
    one, other = (pd.DataFrame(pairs, columns=["qid", "docno"], dtype=str) for pairs in (left, right))
    assert locate(one, other).tolist() == [right.index(pair) if pair in right else -1 for pair in left]
