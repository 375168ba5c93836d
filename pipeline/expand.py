"""Expands one block: compile, draw, assemble, execute, score and vote, for many cells at once.

All cells of a sweep over the same generations go through here together, in one pass (see
`passes`). Each cell's files are what they would be alone; one that fails does not take the
others with it.
"""

import json
import logging
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.attempts import Attempts, bad_rows, quarantine
from pipeline.config import Cell, RunConfig, from_saved
from pipeline.execute.config import ExecuteConfig
from pipeline.execute.forkserver import SandboxUnavailableError, ServerLostError
from pipeline.execute.sandbox import Sandbox
from pipeline.passes import Pass, Rows
from pipeline.program.vocabulary import Vocabulary
from pipeline.run import Block, RunFolder
from pipeline.schema import GENERATION, PROBLEM, RESULT
from pipeline.shards import (
    check_manifest,
    read_manifests,
    read_or_discard,
    read_vocabulary,
    write_shard,
)

log = logging.getLogger(__name__)

_FATAL = (OSError, SandboxUnavailableError, ServerLostError)  # no cell's and no problem's fault
_WRITERS = 8  # cells sent to a bucket at once; to a disk, threads cost more than they save


class _CellError(Exception):
    """One of several cells failed; each is to be computed alone."""


@dataclass
class _Done:
    """What a pass did: the cells, the rows set aside, the programs it ran, what to tell."""

    cells: list[str]
    bad: list[dict[str, Any]]
    n_programs: int
    cpu_s: float
    notes: list[str]


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
        self,
        run: RunFolder,
        config: RunConfig,
        key: str,
        block: Block,
        names: list[str],
        shards: list[str] | None = None,
    ) -> dict[str, Any]:
        """Computes cells on one block and writes their results.

        Args:
            run: the run folder.
            config: the run's configuration (its task and flow groups are used).
            key: fingerprint of the generations.
            block: which problems.
            names: the cells' names; each has its cell.json.
            shards: names of the block's generation shards; None: they are looked for.

        Returns: done_cells, failed_cells (name -> sentence), bad_expand, n_programs, cpu_s, note.

        Raises: what a cell raises that is the only one.
        """
        cells = [self._cell(run, name) for name in names]
        n = max(cell.n for cell in cells)
        generations = read_generations(run, key, block, n, shards)
        stage = f"expand-{block.name}"
        done: list[_Done] = []
        failed: dict[str, str] = {}
        begun: list[Attempts] = []

        def expand(chosen: list[Cell], name: str) -> None:
            begun.append(Attempts(run.storage, name, config.flow.max_attempts))
            done.append(self._expand(run, config, block, chosen, generations, begun[-1]))

        try:
            expand(cells, stage)
        except _CellError:
            # Which cell it is shows when each is computed as if it were alone.
            for cell in cells:
                try:
                    expand([cell], f"{stage}-{cell.name}")
                except _FATAL:
                    raise
                except Exception as own:
                    log.warning("cell %s failed", cell.name, exc_info=own)
                    failed[cell.name] = f"{type(own).__name__}: {own}"
                    if len(failed) == len(cells):
                        raise
        bad = list({json.dumps(row): row for one in done for row in one.bad}.values())
        quarantine(run.storage, stage, bad)
        for attempts in begun:
            attempts.done()
        return {
            "done_cells": [name for one in done for name in one.cells],
            "failed_cells": failed,
            "bad_expand": len(bad),
            "n_programs": sum(one.n_programs for one in done),
            "cpu_s": sum(one.cpu_s for one in done),
            "note": "; ".join(dict.fromkeys(note for one in done for note in one.notes)),
        }

    def _expand(
        self,
        run: RunFolder,
        config: RunConfig,
        block: Block,
        cells: list[Cell],
        generations: tuple[pa.Table, list[tuple[int, str]]],
        attempts: Attempts,
    ) -> "_Done":
        """Computes cells in one pass over generations and writes their results.

        Raises: _CellError if one of several fails, whatever the reason.
        """
        clock = _Clock()
        n = max(cell.n for cell in cells)
        table, checksums = generations
        table = table.filter(pc.less(table["generation_index"], n))
        pass_ = Pass(self.vocabulary(run), self.sandbox, run, config, block, cells)
        ids = list(dict.fromkeys(table["problem_id"].to_pylist()))

        def work(chosen: list[str]) -> dict[str, Rows]:
            rows = pc.is_in(table["problem_id"], value_set=pa.array(chosen, pa.string()))
            try:
                return pass_.compute(table.filter(rows))
            except _FATAL:
                raise
            except Exception as error:
                if len(cells) == 1:
                    raise
                raise _CellError(f"one of {len(cells)} cells failed: {error}") from error

        parts, left_out = attempts.work(ids, work, (*_FATAL, _CellError))
        _write_cells(run, block, cells, parts, checksums, clock)
        pass_.flush()
        return _Done(
            cells=[cell.name for cell in cells],
            bad=pass_.bad + bad_rows("expand", left_out, range(n)),
            n_programs=pass_.executor.n_run,
            cpu_s=clock.cpu_s() + pass_.executor.cpu_s,
            notes=[*filter(None, [attempts.note(left_out)]), *pass_.executor.notes()],
        )

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
    run: RunFolder, key: str, block: Block, n: int, shards: list[str] | None = None
) -> tuple[pa.Table, list[tuple[int, str]]]:
    """Returns a block's generations below index n, problem by problem, and what was read.

    Args:
        run: the run folder.
        key: fingerprint of the generations.
        block: which problems.
        n: generations per problem.
        shards: names of the block's shards; None: they are looked for among those of all blocks.

    Returns: rows of `schema.GENERATION`; (first generation index, checksum) per shard read.

    Raises: ShardError if a shard is torn or foreign.
    """
    tables: list[pa.Table] = []
    read: list[tuple[int, str]] = []
    if shards is None:
        found = run.generations.names("manifests", ".json")
        shards = [name for name in found if name.startswith(f"{block.name}.")]
    stems = [name.removesuffix(".json").removesuffix(".arrow") for name in shards]
    for manifest in read_manifests(run.generations, stems=stems):
        if manifest.inputs["start"] >= n:
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

    with ThreadPoolExecutor(1 if run.storage.is_local else _WRITERS) as writers:
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
    for part, table, told in (("problems", problems, {}), ("results", results, counts)):
        # Variants of a program differ by a token: results shrink to a fifth.
        write_shard(
            *(storage, f"{part}/{name}", table, cell.name, inputs, told),
            manifests=f"manifests/{part}",
            compression="zstd",
        )
