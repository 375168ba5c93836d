"""The rows of a sweep's cells: what they share is made once, each takes what it drew.

Cells over the same generations hold largely the same programs. Their texts, executions and
answers lie in `Shared`, a row per text; a cell (`CellRows`) is a choice of these rows and the
few columns of its own: how likely it found a program, and how often it drew it. Its rows of
`schema.RESULT` and `schema.PROBLEM` are what they would be if it were computed alone.
"""

from collections import Counter
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.schema import PROBLEM, RESULT
from pipeline.scoring import Completions, Executor, Outcomes
from pipeline.vote import answers
from pipeline.vote.ballots import Ballots
from pipeline.vote.config import VoteConfig
from pipeline.vote.vote import Programs, problem_rows

_OF_GENERATION = ("problem_id", "generation_index")
_OWN = ("variant_index", "logprob", "mass", "n_drawn")
_SHARED = tuple(name for name in RESULT.names if name not in (*_OF_GENERATION, *_OWN))


class Shared:
    """What cells with the same rules and execution settings share.

    Its rows are the texts, then one for each generation that holds no program.

    Attributes:
        completions: the block's.
        table: the columns of `schema.RESULT` that do not depend on the draws.
        generation: int64 [rows], index in the block.
        n_texts: how many of the rows are texts.
        cpu_s: float64 [rows], processor seconds of the execution.
    """

    def __init__(
        self,
        completions: Completions,
        executor: Executor,
        generation: np.ndarray,
        texts: tuple[pa.Array, pa.Array, list[str | None]],
        outcomes: Outcomes,
    ) -> None:
        """Takes the texts (source, changes, reject), each of a generation, and their outcomes."""
        self.completions = completions
        self.n_texts = len(generation)
        none = np.flatnonzero([status != "" for status in completions.status])
        self.generation = np.concatenate([generation, none])
        self.table = pa.concat_tables(
            [
                _table(*texts, outcomes),
                _without_program(completions, executor, none.tolist()),
            ]
        ).combine_chunks()
        self.cpu_s = np.array([*outcomes.cpu_s, *[0.0] * len(none)])
        self._linked: dict[float, np.ndarray] = {}

    @cached_property
    def problem(self) -> np.ndarray:
        """Returns int64 [generations], each one's problem, numbered in the block's order."""
        numbers: dict[str, int] = {}
        ids = self.completions.table["problem_id"].to_pylist()
        return np.array([numbers.setdefault(i, len(numbers)) for i in ids], np.int64)

    @cached_property
    def generation_index(self) -> np.ndarray:
        """Returns int64 [generations]."""
        return np.asarray(self.completions.table["generation_index"]).astype(np.int64)

    @cached_property
    def status(self) -> tuple[np.ndarray, list[str]]:
        """Returns int64 [rows] and the statuses that they number."""
        return _numbered(self.table["status"])

    @cached_property
    def identity(self) -> np.ndarray:
        """Returns int64 [rows], equal where the execution is the same."""
        return _numbered(self.table["program_hash"])[0]

    @cached_property
    def refused(self) -> np.ndarray:
        """Returns bool [rows], a static reject stopped it."""
        return np.asarray(self.table["reject"].is_valid())

    @cached_property
    def keys(self) -> list[str]:
        """Returns the different answers, sorted."""
        return sorted(set(self.table["answer"].to_pylist()) - {None})

    @cached_property
    def answer(self) -> np.ndarray:
        """Returns int64 [rows], index in `keys`; -1 abstains."""
        found = pc.index_in(self.table["answer"], value_set=pa.array(self.keys, pa.string()))
        return np.asarray(pc.fill_null(found, -1)).astype(np.int64)

    @cached_property
    def correct(self) -> np.ndarray:
        """Returns int8 [rows], 1 right, 0 wrong, -1 without gold."""
        return np.asarray(pc.fill_null(self.table["correct"].cast(pa.int8()), -1))

    @cached_property
    def score(self) -> np.ndarray:
        """Returns float64 [rows], NaN without gold."""
        return np.asarray(pc.fill_null(self.table["score"], np.nan))

    def linked(self, tolerance: float) -> np.ndarray:
        """Returns bool [rows]: the answer may be joined with another one of its problem."""
        if tolerance not in self._linked:
            self._linked[tolerance] = self._find_linked(tolerance)
        return self._linked[tolerance]

    def _find_linked(self, tolerance: float) -> np.ndarray:
        code = self.problem[self.generation] * (len(self.keys) + 1) + self.answer
        pairs, inverse = np.unique(code, return_inverse=True)
        of, key = np.divmod(pairs, len(self.keys) + 1)
        voting = np.flatnonzero(np.isin(np.arange(len(pairs)), inverse[self.answer >= 0]))
        joined = np.zeros(len(pairs), bool)
        texts = [self.keys[i] for i in key[voting].tolist()]
        joined[voting] = answers.may_join(texts, of[voting], tolerance)
        return joined[inverse]


def _table(
    source: pa.Array, changes: pa.Array, reject: list[str | None], outcomes: Outcomes
) -> pa.Table:
    score = pa.array(outcomes.score, pa.float64())
    columns = {
        "program_hash": outcomes.program_hash,
        "source": source,
        "changes": changes,
        "reject": reject,
        "status": outcomes.status,
        "value": outcomes.value,
        "error": outcomes.error,
        "answer": outcomes.answer,
        "correct": pc.greater_equal(score, 1.0),  # a program is right when its score is full
        "score": score,
    }
    return pa.table({name: columns[name] for name in _SHARED}, schema=_schema())


def _without_program(completions: Completions, executor: Executor, rows: list[int]) -> pa.Table:
    """Returns a row for each generation that holds no program."""
    scores = [executor.nothing(completions.problems[row]) for row in rows]
    made = [
        {
            "program_hash": "",
            "source": "",
            "changes": [],
            "status": completions.status[row],
            "correct": None if score is None else False,
            "score": score,
        }
        for row, score in zip(rows, scores, strict=True)
    ]
    return pa.Table.from_pylist(made, schema=_schema())


def _schema() -> pa.Schema:
    return pa.schema([RESULT.field(name) for name in _SHARED])


def _numbered(column: pa.ChunkedArray) -> tuple[np.ndarray, list[str]]:
    encoded = pc.fill_null(column, "").combine_chunks().dictionary_encode()
    return np.asarray(encoded.indices).astype(np.int64), encoded.dictionary.to_pylist()


@dataclass
class CellRows:
    """A cell's programs in one block.

    Attributes:
        shared: what it shares with others.
        rows: int64 [r], rows of `shared`, in order of generation and variant.
        own: the columns of its own; [r] in the same order.
        counts: additive counters for the manifest.
    """

    shared: Shared
    rows: np.ndarray
    own: dict[str, pa.Array]
    counts: Counter[str]

    def results(self) -> pa.Table:
        """Returns the rows of `schema.RESULT`."""
        taken = self.shared.table.take(pa.array(self.rows))
        generation = pa.array(self.shared.generation[self.rows])
        of_generation = self.shared.completions.table.select(_OF_GENERATION).take(generation)
        columns = {
            **self.own,
            **{name: taken[name] for name in _SHARED},
            **{name: of_generation[name] for name in _OF_GENERATION},
        }
        return pa.table({name: columns[name] for name in RESULT.names}, schema=RESULT)

    def problems(self, config: VoteConfig) -> pa.Table:
        """Returns the rows of `schema.PROBLEM`."""
        shared, rows = self.shared, self.rows
        if not len(rows):
            return PROBLEM.empty_table()
        generation = shared.generation[rows]
        _, first, problem = np.unique(
            shared.problem[generation], return_index=True, return_inverse=True
        )
        ids = shared.completions.table["problem_id"].take(pa.array(generation[first])).to_pylist()
        linked = shared.linked(config.relative_tolerance)[rows]
        ballots = self._ballots(problem, generation).clustered(config.relative_tolerance, linked)
        status, names = shared.status
        programs = Programs(status[rows], names, shared.refused[rows], shared.identity[rows])
        return problem_rows(
            ids, ballots, programs, config, shared.completions.mean_logprobs[generation]
        )

    def _ballots(self, problem: np.ndarray, generation: np.ndarray) -> Ballots:
        shared, rows = self.shared, self.rows
        mass = np.asarray(pc.fill_null(self.own["mass"], 0.0))
        logprob = np.asarray(pc.fill_null(self.own["logprob"], np.nan))
        with np.errstate(divide="ignore"):
            log_mass = np.where(mass > 0, np.log(mass), logprob)
        return Ballots(
            problem=problem,
            generation=shared.generation_index[generation],
            original=np.asarray(self.own["variant_index"]) == 0,
            n_drawn=np.asarray(pc.fill_null(self.own["n_drawn"], 0)).astype(np.int64),
            log_mass=log_mass,
            answer=shared.answer[rows],
            keys=shared.keys,
            correct=shared.correct[rows],
            score=shared.score[rows],
        )

    def cpu_s(self) -> float:
        """Returns the CPU seconds of the cell's programs, as if it had run alone."""
        _, first = np.unique(self.shared.identity[self.rows], return_index=True)
        return float(self.shared.cpu_s[self.rows[first]].sum())


def cell_rows(
    shared: Shared,
    n: int,
    generation: np.ndarray,
    rows: np.ndarray,
    own: dict[str, pa.Array],
    counts: Counter[str],
) -> CellRows:
    """Returns a cell's rows: its programs, and its generations that hold none.

    Args:
        shared: what it shares with others.
        n: generations per problem that it uses.
        generation: int64 [p], of each of its programs, ascending; later ones than n are left out.
        rows: int64 [p], where in `shared` they lie.
        own: columns [p] of its own.
        counts: to which its own are added.
    """
    inside = np.flatnonzero(shared.generation_index[generation] < n)
    none = np.arange(shared.n_texts, len(shared.generation))
    none = none[shared.generation_index[shared.generation[none]] < n]
    order = np.argsort(np.concatenate([generation[inside], shared.generation[none]]), kind="stable")
    at = np.concatenate([rows[inside], none])[order]
    without = _own_without(len(none))
    columns = {
        name: pa.concat_arrays([own[name].take(pa.array(inside)), without[name]]).take(
            pa.array(order)
        )
        for name in _OWN
    }
    counts["generations"] = len(np.unique(shared.generation[at]))
    reasons = shared.table["reject"].take(pa.array(at)).drop_null().value_counts().to_pylist()
    counts.update({f"reject_{found['values']}": found["counts"] for found in reasons})
    return CellRows(shared, at, columns, counts)


def _own_without(n: int) -> dict[str, pa.Array]:
    return {
        "variant_index": pa.array(np.zeros(n), pa.int32()),
        "logprob": pa.nulls(n, pa.float64()),
        "mass": pa.nulls(n, pa.float64()),
        "n_drawn": pa.array(np.zeros(n), pa.int32()),
    }
