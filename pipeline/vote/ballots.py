"""Ballots: the programs of many problems as columns, and the votes among them.

Three votes are taken over the same normalised answers:

    plain       one program, one vote: an original counts once, a variant as often as drawn
    weighted    a generation has one vote in all, shared among its distinct programs by their
                probability under the probabilistic program; what failed keeps its share, so a
                generation that is unlikely to give any answer has little to say
    likelihood  the weighted vote, each generation weighted by exp(mean token logprob) of its
                completion under the model, where that is known

A program without an answer abstains. If answers tie, the outcome is the mean over the tied
ones: the expectation of breaking the tie by lot, never by order.

Everything is computed in array operations over all problems, and adds up within a problem in
the order of its rows, so that a problem's outcome does not depend on its neighbours.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.vote import answers

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
_NO_TRUTH = -1


@dataclass(frozen=True)
class Ballots:
    """Rows of `schema.RESULT` as voters, in order of problem, generation and variant.

    Attributes:
        problem: int64 [r], ascending, every number from 0 occurs.
        generation: int64 [r], generation index, ascending within a problem.
        original: bool [r], the LLM's own program; one per generation.
        n_drawn: int64 [r], how many draws gave the program.
        log_mass: float64 [r], ln of its probability; NaN: unknown.
        answer: int64 [r], index in `keys`; -1 abstains.
        keys: normalised answers, sorted.
        correct: int8 [r], 1 right, 0 wrong, -1 without gold.
        score: float64 [r], in [0, 1]; NaN without gold.
    """

    problem: Ints
    generation: Ints
    original: NDArray[np.bool_]
    n_drawn: Ints
    log_mass: Floats
    answer: Ints
    keys: Sequence[str]
    correct: NDArray[np.int8]
    score: Floats

    @cached_property
    def count(self) -> Floats:
        """Returns float64 [r], each program's votes in the plain vote."""
        return self.original + self.n_drawn.astype(np.float64)

    @cached_property
    def problem_start(self) -> Ints:
        """Returns int64 [problems + 1], each problem's first row."""
        n = int(self.problem[-1]) + 1 if len(self.problem) else 0
        return np.searchsorted(self.problem, np.arange(n + 1))

    @cached_property
    def generation_start(self) -> Ints:
        """Returns int64 [generations], the first row of each problem's each generation."""
        if not len(self.problem):
            return np.zeros(0, np.int64)
        new = np.ones(len(self.problem), bool)
        new[1:] = np.diff(self.problem) != 0
        new[1:] |= np.diff(self.generation) != 0
        return np.flatnonzero(new)

    @cached_property
    def generation_of_row(self) -> Ints:
        """Returns int64 [r], index into `generation_start`."""
        marks = np.zeros(len(self.problem), np.int64)
        marks[self.generation_start[1:]] = 1
        return np.cumsum(marks)

    @cached_property
    def weight(self) -> Floats:
        """Returns float64 [r], each program's share of its generation's one vote.

        Proportional to its mass; a generation in which one is unknown shares by count.
        Example: masses 0.6 and 0.2 in one generation: 0.75 and 0.25.
        """
        start, of_row = self.generation_start, self.generation_of_row
        if not len(start):
            return np.zeros(0)
        top = np.maximum.reduceat(self.log_mass, start)[of_row]  # NaN if any is
        with np.errstate(invalid="ignore"):
            share = np.where(top > -np.inf, np.exp(self.log_mass - top), 1.0)
        share = np.where(np.isnan(top), self.count, share)
        total = np.add.reduceat(share, start)[of_row]
        return share / np.where(total > 0, total, 1.0)

    def clustered(self, tolerance: float, linked: NDArray[np.bool_] | None = None) -> "Ballots":
        """Returns the ballots with answers that differ by rounding joined, see `answers.cluster`.

        Args:
            tolerance: relative.
            linked: bool [r], the rows whose answers may be joined with others, for callers that
                know; None: all. Answers outside cannot be: what joins is decided in pairs.
        """
        rows = np.flatnonzero((self.answer >= 0) if linked is None else linked)
        if not len(rows):
            return self
        answer = self.answer.copy()
        bounds = np.flatnonzero(np.diff(self.problem[rows], prepend=-1))
        for mine in np.split(rows, bounds[1:]):
            present, inverse = np.unique(answer[mine], return_inverse=True)
            position = {str(self.keys[i]): i for i in present.tolist()}
            names = answers.cluster(list(position), tolerance)
            answer[mine] = np.array([position[str(name)] for name in names])[inverse]
        return replace(self, answer=answer)


def from_rows(rows: Sequence[Mapping[str, Any]]) -> Ballots:
    """Returns the ballots of one problem's rows of `schema.RESULT`, given in their order."""
    keys = sorted({row["answer"] for row in rows} - {None})
    position = {key: i for i, key in enumerate(keys)}
    truth = [row["correct"] for row in rows]
    scores = [
        row.get("score") if row.get("score") is not None or t is None else float(t)
        for row, t in zip(rows, truth)
    ]
    logs = [math.log(row["mass"]) if row.get("mass") else row["logprob"] for row in rows]
    return Ballots(
        problem=np.zeros(len(rows), np.int64),
        generation=np.array([row["generation_index"] for row in rows], np.int64),
        original=np.array([row["variant_index"] == 0 for row in rows], bool),
        n_drawn=np.array([row["n_drawn"] or 0 for row in rows], np.int64),
        log_mass=np.array(logs, np.float64),
        answer=np.array([position.get(row["answer"], -1) for row in rows], np.int64),
        keys=keys,
        correct=np.array([_NO_TRUTH if t is None else int(t) for t in truth], np.int8),
        score=np.array(scores, np.float64),
    )


@dataclass(frozen=True)
class Votes:
    """The outcome of one vote per problem.

    Attributes:
        answer: int64 [problems], the winner, the alphabetically first among tied ones; -1:
            nobody voted.
        share: float64 [problems], the winner's share of the weight that did not abstain.
        tied: bool [problems], other answers got the same weight.
        expected: float64 [problems], mean correctness of the tied answers; 0 if nobody voted.
    """

    answer: Ints
    share: Floats
    tied: NDArray[np.bool_]
    expected: Floats


class Count:
    """Counts votes of several weightings over the same ballots.

    Weights that differ by less than 1e-9 of the larger are equal. If programs with one answer
    are not all right or all wrong, the answer counts with their mean by weight.
    """

    def __init__(self, ballots: Ballots) -> None:
        """Groups the rows by problem and answer."""
        voters = np.flatnonzero(ballots.answer >= 0)
        code = ballots.problem[voters] * max(len(ballots.keys), 1) + ballots.answer[voters]
        order = np.argsort(code, kind="stable")
        self._n = len(ballots.problem_start) - 1
        self._rows = voters[order]
        new = np.diff(code[order], prepend=-1) != 0
        self._start = np.flatnonzero(new)
        first = self._rows[self._start]
        self.problem, self.answer = ballots.problem[first], ballots.answer[first]
        # Groups of a problem stand together, since rows are in order of problems.
        self._bounds = np.flatnonzero(np.diff(self.problem, prepend=-1))
        self._truth = (ballots.correct[self._rows] > 0).astype(np.float64)
        self._ballots = ballots

    def tables(self, weights: Sequence[Floats]) -> Iterator[tuple[list[Floats], Floats]]:
        """Yields for each problem what its generations vote, and how right its answers are.

        Args:
            weights: float64 [r] each.

        Returns: per weighting float64 [generations, answers]; float64 [answers], in [0, 1].
        """
        ballots, n = self._ballots, self._n
        of_row, start = ballots.generation_of_row, ballots.problem_start
        n_generations = np.diff(np.append(of_row[start[:-1]], len(ballots.generation_start)))
        n_answers = np.bincount(self.problem, minlength=n)
        group = np.repeat(
            np.arange(len(self._start)), np.diff(np.append(self._start, len(self._rows)))
        )
        problem = ballots.problem[self._rows]
        place = group - (np.cumsum(n_answers) - n_answers)[problem]
        sizes = n_generations * n_answers
        generation = of_row[self._rows] - of_row[start[:-1]][problem]
        code = (np.cumsum(sizes) - sizes)[problem] + generation * n_answers[problem] + place
        flat = [
            np.bincount(code, weight[self._rows], sizes.sum()).astype(np.float64)
            for weight in weights
        ]
        count = ballots.count[self._rows]
        total = np.bincount(group, count, len(self._start))
        truth = np.bincount(group, count * self._truth, len(self._start))
        truth = truth / np.maximum(total, 1e-300)
        at = answers_at = 0
        for k, a in zip(n_generations.tolist(), n_answers.tolist()):
            yield (
                [table[at : at + k * a].reshape(k, a) for table in flat],
                truth[answers_at : answers_at + a],
            )
            at, answers_at = at + k * a, answers_at + a

    def votes(self, weight: Floats) -> Votes:
        """Returns the vote in which every row has `weight` (float64 [r], not negative)."""
        n = self._n
        answer, share = np.full(n, -1, np.int64), np.zeros(n)
        tied, expected = np.zeros(n, bool), np.zeros(n)
        if not len(self._start):
            return Votes(answer, share, tied, expected)
        mine = weight[self._rows]
        total = np.add.reduceat(mine, self._start)
        right = np.add.reduceat(mine * self._truth, self._start)
        counts = np.diff(np.append(self._bounds, len(total)))
        top = np.repeat(np.maximum.reduceat(total, self._bounds), counts)
        best = (total >= top * (1 - 1e-9)) & (top > 0)
        with np.errstate(invalid="ignore", divide="ignore"):
            mean = np.where(best, right / total, 0.0)
        n_best = np.add.reduceat(best.astype(np.int64), self._bounds)
        held = n_best > 0
        at = self.problem[self._bounds]
        winner = np.flatnonzero(best)
        winner = winner[np.flatnonzero(np.diff(self.problem[winner], prepend=-1))]
        where = at[held]
        answer[where] = self.answer[winner]
        share[where] = total[winner] / np.add.reduceat(total, self._bounds)[held]
        tied[where] = n_best[held] > 1
        expected[where] = np.add.reduceat(mean, self._bounds)[held] / n_best[held]
        return Votes(answer, share, tied, expected)


def abstained(ballots: Ballots) -> Ints:
    """Returns int64 [problems], programs without an answer, each as often as it counts."""
    n = len(ballots.problem_start) - 1
    silent = np.where(ballots.answer < 0, ballots.count, 0.0)
    return np.bincount(ballots.problem, silent, n).astype(np.int64)
