"""maj@k: the expected correctness of the majority over k generations, for many votes at once.

A sweep takes tens of thousands of such curves, so the votes are worked on together, in arrays of
all their answers or subsets one after the other. A curve's numbers do not depend on which others
are computed beside it: each is a sum over elements of its own, in an order of its own.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from pipeline.vote.estimators import log_choose, pass_at_k_curve

Floats: TypeAlias = NDArray[np.float64]
Ints: TypeAlias = NDArray[np.int64]
Curve: TypeAlias = tuple[list[float], bool]
MakeRng: TypeAlias = Callable[[], np.random.Generator]
Orders: TypeAlias = Callable[[], Ints]
_AT_ONCE = 1 << 15  # totals of an answer in a subset: 256 KiB, which caches hold


def maj_at_k_curve(
    votes: Floats,
    correct: Floats,
    max_subsets: int = 2048,
    resamples: int = 256,
    make_rng: MakeRng = np.random.default_rng,
) -> Curve:
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

    def orders() -> Ints:
        return random_orders(make_rng(), len(votes), resamples)

    return maj_at_k_curves([(votes, correct, orders)], max_subsets)[0]


def random_orders(rng: np.random.Generator, n: int, resamples: int) -> Ints:
    """Returns int64 [resamples, n], each row the numbers below n in random order."""
    return rng.permuted(np.tile(np.arange(n), (resamples, 1)), axis=1)


def maj_at_k_curves(
    cases: Sequence[tuple[Floats, Floats, Orders]], max_subsets: int = 2048
) -> list[Curve]:
    """Returns the curve of each case, (votes, correct, orders); see `maj_at_k_curve`.

    `orders` returns random orders, int64 [any number, n], when they are needed.
    """
    found: list[Curve] = [([], True)] * len(cases)
    by_n: dict[int, list[int]] = {}
    for place, (votes, _, _) in enumerate(cases):
        by_n.setdefault(len(votes), []).append(place)
    for n, places in by_n.items():
        batch = _Batch(n, [cases[place] for place in places], max_subsets)
        for place, curve in zip(places, batch.curves(), strict=True):
            found[place] = curve
    return found


class _Batch:
    """Cases of n generations each.

    Attributes:
        rows: float64 [rows, n], what each generation gives to an answer.
        correct: float64 [rows], how right it is.
        case: int64 [rows], whose answer it is, ascending.
        start, n_rows: int64 [cases left], where each case's rows begin, and how many there are.
    """

    def __init__(
        self,
        n: int,
        cases: Sequence[tuple[Floats, Floats, Orders]],
        max_subsets: int,
    ) -> None:
        self.n, self.n_cases, self.max_subsets = n, len(cases), max_subsets
        self.orders = [orders for _, _, orders in cases]
        self.rows = np.ascontiguousarray(np.concatenate([votes.T for votes, _, _ in cases]))
        self.correct = np.concatenate([correct for _, correct, _ in cases])
        self.case = np.repeat(np.arange(len(cases)), [len(correct) for _, correct, _ in cases])
        self._keep(np.count_nonzero(self.rows, axis=1) > 0)

    def curves(self) -> list[Curve]:
        """Returns the curve of each case."""
        found: list[Curve] = [([0.0] * self.n, True) for _ in range(self.n_cases)]
        right = np.bincount(self.case, self.correct > 0, self.n_cases).astype(bool)
        wrong = np.bincount(self.case, self.correct < 1, self.n_cases).astype(bool)
        for case, n_voting in self._n_voting(right & ~wrong):
            found[case] = (list(_pass_curve(self.n, n_voting)), True)
        self._keep((right & wrong)[self.case])
        if len(self.rows):
            self._keep(self._contenders())
            for case, curve in self._majorities(self._merge()):
                found[case] = curve
        return found

    def _keep(self, rows: NDArray[np.bool_]) -> None:
        self._set(self.rows[rows], self.correct[rows], self.case[rows])

    def _set(self, rows: Floats, correct: Floats, case: Ints) -> None:
        self.rows, self.correct, self.case = rows, correct, case
        self.start = np.flatnonzero(np.diff(self.case, prepend=-1))
        self.n_rows = np.diff(np.append(self.start, len(self.case)))

    def _n_voting(self, cases: NDArray[np.bool_]) -> Iterator[tuple[int, int]]:
        """Yields the cases that are right as soon as anybody votes, and how many do."""
        if cases.any():
            votes = np.logical_or.reduceat(self.rows != 0, self.start).sum(axis=1)
            for case, n_voting in zip(self.case[self.start].tolist(), votes.tolist(), strict=True):
                if cases[case]:
                    yield case, n_voting

    def _contenders(self) -> NDArray[np.bool_]:
        """Returns which answers may win or tie in some subset; leaving out the others is exact.

        An answer cannot if another has more votes in each generation that votes for it. Tried
        as that other are the three answers with the most votes, and the one that leads in the
        generation that gives this one most.
        """
        strongest = np.lexsort((-self.rows.sum(axis=1), self.case))  # stable, within each case
        ranks = np.minimum(np.arange(3)[:, None], self.n_rows - 1)
        leads = self.rows == np.repeat(
            np.maximum.reduceat(self.rows, self.start), self.n_rows, axis=0
        )
        places = np.where(leads, np.arange(len(self.rows))[:, None], len(self.rows))
        leader = np.repeat(np.minimum.reduceat(places, self.start), self.n_rows, axis=0)
        most = self.rows.argmax(axis=1)[:, None]
        rivals = [np.repeat(rival, self.n_rows) for rival in strongest[self.start + ranks]]
        rivals.append(np.take_along_axis(leader, most, axis=1)[:, 0])
        nothing = self.rows == 0
        possible = np.ones(len(self.rows), bool)
        for rival in rivals:
            beaten = self.rows[rival] * (1 - 1e-6) > self.rows
            possible &= ~(beaten | nothing).all(axis=1)
        return possible

    def _merge(self) -> Floats:
        """Makes one row of the answers of a case that get the same from each generation.

        They win and tie together: their correctness is added up.

        Returns: float64 [rows], how many answers each row is now.
        """
        mark = (self.rows * np.sqrt(np.arange(2, self.n + 2))).sum(axis=1)  # equal if they are
        order = np.lexsort((mark, self.case))
        rows, case = self.rows[order], self.case[order]
        new = np.ones(len(rows), bool)
        new[1:] = (case[1:] != case[:-1]) | (rows[1:] != rows[:-1]).any(axis=1)
        start = np.flatnonzero(new)
        correct = np.add.reduceat(self.correct[order], start)
        self._set(rows[start], correct, case[start])
        return np.diff(np.append(start, len(rows))).astype(np.float64)

    def _majorities(self, weight: Floats) -> Iterator[tuple[int, Curve]]:
        """Yields each case that is left and its curve, those with as many answers together.

        Args:
            weight: float64 [rows], how many answers each row is.
        """
        together: list[_Case] = []
        for i in np.argsort(self.n_rows, kind="stable").tolist():
            mine = slice(self.start[i], self.start[i] + self.n_rows[i])
            number = int(self.case[self.start[i]])
            subsets = self._subsets(number, np.ascontiguousarray(self.rows[mine].T))
            together.append(_Case(number, self.correct[mine], weight[mine], *subsets))
            if sum(case.totals.size for case in together) > _AT_ONCE:
                yield from _expectations(self.n, together)
                together = []
        if together:
            yield from _expectations(self.n, together)

    def _subsets(self, number: int, votes: Floats) -> tuple[bool, Floats, Ints, Floats]:
        """Returns the last four fields of a `_Case` whose votes are float64 [n, answers]."""
        kinds = _kinds(votes)
        counts = tuple(map(len, kinds))
        if math.prod(c + 1 for c in counts) <= self.max_subsets:
            taken, sizes, shares = _sub_multisets(counts)
            given = np.ascontiguousarray(votes[[alike[0] for alike in kinds]].T)
            return True, given @ taken, sizes, shares
        order = self.orders[number]()
        totals = np.cumsum(votes.T[:, order], axis=2)
        return False, totals.reshape(len(totals), -1), *_beginnings(*order.shape)


class _Case(NamedTuple):
    """Answers that may win, and what decides which.

    Attributes:
        number: of the case.
        correct, weight: float64 [answers], sum of the correctness of the answers that are one
            here, and their number.
        exact: whether these are all subsets of the generations.
        totals: float64 [answers, subsets], what each subset gives to each answer.
        sizes: int64 [subsets].
        shares: float64 [subsets], of all subsets of that size.
    """

    number: int
    correct: Floats
    weight: Floats
    exact: bool
    totals: Floats
    sizes: Ints
    shares: Floats


def _kinds(votes: Floats) -> list[list[int]]:
    """Returns the generations that vote alike (float64 [n, answers]), the rarest kinds first.

    In this order the many ways to share out n generations are few, and sub-multisets are found
    again.
    """
    data, width = votes.tobytes(), votes.itemsize * votes.shape[1]
    places: dict[bytes, list[int]] = {}
    for i in range(len(votes)):
        places.setdefault(data[i * width : (i + 1) * width], []).append(i)
    return sorted(places.values(), key=len)


def _expectations(n: int, cases: Sequence[_Case]) -> Iterator[tuple[int, Curve]]:
    """Yields each case and its curve: the mean correctness of the best answers of its subsets."""
    n_subsets = [len(case.sizes) for case in cases]
    end = np.cumsum(n_subsets)
    n_answers = max(len(case.weight) for case in cases)
    totals = np.zeros((n_answers, end[-1]))
    correct, weight = np.zeros((2, n_answers, len(cases)))
    for i, case in enumerate(cases):
        of = len(case.weight)
        totals[:of, end[i] - n_subsets[i] : end[i]] = case.totals
        correct[:of, i], weight[:of, i] = case.correct, case.weight
    top = totals.max(axis=0)
    least = np.where(top > 0, top * (1 - 1e-9), np.inf)
    right, tied = np.zeros((2, end[-1]))
    for answer in range(n_answers):  # not a product of matrices: its sums depend on its shape
        wins = totals[answer] >= least
        right += np.repeat(correct[answer], n_subsets) * wins
        tied += np.repeat(weight[answer], n_subsets) * wins
    share = np.concatenate([case.shares for case in cases])
    size = np.concatenate([case.sizes + i * (n + 1) for i, case in enumerate(cases)])
    sums = np.bincount(size, right / np.maximum(tied, 1) * share, len(cases) * (n + 1))
    curves = np.clip(sums.reshape(-1, n + 1)[:, 1:], 0.0, 1.0).tolist()
    for case, curve in zip(cases, curves, strict=True):
        yield case.number, (curve, case.exact)


@lru_cache(256)
def _pass_curve(n: int, n_voting: int) -> tuple[float, ...]:
    return tuple(pass_at_k_curve([True] * n_voting + [False] * (n - n_voting)))


@lru_cache(64)
def _sub_multisets(counts: tuple[int, ...]) -> tuple[Floats, Ints, Floats]:
    """Returns all sub-multisets of generations of which there are `counts` of each kind.

    Returns: float64 [kinds, subsets], how many each takes of a kind; sizes and shares as in
        `_Case`.
    """
    n = sum(counts)
    taken = np.indices(tuple(c + 1 for c in counts)).reshape(len(counts), -1)
    choose = log_choose(n)
    sizes = taken.sum(axis=0)
    log_shares = choose[np.array(counts)[:, None], taken].sum(axis=0) - choose[n, sizes]
    return taken.astype(np.float64), sizes, np.exp(log_shares)


@lru_cache(4)
def _beginnings(n_orders: int, n: int) -> tuple[Ints, Floats]:
    """Returns sizes and shares, as in `_Case`, of the beginnings of orders of n generations."""
    return np.tile(np.arange(1, n + 1), n_orders), np.full(n * n_orders, 1 / n_orders)
