"""What choosing adds to the spread of held-out means, and what it would gain from nothing."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pt_cascade.analysis.choice.cross_validation import TIMES, excess_variance, wild_bootstrap


def choose_held_out(values: np.ndarray, fold: np.ndarray) -> np.ndarray:
    """Each query by the vector that is best on the other folds, in a plain loop."""
    return np.array([values[q, values[fold != fold[q]].sum(axis=0).argmax()] for q in range(len(values))])


@settings(max_examples=15)
@given(st.integers(0, 100), st.integers(2, 6), st.integers(4, 20), st.integers(1, 8))
def test_each_repetition_is_a_choice_among_values_with_exchanged_signs(seed: int, folds: int, queries: int, vectors: int) -> None:
    """Brute force in plain loops, with the same signs, on vectors none of which is clearly worse."""
    rng = np.random.default_rng(seed)
    fold = rng.permutation(queries) % folds
    values = rng.normal(0, 1, (queries, vectors))
    values -= values.mean(axis=0)
    off, gains = wild_bootstrap(values, fold, seed=seed)
    signs = np.random.default_rng(seed).choice([-1.0, 1.0], (TIMES, queries))
    for n in (0, TIMES - 1):
        drawn = signs[n][:, None] * values
        assert gains[n] == pytest.approx(drawn.mean(axis=0).max())
        assert off[n] == pytest.approx(choose_held_out(drawn, fold).mean())


def test_noise_gains_in_sample_what_it_does_where_nothing_is_better() -> None:
    """By simulation: the control, made of one sample, agrees with what many samples of equally good vectors give."""
    rng = np.random.default_rng(0)
    fold = np.arange(150) % 5
    samples = [rng.normal(0, 0.2, (150, 40)) for _ in range(300)]
    off, gains = wild_bootstrap(samples[0], fold)
    assert gains.mean() == pytest.approx(np.mean([sample.mean(axis=0).max() for sample in samples]), rel=0.1)
    assert abs(off.mean()) < 3 * off.std() / np.sqrt(TIMES)
    held = [choose_held_out(sample, fold).mean() for sample in samples]
    assert off.std() == pytest.approx(np.std(held), rel=0.25)
    assert off.std() > 1.1 * 0.2 / np.sqrt(150)


def test_what_is_clearly_worse_is_not_chosen_from_nothing_either() -> None:
    """A hundred bad vectors add no noise to two good ones."""
    rng = np.random.default_rng(0)
    good, bad, fold = rng.normal(0, 0.2, (150, 2)), rng.normal(-5, 0.2, (150, 100)), np.arange(150) % 5
    for one, other in zip(wild_bootstrap(good, fold), wild_bootstrap(np.hstack([good, bad]), fold), strict=True):
        assert one == pytest.approx(other)


def test_one_vector_leaves_the_spread_of_the_queries() -> None:
    """There is nothing to choose: no more variance than that of a mean."""
    values = np.random.default_rng(0).normal(0, 0.2, (400, 1))
    off, _ = wild_bootstrap(values, np.arange(400) % 5)
    assert off.std() == pytest.approx(0.2 / 20, rel=0.25)
    assert excess_variance(off, values[:, 0]) < 0.4 * 0.2**2 / 400


def test_more_folds_vary_more() -> None:
    """The choices of many folds are nearly the same, and err together."""
    values = np.random.default_rng(0).normal(0, 0.2, (120, 60))
    few, many = (wild_bootstrap(values, np.arange(120) % folds)[0].std() for folds in (2, 60))
    assert many > 1.3 * few


def test_the_same_seed_shakes_alike() -> None:
    """Bit by bit; another one does not."""
    values = np.random.default_rng(0).normal(0, 0.2, (50, 6))
    assert (wild_bootstrap(values, np.arange(50) % 5, seed=3)[0] == wild_bootstrap(values, np.arange(50) % 5, seed=3)[0]).all()
    assert (wild_bootstrap(values, np.arange(50) % 5, seed=3)[0] != wild_bootstrap(values, np.arange(50) % 5, seed=4)[0]).any()
