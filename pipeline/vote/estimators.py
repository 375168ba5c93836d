"""Estimators from per-generation outcomes: pass@k, best@k, avg@k, coverage (maj@k: `majority`).

`k` counts LLM generations, `m` the variants drawn from each. A generation passes if its own
program or one of its m variants is right. All estimators average over every k-subset of the
n generations; none is defined for k > n, and none is returned there.
"""

import math
from collections.abc import Sequence

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
    choose = log_choose(n)
    curve = []
    for k in range(1, n + 1):
        shares = np.exp(choose[np.arange(n), k - 1] - choose[n, k])
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


def log_choose(n: int) -> Floats:
    """Returns ln C(i, j) for 0 <= i, j <= n; -inf for j > i."""
    log_factorial = np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, n + 1)))])
    i, j = np.indices((n + 1, n + 1))
    rest = log_factorial[np.maximum(i - j, 0)]
    return np.where(j > i, -np.inf, log_factorial[i] - log_factorial[j] - rest)
