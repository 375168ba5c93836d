"""What is left to do in a run folder, read from its manifests: the only state that a run has."""

from dataclasses import dataclass, field
from typing import Any

from pipeline.config import Cell, RunConfig
from pipeline.run import Block, RunFolder
from pipeline.schema import SCHEMA_VERSION
from pipeline.shards import Manifest, ShardError, discard_lost, read_manifests


@dataclass
class Plan:
    """One run folder's work: its blocks, and the cells to compute on them.

    Attributes:
        run: the folder.
        config: resolved configuration; what concerns generation is the same for all cells.
        key: fingerprint of the generations.
        cells: points of the sweep on these generations; empty: generate only.
        results: manifests of each cell's finished blocks, as `todo` found them; it reads again
            only what is new or was made from other shards.
        n_waiting: blocks that lack generations, as `todo` found them.
    """

    run: RunFolder
    config: RunConfig
    key: str
    cells: list[Cell]
    results: dict[str, dict[str, Manifest]] = field(default_factory=dict, repr=False)
    n_waiting: int = 0

    def blocks(self) -> list[Block]:
        """Returns the run's blocks."""
        return self.run.blocks(self.config.flow.block_problems)

    def shards(self) -> dict[int, list[tuple[range, Manifest]]]:
        """Returns the finished generation shards per block, by generation range.

        Raises: ShardError if one is of another configuration or version.
        """
        found: dict[int, list[tuple[range, Manifest]]] = {}
        for manifest in read_manifests(self.run.generations):
            if manifest.schema_version != SCHEMA_VERSION or manifest.fingerprint != self.key:
                raise ShardError(
                    f"shard {self.run.generations.path(manifest.name)}: made with configuration "
                    f"{manifest.fingerprint} and schema {manifest.schema_version}, this run is "
                    f"{self.key} with schema {SCHEMA_VERSION}; move it out of the folder"
                )
            generations = range(manifest.inputs["start"], manifest.inputs["stop"])
            found.setdefault(int(manifest.inputs["block"]), []).append((generations, manifest))
        return {block: sorted(shards, key=_by_start) for block, shards in found.items()}

    def todo(self, generate: bool = True) -> list[dict[str, Any]]:
        """Returns the items that are not done: which block, what to generate, which cells.

        Args:
            generate: False leaves out what has no generations yet.
        """
        n = max([cell.n for cell in self.cells], default=self.config.generate.n)
        shards = self.shards()
        done = {cell.name: self._done(cell, shards) for cell in self.cells}
        items: list[dict[str, Any]] = []
        self.n_waiting = 0
        for block in self.blocks():
            there = shards.get(block.index, [])
            covered = _covered(there)
            if any(m.inputs["problems"] != block.inputs for _, m in there):
                raise ShardError(
                    f"generations of block {block.index} in {self.run.storage.uri} were made for "
                    "other problems: the data source changed; use another runs_dir or restore it"
                )
            self.n_waiting += covered < n
            missing = [covered, n] if generate and covered < n else None
            cells = [c.name for c in self.cells if missing or block.name not in done[c.name]]
            if missing or (cells and covered):
                items.append(
                    {
                        "run": self.run.storage.uri,
                        "block": block.index,
                        "generate": missing,
                        "cells": cells,
                        "shards": [m.name for _, m in there],
                    }
                )
        return items

    def discard_lost(self, generate: bool) -> list[str]:
        """Marks undone the shards, of those that `todo` takes for done, that the disk has lost.

        Args:
            generate: False leaves generations alone: who reads them finds out.

        Returns: a sentence for each.
        """
        said: list[str] = []
        if generate:
            there = [m for shards in self.shards().values() for _, m in shards]
            said += discard_lost(self.run.generations, there, ("manifests",))
        made = ("manifests/results", "manifests/problems")
        for name, results in self.results.items():
            said += discard_lost(self.run.cell(name), results.values(), made)
        return said

    def _done(self, cell: Cell, shards: dict[int, list[tuple[range, Manifest]]]) -> set[str]:
        """Returns the names of the blocks whose results were made from these shards."""
        expected = {b.name: cell_inputs(cell, shards.get(b.index, [])) for b in self.blocks()}
        storage, seen = self.run.cell(cell.name), self.results.get(cell.name, {})
        there = [name[:-5] for name in storage.names("manifests/results", ".json")]
        known = {n: seen[n] for n in there if n in seen and seen[n].inputs == expected.get(n)}
        unknown = [name for name in there if name not in known]
        for manifest in read_manifests(storage, "manifests/results", unknown):
            known[manifest.name.removeprefix("results/").removesuffix(".arrow")] = manifest
        self.results[cell.name] = dict(sorted(known.items()))
        return {name for name, m in known.items() if m.inputs == expected.get(name)}


def _by_start(shard: tuple[range, Manifest]) -> int:
    return shard[0].start


def _covered(shards: list[tuple[range, Manifest]]) -> int:
    """Returns how many generations per problem are there without a gap."""
    stop = 0
    for generations, _ in shards:
        if generations.start <= stop:
            stop = max(stop, generations.stop)
    return stop


def cell_inputs(cell: Cell, shards: list[tuple[range, Manifest]]) -> dict[str, Any]:
    """Returns the done-marker's key of a cell's block: the shards it reads and their content."""
    return {"shards": [m.checksum for r, m in shards if r.start < cell.n]}
