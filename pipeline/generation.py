"""Generates one block of problems: prompts from the task, completions from an engine."""

import json
from typing import Any

import pyarrow as pa

from pipeline.adopt import shard_name, write_generation_shard
from pipeline.attempts import Attempts, bad_rows, quarantine
from pipeline.config import RunConfig
from pipeline.generate.engine import Engine, EngineError, Output, Request
from pipeline.run import Block, RunFolder
from pipeline.schema import GENERATION, VOCABULARY
from pipeline.shards import read_manifest, write_vocabulary
from pipeline.tasks import make_task
from pipeline.tasks.base import Problem, Task


def requests(
    task: Task, config: RunConfig, problems: list[Problem], texts: list[str], indices: range
) -> list[Request]:
    """Returns the engine's requests for problems.

    Args:
        task: gives the prompts.
        config: chat or completion style.
        problems: what to solve.
        texts: the problems' fields as JSON, for the rows.
        indices: which generations of each problem.
    """
    chat = config.prompt.style == "chat"
    return [
        Request(
            problem_id=problem.id,
            task=task.name,
            problem=text,
            prompt=task.messages(problem) if chat else task.completion_prompt(problem),
            indices=indices,
        )
        for problem, text in zip(problems, texts, strict=True)
    ]


def read_block(run: RunFolder, block: Block) -> tuple[list[Problem], list[str]]:
    """Returns a block's problems and their fields as JSON."""
    rows = run.read_problems().slice(block.start, block.stop - block.start).to_pydict()
    texts: list[str] = rows["problem"]
    problems = [Problem(i, json.loads(t)) for i, t in zip(rows["problem_id"], texts, strict=True)]
    return problems, texts


def generate_block(
    run: RunFolder, config: RunConfig, key: str, block: Block, indices: range, engine: Engine
) -> dict[str, Any]:
    """Generates a block and writes its shard.

    Args:
        run: the run folder.
        config: the run's configuration.
        key: fingerprint of the generations.
        block: which problems.
        indices: which generations of each problem.
        engine: made with `config`.

    Returns: n_generations, n_tokens, gpu_s, bad (generations set aside), note.

    Raises: EngineError if the engine died; whoever replaces it tries again.
    """
    task = make_task(config.task)
    problems, texts = read_block(run, block)
    by_id = {p.id: (p, t) for p, t in zip(problems, texts, strict=True)}
    stage = f"generate-{block.name}-{indices.start:04d}"
    attempts = Attempts(run.storage, stage, config.flow.max_attempts)

    def work(ids: list[str]) -> Output:
        chosen = [by_id[i] for i in ids]
        return engine.generate(
            requests(task, config, [p for p, _ in chosen], [t for _, t in chosen], indices)
        )

    outputs, left_out = attempts.work(by_id, work, (OSError,), (EngineError,))
    bad = [row for output in outputs for row in output.bad]
    bad += bad_rows("generate", left_out, indices)
    tables = [output.table.cast(GENERATION) for output in outputs]
    table = pa.concat_tables(tables) if tables else GENERATION.empty_table()
    gpu_s = sum(o.wall_s for o in outputs) * max(config.model.num_gpus, 0.0)
    counts = {
        "n_tokens": sum(o.n_tokens for o in outputs),
        "n_prompt_tokens": sum(o.n_prompt_tokens for o in outputs),
        "gpu_s": gpu_s,
        "quarantined": len(bad),
    }
    if not run.generations.exists("vocabulary.arrow"):
        write_vocabulary(run.generations, vocabulary_table(engine.vocabulary()))
    quarantine(run.storage, stage, bad)
    write_generation_shard(run, block, indices, table, key, counts)
    attempts.done()
    return {
        "n_generations": len(by_id) * len(indices),
        "n_tokens": counts["n_tokens"],
        "gpu_s": gpu_s,
        "bad": len(bad),
        "note": attempts.note(left_out),
    }


def finished(run: RunFolder, key: str, block: Block, indices: range) -> dict[str, Any] | None:
    """Returns the record of a block that a worker finished and could not report any more.

    None if its shard is not there.
    """
    manifest = read_manifest(run.generations, shard_name(block, indices))
    if (
        manifest is None
        or manifest.fingerprint != key
        or manifest.inputs["problems"] != block.inputs
    ):
        return None
    return {
        "n_generations": (block.stop - block.start) * len(indices),
        "n_tokens": manifest.counts["n_tokens"],
        "gpu_s": manifest.counts["gpu_s"],
        "bad": int(manifest.counts["quarantined"]),
        "note": "its generations were finished by a worker that ended before it could say so",
    }


def vocabulary_table(tokens: list[bytes]) -> pa.Table:
    """Returns `schema.VOCABULARY` rows of token bytes whose index is their id."""
    return pa.table({"token_id": range(len(tokens)), "token": tokens}, schema=VOCABULARY)
