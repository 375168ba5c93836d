"""From ballots to rows of `schema.PROBLEM`: who won, what passed, what it took."""

import json
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipeline.schema import PROBLEM
from pipeline.vote import estimators, intervals, majority
from pipeline.vote.ballots import Ballots, Count, Floats, Ints, Votes, abstained, from_rows
from pipeline.vote.config import VoteConfig

Row = Mapping[str, Any]
_NO_PROGRAM = ("truncated", "no_program")
_CURVES_KEPT = 2048  # of a few kilobytes
_ORDERS_KEPT = 128  # of n · resamples · 8 bytes


@dataclass(frozen=True)
class Programs:
    """What the ballots' programs were, for the counts in a problem's row.

    Attributes:
        status: int64 [r], index in `statuses`.
        statuses: names of execution statuses.
        refused: bool [r], a static reject stopped it.
        identity: int64 [r], equal for programs that are one execution.
    """

    status: Ints
    statuses: Sequence[str]
    refused: NDArray[np.bool_]
    identity: Ints


def problem_rows(
    problem_ids: Sequence[str],
    ballots: Ballots,
    programs: Programs,
    config: VoteConfig,
    generation_logprobs: Floats | None = None,
) -> pa.Table:
    """Returns the rows of `schema.PROBLEM`.

    Args:
        problem_ids: of the ballots' problems.
        ballots: with answers clustered. Each generation has its row with the original, also
            when it holds no program.
        programs: of the same rows.
        config: of the vote.
        generation_logprobs: float64 [r], mean ln P per token of the row's completion; NaN or
            None: unknown, the likelihood vote of the problem is null.
    """
    count = Count(ballots)
    plain, weighted = count.votes(ballots.count), count.votes(ballots.weight)
    first = count.votes(ballots.original.astype(np.float64))
    known, likely = _likelihood_vote(ballots, count, generation_logprobs)
    gold = np.maximum.reduceat(ballots.correct, ballots.problem_start[:-1]) >= 0
    keys = pa.array(ballots.keys, pa.string())
    columns: dict[str, Any] = {
        "problem_id": list(problem_ids),
        "vote_answer": _answers(keys, plain),
        "vote_share": plain.share,
        "vote_correct": pa.array(plain.expected, mask=~gold),
        "weighted_answer": _answers(keys, weighted),
        "weighted_correct": pa.array(weighted.expected, mask=~gold),
        "plain_answer": _answers(keys, first),
        "plain_correct": pa.array(first.expected, mask=~gold),
        "likelihood_answer": _answers(keys, likely, known),
        "likelihood_correct": pa.array(likely.expected, mask=~(gold & known)),
        "tied": plain.tied,
        "n_abstained": abstained(ballots),
    }
    columns |= _outcomes(ballots)
    columns |= _curves(problem_ids, ballots, count, gold, config)
    columns |= _counts(ballots, programs)
    return pa.table({name: columns[name] for name in PROBLEM.names}, schema=PROBLEM)


def problem_row(
    results: Sequence[Row] | Mapping[str, Sequence[Any]],
    config: VoteConfig | None = None,
    generation_logprobs: Mapping[int, float] | None = None,
) -> dict[str, Any]:
    """Returns one problem's row of `schema.PROBLEM`.

    Args:
        results: the problem's rows of `schema.RESULT` in one cell, as rows or as columns, in
            order. Each generation has its row with variant_index 0, also without a program.
        generation_logprobs: generation index -> mean ln P per token of its completion; without
            it the likelihood vote is null.

    Answers are clustered here once more, so rows that were clustered before stay as they are.
    """
    config = config or VoteConfig()
    if isinstance(results, Mapping):
        names = list(results)
        results = [dict(zip(names, values)) for values in zip(*results.values())]
    ballots = from_rows(results).clustered(config.relative_tolerance)
    statuses = sorted({row["status"] for row in results})
    hashes = {row["program_hash"]: i for i, row in enumerate(results)}
    programs = Programs(
        status=np.array([statuses.index(row["status"]) for row in results], np.int64),
        statuses=statuses,
        refused=np.array([row["reject"] is not None for row in results], bool),
        identity=np.array([hashes[row["program_hash"]] for row in results], np.int64),
    )
    logprobs = None
    if generation_logprobs:
        found = [generation_logprobs.get(row["generation_index"]) for row in results]
        logprobs = np.array(found, np.float64)
    ids = [results[0]["problem_id"]]
    return problem_rows(ids, ballots, programs, config, logprobs).to_pylist()[0]


def generation_weights(rows: Sequence[Row]) -> list[float]:
    """Returns each program's share of its generation's one vote, see `Ballots.weight`.

    Args:
        rows: of one problem, in order.
    """
    return from_rows(rows).weight.tolist()


def _answers(keys: pa.Array, votes: Votes, known: NDArray[np.bool_] | None = None) -> pa.Array:
    """Returns the winners' texts; null where nobody voted or the vote is not known."""
    nobody = votes.answer < 0 if known is None else (votes.answer < 0) | ~known
    return keys.take(pa.array(votes.answer, mask=nobody))


def _likelihood_vote(
    ballots: Ballots, count: Count, logprobs: Floats | None
) -> tuple[NDArray[np.bool_], Votes]:
    """Returns for which problems the likelihoods are known, and the vote."""
    start = ballots.problem_start[:-1]
    if logprobs is None:
        none = np.zeros(len(ballots.problem))
        return np.zeros(len(start), bool), count.votes(none)
    top = np.maximum.reduceat(logprobs, start)  # NaN if any is
    scale = np.exp(logprobs - top[ballots.problem])
    return ~np.isnan(top), count.votes(np.nan_to_num(ballots.weight * scale))


def _outcomes(ballots: Ballots) -> dict[str, Any]:
    """Returns what passed and scored, per generation in the order of their indices."""
    start = ballots.generation_start
    passed = np.maximum.reduceat(ballots.correct, start)
    best = np.fmax.reduceat(ballots.score, start)
    problem = ballots.problem[start]
    offsets = np.searchsorted(problem, np.arange(len(ballots.problem_start)))
    with np.errstate(invalid="ignore"):
        score = np.fmax.reduceat(best, offsets[:-1])
    curves = [
        _best_curve(tuple(mine.tolist())) if not np.isnan(mine).any() else None
        for mine in np.split(best, offsets[1:-1])
    ]
    return {
        "n_generations": np.diff(offsets),
        "original_correct": _lists(ballots.correct[start], offsets),
        "any_correct": _lists(passed, offsets),
        "score": pa.array(score, mask=np.isnan(score)),
        "best_curve": curves,
    }


@lru_cache(_CURVES_KEPT)
def _best_curve(scores: tuple[float, ...]) -> list[float]:
    return estimators.best_at_k_curve(scores)


def _lists(truth: NDArray[np.int8], offsets: Ints) -> pa.Array:
    values = pa.array(truth > 0, mask=truth < 0)
    return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), values)


def _curves(
    problem_ids: Sequence[str],
    ballots: Ballots,
    count: Count,
    gold: NDArray[np.bool_],
    config: VoteConfig,
) -> dict[str, Any]:
    """Returns the expected correctness of the votes of k generations, for all k."""
    names = ("vote_curve", "weighted_curve", "plain_curve")
    tables = count.tables([ballots.count, ballots.weight, ballots.original.astype(np.float64)])
    cases = [
        (votes, correct, identifier)
        for known, identifier, (mine, correct) in zip(gold.tolist(), problem_ids, tables)
        if known
        for votes in mine
    ]
    told = iter(_KEPT.curves(cases, config))
    found: dict[str, list[Any]] = {name: [] for name in (*names, "maj_exact")}
    for known in gold.tolist():
        curves = [next(told) for _ in names] if known else [(None, True)] * len(names)
        for name, (curve, _) in zip(names, curves):
            found[name].append(curve)
        found["maj_exact"].append(all(exact for _, exact in curves))
    return found


class _Curves:
    """Computes maj@k for all k. Cells of a sweep often hold the same votes: the last are kept."""

    def __init__(self) -> None:
        self._kept: OrderedDict[tuple[Any, ...], majority.Curve] = OrderedDict()

    def curves(
        self, cases: Sequence[tuple[Floats, Floats, str]], config: VoteConfig
    ) -> list[majority.Curve]:
        """Returns the curve of each case: votes, how right the answers are, problem id."""
        asked: dict[tuple[Any, ...], tuple[Floats, Floats, majority.Orders]] = {}
        keys: list[tuple[Any, ...]] = []
        for votes, correct, identifier in cases:
            chance = (config.seed, identifier, len(votes), config.resamples)
            shape = (votes.shape[1], config.max_subsets)
            keys.append((votes.tobytes(), correct.tobytes(), *shape, *chance))
            if keys[-1] in self._kept:
                self._kept.move_to_end(keys[-1])
            else:
                asked[keys[-1]] = (votes, correct, partial(_orders, *chance))
        told = majority.maj_at_k_curves(list(asked.values()), config.max_subsets)
        self._kept.update(zip(asked, told, strict=True))
        found = [self._kept[key] for key in keys]
        while len(self._kept) > _CURVES_KEPT:
            self._kept.popitem(last=False)
        return found


_KEPT = _Curves()


@lru_cache(_ORDERS_KEPT)
def _orders(seed: int, problem_id: str, n: int, resamples: int) -> Ints:
    """Returns the orders in which a problem's generations are taken in all cells alike."""
    return majority.random_orders(intervals.seeded(seed, "maj", problem_id), n, resamples)


def _counts(ballots: Ballots, programs: Programs) -> dict[str, Any]:
    """Returns how many programs were drawn, are distinct and ran; identical ones ran once."""
    n = len(ballots.problem_start) - 1
    names = list(programs.statuses)
    absent = np.array([name in _NO_PROGRAM for name in names], bool)[programs.status]
    rejected = np.array([name == "rejected" for name in names], bool)[programs.status]
    ran = ~absent & ~programs.refused & ~rejected
    table = np.bincount(ballots.problem * len(names) + programs.status, minlength=n * len(names))
    order = sorted(range(len(names)), key=names.__getitem__)
    statuses = [
        json.dumps({names[i]: row[i] for i in order if row[i]})
        for row in table.reshape(n, len(names)).tolist()
    ]
    drawn = np.bincount(ballots.problem, ballots.n_drawn, n).astype(np.int64)
    return {
        "n_drawn": drawn,
        "n_distinct": _n_identities(ballots, programs, ~absent),
        "n_executed": _n_identities(ballots, programs, ran),
        "statuses": statuses,
    }


def _n_identities(ballots: Ballots, programs: Programs, of: NDArray[np.bool_]) -> Ints:
    """Returns int64 [problems], the different executions among the rows `of`."""
    n = len(ballots.problem_start) - 1
    width = int(programs.identity.max(initial=0)) + 1
    pairs = np.unique(ballots.problem[of] * width + programs.identity[of])
    return np.bincount(pairs // width, minlength=n)
