"""Finished run folders: which cell, which blocks."""

from dataclasses import dataclass
from typing import Any

from pipeline.run import RunFolder
from pipeline.shards import Manifest, read_manifests
from pipeline.storage import Storage

MANIFESTS = "manifests/results"  # of a cell, where expansion writes them


class SourceError(ValueError):
    """A run cannot be exported; says which, why and what to do."""


@dataclass(frozen=True)
class BlockRef:
    """One block of a cell: the unit of work.

    Attributes:
        run: URI of the run folder.
        generations: URI of the folder of generation shards.
        cell: name of the cell.
        name: stem of the block's files.
        checksum: of the block's results, programs and generations alike.
    """

    run: str
    generations: str
    cell: str
    name: str
    checksum: str


@dataclass(frozen=True)
class Source:
    """One cell of one run.

    Attributes:
        uri: the run folder as given.
        name: the run folder's own name.
        cell: name of the cell.
        config: the cell's resolved configuration.
        run: content of run.json.
        summary: the cell's entry in summary.json; empty when there is none.
        blocks: finished blocks, in order.
    """

    uri: str
    name: str
    cell: str
    config: dict[str, Any]
    run: dict[str, Any]
    summary: dict[str, Any]
    blocks: list[BlockRef]


def open_source(uri: str, cell: str = "") -> Source:
    """Returns a run's cell with its finished blocks.

    Args:
        uri: the run folder.
        cell: name or its beginning; empty: the run's only cell.

    Raises: RunError if this is no run folder; SourceError if the cell is missing or ambiguous,
        or has no finished block.
    """
    storage = Storage(uri)
    run = RunFolder(storage)
    info = run.read()
    name = _choose_cell(run, uri, cell)
    folder = run.cell(name)
    config, overrides = info.get("config", {}), {}
    if folder.exists("cell.json"):
        cell_json = folder.read_json("cell.json")
        config = cell_json.get("config", cell_json.get("resolved", config))
        overrides = cell_json.get("overrides", {})
    generations = info.get("generations") or run.generations.uri
    blocks = [
        BlockRef(storage.uri, generations, name, m.name.split("/")[-1][:-6], m.checksum)
        for m in _result_manifests(folder)
    ]
    if not blocks:
        raise SourceError(
            f"{uri}, cell {name}: no finished results; finish the run with the command that made it"
        )
    return Source(
        uri=storage.uri,
        name=storage.uri.rsplit("/", 1)[-1],
        cell=name,
        config=config,
        run=info,
        summary={**_summary(storage, name), "overrides": overrides},
        blocks=blocks,
    )


def _result_manifests(folder: Storage) -> list[Manifest]:
    there = set(folder.names("results", ".arrow"))
    return [m for m in read_manifests(folder, MANIFESTS) if m.name.split("/")[-1] in there]


def _choose_cell(run: RunFolder, uri: str, wanted: str) -> str:
    names = _folders(run.storage, "cells")
    found = [name for name in names if name.startswith(wanted)]
    if len(found) == 1:
        return found[0]
    if not names:
        raise SourceError(f"{uri} has no cells; run `python -m jobs.expand` on it first")
    described = "; ".join(f"{name} ({_describe(run, name)})" for name in names)
    reason = "is ambiguous" if found else "does not exist"
    raise SourceError(f"{uri}: cell {wanted!r} {reason}; give cell=NAME, there are: {described}")


def _folders(storage: Storage, folder: str) -> list[str]:
    return [n for n in storage.names(folder) if "results" in storage.names(f"{folder}/{n}")]


def _describe(run: RunFolder, name: str) -> str:
    try:
        overrides = run.cell(name).read_json("cell.json").get("overrides", {})
    except FileNotFoundError:
        return "no cell.json"
    if isinstance(overrides, dict):
        return ", ".join(f"{key}={value}" for key, value in overrides.items()) or "defaults"
    return ", ".join(map(str, overrides)) or "defaults"


def _summary(storage: Storage, cell: str) -> dict[str, Any]:
    try:
        entries = storage.read_json("summary.json")
    except FileNotFoundError:
        return {}
    if isinstance(entries, dict):
        entries = entries.get("cells", [])
    return next((e for e in entries if cell in (e.get("cell"), e.get("name"))), {})
