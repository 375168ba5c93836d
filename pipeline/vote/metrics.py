"""A cell's metrics, from its rows of `schema.PROBLEM`: its entry in summary.json."""

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pipeline.vote import intervals
from pipeline.vote.config import VoteConfig
from pipeline.vote.estimators import (
    MetricError,
    avg_at_k,
    best_at_k_curve,
    coverage,
    pass_at_k,
    pass_at_k_curve,
)
from pipeline.vote.majority import maj_at_k_curve

__all__ = [
    "CURVES",
    "MetricError",
    "avg_at_k",
    "best_at_k_curve",
    "coverage",
    "curve_matrix",
    "has_curve",
    "maj_at_k_curve",
    "pass_at_k",
    "pass_at_k_curve",
    "summarise",
]

Floats = NDArray[np.float64]
Rows: TypeAlias = pa.Table | pa.RecordBatch

# A curve in the summary and the column of `schema.PROBLEM` that it is computed from.
CURVES = {
    "pass_at_k": "any_correct",
    "pass_at_k_m0": "original_correct",
    "maj_at_k": "vote_curve",
    "weighted_maj_at_k": "weighted_curve",
    "maj_at_k_m0": "plain_curve",
    "best_at_k": "best_curve",
}


def summarise(problems: Iterable[Rows], m: int, config: VoteConfig | None = None) -> dict[str, Any]:
    """Returns a cell's entry for summary.json from its rows of `schema.PROBLEM`.

    Curves are keyed by k as text, "1".."k"; k ends at the fewest generations any problem has,
    for beyond it an estimator is undefined for some. Each curve `x` has its intervals over
    problems (see `intervals.means`) in `x_interval`, as [low, high]. Keys:

        k, m, n_problems, n_with_gold, n_generations, confidence
        pass_at_k        any of the k * (m + 1) programs right
        pass_at_k_m0     any of the k LLM programs right: the same generations, no variants
        maj_at_k         plain vote, one program one vote; weighted_maj_at_k by probability;
                         maj_at_k_m0 over the LLM's programs alone
        likelihood_maj   all generations' weighted vote, each weighted by its likelihood under the
                         model: value, interval, n_problems (where it is known); or None
        best_at_k        expected best score (graded tasks; else pass@k)
        avg_at_k         share of right LLM programs; coverage: pass@n, each with its own n
        no_answer        share of problems where nobody voted; tied: where the vote was tied
        maj_exact        share of problems whose maj@k is exact rather than resampled
        programs         {drawn, distinct, executed}
        statuses         {status: distinct programs}

    Memory: 48 bytes per generation; the text of programs is never read.
    """
    config = config or VoteConfig()
    parts: dict[str, list[Floats]] = {name: [] for name in CURVES}
    totals: Counter[str] = Counter()
    statuses: Counter[str] = Counter()
    sums = {"avg_at_k": 0.0, "coverage": 0.0}
    likely: list[Floats] = []
    for batch in problems:
        if batch.num_rows:
            for name in CURVES:
                parts[name].append(curve_matrix(batch, name))
            _count(batch, totals, statuses)
            _share(batch, sums)
            known = pc.drop_null(batch.column("likelihood_correct"))
            likely.append(np.asarray(known, dtype=np.float64)[:, None])
    n, gold = totals["problems"], sum(map(len, parts["pass_at_k"]))
    entry: dict[str, Any] = {"k": totals["min_k"], "m": m, "n_problems": n, "n_with_gold": gold}
    entry["n_generations"] = totals["generations"]
    entry["confidence"] = config.confidence
    for name, found in parts.items():
        curve = _means(_stack(found), config)
        entry[name] = {str(k): item.value for k, item in enumerate(curve, 1)}
        entry[f"{name}_interval"] = {str(k): [i.low, i.high] for k, i in enumerate(curve, 1)}
    entry["likelihood_maj"] = _likelihood_vote(likely, config)
    entry |= {name: value / gold if gold else None for name, value in sums.items()}
    for name in ("no_answer", "tied", "maj_exact"):
        entry[name] = totals[name] / n if n else None
    entry["programs"] = {name: totals[name] for name in ("drawn", "distinct", "executed")}
    entry["statuses"] = dict(sorted(statuses.items()))
    return entry


def _likelihood_vote(parts: Sequence[Floats], config: VoteConfig) -> dict[str, Any] | None:
    matrix = _stack(parts)
    if not len(matrix):
        return None
    (one,) = _means(matrix, config)
    return {"value": one.value, "interval": [one.low, one.high], "n_problems": len(matrix)}


def _means(values: Floats, config: VoteConfig) -> list[intervals.Interval]:
    """Returns means with intervals; every curve of every cell draws the same problems."""
    seed = (config.seed, "summary")
    return intervals.means(values, config.confidence, config.bootstrap_resamples, seed)


def curve_matrix(problems: Rows, name: str) -> Floats:
    """Returns one of `CURVES` for the problems with gold, float64 [problems, k].

    k goes up to the fewest generations among them.
    """
    values, starts, lengths = _lists(problems.column(CURVES[name]))
    if not len(lengths):
        return np.zeros((0, 0))
    k = int(lengths.min())
    if not name.startswith("pass"):
        return values[starts[:, None] + np.arange(k)]
    right = _sums(values, starts, lengths).astype(np.int64)
    out = np.empty((len(lengths), k))
    for n in map(int, np.unique(lengths)):
        table = [[pass_at_k(n, c, j) for j in range(1, k + 1)] for c in range(n + 1)]
        rows = lengths == n
        out[rows] = np.array(table)[right[rows]]
    return out


def has_curve(column: pa.Array | pa.ChunkedArray) -> pa.Array:
    """Returns which lists of a column are known, bool [rows]: neither null nor empty, no null."""
    _, _, _, known = _flat(column)
    return pa.array(known)


def _lists(column: pa.Array | pa.ChunkedArray) -> tuple[Floats, NDArray, NDArray]:
    """Returns a list column's flat values, and starts and lengths of its known lists."""
    values, starts, lengths, known = _flat(column)
    return values, starts[known], lengths[known]


def _flat(column: pa.Array | pa.ChunkedArray) -> tuple[Floats, NDArray, NDArray, NDArray]:
    if isinstance(column, pa.ChunkedArray):
        column = pa.concat_arrays(column.chunks) if column.num_chunks else column.combine_chunks()
    lengths = np.asarray(pc.fill_null(pc.list_value_length(column), 0)).astype(np.int64)
    flat = pc.list_flatten(column)
    starts = np.cumsum(lengths) - lengths
    missing = np.concatenate([[0], np.cumsum(np.asarray(flat.is_null()))])
    known = (lengths > 0) & (missing[starts + lengths] == missing[starts])
    values = np.asarray(pc.fill_null(pc.cast(flat, pa.float64()), 0.0))
    return values, starts, lengths, known


def _sums(values: Floats, starts: NDArray, lengths: NDArray) -> Floats:
    """Returns the sum of each list; exact for lists of zeros and ones."""
    sums = np.concatenate([[0.0], np.cumsum(values)])
    return np.rint(sums[starts + lengths] - sums[starts])


def _stack(parts: Sequence[Floats]) -> Floats:
    known = [part for part in parts if len(part)]
    if not known:
        return np.zeros((0, 0))
    k = min(part.shape[1] for part in known)
    return np.concatenate([part[:, :k] for part in known])


def _share(batch: Rows, sums: dict[str, float]) -> None:
    """Adds to the sums over problems of their mean and their best outcome."""
    values, starts, lengths = _lists(batch.column("original_correct"))
    sums["avg_at_k"] += float((_sums(values, starts, lengths) / lengths).sum())
    values, starts, lengths = _lists(batch.column("any_correct"))
    sums["coverage"] += float((_sums(values, starts, lengths) > 0).sum())


def _count(batch: Rows, totals: Counter[str], statuses: Counter[str]) -> None:
    """Adds a batch's counts."""
    fewest = pc.min(batch.column("n_generations")).as_py() or 0
    totals["min_k"] = min(totals["min_k"], fewest) if totals["problems"] else fewest
    totals["problems"] += batch.num_rows
    for name in ("generations", "drawn", "distinct", "executed"):
        totals[name] += pc.sum(batch.column(f"n_{name}")).as_py() or 0
    totals["no_answer"] += batch.column("vote_answer").null_count
    for name in ("tied", "maj_exact"):
        totals[name] += pc.sum(batch.column(name)).as_py() or 0
    for row in batch.column("statuses").to_pylist():
        statuses.update(json.loads(row) if row else {})
