import math

import numpy as np
import pytest
from scipy import stats

from pipeline.vote.intervals import mcnemar, means, resampled_means, seeded, wilson


@pytest.mark.parametrize(("successes", "n"), [(0, 10), (3, 10), (10, 10), (57, 800)])
def test_wilson_agrees_with_scipy(successes, n):
    expected = stats.binomtest(successes, n).proportion_ci(0.95, method="wilson")
    assert wilson(successes, n) == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_wilson_of_no_data_says_nothing():
    assert wilson(0, 0) == (0.0, 1.0)


@pytest.mark.parametrize(("gained", "lost"), [(5, 1), (0, 0), (0, 7), (30, 30), (600, 500)])
def test_mcnemar_agrees_with_the_binomial_test(gained, lost):
    n = gained + lost
    expected = stats.binomtest(gained, n).pvalue if n else 1.0
    assert mcnemar(gained, lost) == pytest.approx(expected, rel=1e-9)


def test_an_interval_is_never_a_point():
    for value in (0.0, 0.3, 1.0):
        (found,) = means(np.full((40, 1), value))
        assert found.value == pytest.approx(value)
        assert found.high - found.low > 0.01
        assert found.low - 1e-12 <= value <= found.high + 1e-12


def test_shares_of_zeros_and_ones_get_wilson_and_others_the_bootstrap():
    values = np.column_stack([np.tile([0.0, 1.0], 20), np.linspace(0, 1, 40)])
    share, mean = means(values)
    assert share.method == "wilson" and mean.method == "bootstrap"
    assert (share.low, share.high) == pytest.approx(wilson(20, 40))


def test_the_bootstrap_covers_the_truth_about_as_often_as_it_says():
    rng = np.random.default_rng(3)
    covered = 0
    for turn in range(200):
        (found,) = means(rng.beta(2, 5, (60, 1)), 0.9, 400, (turn,))
        covered += found.low <= 2 / 7 <= found.high
    assert 0.82 <= covered / 200 <= 0.96


def test_many_problems_use_the_limit_of_the_bootstrap():
    values = np.random.default_rng(0).random((20_001, 1))
    (limit,) = means(values)
    drawn = resampled_means(values, 300, np.random.default_rng(1))
    assert limit.method == "normal"
    assert np.quantile(drawn, [0.025, 0.975]) == pytest.approx([limit.low, limit.high], abs=1e-3)


def test_a_resample_draws_the_same_problems_for_every_column():
    values = np.random.default_rng(0).random((30, 1))
    drawn = resampled_means(np.hstack([values, values + 1]), 50, np.random.default_rng(0))
    assert drawn[:, 1] - drawn[:, 0] == pytest.approx(np.ones(50))


def test_no_problems_give_no_number():
    (found,) = means(np.zeros((0, 1)))
    assert math.isnan(found.value)


def test_streams_depend_on_their_parts_alone():
    assert seeded(1, "a").random() == seeded(1, "a").random() != seeded(1, "b").random()


def test_equal_seeds_draw_the_same_problems_whether_kept_or_not():
    values = np.random.default_rng(0).random((30, 2))
    first, again, other = (means(values, 0.9, 200, seed) for seed in ((1,), (1,), (2,)))
    assert first == again != other
    drawn = resampled_means(values, 200, seeded(1))
    low, high = np.quantile(drawn, [0.05, 0.95], axis=0)
    assert [f.low for f in first] == pytest.approx(low)
    assert [f.high for f in first] == pytest.approx(high)
