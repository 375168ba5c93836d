"""A run's numbers: one entry per cell in summary.json, added up from the manifests and votes."""

from collections.abc import Iterator
from itertools import islice
from typing import Any

import pyarrow as pa

from pipeline.config import Cell
from pipeline.schema import PROBLEM
from pipeline.shards import Manifest, read_manifests, read_shards
from pipeline.todo import Plan
from pipeline.vote.metrics import summarise

_SHARDS_AT_ONCE = 64  # of a cell's rows per problem, when it is summed up


def summarise_cell(plan: Plan, cell: Cell, shards: list[Manifest]) -> dict[str, Any] | None:
    """Returns a cell's entry for summary.json; None while no block of it is done.

    Args:
        plan: the cell's plan.
        cell: which cell, as `Plan.todo` last found it.
        shards: manifests of the generations.

    Raises: ShardError if one of its shards is torn.
    """
    storage = plan.run.cell(cell.name)
    results = plan.results.get(cell.name, {})
    if not results:
        return None
    problems = read_manifests(storage, "manifests/problems", results)
    made = ("manifests/results", "manifests/problems")
    tables = read_shards(storage, problems, PROBLEM, made)
    entry = summarise(_together(tables), cell.config.sample.m, cell.config.vote)
    names = storage.names("timings", ".json")
    texts = storage.read_all(f"timings/{name}" for name in names)
    times = [storage.parse_json(name, text) for name, text in texts.items()]
    return {
        "cell": cell.name,
        "overrides": list(cell.overrides),
        "run": plan.run.storage.uri,
        "n_blocks": len(problems),
        "complete": len(problems) == len(plan.blocks()),
        **entry,
        "gpu_s": _used(shards, cell.n, "gpu_s"),
        "n_tokens": round(_used(shards, cell.n, "n_tokens")),
        "cpu_s": sum(t.get("cpu_s", 0.0) for t in times),
        "expand_wall_s": sum(t.get("wall_s", 0.0) for t in times),
        "counts": _summed([m.counts for m in results.values()]),
    }


def _together(tables: Iterator[pa.Table]) -> Iterator[pa.Table]:
    """Yields many small tables as fewer: each costs the summary a millisecond, however small."""
    while some := list(islice(tables, _SHARDS_AT_ONCE)):
        yield pa.concat_tables(some)


def _used(shards: list[Manifest], n: int, counter: str) -> float:
    """Returns a counter of the generations below index n, in proportion within a shard."""
    total = 0.0
    for shard in shards:
        start, stop = shard.inputs["start"], shard.inputs["stop"]
        share = max(0, min(stop, n) - start) / max(1, stop - start)
        total += share * shard.counts.get(counter, 0.0)
    return total


def _summed(counts: list[dict[str, float]]) -> dict[str, float]:
    total: dict[str, float] = {}
    for one in counts:
        for key, value in one.items():
            total[key] = total.get(key, 0) + value
    return dict(sorted(total.items()))


def merge_summary(plan: Plan, entries: list[dict[str, Any]]) -> None:
    """Writes summary.json, replacing the entries of these cells and keeping the others."""
    try:
        there = plan.run.storage.read_json("summary.json")["cells"]
    except FileNotFoundError:
        there = []
    fresh = {entry["cell"] for entry in entries}
    cells = [entry for entry in there if entry["cell"] not in fresh] + entries
    plan.run.storage.write_json("summary.json", {"cells": sorted(cells, key=_cell_name)})


def _cell_name(entry: dict[str, Any]) -> str:
    return entry["cell"]
