"""Draws become program texts: one row per distinct syntax tree of a generation.

The draws of several samplers and temperatures over the same programs are assembled together:
a text that several of them hold is made once (`Pool`), and each takes its own rows of it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.program import rejects
from pipeline.program.assemble_subset import subset_rows
from pipeline.program.compiled import Programs
from pipeline.program.config import SampleConfig
from pipeline.program.distinct import Distinct, distinct
from pipeline.program.samplers import Draws, segment_rows
from pipeline.program.subset import SubsetLaw
from pipeline.schema import CHANGE, RESULT

COLUMNS = (
    "problem_id",
    "generation_index",
    "variant_index",
    "source",
    "logprob",
    "mass",
    "n_drawn",
    "changes",
    "reject",
)
_SCHEMA = pa.schema([RESULT.field(name) for name in COLUMNS])


@dataclass
class Variants:
    """The distinct programs of a shard: the original first, then in order of their first draw.

    Attributes:
        table: `COLUMNS` of `schema.RESULT`, a row per program. logprob and mass are null
            where the generation has no logprobs.
        generation: int64 [rows], index of the generation in the shard.
        offset: int64 [n + 1], each generation's first row; none where it holds no program.
        n_drawn: int32 [n], draws made, repeats too.
        first_draw: int64 [rows], the draw that gave a program first; -1: the original.
    """

    table: pa.Table
    generation: np.ndarray
    offset: np.ndarray
    n_drawn: np.ndarray
    first_draw: np.ndarray


@dataclass
class Pool:
    """The different texts among draws over the same programs, and how they came about.

    Attributes:
        programs: what was drawn from.
        outcome: int16 [v, draws], the outcomes of all draws side by side.
        generation: int64 [texts], index of the generation in the shard.
        column: int64 [texts], a draw that gave the text; -1: the original.
        source: string [texts].
        changes: list of `schema.CHANGE` [texts].
    """

    programs: Programs
    outcome: np.ndarray
    generation: np.ndarray
    column: np.ndarray
    source: pa.Array
    changes: pa.Array

    def rejects(self, config: SampleConfig) -> list[str | None]:
        """Returns why each text is not to be run, or None."""
        return rejects.static(
            self.programs, self.outcome, self.generation, self.column, self.source, config
        )


def pool(
    programs: Programs, drawn: Sequence[tuple[Draws, Distinct]]
) -> tuple[Pool, list[np.ndarray]]:
    """Returns the texts of all draws, each once, and for each of them where its rows lie in it.

    Args:
        programs: what was drawn from.
        drawn: draws and their different programs.
    """
    outcome = np.concatenate([draws.outcome for draws, _ in drawn], axis=1)
    begins = np.cumsum([0] + [draws.outcome.shape[1] for draws, _ in drawn])
    codes, columns = [], []
    for (draws, found), begin in zip(drawn, begins, strict=False):
        terms = np.take_along_axis(programs.text_codes, draws.outcome.astype(np.int64), axis=1)
        of_draw = segment_rows(terms, programs.offset)
        variant = found.first_draw >= 0
        code = np.zeros(len(found), np.uint64)
        code[variant] = of_draw[found.generation[variant], found.first_draw[variant]]
        codes.append(code)
        columns.append(np.where(variant, begin + found.first_draw, -1))
    generation = np.concatenate([found.generation for _, found in drawn])
    code, column = np.concatenate(codes), np.concatenate(columns)
    order = np.lexsort((column, code, generation))
    new = np.ones(len(order), bool)
    new[1:] = (np.diff(generation[order]) != 0) | (np.diff(code[order]) != 0)
    place = np.empty(len(order), np.int64)
    place[order] = np.cumsum(new) - 1
    once = order[new]
    texts = _texts(programs, outcome, generation[once], column[once])
    made = Pool(programs, outcome, generation[once], column[once], *texts)
    sizes = np.cumsum([len(found) for _, found in drawn])[:-1]
    return made, np.split(place, sizes)


def assemble(programs: Programs, draws: Draws) -> Variants:
    """Returns the distinct programs among the originals and the draws of a shard.

    Two assignments are one program when Python reads the same tokens in every hole; their
    draws and masses add up and the text is the first's.
    """
    if isinstance(draws.law, SubsetLaw):
        return _assemble_subset(programs, draws)
    found = distinct(programs, draws)
    texts, (rows,) = pool(programs, [(draws, found)])
    at = pa.array(rows)
    offset = np.searchsorted(found.generation, np.arange(len(programs) + 1))
    generation = pa.array(found.generation)
    columns = own_columns(programs, found) | {
        "problem_id": programs.table["problem_id"].combine_chunks().take(generation),
        "generation_index": programs.table["generation_index"].combine_chunks().take(generation),
        "source": texts.source.take(at),
        "changes": texts.changes.take(at),
        "reject": pa.array(texts.rejects(draws.config), pa.string()).take(at),
    }
    table = pa.table({name: columns[name] for name in COLUMNS}, schema=_SCHEMA)
    return Variants(table, found.generation, offset, draws.count, found.first_draw)


def _assemble_subset(programs: Programs, draws: Draws) -> Variants:
    rows = subset_rows(programs, draws)
    generation = np.array([row["generation"] for row in rows], np.int64)
    offset = np.searchsorted(generation, np.arange(len(programs) + 1))
    first = np.array([row["first_draw"] for row in rows], np.int64)
    table = pa.Table.from_pylist(rows, schema=_SCHEMA)
    return Variants(table, generation, offset, draws.count, first)


def own_columns(programs: Programs, found: Distinct) -> dict[str, pa.Array]:
    """Returns the columns of `schema.RESULT` that draws do not share with others."""
    unknown = np.asarray(programs.table["logprobs"].is_null())[found.generation]
    offset = np.searchsorted(found.generation, np.arange(len(programs) + 1))
    index = np.arange(len(found)) - offset[found.generation]
    return {
        "variant_index": pa.array(index, pa.int32()),
        "logprob": pa.array(found.logprob, pa.float64(), mask=unknown),
        "mass": pa.array(found.mass, pa.float64(), mask=unknown),
        "n_drawn": pa.array(found.n_drawn, pa.int32()),
    }


def _texts(
    programs: Programs, outcome: np.ndarray, generation: np.ndarray, column: np.ndarray
) -> tuple[pa.Array, pa.Array]:
    """Returns source and changes of programs, each of a generation and a column of outcomes."""
    row, piece, changed = _pieces(programs, outcome, generation, column)
    source = _join(programs, row, piece, len(generation))
    return source, _changes(programs, generation, row, changed)


def _pieces(
    programs: Programs, outcomes: np.ndarray, generations: np.ndarray, column: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns for every piece of every program: its row, its element, and its changed outcome.

    Elements are numbered as `_join` lays them out: segments and holes of the shard in turn,
    then the replacement texts. The third array is the new outcome of changed holes, else -1.
    """
    length = 2 * np.diff(programs.offset)[generations] + 1
    row = np.repeat(np.arange(len(generations)), length)
    within = np.arange(len(row)) - np.repeat(np.cumsum(length) - length, length)
    generation = generations[row]
    base = 2 * (programs.offset[generation] + generation)
    piece = base + within
    outcome = np.zeros(len(row), np.int64)
    hole = (within % 2 == 1) & (column[row] >= 0)
    variable = programs.offset[generation[hole]] + within[hole] // 2
    outcome[hole] = outcomes[variable, column[row[hole]]]
    replace = hole.copy()
    replace[hole] = (outcome[hole] > 0) | programs.misplaced[variable]
    changed_variable = programs.offset[generation[replace]] + within[replace] // 2
    piece[replace] = _n_elements(programs) + programs.text[changed_variable, outcome[replace]]
    outcome[~replace] = -1
    return row, piece, outcome


def _n_elements(programs: Programs) -> int:
    return 2 * (len(programs.generation) + len(programs))


def _elements(programs: Programs) -> pa.Array:
    """Returns segments and holes of all programs in turn, over the shard's bytes, uncopied.

    A program with v holes has v + 1 segments; what stands between two programs is one more
    element after each program.
    """
    v, n = len(programs.generation), len(programs)
    cuts = np.empty(2 * (v + n) + 1, np.int64)
    begin = 2 * (programs.offset[:-1] + np.arange(n))
    # A row without a program has an empty segment where its completion starts.
    held = programs.span[:, 0] >= 0
    cuts[begin] = np.where(held, programs.span[:, 0], programs.completions.start)
    cuts[begin + 2 * np.diff(programs.offset) + 1] = np.where(
        held, programs.span[:, 1], programs.completions.start
    )
    hole = 2 * (np.arange(v) + programs.generation)
    cuts[hole + 1], cuts[hole + 2] = programs.start, programs.end
    cuts[-1] = len(programs.completions.data)
    data = np.ascontiguousarray(programs.completions.data)
    return pa.Array.from_buffers(
        pa.large_binary(), len(cuts) - 1, [None, pa.py_buffer(cuts), pa.py_buffer(data)]
    )


def _join(programs: Programs, row: np.ndarray, piece: np.ndarray, rows: int) -> pa.Array:
    """Returns the program texts, string [rows]; invalid UTF-8 is replaced as in `text`."""
    texts = pa.array([text.encode() for text in programs.texts], pa.large_binary())
    elements = pa.concat_arrays([_elements(programs), texts])
    offsets = np.searchsorted(row, np.arange(rows + 1)).astype(np.int64)
    lists = pa.LargeListArray.from_arrays(pa.array(offsets), elements.take(pa.array(piece)))
    joined = pc.binary_join(lists, pa.scalar(b"", pa.large_binary()))
    try:
        return joined.cast(pa.string())
    except pa.ArrowInvalid:
        return pa.array([b.decode(errors="replace") for b in joined.to_pylist()], pa.string())


def _changes(
    programs: Programs, generations: np.ndarray, row: np.ndarray, outcome: np.ndarray
) -> pa.Array:
    """Returns the changed holes of each row, list of `schema.CHANGE`, spans in characters."""
    rows = len(generations)
    at = np.flatnonzero(outcome >= 0)
    first_piece = np.searchsorted(row, np.arange(rows))
    variable = programs.offset[generations[row[at]]] + (at - first_piece[row[at]]) // 2
    start, end = programs.character_spans()
    texts = pa.array(programs.texts, pa.string())
    original = programs.originals()
    struct = pa.StructArray.from_arrays(
        [
            pa.array(programs.position[variable], pa.int32()),
            pa.array(start[variable], pa.int32()),
            pa.array(end[variable], pa.int32()),
            original.take(pa.array(variable)),
            texts.take(pa.array(programs.text[variable, outcome[at]].astype(np.int64))),
        ],
        fields=list(CHANGE),
    )
    offsets = np.searchsorted(row[at], np.arange(rows + 1)).astype(np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), struct)
