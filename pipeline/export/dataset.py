"""Parts become a dataset folder that `datasets.load_dataset` opens.

<out>/
    export.json         what was exported, from what, with which counts; written last
    overlap.jsonl       n-gram hits, for eyes
    quarantine.jsonl    problems that could not be exported, with reasons
    parts/              one part per input block: what a second run need not do again
    dataset/            README.md (the card) and data/<split>-*.parquet: what is published
"""

import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import IO, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.export.block import FORMAT_MODULES, SPLITS, Item, export_block
from pipeline.export.completion import Shape, resolve_style
from pipeline.export.config import ExportConfig
from pipeline.export.overlap import Index, build_index, parse_benchmark
from pipeline.export.source import BlockRef, Source, open_source
from pipeline.export.split import refuse_test_split
from pipeline.run import fingerprint
from pipeline.schema import SCHEMA_VERSION
from pipeline.storage import Storage
from pipeline.tasks import make_task
from pipeline.tasks.base import TaskConfig

VERSION = 1  # of the examples that the same inputs give; part of every key
_ROW_GROUP = 8192


class ExportError(ValueError):
    """An export cannot be made or finished; says why and what to do."""


@dataclass
class Plan:
    """What an export will do.

    Attributes:
        config: its settings.
        out: folder to write.
        sources: the runs' cells.
        items: blocks, in the order of the examples.
        style: of prompts and completions.
        test_splits: benchmark test splits that are exported on request.
    """

    config: ExportConfig
    out: Storage
    sources: list[Source]
    items: list[Item]
    style: str
    test_splits: list[str]

    @property
    def schema(self) -> pa.Schema:
        """Arrow schema of the examples."""
        task = make_task(TaskConfig(**self.items[0].task))
        return FORMAT_MODULES[self.config.format.name].schema(Shape(self.style, task))

    def todo(self) -> list[Item]:
        """Returns the items without a part."""
        there = set(self.out.names("parts", ".json"))
        return [item for item in self.items if f"{item.key}.json" not in there]


def make_plan(config: ExportConfig) -> Plan:
    """Opens the runs and names the work.

    Raises: RunError, SourceError, TestSplitError, CompletionError if a run cannot be exported;
        ExportError if runs differ in what one dataset cannot mix.
    """
    sources = [open_source(uri, config.cell) for uri in config.runs]
    refused = (refuse_test_split(s.config, s.uri, config.allow_test_split) for s in sources)
    test_splits = [found for found in refused if found]
    styles = {s.uri: resolve_style(config.format.style, s.config, s.uri) for s in sources}
    if len(set(styles.values())) > 1:
        raise ExportError(
            f"runs differ in the style of their prompts ({styles}); export chat runs and "
            "plain-text runs apart"
        )
    style = next(iter(styles.values()))
    content = {"config": config.content(), "style": style, "version": VERSION}
    items = [_item(content, source, block) for source in sources for block in source.blocks]
    runs = [(s.name, s.cell, s.run.get("fingerprint")) for s in sources]
    name = fingerprint({**content, "runs": runs})
    uri = config.out or f"{config.out_dir}/{config.format.name}-{name}"
    return Plan(config, Storage(uri), sources, items, style, test_splits)


def _item(content: dict[str, Any], source: Source, block: BlockRef) -> Item:
    task, prompt = (dict(source.config.get(group) or {}) for group in ("task", "prompt"))
    inputs = {"run": source.name, "cell": source.cell, "results": block.checksum}
    inputs |= {"task": task, "prompt": prompt}
    key = fingerprint({**content, **inputs, "block": block.name, "schema": SCHEMA_VERSION})
    return Item(key, block, task, prompt, content["style"], source.name)


def make_index(config: ExportConfig) -> Index | None:
    """Returns the n-grams of the named benchmarks; None if none is named.

    Raises: OverlapError, TaskError if a benchmark cannot be read.
    """
    names = config.overlap.benchmarks
    if not names:
        return None
    tasks = {name: make_task(parse_benchmark(name)) for name in names}
    return build_index(tasks, config.overlap.ngram, config.overlap.boilerplate_share)


def export_here(
    items: Sequence[Item], config: ExportConfig, out: Storage, index: Index | None
) -> Iterator[dict[str, Any]]:
    """Yields the blocks' records, worked on one after the other in this process."""
    for item in items:
        yield export_block(item, config, out, index)


def finish(plan: Plan, write_card: Callable[[dict[str, Any]], str]) -> dict[str, Any]:
    """Joins the parts into the dataset folder and returns the report, also in export.json.

    Memory does not grow with the number of examples of one run. Over several runs, equal
    examples are found by 8 bytes each; the run named first keeps them.

    Args:
        write_card: makes README.md from the report.

    Raises: ExportError if too many problems failed or nothing was selected.
    """
    records = [plan.out.read_json(f"parts/{item.key}.json") for item in plan.items]
    counts = Counter[str]()
    per_problem = Counter[str]()
    for record in records:
        counts.update(record["counts"])
        per_problem.update(record["per_problem"])
    _write_lines(plan.out, "overlap.jsonl", (hit for r in records for hit in r["hits"]))
    _write_lines(plan.out, "quarantine.jsonl", (bad for r in records for bad in r["bad"]))
    _check(plan, counts)
    dataset = plan.out.sub("dataset")
    dataset.delete_folder("data")
    rows = {}
    for split in SPLITS:
        parts = [
            f"parts/{item.key}.{split}.parquet"
            for item, record in zip(plan.items, records, strict=True)
            if record["rows"][split]
        ]
        keep = _first_of_each(plan.out, parts) if len(plan.sources) > 1 else None
        total = sum(record["rows"][split] for record in records)
        if keep is not None:
            counts["dropped_duplicate_between_runs"] += total - int(keep.sum())
            total = int(keep.sum())
        rows[split] = total
        _merge(plan, dataset, split, parts, total, keep)
    report = {
        "config": asdict(plan.config),
        "sources": [_source_report(source) for source in plan.sources],
        "style": plan.style,
        "test_splits": plan.test_splits,
        "rows": rows,
        "counts": dict(sorted(counts.items())),
        "models": sorted({model for record in records for model in record["models"]}),
        "per_problem": dict(sorted(per_problem.items(), key=lambda item: int(item[0]))),
        "overlap_hits": sum(len(record["hits"]) for record in records),
        "parts": [item.key for item in plan.items],
        "content": fingerprint([plan.config.rows_per_file, rows, [i.key for i in plan.items]]),
    }
    dataset.write_bytes("README.md", write_card(report).encode())
    plan.out.write_json("export.json", report)
    return report


def _check(plan: Plan, counts: Counter[str]) -> None:
    problems, bad = counts["problems"], counts["problems_bad"]
    if bad > plan.config.max_bad_fraction * max(1, problems):
        raise ExportError(
            f"{bad} of {problems} problems could not be exported, above max_bad_fraction "
            f"{plan.config.max_bad_fraction}; see {plan.out.path('quarantine.jsonl')}"
        )
    if not counts["examples"]:
        raise ExportError(
            f"no example was selected from {problems} problems and {counts['programs']} programs: "
            f"{counts['judged_right']} are right, {counts['judged_wrong']} wrong, "
            f"{counts['dropped_unjudged']} unjudged, {counts['dropped_not_rebuilt']} do not fit "
            f"their completion, {counts['problems_outside_band']} problems lie outside the "
            "difficulty band; loosen select.* or use select.by=vote for data without gold"
        )


def _source_report(source: Source) -> dict[str, Any]:
    kept = ("task", "prompt", "model", "generate", "rules", "compile", "sample", "execute", "vote")
    return {
        "run": source.name,
        "cell": source.cell,
        "fingerprint": source.run.get("fingerprint"),
        "git": source.run.get("git"),
        "versions": source.run.get("versions"),
        "seed": source.config.get("seed"),
        "config": {key: source.config[key] for key in kept if key in source.config},
        "summary": source.summary,
        "blocks": len(source.blocks),
    }


def _write_lines(out: Storage, name: str, rows: Iterator[dict[str, Any]]) -> None:
    def emit(file: IO[bytes]) -> None:
        for row in rows:
            file.write(json.dumps(row, ensure_ascii=False).encode() + b"\n")

    out.write(name, emit)


def _first_of_each(out: Storage, parts: list[str]) -> np.ndarray:
    """Returns which rows bear an `example_id` that no earlier row bears; bool [n rows]."""
    ids = [
        np.array([int(value, 16) for value in batch.column(0).to_pylist()], np.uint64)
        for name in parts
        for batch in pq.ParquetFile(pa.BufferReader(out.buffer(name))).iter_batches(
            columns=["example_id"]
        )
    ]
    values = np.concatenate(ids) if ids else np.empty(0, np.uint64)
    keep = np.zeros(len(values), bool)
    keep[np.unique(values, return_index=True)[1]] = True
    return keep


def _merge(
    plan: Plan, dataset: Storage, split: str, parts: list[str], total: int, keep: np.ndarray | None
) -> None:
    """Writes a split's files one after the other, holding one row group of a part at a time."""
    batches = _batches(plan.out, parts, keep)
    size = plan.config.rows_per_file
    n_files = -(-total // size)
    rest: list[pa.RecordBatch] = []
    for number in range(n_files):
        want = min(size, total - number * size)

        def emit(file: IO[bytes], want: int = want) -> None:
            nonlocal rest
            rest = _fill(file, plan.schema, want, rest, batches)

        dataset.write(f"data/{split}-{number:05d}-of-{n_files:05d}.parquet", emit)


def _fill(
    file: IO[bytes],
    schema: pa.Schema,
    want: int,
    rest: list[pa.RecordBatch],
    batches: Iterator[pa.RecordBatch],
) -> list[pa.RecordBatch]:
    """Writes `want` rows and returns what is left of the last batch."""
    with pq.ParquetWriter(file, schema, compression="zstd") as writer:
        pending: list[pa.RecordBatch] = []
        while want:
            batch = rest.pop() if rest else next(batches)
            if batch.num_rows > want:
                rest = [batch.slice(want)]
                batch = batch.slice(0, want)
            pending.append(batch)
            want -= batch.num_rows
            if sum(b.num_rows for b in pending) >= _ROW_GROUP or not want:
                writer.write_table(pa.Table.from_batches(pending, schema).combine_chunks())
                pending = []
    return rest


def _batches(out: Storage, parts: list[str], keep: np.ndarray | None) -> Iterator[pa.RecordBatch]:
    position = 0
    for name in parts:
        file = pq.ParquetFile(pa.BufferReader(out.buffer(name)))
        for batch in file.iter_batches(batch_size=1024):
            rows = batch.num_rows
            if keep is not None:
                batch = batch.filter(pa.array(keep[position : position + rows]))
            position += rows
            if batch.num_rows:
                yield batch
