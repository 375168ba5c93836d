"""Expands one block: compile, draw, assemble, execute, score and vote, for many cells at once.

All cells of a sweep over the same generations go through here together: the block is read
once and compiled once per rule set, draws are made once per sampler for the largest m (see
`views`), a program that several cells hold is assembled and run once (see `cells`). Each
cell's rows are what they would be alone.
"""

import time
from collections import Counter
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.attempts import Attempts, bad_rows, quarantine
from pipeline.cells import CellRows, Shared, cell_rows
from pipeline.config import Cell, RunConfig, from_saved
from pipeline.execute.cache import ExecutionCache
from pipeline.execute.config import ExecuteConfig
from pipeline.execute.forkserver import SandboxUnavailableError, ServerLostError
from pipeline.execute.sandbox import Sandbox
from pipeline.program.compiled import Programs, compile_generations
from pipeline.program.vocabulary import Vocabulary
from pipeline.run import Block, RunFolder
from pipeline.schema import GENERATION, PROBLEM, RESULT
from pipeline.scoring import Completions, Executor, read_completions
from pipeline.shards import (
    check_manifest,
    read_manifest,
    read_or_discard,
    read_vocabulary,
    write_shard,
)
from pipeline.tasks import make_task
from pipeline.views import Texts, View, views

T = TypeVar("T")
_WRITERS = 8  # cells written at once: a disk's sync and a bucket's put are waited for
Rows = tuple[CellRows, pa.Table]  # of RESULT, made when they are written, and of PROBLEM


class Expander:
    """Expands blocks; keeps vocabularies, cells and sandboxes between them."""

    def __init__(self) -> None:
        """Starts nothing yet."""
        self._vocabularies: dict[str, Vocabulary] = {}
        self._cells: dict[tuple[str, str], Cell] = {}
        self._sandboxes: dict[str, Sandbox] = {}

    def close(self) -> None:
        """Ends the sandboxes."""
        for sandbox in self._sandboxes.values():
            sandbox.close()
        self._sandboxes.clear()

    def expand_block(
        self, run: RunFolder, config: RunConfig, key: str, block: Block, names: list[str]
    ) -> dict[str, Any]:
        """Computes cells on one block and writes their results.

        Args:
            run: the run folder.
            config: the run's configuration (its task and flow groups are used).
            key: fingerprint of the generations.
            block: which problems.
            names: the cells' names; each has its cell.json.

        Returns: done_cells, bad_expand, n_programs, cpu_s, note.
        """
        clock = _Clock()
        cells = [self._cell(run, name) for name in names]
        table, checksums = read_generations(run, key, block, max(cell.n for cell in cells))
        stage = f"expand-{block.name}"
        attempts = Attempts(run.storage, stage, config.flow.max_attempts)
        pass_ = _Pass(self, run, config, block, cells)
        ids = list(dict.fromkeys(table["problem_id"].to_pylist()))

        def work(chosen: list[str]) -> dict[str, Rows]:
            rows = pc.is_in(table["problem_id"], value_set=pa.array(chosen, pa.string()))
            return pass_.compute(table.filter(rows))

        fatal = (OSError, SandboxUnavailableError, ServerLostError)
        parts, left_out = attempts.work(ids, work, fatal)
        _write_cells(run, block, cells, parts, checksums, clock)
        bad = pass_.bad + bad_rows("expand", left_out, range(max(cell.n for cell in cells)))
        quarantine(run.storage, stage, bad)
        pass_.flush()
        attempts.done()
        return {
            "done_cells": names,
            "bad_expand": len(bad),
            "n_programs": pass_.executor.n_run,
            "cpu_s": clock.cpu_s() + pass_.executor.cpu_s,
            "note": "; ".join(filter(None, [attempts.note(left_out), *pass_.executor.notes()])),
        }

    def _cell(self, run: RunFolder, name: str) -> Cell:
        at = (run.storage.uri, name)
        if at not in self._cells:
            about = run.cell(name).read_json("cell.json")
            self._cells[at] = Cell(
                name, about["n"], from_saved(about["config"]), tuple(about["overrides"])
            )
        return self._cells[at]

    def vocabulary(self, run: RunFolder) -> Vocabulary:
        """Returns a run's vocabulary, read once."""
        uri = run.storage.uri
        if uri not in self._vocabularies:
            self._vocabularies[uri] = Vocabulary.from_table(read_vocabulary(run.generations))
        return self._vocabularies[uri]

    def sandbox(self, config: ExecuteConfig) -> Sandbox:
        """Returns a sandbox with these settings, started once."""
        name = repr(config)
        if name not in self._sandboxes:
            self._sandboxes[name] = Sandbox(config)
        return self._sandboxes[name]


def read_generations(
    run: RunFolder, key: str, block: Block, n: int
) -> tuple[pa.Table, list[tuple[int, str]]]:
    """Returns a block's generations below index n, problem by problem, and what was read.

    Returns: rows of `schema.GENERATION`; (first generation index, checksum) per shard read.

    Raises: ShardError if a shard is torn or foreign.
    """
    tables: list[pa.Table] = []
    read: list[tuple[int, str]] = []
    for name in run.generations.names("manifests", ".json"):
        if not name.startswith(f"{block.name}."):
            continue
        manifest = read_manifest(run.generations, name[:-5])
        if manifest is None or manifest.inputs["start"] >= n:
            continue
        check_manifest(run.generations, manifest, key)
        tables.append(read_or_discard(run.generations, manifest, GENERATION, ("manifests",)))
        read.append((manifest.inputs["start"], manifest.checksum))
    table = pa.concat_tables(tables) if tables else GENERATION.empty_table()
    table = table.filter(pc.less(table["generation_index"], n))
    ids = pa.array(dict.fromkeys(table["problem_id"].to_pylist()), pa.string())
    order = table.select(["generation_index"]).append_column(
        "problem", pc.index_in(table["problem_id"], value_set=ids)
    )
    indices = pc.sort_indices(
        order, sort_keys=[("problem", "ascending"), ("generation_index", "ascending")]
    )
    return table.take(indices).combine_chunks(), sorted(read)


class _Pass:
    """One pass over a block: what its cells share."""

    def __init__(
        self, expander: Expander, run: RunFolder, config: RunConfig, block: Block, cells: list[Cell]
    ) -> None:
        self._vocabulary = expander.vocabulary(run)
        self._cells = cells
        self._task = make_task(config.task)
        self._cache = _cache(run, config, block, cells)
        self.executor = Executor(self._task, expander.sandbox, self._cache)
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


class _Clock:
    """Seconds since its making: of the wall, and of this process's processors."""

    def __init__(self) -> None:
        self._wall, self._cpu = time.perf_counter(), time.process_time()

    def wall_s(self) -> float:
        return time.perf_counter() - self._wall

    def cpu_s(self) -> float:
        return time.process_time() - self._cpu


def _write_cells(
    run: RunFolder,
    block: Block,
    cells: list[Cell],
    parts: list[dict[str, Rows]],
    checksums: list[tuple[int, str]],
    clock: _Clock,
) -> None:
    """Writes the cells' shards, then what each took: its programs, and its share of the rest."""

    def write(cell: Cell) -> None:
        inputs = {"shards": [c for start, c in checksums if start < cell.n]}
        _write_cell(run, cell, block, [part[cell.name] for part in parts], inputs)

    def note_times(cell: Cell) -> None:
        programs_s = sum(part[cell.name][0].cpu_s() for part in parts)
        times = {
            "cpu_s": programs_s + overhead_s / len(cells),
            "wall_s": clock.wall_s() / len(cells),
            "cells_in_pass": len(cells),
        }
        run.cell(cell.name).write_json(f"timings/{block.name}.json", times)

    with ThreadPoolExecutor(_WRITERS) as writers:
        list(writers.map(write, cells))
        overhead_s = clock.cpu_s()
        list(writers.map(note_times, cells))


def _write_cell(
    run: RunFolder, cell: Cell, block: Block, parts: list[Rows], inputs: dict[str, Any]
) -> None:
    """Writes a cell's two shards; the manifest of the results is the done-marker."""
    storage, name = run.cell(cell.name), f"{block.name}.arrow"
    problems = pa.concat_tables([PROBLEM.empty_table(), *(table for _, table in parts)])
    results = pa.concat_tables([RESULT.empty_table(), *(rows.results() for rows, _ in parts)])
    counts: dict[str, float] = {}
    counts |= sum((rows.counts for rows, _ in parts), Counter[str]())
    write_shard(storage, f"problems/{name}", problems, cell.name, inputs, {}, "manifests/problems")
    write_shard(storage, f"results/{name}", results, cell.name, inputs, counts, "manifests/results")
