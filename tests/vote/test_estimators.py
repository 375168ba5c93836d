from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.vote.estimators import (
    MetricError,
    avg_at_k,
    best_at_k_curve,
    coverage,
    pass_at_k,
    pass_at_k_curve,
)
from pipeline.vote.majority import maj_at_k_curve, maj_at_k_curves, random_orders
from tests.vote.by_hand import majority


def majority_by_enumeration(votes, correct, k):
    n, n_answers = votes.shape
    outcomes = []
    for subset in combinations(range(n), k):
        keys, weights, right = [], [], []
        for generation in subset:
            for answer in range(n_answers):
                if votes[generation, answer]:
                    keys.append(str(answer))
                    weights.append(votes[generation, answer])
                    right.append(bool(correct[answer]))
        outcomes.append(majority(keys, weights, right).expected_correct or 0.0)
    return np.mean(outcomes)


@given(st.lists(st.booleans(), min_size=1, max_size=8))
def test_pass_at_k_is_the_mean_over_all_subsets(correct):
    for k, estimate in enumerate(pass_at_k_curve(correct), 1):
        exact = np.mean([any(subset) for subset in combinations(correct, k)])
        assert estimate == pytest.approx(exact, abs=1e-12)


@given(st.lists(st.sampled_from([0.0, 0.25, 0.5, 1.0]), min_size=1, max_size=7))
def test_best_at_k_is_the_mean_best_over_all_subsets(scores):
    for k, estimate in enumerate(best_at_k_curve(scores), 1):
        exact = np.mean([max(subset) for subset in combinations(scores, k)])
        assert estimate == pytest.approx(exact, abs=1e-12)


def test_best_of_zeros_and_ones_is_pass_at_k():
    correct = [True, False, False, True, False]
    assert best_at_k_curve([float(c) for c in correct]) == pytest.approx(pass_at_k_curve(correct))


@pytest.mark.parametrize(("n", "c", "k"), [(3, 1, 4), (3, 1, 0), (3, 4, 1), (3, -1, 1)])
def test_pass_at_k_refuses_what_it_cannot_know(n, c, k):
    with pytest.raises(MetricError):
        pass_at_k(n, c, k)


def test_pass_at_k_of_many_generations_does_not_overflow():
    assert pass_at_k(100_000, 1, 50_000) == pytest.approx(0.5)


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 6), st.integers(1, 9), st.randoms(use_true_random=False))
def test_maj_at_k_is_the_mean_over_all_subsets_with_ties_by_expectation(n, answers, rng):
    votes = np.array(
        [[float(rng.choice([0, 0, 1, 2, 3])) for _ in range(answers)] for _ in range(n)]
    )
    correct = np.array([float(rng.random() < 0.5) for _ in range(answers)])
    curve, exact = maj_at_k_curve(votes, correct, max_subsets=10_000)
    assert exact
    for k, estimate in enumerate(curve, 1):
        assert estimate == pytest.approx(majority_by_enumeration(votes, correct, k), abs=1e-9)


def test_maj_at_k_of_the_worked_example():
    votes = np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    curve, exact = maj_at_k_curve(votes, np.array([1.0, 0.0]))
    assert exact
    assert curve == pytest.approx([2 / 3, 2 / 3, 1.0])


def test_resampled_maj_at_k_comes_close_to_the_exact_one():
    rng = np.random.default_rng(1)
    votes = rng.integers(0, 3, (10, 4)).astype(float)
    correct = np.array([1.0, 0.0, 0.0, 0.0])
    exact, is_exact = maj_at_k_curve(votes, correct, max_subsets=100_000)
    drawn, drawn_exact = maj_at_k_curve(
        votes, correct, max_subsets=1, resamples=4000, make_rng=lambda: rng
    )
    assert is_exact and not drawn_exact
    assert np.abs(np.array(exact) - drawn).max() < 0.04  # five standard errors


def test_a_hundred_equal_generations_are_exact_because_they_are_exchangeable():
    votes = np.repeat([[1.0, 0.0], [0.0, 1.0]], [60, 40], axis=0)
    curve, exact = maj_at_k_curve(votes, np.array([1.0, 0.0]), max_subsets=3000)
    assert exact
    assert curve[0] == pytest.approx(0.6)
    assert curve[-1] == pytest.approx(1.0)


def test_generations_that_never_vote_count_as_wrong():
    curve, _ = maj_at_k_curve(np.zeros((3, 1)), np.array([1.0]))
    assert curve == [0.0, 0.0, 0.0]


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from([1, 12, 2048]))
def test_a_curve_does_not_depend_on_which_others_are_computed_with_it(seed, max_subsets):
    def case(rng):
        n, answers = int(rng.integers(1, 9)), int(rng.integers(0, 12))
        votes = rng.integers(0, 4, (n, answers)) * rng.choice([1.0, 0.1, 1 / 3], (n, answers))
        correct = rng.choice([0.0, 1.0, 0.3], answers)
        return votes, correct, lambda: random_orders(np.random.default_rng(seed), n, 16)

    rng = np.random.default_rng(seed)
    cases = [case(rng) for _ in range(20)]
    together = maj_at_k_curves(cases, max_subsets)
    for one, curve in zip(cases, together, strict=True):
        assert maj_at_k_curves([one], max_subsets) == [curve]  # to the last bit


def test_avg_and_coverage_of_a_small_table():
    table = [[True, False], [False, False]]
    assert avg_at_k(table) == 0.25
    assert coverage(table) == 0.5
