"""Which programs each cell of a sweep holds: one set of texts, one view of it per cell.

Cells with the same rules draw from the same probabilistic programs. A sampler at one
temperature draws once, for the largest m: the first draws of a larger m are those of a smaller
one. What all of them drew is assembled once.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from pipeline.config import Cell
from pipeline.program.assemble import assemble, own_columns, pool
from pipeline.program.compiled import Programs
from pipeline.program.config import SampleConfig
from pipeline.program.distinct import Distinct, distinct
from pipeline.program.samplers import Draws, draw
from pipeline.program.subset import SubsetLaw


@dataclass
class Texts:
    """Different program texts of a block.

    Attributes:
        generation: int64 [texts], index in the block.
        source: string [texts].
        changes: list of `schema.CHANGE` [texts].
        rejects: returns why each is not to be run, or None, under a cell's settings.
    """

    generation: np.ndarray
    source: pa.Array
    changes: pa.Array
    rejects: Callable[[SampleConfig], list[str | None]]


@dataclass
class View:
    """A cell's programs.

    Attributes:
        cell: whose they are.
        generation: int64 [p], index in the block, ascending.
        rows: int64 [p], which of the texts they are.
        own: the columns of `schema.RESULT` that depend on the cell's draws, [p].
    """

    cell: Cell
    generation: np.ndarray
    rows: np.ndarray
    own: dict[str, pa.Array]


def views(programs: Programs, cells: Sequence[Cell]) -> Iterator[tuple[Texts, list[View]]]:
    """Yields texts with the cells that hold them; every cell comes once.

    Args:
        programs: compiled with the rules that all the cells have.
        cells: differ in how they draw.
    """
    groups: dict[str, list[Cell]] = {}
    for cell in cells:
        groups.setdefault(_draw_key(cell), []).append(cell)
    drawn: list[tuple[list[Cell], Draws, Distinct]] = []
    for group in groups.values():
        widest = max(group, key=lambda cell: cell.config.sample.m).config
        draws = draw(programs, widest.sample, widest.seed)
        if isinstance(draws.law, SubsetLaw):
            for cell in group:
                yield _subset(programs, cell, draws)
        else:
            drawn.append((group, draws, distinct(programs, draws)))
    if not drawn:
        return
    texts, places = pool(programs, [(draws, found) for _, draws, found in drawn])
    yield (
        Texts(texts.generation, texts.source, texts.changes, texts.rejects),
        [
            _view(programs, cell, found, place)
            for (group, _, found), place in zip(drawn, places, strict=True)
            for cell in group
        ],
    )


def _draw_key(cell: Cell) -> str:
    """Cells with this key in common see prefixes of the same draws."""
    sample, seed = cell.config.sample, cell.config.seed
    if sample.m_counts != "drawn":  # how many draws are made depends on all settings
        return repr((sample, seed))
    return repr((sample.sampler, sample.program_temperature, seed))


def _view(programs: Programs, cell: Cell, found: Distinct, place: np.ndarray) -> View:
    rows = np.arange(len(found))
    if cell.config.sample.m_counts == "drawn":
        rows, found = found.narrowed(cell.config.sample.m)
    return View(cell, found.generation, place[rows], own_columns(programs, found))


def _subset(programs: Programs, cell: Cell, draws: Draws) -> tuple[Texts, list[View]]:
    """Returns a cell whose draws are subsequences of answers: it shares no texts."""
    sample = cell.config.sample
    made = assemble(programs, draws.narrowed(sample) if sample.m_counts == "drawn" else draws)
    table = made.table.combine_chunks()
    columns = {name: table[name].combine_chunks() for name in table.column_names}
    reject = columns["reject"].to_pylist()
    texts = Texts(made.generation, columns["source"], columns["changes"], lambda _: reject)
    rows = np.arange(len(made.generation))
    return texts, [View(cell, made.generation, rows, columns)]
