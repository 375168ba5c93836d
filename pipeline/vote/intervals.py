"""Intervals and tests. The unit that is drawn is the problem, never the variant.

Variants of one generation share its mistakes, and generations of one problem its difficulty:
counting them as independent makes an interval up to three times too narrow.
"""

import hashlib
import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
_COUNTS_AT_ONCE = 4_000_000
_NORMAL_ABOVE = 20_000  # problems; there the bootstrap of a mean is its normal limit


@dataclass(frozen=True, slots=True)
class Interval:
    """An estimate and its interval.

    Attributes:
        value: the mean over problems.
        low, high: bounds, in the value's unit.
        method: "wilson", "bootstrap" (percentile, over problems) or "normal".
    """

    value: float
    low: float
    high: float
    method: str


def wilson(successes: float, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """Returns Wilson's score interval of a share (Wilson 1927); n = 0 gives (0, 1).

    Example: 0 of 10 at 95%: z = 1.96, high = z^2 / (n + z^2) = 0.2775, low = 0.

    >>> tuple(round(x, 4) for x in wilson(0, 10))
    (0.0, 0.2775)
    """
    if n == 0:
        return 0.0, 1.0
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    p = successes / n
    centre = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    low = 0.0 if successes <= 0 else max(0.0, centre - half)
    high = 1.0 if successes >= n else min(1.0, centre + half)
    return low, high


def seeded(*parts: object) -> np.random.Generator:
    """Returns a generator whose stream depends on the parts' texts alone."""
    digest = hashlib.blake2b("\x1f".join(map(str, parts)).encode(), digest_size=16).digest()
    return np.random.default_rng(int.from_bytes(digest, "big"))


def resampled_means(values: Floats, resamples: int, rng: np.random.Generator) -> Floats:
    """Returns means over problems drawn with replacement, [resamples, columns].

    Args:
        values: float64 [problems, columns]; a resample draws the same problems for every
            column, so differences of columns are paired.
    """
    n = len(values)
    parts = [counts @ values / n for counts in _counts(n, resamples, rng)]
    return np.concatenate(parts) if parts else np.empty((0, values.shape[1]))


def _counts(n: int, resamples: int, rng: np.random.Generator) -> Iterator[Floats]:
    """Yields how often each of n problems is drawn, [some resamples, n]; 32 MB at a time."""
    step = max(1, _COUNTS_AT_ONCE // max(n, 1))
    for start in range(0, resamples, step):
        size = min(step, resamples - start)
        drawn = rng.integers(0, n, (size, n)) + np.arange(size)[:, None] * n
        counts = np.bincount(drawn.reshape(-1), minlength=size * n).reshape(size, n)
        yield counts.astype(np.float64)


@lru_cache(2)
def _kept_counts(n: int, resamples: int, *seed: object) -> Floats:
    """Returns the counts of a seed's resamples, kept for the next curve and the next cell."""
    return next(_counts(n, resamples, seeded(*seed)))


def _bootstrap(values: Floats, resamples: int, seed: tuple[object, ...]) -> Floats:
    n = len(values)
    if n * resamples > _COUNTS_AT_ONCE:
        return resampled_means(values, resamples, seeded(*seed))
    return _kept_counts(n, resamples, *seed) @ values / n


def means(
    values: Floats,
    confidence: float = 0.95,
    resamples: int = 1000,
    seed: tuple[object, ...] = (0,),
) -> list[Interval]:
    """Returns the mean over problems of each column with its interval.

    A column of nothing but zeros and ones is a share: Wilson. Others: the percentile bootstrap
    over problems, or its normal limit above 20,000 problems. A column whose values are all
    equal has no spread to resample, and gets Wilson's interval too: never "0 +- 0".

    Args:
        values: float64 [problems, columns], each in [0, 1].
        confidence: coverage, in (0, 1).
        resamples: of the problems.
        seed: of their stream, see `seeded`; equal seeds draw the same problems.
    """
    n, columns = values.shape
    if n == 0:
        return [Interval(math.nan, math.nan, math.nan, "none") for _ in range(columns)]
    binary = ((values == 0) | (values == 1)).all(axis=0) | (values == values[:1]).all(axis=0)
    bounds = np.zeros((2, columns))
    tail = (1 - confidence) / 2
    if not binary.all():
        rest = np.ascontiguousarray(values[:, ~binary])
        if n > _NORMAL_ABOVE:
            half = NormalDist().inv_cdf(1 - tail) * rest.std(axis=0, ddof=1) / math.sqrt(n)
            bounds[:, ~binary] = rest.mean(axis=0) - half, rest.mean(axis=0) + half
        else:
            drawn = _bootstrap(rest, resamples, seed)
            bounds[:, ~binary] = np.quantile(drawn, [tail, 1 - tail], axis=0)
    method = "normal" if n > _NORMAL_ABOVE else "bootstrap"
    result = []
    for column in range(columns):
        mean = float(values[:, column].mean())
        if binary[column]:
            result.append(Interval(mean, *wilson(mean * n, n, confidence), "wilson"))
        else:
            low, high = map(float, bounds[:, column])
            result.append(Interval(mean, low, high, method))
    return result


def mcnemar(gained: int, lost: int) -> float:
    """Returns the exact two-sided p-value that gains and losses are equally likely.

    The binomial test on the discordant pairs (McNemar 1947; exact form): under the null,
    `gained` is Binomial(gained + lost, 1/2).

    Example: 5 gained, 1 lost: 2 * (C(6,0) + C(6,1)) / 2^6 = 14/64 = 0.21875.

    >>> mcnemar(5, 1)
    0.21875
    """
    n, fewer = gained + lost, min(gained, lost)
    if n == 0 or 2 * fewer == n:
        return 1.0
    tail = sum(math.comb(n, i) for i in range(fewer + 1))
    return min(1.0, 2 * tail / 2**n)  # integers divide without overflow
