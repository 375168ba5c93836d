"""One pass over a block's generations: what all cells of a sweep share, made once.

The block is compiled once per rule set, draws are made once per sampler for the largest m (see
`views`), a program that several cells hold is assembled and run once (see `cells`).
"""

from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa

from pipeline.cells import CellRows, Shared, cell_rows
from pipeline.config import Cell, RunConfig
from pipeline.execute.cache import ExecutionCache
from pipeline.execute.config import ExecuteConfig
from pipeline.execute.sandbox import Sandbox
from pipeline.program.compiled import Programs, compile_generations
from pipeline.program.vocabulary import Vocabulary
from pipeline.run import Block, RunFolder
from pipeline.scoring import Completions, Executor, read_completions
from pipeline.tasks import make_task
from pipeline.views import Texts, View, views

T = TypeVar("T")
Rows = tuple[CellRows, pa.Table]  # of RESULT, made when they are written, and of PROBLEM


class Pass:
    """Computes cells on a block's generations.

    Attributes:
        executor: runs the programs, and counts what it ran.
        bad: rows for the quarantine.
    """

    def __init__(
        self,
        vocabulary: Vocabulary,
        sandbox: Callable[[ExecuteConfig], Sandbox],
        run: RunFolder,
        config: RunConfig,
        block: Block,
        cells: list[Cell],
    ) -> None:
        """Takes what it needs; computes nothing.

        Args:
            vocabulary: of the generations.
            sandbox: returns the sandbox for execution settings.
            run: the run folder.
            config: the run's configuration.
            block: which problems.
            cells: what to compute.
        """
        self._vocabulary = vocabulary
        self._cells = cells
        self._task = make_task(config.task)
        self._cache = _cache(run, config, block, cells)
        self.executor = Executor(self._task, sandbox, self._cache)
        self.bad: list[dict[str, Any]] = []

    def flush(self) -> None:
        """Keeps the execution results for other cells and runs."""
        if self._cache is not None:
            self._cache.flush()

    def compute(self, table: pa.Table) -> dict[str, Rows]:
        """Returns the rows of each cell."""
        completions = read_completions(self._task, table)
        found: dict[str, Rows] = {}
        for cells in _grouped(self._cells, _compile_key):
            config = cells[0].config
            programs = compile_generations(
                table,
                self._vocabulary,
                completions.program_spans,
                completions.variable_spans,
                config.rules,
                config.compile,
            )
            self._note_bad(programs)
            for texts, held in views(programs, cells):
                found.update(self._cell_rows(completions, programs, texts, held))
        return found

    def _cell_rows(
        self, completions: Completions, programs: Programs, texts: Texts, held: list[View]
    ) -> dict[str, Rows]:
        """Runs what the cells need of their common texts and returns their rows."""
        index = np.asarray(completions.table["generation_index"])
        problems = [completions.problems[g] for g in texts.generation.tolist()]
        sources = texts.source.to_pylist()
        found: dict[str, Rows] = {}
        for group in _grouped(held, _settings_key):
            needed = np.zeros(len(sources), bool)
            for one in group:
                needed[one.rows[index[one.generation] < one.cell.n]] = True
            config = group[0].cell.config
            reject = texts.rejects(config.sample)
            at = np.flatnonzero(needed).tolist()
            outcomes = self.executor.outcomes(config.execute, problems, sources, reject, at)
            shared = Shared(
                completions,
                self.executor,
                texts.generation,
                (texts.source, texts.changes, reject),
                outcomes,
            )
            for one in group:
                counts = _program_counts(programs, index < one.cell.n)
                rows = cell_rows(shared, one.cell.n, one.generation, one.rows, one.own, counts)
                found[one.cell.name] = rows, rows.problems(one.cell.config.vote)
        return found

    def _note_bad(self, programs: Programs) -> None:
        """Sets aside, once, the generations that the compiler refused."""
        known = {(row["problem_id"], row["generation_index"]) for row in self.bad}
        ids = programs.table["problem_id"].to_pylist()
        indices = programs.table["generation_index"].to_pylist()
        for row, reason in enumerate(programs.problem):
            if reason is not None and (ids[row], indices[row]) not in known:
                self.bad.append(
                    {
                        "problem_id": ids[row],
                        "generation_index": indices[row],
                        "stage": "compile",
                        "reason": reason,
                        "traceback": "",
                    }
                )


def _cache(
    run: RunFolder, config: RunConfig, block: Block, cells: list[Cell]
) -> ExecutionCache | None:
    """Returns the store of results for this block's problems.

    A folder per group of problems keeps memory flat, and runs over the same problems share it.
    """
    if not all(cell.config.execute.cache for cell in cells):
        return None
    shared = cells[0].config.flow.cache or config.flow.cache
    if not shared and not run.storage.is_local:
        return None
    return ExecutionCache(Path(shared or run.storage.path("executions")) / block.inputs)


def _grouped(cells: Iterable[T], key: Callable[[T], str]) -> list[list[T]]:
    groups: dict[str, list[T]] = {}
    for cell in cells:
        groups.setdefault(key(cell), []).append(cell)
    return list(groups.values())


def _compile_key(cell: Cell) -> str:
    return repr((cell.config.rules, cell.config.compile))


def _settings_key(view: View) -> str:
    """Cells with this key in common refuse and run programs alike."""
    sample = view.cell.config.sample
    return repr(
        (
            sample.reject_static,
            sample.syntax,
            sample.max_literal_exponent,
            view.cell.config.execute,
        )
    )


def _program_counts(programs: Programs, inside: np.ndarray) -> Counter[str]:
    """Returns counters of the generations that a cell uses (bool [n])."""
    sizes = np.diff(programs.offset)[inside]
    return Counter(random_variables=int(sizes.sum()), without_variables=int((sizes == 0).sum()))
