"""Plans points, shows what will be done, drives the flow and shows what came out."""

import csv
import io
import logging
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from rich.console import Console

from hydra_plugins.onepass import Point
from pipeline import overview
from pipeline.config import from_mapping
from pipeline.drive import Outcome, drive
from pipeline.events import JsonlSink
from pipeline.monitor import EventSink, Monitor
from pipeline.plan import Point as TypedPoint
from pipeline.run import RunFolder, slug
from pipeline.sinks import WandbSink
from pipeline.storage import Storage
from pipeline.tasks import make_task
from pipeline.todo import Plan

Planner = Callable[[list[TypedPoint]], list[Plan]]


def start(points: list[Point], planner: Planner, generate: bool = True) -> list[str]:
    """Runs all points in one pass.

    Args:
        points: (overrides, configuration) as Hydra composed them.
        planner: makes plans of typed points.
        generate: whether engines may be started.

    Returns: for each point the sentence of its failure, empty if it succeeded.
    """
    console = Console()
    logging.getLogger("ray").setLevel(logging.ERROR)
    failures = [""] * len(points)
    typed: list[tuple[int, TypedPoint]] = []
    for index, (overrides, config) in enumerate(points):
        try:
            typed.append((index, (tuple(overrides), from_mapping(config))))
        except ValueError as error:
            failures[index] = str(error)
            print(f"error: {' '.join(overrides)}: {error}", file=sys.stderr)
    plans = _plan(typed, planner, failures)
    if not plans:
        return failures
    for plan in plans:
        for line in overview.first_lines(plan, plan.todo(generate)):
            console.print(line, highlight=False, soft_wrap=True)
    _print_prompt(console, plans[0])
    with _noise_to_file(plans[0].run), Monitor(console, _sinks(plans)) as monitor:
        outcomes = drive(plans, monitor, generate)
    _draw(outcomes)
    status = "incomplete" if any(o.problems() for o in outcomes) else "complete"
    monitor.close(status)
    _print_outcomes(console, outcomes)
    if len(points) > 1:
        console.print(f"sweep index  {_write_sweep(plans)}", highlight=False, soft_wrap=True)
    for index, (overrides, _) in typed:
        failures[index] = failures[index] or _failure(overrides, plans, outcomes)
    return failures


@contextmanager
def _noise_to_file(run: RunFolder) -> Iterator[None]:
    """Sends what Ray and others write to standard error to driver.log in the run folder.

    Some of it comes from C++ threads, so the descriptor itself is redirected.
    """
    folder = run.storage.uri if run.storage.is_local else tempfile.gettempdir()
    sys.stderr.flush()
    kept = os.dup(2)
    with open(os.path.join(folder, "driver.log"), "ab") as log:
        os.dup2(log.fileno(), 2)
        try:
            yield
        finally:
            sys.stderr.flush()
            os.dup2(kept, 2)
            os.close(kept)


def _plan(typed: list[tuple[int, TypedPoint]], planner: Planner, failures: list[str]) -> list[Plan]:
    """Plans all points together; if that fails, finds the points that fail alone."""
    try:
        return planner([point for _, point in typed]) if typed else []
    except (ValueError, OSError) as error:
        if len(typed) == 1:
            failures[typed[0][0]] = str(error)
            print(f"error: {error}", file=sys.stderr)
            return []
    good: list[TypedPoint] = []
    refused: dict[str, list[str]] = {}
    for index, point in typed:
        try:
            planner([point])
            good.append(point)
        except (ValueError, OSError) as error:
            failures[index] = str(error)
            refused.setdefault(str(error), []).append(" ".join(point[0]))
    for why, (first, *others) in refused.items():  # a hundred points may share one wrong folder
        more = f" and {len(others)} more points" if others else ""
        print(f"error: {first}{more}: {why}", file=sys.stderr)
    return planner(good) if good else []


def _sinks(plans: list[Plan]) -> list[EventSink]:
    config = plans[0].config
    sinks: list[EventSink] = [JsonlSink(plan.run) for plan in plans]
    if config.logger.wandb != "disabled":
        cells = [cell.name for plan in plans for cell in plan.cells]
        sinks.append(
            WandbSink(
                config.logger,
                [plan.run for plan in plans],
                cells,
                config.to_dict(),
                config.experiment,
                figures=_pictures,
            )
        )
    return sinks


def _print_prompt(console: Console, plan: Plan) -> None:
    """Prints the first problem's prompt as the task fills it."""
    from pipeline.generation import read_block

    config = plan.config
    with suppress(ValueError, OSError):
        problems, _ = read_block(plan.run, plan.blocks()[0])
        task = make_task(config.task)
        if config.prompt.style == "completion":
            text = task.completion_prompt(problems[0])
        else:
            text = "\n".join(
                m["content"] if isinstance(m["content"], str) else "<image and text>"
                for m in task.messages(problems[0])
            )
        console.print(f"prompt of {problems[0].id}:", highlight=False)
        for line in text.strip().splitlines():
            console.print(f"  | {line}", highlight=False, markup=False, soft_wrap=True)


def _draw(outcomes: list[Outcome]) -> None:
    """Draws each run's figures into its report folder."""
    from analysis.figures import of_run

    for outcome in outcomes:
        run = outcome.plan.run
        if outcome.summaries and run.storage.is_local:
            of_run(run.storage.uri, Path(run.storage.uri) / "report")


def _pictures(uri: str) -> dict[str, str]:
    folder = Path(uri) / "report"
    return {path.stem: str(path) for path in sorted(folder.glob("*.png"))}


def _print_outcomes(console: Console, outcomes: list[Outcome]) -> None:
    if any(outcome.summaries for outcome in outcomes):
        console.print("\naccuracy in percent [95% interval over problems]; m=0 is the LLM alone")
        table, n_more = overview.results_table(outcomes)
        console.print(table)
        if n_more:
            console.print(
                f"… and {n_more} cells with a lower pass@k, in sweep.csv and summary.json"
            )
    for outcome in outcomes:
        for line in overview.cost_lines(outcome):
            console.print(line, highlight=False, soft_wrap=True)
        for failure in [*outcome.failures, *outcome.cell_failures.values()][:5]:
            console.print(f"[red]failed:[/] {failure}", highlight=False, soft_wrap=True)
        if outcome.plan.n_waiting and not outcome.problems():
            waiting = f"{outcome.plan.n_waiting} of {len(outcome.plan.blocks())} blocks"
            console.print(f"incomplete   {waiting}: {overview.LACKING}", soft_wrap=True)
        if outcome.stopped:
            console.print(f"stopped: {outcome.stopped}; the same command goes on from here")
        uri = outcome.plan.run.storage.uri
        console.print(f"run folder   {uri}", highlight=False, soft_wrap=True)
        for path in _pictures(uri).values():
            console.print(f"figure       {path}", highlight=False, soft_wrap=True)
        if outcome.summaries:
            hint = f"python -m analysis.report {uri}"
            console.print(f"report       {hint}", highlight=False, soft_wrap=True)


def _failure(overrides: tuple[str, ...], plans: list[Plan], outcomes: list[Outcome]) -> str:
    """Returns why a point is not done; empty if it is."""
    for plan, outcome in zip(plans, outcomes, strict=True):
        cells = [cell.name for cell in plan.cells if cell.overrides == overrides]
        if cells or len(plans) == 1:
            own = [outcome.cell_failures[name] for name in cells if name in outcome.cell_failures]
            if found := [*own, *outcome.failures, outcome.stopped]:
                return found[0]
    return ""


def _write_sweep(plans: list[Plan]) -> str:
    """Writes sweep.csv: one line per cell with its overrides and its main metrics."""
    rows: list[dict[str, Any]] = []
    for plan in plans:
        entries = {e["cell"]: e for e in plan.run.storage.read_json("summary.json")["cells"]}
        for cell in plan.cells:
            entry = entries.get(cell.name, {})
            k = str(entry.get("k", ""))
            rows.append(
                {
                    **dict(o.lstrip("+").split("=", 1) for o in cell.overrides if "=" in o),
                    "run": plan.run.storage.uri,
                    "cell": cell.name,
                    "complete": entry.get("complete", False),
                    "k": k,
                    "m": entry.get("m", ""),
                    "pass_at_k": (entry.get("pass_at_k") or {}).get(k, ""),
                    "maj_at_k": (entry.get("maj_at_k") or {}).get(k, ""),
                    "weighted_maj_at_k": (entry.get("weighted_maj_at_k") or {}).get(k, ""),
                    "n_distinct": (entry.get("programs") or {}).get("distinct", ""),
                    "cpu_s": entry.get("cpu_s", ""),
                }
            )
    columns = list(dict.fromkeys(name for row in rows for name in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    config = plans[0].config
    storage = Storage(f"{config.runs_dir.rstrip('/')}/{slug(config.experiment)}")
    storage.write_bytes("sweep.csv", text.getvalue().encode())
    return storage.path("sweep.csv")


def open_run(uri: str) -> RunFolder:
    """Returns the run folder at a path. Raises: RunError if it is none."""
    run = RunFolder(Storage(uri))
    run.read()
    return run
