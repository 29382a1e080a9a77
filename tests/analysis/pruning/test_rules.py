"""Rules against their definitions, list by list; what they refuse; and that a looser number keeps no fewer documents."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pt_cascade.analysis.pruning import Gate, Margin, Mass, Probability, Rule, Threshold
from pt_cascade.errors import PipelineError

if TYPE_CHECKING:
    from collections.abc import Callable

    from pt_cascade.ranking import Ints

SCORES = st.sampled_from([0.0, 0.0625, 0.125, 0.25, 0.5, 0.75, 1.0])  # sums and differences are exact
LISTS = st.lists(st.lists(SCORES, max_size=8).map(lambda scores: sorted(scores, reverse=True)), min_size=1, max_size=4)
BOUNDS = st.tuples(st.integers(1, 4), st.one_of(st.none(), st.integers(4, 7)))


def count(rule: Rule, lists: list[list[float]]) -> list[int]:
    """Cut several lists at once."""
    offsets = np.r_[0, np.cumsum([len(scores) for scores in lists])]
    kept: Ints = rule.count(np.concatenate([*map(np.array, lists), np.zeros(0)]), offsets)
    return kept.tolist()


DEFINED: dict[str, tuple[Callable[..., Rule], Callable[[list[float], float], int]]] = {
    "margin to the best": (Margin, lambda scores, number: sum(scores[0] - score <= number for score in scores)),
    "margin to the third": (
        lambda number, **bounds: Margin(number, to=3, **bounds),
        lambda scores, number: sum(scores[:3][-1] - score <= number for score in scores),
    ),
    "margin of the range": (
        lambda number, **bounds: Margin(number, relative=True, **bounds),
        lambda scores, number: sum(scores[0] - score <= number * (scores[0] - scores[-1]) for score in scores),
    ),
    "threshold": (Threshold, lambda scores, number: sum(score >= number for score in scores)),
    "probability": (Probability, lambda scores, number: sum(score >= number for score in scores)),
    "mass": (
        Mass,
        lambda scores, number: next(k for k in range(len(scores) + 1) if sum(scores[k:]) <= number * sum(scores)),
    ),
    "gate": (
        lambda number, **bounds: Gate(number, to=3, **bounds),
        lambda scores, number: len(scores) if len(scores) > 2 and scores[0] - scores[2] < number else 0,
    ),
}
TIGHTENS = {"threshold", "probability"}  # as the number grows; the others loosen, or, for the mass, tighten


@pytest.mark.parametrize("name", DEFINED)
@given(lists=LISTS, number=SCORES, bounds=BOUNDS)
def test_a_rule_is_its_definition(name: str, lists: list[list[float]], number: float, bounds: tuple[int, int | None]) -> None:
    """Golden: the definition in plain Python, for one list after the other, between the floor and the ceiling."""
    make, define = DEFINED[name]
    floor, ceiling = bounds
    wanted = []
    for scores in lists:
        head = scores[:ceiling]
        wanted.append(min(max(define(head, number) if head else 0, floor), len(head)))
    assert count(make(number, floor=floor, ceiling=ceiling), lists) == wanted


@pytest.mark.parametrize("name", DEFINED)
@given(lists=LISTS, numbers=st.tuples(SCORES, SCORES), bounds=BOUNDS)
def test_the_number_loosens_or_tightens(
    name: str, lists: list[list[float]], numbers: tuple[float, float], bounds: tuple[int, int | None]
) -> None:
    """One direction for all lists: more margin keeps no fewer documents, a higher threshold or share no more."""
    make, _ = DEFINED[name]
    floor, ceiling = bounds
    low, high = (count(make(number, floor=floor, ceiling=ceiling), lists) for number in sorted(numbers))
    tight, loose = (high, low) if name in TIGHTENS or name == "mass" else (low, high)
    assert all(less <= more for less, more in zip(tight, loose, strict=True))


@given(LISTS, BOUNDS, st.floats(0.0, 2.0), st.floats(-3, 3), st.sampled_from([0.5, 2.0, 8.0]))
def test_a_margin_does_not_see_a_shift_nor_the_scale(
    lists: list[list[float]], bounds: tuple[int, int | None], tau: float, shift: float, scale: float
) -> None:
    """Scores times a power of 2, shifted by whole quarters: the same documents, where the margin is so scaled, or relative."""
    floor, ceiling = bounds
    moved = [[score * scale + round(shift * 4) / 4 for score in scores] for scores in lists]
    tau = round(tau * 16) / 16
    assert count(Margin(tau, floor=floor, ceiling=ceiling), lists) == count(
        Margin(tau * scale, floor=floor, ceiling=ceiling), moved
    )
    relative = Margin(tau / 2, relative=True, floor=floor, ceiling=ceiling)
    assert count(relative, lists) == count(relative, moved)


def test_other_lists_change_nothing() -> None:
    """A list is cut alike alone and among lists whose sums are far larger, whatever floating point makes of them."""
    tiny, random = [1e-12, 3e-13, 1e-13], np.sort(np.random.default_rng(1).random(500))[::-1].tolist()
    assert count(Mass(0.1), [tiny])[0] == count(Mass(0.1), [random, tiny, random])[1] == 2


@pytest.mark.parametrize(
    ("make", "problems"),
    [
        (lambda: Margin(-1.0), ["tau is -1.0, expected a number from 0"]),
        (lambda: Margin(float("nan")), ["tau is nan, expected a number from 0"]),
        (lambda: Margin(True), ["tau is True, expected a number from 0"]),
        (lambda: Margin(0.1, to=0), ["to is 0, expected a rank from 1"]),
        (lambda: Threshold(float("-inf")), ["score is -inf, expected a finite number"]),
        (lambda: Probability(1.5), ["p is 1.5, expected a number from 0 to 1"]),
        (lambda: Mass(-0.1), ["epsilon is -0.1, expected a number from 0 to 1"]),
        (lambda: Gate(0.5, to=1), ["to is 1, expected a rank from 2"]),
        (lambda: Margin(0.2, floor=5, ceiling=3), ["floor is 5, expected at most the ceiling, 3"]),
        (
            lambda: Margin("far", floor=0, ceiling=2.5),
            [
                "tau is 'far', expected a number from 0",
                "floor is 0, expected a whole number, 1 or more",
                "ceiling is 2.5, expected a whole number, 1 or more, or None",
            ],
        ),
    ],
)
def test_what_is_out_of_range_is_refused(make: Callable[[], Rule], problems: list[str]) -> None:
    """All problems at once, with a line that works."""
    with pytest.raises(PipelineError) as error:
        make()
    assert list(error.value.problems) == problems
    kinds = {"Margin": Margin, "Threshold": Threshold, "Probability": Probability, "Mass": Mass, "Gate": Gate}
    assert isinstance(eval(error.value.fix, kinds), Rule)  # noqa: S307 - our own line


def test_a_floor_above_a_cut_off_is_blamed_on_the_cut_off() -> None:
    """The rule itself has no ceiling; the cure is the rule with a floor that fits."""
    with pytest.raises(PipelineError) as error:
        Margin(0.2, floor=5).within(3)
    assert list(error.value.problems) == ["floor is 5, expected at most the cut-off, 3"]
    assert eval(error.value.fix, {"Margin": Margin}).within(3) == Margin(0.2, floor=3, ceiling=3)  # noqa: S307 - our own line


@pytest.mark.parametrize("rule", [Probability(0.5), Mass(0.5)])
@pytest.mark.parametrize("scores", [[2.0, 0.5], [0.5, -0.1], [0.5, float("nan")]])
def test_scores_that_are_no_probabilities_are_refused(rule: Rule, scores: list[float]) -> None:
    """Logits would be cut anywhere; the cure is a rule of scores."""
    with pytest.raises(PipelineError, match=r"these scores are not probabilities: 1 score below 0 or above 1"):
        count(rule, [[0.9], scores])
    assert count(Margin(0.2), [[2.0, 0.5]]) == [1]


def test_a_share_of_the_range_is_a_flag() -> None:
    """Another value is named, not added to a text."""
    with pytest.raises(PipelineError, match="relative is 'no', expected True or False"):
        Margin(0.2, relative="no")
