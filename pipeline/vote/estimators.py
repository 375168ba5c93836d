"""Estimators from per-generation outcomes: pass@k, best@k, maj@k, avg@k, coverage.

`k` counts LLM generations, `m` the variants drawn from each. A generation passes if its own
program or one of its m variants is right. All estimators average over every k-subset of the
n generations; none is defined for k > n, and none is returned there.
"""

import math
from collections.abc import Callable, Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


class MetricError(ValueError):
    """An estimator was asked for what its data cannot tell."""


def pass_at_k(n: int, c: int, k: int) -> float:
    """Returns the share of k-subsets of n generations that hold at least one of c right ones.

    1 - C(n - c, k) / C(n, k), the unbiased estimator of Chen et al. (2021, arXiv 2107.03374,
    section 2.1), in product form so that nothing overflows.

    Example: n = 4, c = 1, k = 2: of the 6 pairs, 3 hold the right one, so 0.5.

    >>> pass_at_k(4, 1, 2)
    0.5

    Raises: MetricError if not 1 <= k <= n or not 0 <= c <= n.
    """
    if not 1 <= k <= n:
        raise MetricError(f"pass@{k} of {n} generations: k must lie in 1..{n}; generate more.")
    if not 0 <= c <= n:
        raise MetricError(f"pass@k: {c} right of {n} generations cannot be; counts are mixed up.")
    if n - c < k:
        return 1.0
    return 1.0 - math.prod((n - c - i) / (n - i) for i in range(k))


def pass_at_k_curve(correct: Sequence[bool]) -> list[float]:
    """Returns pass@k for k = 1..n.

    Args:
        correct: [n], whether each generation (with its variants) passes.

    >>> pass_at_k_curve([True, False, False, False])
    [0.25, 0.5, 0.75, 1.0]
    """
    n, c = len(correct), sum(map(bool, correct))
    return [pass_at_k(n, c, k) for k in range(1, n + 1)]


def best_at_k_curve(scores: Sequence[float]) -> list[float]:
    """Returns the expected best score of k generations, k = 1..n.

    The maximum of a k-subset is the i-th smallest score in C(i - 1, k - 1) of the C(n, k)
    subsets. With scores of 0 and 1 this is pass@k.

    Example: scores 0, 0.5, 1 and k = 2: the pairs' best are 0.5, 1, 1, so 5/6.

    Args:
        scores: [n], in [0, 1].
    """
    values = np.sort(np.asarray(scores, dtype=np.float64))
    n = len(values)
    log_choose = _log_choose(n)
    curve = []
    for k in range(1, n + 1):
        shares = np.exp(log_choose[np.arange(n), k - 1] - log_choose[n, k])
        curve.append(float(shares @ values))
    return curve


def avg_at_k(correct: Sequence[Sequence[bool]]) -> float:
    """Returns the mean over problems of the share of right LLM programs (variants apart).

    The expectation is that of pass@1 with m = 0; k only makes it more precise.

    >>> avg_at_k([[True, False], [True, True]])
    0.75
    """
    return float(np.mean([np.mean(row) for row in correct])) if correct else math.nan


def coverage(correct: Sequence[Sequence[bool]]) -> float:
    """Returns the share of problems that at least one generation solves: pass@n.

    >>> coverage([[True, False], [False, False]])
    0.5
    """
    return float(np.mean([any(row) for row in correct])) if correct else math.nan


def maj_at_k_curve(
    votes: Floats,
    correct: Floats,
    max_subsets: int = 2048,
    resamples: int = 256,
    make_rng: Callable[[], np.random.Generator] = np.random.default_rng,
) -> tuple[list[float], bool]:
    """Returns the expected correctness of the majority over k generations, k = 1..n.

    The expectation is over all k-subsets of generations; a subset's votes are added up, and
    a tie counts with the mean correctness of the tied answers. A subset without any vote
    counts as wrong. Equal generations are exchangeable, so the sum runs over sub-multisets:
    exact while these number at most `max_subsets`, else the mean over `resamples` random
    orders, whose first k generations are a uniform k-subset for each k.

    Example: three generations vote a, a, b and a is right. k = 1: 2/3. k = 2: the pairs are
    aa (right), ab, ab (ties, 1/2 each): 2/3. k = 3: right, 1.

    Args:
        votes: float64 [n, answers], the weight each generation gives to each answer.
        correct: float64 [answers], in [0, 1].
        make_rng: makes the generator of the random orders, when they are needed.

    Returns: the curve [n], and whether it is exact.
    """
    n = len(votes)
    voted = votes.any(axis=0)
    if not correct[voted].any():
        return [0.0] * n, True
    if (correct[voted] == 1).all():  # right as soon as anybody votes
        return pass_at_k_curve([bool(row.any()) for row in votes]), True
    possible = _contenders(votes)
    votes, correct = votes[:, possible], correct[possible]
    kinds, inverse, counts = _kinds(votes)
    if math.prod(c + 1 for c in counts) <= max_subsets:
        return _exact_majority(kinds, counts, correct), True
    order = make_rng().permuted(np.tile(inverse, (resamples, 1)), axis=1)
    taken = np.cumsum(order[:, :, None] == np.arange(len(kinds)), axis=1)
    totals = kinds.T @ taken.reshape(-1, len(kinds)).T.astype(np.float64)
    curve = _winners(totals, correct).reshape(resamples, n).mean(axis=0)
    return curve.tolist(), False


def _kinds(votes: Floats) -> tuple[Floats, NDArray[np.int64], tuple[int, ...]]:
    """Returns the different rows, the rarest first, each row's number, and how often each.

    In this order the many ways to share out n rows are few: sub-multisets are found again.
    """
    places: dict[bytes, list[int]] = {}
    for i, row in enumerate(votes):
        places.setdefault(row.tobytes(), []).append(i)
    kinds = sorted(places.values(), key=len)
    inverse = np.empty(len(votes), np.int64)
    for number, rows in enumerate(kinds):
        inverse[rows] = number
    return votes[[rows[0] for rows in kinds]], inverse, tuple(map(len, kinds))


def _contenders(votes: Floats) -> NDArray[np.bool_]:
    """Returns which answers may win or tie in some subset; leaving out the others is exact.

    An answer cannot if another has more votes in each generation that votes for it. Only the
    three answers with the most votes are tried as that other.
    """
    nothing = votes == 0
    possible: NDArray[np.bool_] = ~nothing.all(axis=0)
    strong = votes[:, np.argsort(-votes.sum(axis=0), kind="stable")[:3], None]
    beaten = (strong * (1 - 1e-6) > votes[:, None, :]) | nothing[:, None, :]
    return possible & ~beaten.all(axis=0).any(axis=0)


def _exact_majority(kinds: Floats, counts: tuple[int, ...], correct: Floats) -> list[float]:
    taken, sizes, ways = _sub_multisets(counts)
    values = _winners(kinds.T @ taken, correct) * ways
    curve = np.bincount(sizes, weights=values, minlength=sum(counts) + 1)[1:]
    return np.clip(curve, 0.0, 1.0).tolist()


@lru_cache(64)
def _sub_multisets(counts: tuple[int, ...]) -> tuple[Floats, NDArray[np.int64], Floats]:
    """Returns how many of each kind a sub-multiset takes, its size, its share of its size's.

    The first is float64 [kinds, sub-multisets].
    """
    n = sum(counts)
    taken = np.indices(tuple(c + 1 for c in counts)).reshape(len(counts), -1)
    log_choose = _log_choose(n)
    sizes = taken.sum(axis=0)
    log_ways = log_choose[np.array(counts)[:, None], taken].sum(axis=0) - log_choose[n, sizes]
    return taken.astype(np.float64), sizes, np.exp(log_ways)


def _winners(totals: Floats, correct: Floats) -> Floats:
    """Returns the expected correctness of the best answer(s) of each column, [subsets].

    Args:
        totals: float64 [answers, subsets].
        correct: float64 [answers].
    """
    top = totals.max(axis=0)
    tied = ((totals >= top * (1 - 1e-9)) & (top > 0)).astype(np.float64)
    return (correct @ tied) / np.maximum(tied.sum(axis=0), 1)


def _log_choose(n: int) -> Floats:
    """Returns ln C(i, j) for 0 <= i, j <= n; -inf for j > i."""
    log_factorial = np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, n + 1)))])
    i, j = np.indices((n + 1, n + 1))
    rest = log_factorial[np.maximum(i - j, 0)]
    return np.where(j > i, -np.inf, log_factorial[i] - log_factorial[j] - rest)
