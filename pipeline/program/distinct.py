"""Which of the draws are different programs: one entry per syntax tree of a generation."""

from dataclasses import dataclass

import numpy as np

from pipeline.program.compiled import Programs
from pipeline.program.law import Law
from pipeline.program.samplers import Draws, log_probability, segment_rows


@dataclass
class Distinct:
    """The different programs of a shard: the original first, then in order of their first draw.

    Attributes:
        generation: int64 [rows], index of the generation in the shard, ascending.
        first_draw: int64 [rows], the draw that gave a program first; -1: the original.
        n_drawn: int64 [rows], how many draws gave it.
        logprob: float64 [rows], ln probability of the assignment drawn first.
        mass: float64 [rows], probability of all assignments with its tree.
        of_draw: int64 [n, m], the row that each draw gave; -1: no draw of the generation.
    """

    generation: np.ndarray
    first_draw: np.ndarray
    n_drawn: np.ndarray
    logprob: np.ndarray
    mass: np.ndarray
    of_draw: np.ndarray

    def __len__(self) -> int:
        return len(self.generation)

    def taken(self, rows: np.ndarray) -> "Distinct":
        """Returns some of the rows (int64, ascending), without `of_draw`."""
        return Distinct(
            self.generation[rows], self.first_draw[rows], self.n_drawn[rows],
            self.logprob[rows], self.mass[rows], self.of_draw[:, :0],
        )  # fmt: skip

    def narrowed(self, m: int) -> tuple[np.ndarray, "Distinct"]:
        """Returns what the first m draws alone would give, and the rows that it takes."""
        rows = np.flatnonzero(self.first_draw < m)
        if m >= self.of_draw.shape[1]:
            return rows, self
        given = self.of_draw[:, :m]
        counts = np.bincount(given[given >= 0], minlength=len(self))
        found = self.taken(rows)
        found.n_drawn = counts[rows]
        return rows, found


def distinct(programs: Programs, draws: Draws) -> Distinct:
    """Returns the different programs among the originals and the draws.

    Two assignments are one program when Python reads the same tokens in every hole; their
    draws and masses add up.
    """
    assert isinstance(draws.law, Law)
    n, m = len(programs), draws.outcome.shape[1]
    codes = np.take_along_axis(programs.tree_codes, draws.outcome.astype(np.int64), axis=1)
    tree = segment_rows(codes, programs.offset)
    is_draw = np.arange(m) < draws.count[:, None]
    logprob = log_probability(programs, draws.law, draws.outcome)
    log_mass, original_mass = _masses(programs, draws, draws.law, logprob)
    with_original = np.concatenate([np.zeros((n, 1), np.uint64), tree], axis=1)
    valid = np.concatenate([np.ones((n, 1), bool), is_draw], axis=1)
    order = np.argsort(with_original, axis=1, kind="stable")
    tree_sorted = np.take_along_axis(with_original, order, axis=1)
    valid_sorted = np.take_along_axis(valid, order, axis=1)
    new = np.ones((n, m + 1), bool)
    new[:, 1:] = tree_sorted[:, 1:] != tree_sorted[:, :-1]
    # Columns that are no draws may share a tree with draws: the group's first valid column
    # leads it, and only valid ones count.
    group = np.cumsum(new.ravel()) - 1
    first = np.full(group[-1] + 1 if group.size else 0, m + 1)
    flat_order, flat_valid = order.ravel(), valid_sorted.ravel()
    np.minimum.at(first, group[flat_valid], flat_order[flat_valid])
    drawn = np.bincount(group[flat_valid & (flat_order > 0)], minlength=len(first))
    generation = np.flatnonzero(new.ravel()) // (m + 1)
    some = np.flatnonzero((first <= m) & (programs.span[generation, 0] >= 0))
    rank = some[np.lexsort((first[some], generation[some]))]
    row_of_group = np.full(len(first), -1)
    row_of_group[rank] = np.arange(len(rank))
    of_column = np.empty((n, m + 1), np.int64)
    np.put_along_axis(of_column, order, row_of_group[group].reshape(n, m + 1), axis=1)
    of_column[~valid] = -1
    generation, first_draw = generation[rank], first[rank] - 1
    padded_log = np.concatenate([logprob, draws.law.log_original[:, None]], axis=1)
    padded_mass = np.concatenate([log_mass, original_mass[:, None]], axis=1)
    return Distinct(
        generation, first_draw, drawn[rank], padded_log[generation, first_draw],
        np.exp(padded_mass[generation, first_draw]), of_column[:, 1:],
    )  # fmt: skip


def _masses(
    programs: Programs, draws: Draws, at: Law, logprob: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Returns ln of the probability of all assignments with a draw's tree, and the original's."""
    if not programs.has_synonyms:
        return logprob, at.log_original
    pi, canonical = at.pi, programs.canonical
    same = np.zeros_like(pi)
    for column in range(pi.shape[1]):
        equal = (canonical == canonical[:, column, None]) & (canonical >= 0)
        same[:, column] = np.where(equal, pi, 0.0).sum(axis=1)
    with np.errstate(divide="ignore"):
        log_same = np.log(same)
    terms = np.take_along_axis(log_same, draws.outcome.astype(np.int64), axis=1)
    return (
        segment_rows(terms, programs.offset),
        segment_rows(log_same[:, :1], programs.offset)[:, 0],
    )
