"""From configurations to plans: which run folders, which problems, which cells."""

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any

import pyarrow as pa

from pipeline.adopt import write_generations
from pipeline.config import Cell, ConfigError, RunConfig, from_saved, make_cell
from pipeline.run import RunError, RunFolder, fingerprint, slug
from pipeline.shards import ShardError, read_manifests, read_vocabulary
from pipeline.storage import Storage
from pipeline.tasks import make_task
from pipeline.tasks.base import Problem, TaskConfig, TaskError
from pipeline.todo import Plan

Point = tuple[tuple[str, ...], RunConfig]
_GENERATION_GROUPS = ("task", "prompt", "model", "generate")


def load_problems(config: TaskConfig) -> list[Problem]:
    """Returns the task's problems. Raises: TaskError if there are none or an id repeats."""
    problems = list(make_task(config).problems())
    if not problems:
        raise TaskError(
            f"task {config.name} has no problems (source {config.source or 'default'!r}, split "
            f"{config.split!r}, limit {config.limit}, {len(config.ids)} ids); check task.source, "
            "task.split and task.ids"
        )
    seen: set[str] = set()
    for problem in problems:
        if problem.id in seen:
            raise TaskError(
                f"task {config.name}: problem id {problem.id!r} occurs twice; ids must be unique"
            )
        seen.add(problem.id)
    return problems


def as_json(problem: Problem) -> str:
    """Returns a problem's fields as the text that a generation row carries."""
    return json.dumps(problem.fields, sort_keys=True, ensure_ascii=False)


def plan_runs(
    points: Sequence[Point], revision: Callable[[RunConfig], str], expand: bool = True
) -> list[Plan]:
    """Returns one plan per set of generations, its folder opened and its problems written.

    Args:
        points: (overrides, configuration) of each point of a sweep.
        revision: returns the content digest or commit of a configuration's weights.
        expand: False plans generations without cells.

    Raises: the sentence of whatever is wrong with the task or the folder.
    """
    plans: dict[str, Plan] = {}
    for overrides, config in points:
        key = config.generation_key(revision(config))
        name = f"{slug(config.model.name)}-{slug(config.task.name)}-{key[:8]}"
        uri = "/".join((config.runs_dir.rstrip("/"), slug(config.experiment), name))
        if uri not in plans:
            run = RunFolder(Storage(uri))
            run.open(config.experiment, key, config.to_dict())
            rows = [(p.id, as_json(p)) for p in load_problems(config.task)]
            _write_problems(run, rows)
            plans[uri] = Plan(run, config, key, [])
        plan = plans[uri]
        if config.generate.n > plan.config.generate.n:
            plan.config = replace(plan.config, generate=config.generate)
        if expand:
            add_cell(plan, make_cell(config, key, overrides))
    return list(plans.values())


def _write_problems(run: RunFolder, rows: list[tuple[str, str]]) -> None:
    try:
        there = run.read_problems().to_pydict()
    except ShardError:  # not there, or torn: each block's shards tell for which problems they are
        run.write_problems(rows)
        return
    if list(zip(there["problem_id"], there["problem"], strict=True)) != rows:
        raise RunError(
            f"the problems in {run.storage.uri} are not those that the task gives now (there "
            f"{len(there['problem_id'])}, now {len(rows)}): the data source changed; restore it "
            "or use another runs_dir or experiment"
        )


def add_cell(plan: Plan, cell: Cell) -> None:
    """Adds a cell to a plan and writes its cell.json; a cell that is there already is kept once."""
    if any(other.name == cell.name for other in plan.cells):
        return
    plan.cells.append(cell)
    plan.run.cell(cell.name).write_json(
        "cell.json",
        {
            "name": cell.name,
            "n": cell.n,
            "overrides": list(cell.overrides),
            "config": cell.config.to_dict(),
        },
    )


def open_generations(uri: str, config: RunConfig) -> tuple[RunFolder, dict[str, Any]]:
    """Returns the run folder that holds given generations, and its run.json.

    A run folder, its generations/ folder, or any folder of generation shards will do; shards
    without a run folder around them are copied into a new one below `runs_dir`.

    Raises: RunError or ShardError if there are none.
    """
    for candidate in (uri, uri.rstrip("/").removesuffix("/generations")):
        run = RunFolder(Storage(candidate))
        if run.storage.exists("run.json"):
            return run, run.read()
    return _adopt(uri, config)


def _adopt(uri: str, config: RunConfig) -> tuple[RunFolder, dict[str, Any]]:
    from datasets import load_from_disk

    try:
        dataset = load_from_disk(uri)
    except Exception as error:
        raise RunError(
            f"{uri} is neither a run folder nor a folder that datasets.load_from_disk opens "
            f"({error}); give what jobs.generate or jobs.ingest wrote"
        ) from error
    table: pa.Table = dataset.with_format("arrow")[:]  # type: ignore[assignment]
    vocabulary = read_vocabulary(Storage(uri))
    key = fingerprint([str(getattr(dataset, "_fingerprint", "")), config.to_dict()["task"]])
    name = f"adopted-{slug(config.task.name)}-{key[:8]}"
    run = RunFolder(Storage("/".join((config.runs_dir.rstrip("/"), config.experiment, name))))
    counts = table.group_by("problem_id").aggregate([([], "count_all")])["count_all"].to_pylist()
    if not counts:
        raise ShardError(f"{uri} holds no generations")
    config = replace(config, generate=replace(config.generate, n=max(counts)))
    run.open(config.experiment, key, config.to_dict())
    if not read_manifests(run.generations):
        write_generations(run, table, vocabulary, key, config.flow.block_problems)
    return run, run.read()


def plan_expansion(points: Sequence[Point]) -> list[Plan]:
    """Returns the plans of cells over saved generations, without model or task data.

    The groups task, prompt, model and generate are those that the generations were made with.

    Raises: ConfigError if a point tries to change them; RunError, ShardError from the folder.
    """
    plans: dict[str, Plan] = {}
    opened: dict[str, tuple[RunFolder, dict[str, Any], int]] = {}
    for overrides, config in points:
        if not config.generations:
            raise ConfigError(
                "generations is empty; give the run folder or the folder of generation shards: "
                "python -m jobs.expand generations=runs/…"
            )
        if config.generations not in opened:  # once for all cells over the same generations
            run, about = open_generations(config.generations, config)
            opened[config.generations] = (run, about, saved_n(run))
        run, about, n_saved = opened[config.generations]
        made_with = from_saved(about["config"])
        _refuse_changes(overrides, config.generations)
        if config.n > n_saved:
            raise ConfigError(
                f"n is {config.n}, but {run.storage.uri} holds {n_saved} generations per problem"
            )
        merged = replace(
            config,
            **{group: getattr(made_with, group) for group in _GENERATION_GROUPS},
            seed=config.seed,
            flow=replace(config.flow, block_problems=made_with.flow.block_problems),
        )
        merged = replace(merged, generate=replace(merged.generate, n=n_saved))
        plan = plans.setdefault(run.storage.uri, Plan(run, merged, about["fingerprint"], []))
        add_cell(plan, make_cell(merged, about["fingerprint"], overrides))
    return list(plans.values())


def _refuse_changes(overrides: Iterable[str], folder: str) -> None:
    for override in overrides:
        key = override.lstrip("+~").split("=", 1)[0].split("@", 1)[0]
        group = key.split(".", 1)[0]
        if group in ("prompt", "model", "generate"):
            raise ConfigError(
                f"{override}: {group} is fixed by the generations in {folder}; use jobs.run to "
                "make others, or n=… to use fewer generations per problem"
            )


def saved_n(run: RunFolder) -> int:
    """Returns the number of generations per problem that every generated block has."""
    plan_stops: dict[int, int] = {}
    for manifest in read_manifests(run.generations):
        block, stop = int(manifest.inputs["block"]), int(manifest.inputs["stop"])
        plan_stops[block] = max(plan_stops.get(block, 0), stop)
    if not plan_stops:
        raise RunError(f"{run.storage.uri} holds no finished generation shard yet")
    return min(plan_stops.values())
