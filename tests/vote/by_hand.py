"""A vote counted row by row, to check the array code against."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Vote:
    answer: str | None
    share: float
    tied: bool
    expected_correct: float | None


def majority(
    keys: Sequence[str | None],
    weights: Sequence[float] | None = None,
    correct: Sequence[bool | None] | None = None,
) -> Vote:
    """Returns the vote over normalised answers; ties count with their mean correctness."""
    weights = [1.0] * len(keys) if weights is None else weights
    totals: dict[str, float] = {}
    right: dict[str, float] = {}
    gold = False
    for i, (key, weight) in enumerate(zip(keys, weights, strict=True)):
        truth = correct[i] if correct is not None else None
        gold |= truth is not None
        if key is not None:
            totals[key] = totals.get(key, 0.0) + weight
            right[key] = right.get(key, 0.0) + weight * bool(truth)
    total = sum(totals.values())
    if total <= 0:
        return Vote(None, 0.0, False, 0.0 if gold else None)
    top = max(totals.values())
    tied = sorted(key for key, weight in totals.items() if weight >= top * (1 - 1e-9))
    expected = sum(right[key] / totals[key] for key in tied) / len(tied)
    return Vote(tied[0], totals[tied[0]] / total, len(tied) > 1, expected if gold else None)
