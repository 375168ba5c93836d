"""Shows what a run would do before anything is spent: `python -m jobs.preview [key=value …]`.

The resolved configuration, one prompt as the model sees it, one generation with its random
variables and their alternatives, five variants with their results, and an estimate of the
whole. A few problems go through the real engine and sandbox, in this process, without Ray.
"""

import tempfile
from dataclasses import replace

from omegaconf import OmegaConf
from rich.console import Console

from hydra_plugins.onepass import Point
from jobs import app
from jobs.generate import plan_generation
from jobs.show import ShowOptions, print_problem
from pipeline.config import RunConfig, from_mapping
from pipeline.generate.engine import Engine, make_engine
from pipeline.generation import generate_block, read_block
from pipeline.monitor import duration
from pipeline.plan import load_problems
from pipeline.tasks import make_task
from pipeline.todo import Plan

_N_PROBLEMS = 8  # enough for a rate that means something, few enough to be cheap


def job(points: list[Point]) -> list[str]:
    """Previews every point; a failure is raised."""
    for overrides, mapping in points:
        preview(from_mapping(mapping), tuple(overrides), Console())
    return [""] * len(points)


def preview(config: RunConfig, overrides: tuple[str, ...], console: Console) -> None:
    """Prints the preview of one configuration."""
    console.rule("configuration", align="left")
    console.print(OmegaConf.to_yaml(OmegaConf.create(config.to_dict())), markup=False)
    n_problems = len(load_problems(config.task))
    with tempfile.TemporaryDirectory(prefix="ppot-preview-") as folder:
        limit = min(_N_PROBLEMS, n_problems)
        small = replace(config, runs_dir=folder, task=replace(config.task, limit=limit))
        (plan,) = plan_generation([(overrides, small)], expand=True)
        engine = make_engine(small.model, small.generate, small.prompt, small.seed)
        try:
            _print_prompt(plan, engine, console)
            spent = _compute(plan, engine)
        finally:
            engine.close()
        _print_problem(plan, console)
        _print_estimate(config, n_problems, limit, spent, console)


def _print_prompt(plan: Plan, engine: Engine, console: Console) -> None:
    problems, _ = read_block(plan.run, plan.blocks()[0])
    task = make_task(plan.config.task)
    chat = plan.config.prompt.style == "chat"
    prompt = task.messages(problems[0]) if chat else task.completion_prompt(problems[0])
    shown = engine.preview(prompt)
    console.rule(f"prompt of {problems[0].id}, {shown.n_tokens} tokens", align="left")
    console.print(shown.text, markup=False, highlight=False, soft_wrap=True)
    for where, tokens in (("first", shown.first), ("last", shown.last)):
        text = "  ".join(f"{token_id}:{token!r}" for token_id, token in tokens)
        console.print(f"{where} tokens  {text}", markup=False, highlight=False, soft_wrap=True)


def _compute(plan: Plan, engine: Engine) -> dict[str, float]:
    """Generates and expands the few problems; returns what that cost."""
    from pipeline.expand import Expander

    block = plan.blocks()[0]
    made = generate_block(
        plan.run, plan.config, plan.key, block, range(plan.config.generate.n), engine
    )
    expander = Expander()
    try:
        names = [cell.name for cell in plan.cells]
        expanded = expander.expand_block(plan.run, plan.config, plan.key, block, names)
    finally:
        expander.close()
    return {**made, **expanded}


def _print_problem(plan: Plan, console: Console) -> None:
    from analysis.load import open_cell
    from analysis.pages import problem_page

    cell = open_cell(f"{plan.run.storage.uri}/cells/{plan.cells[0].name}")
    identifier = cell.problem_ids()[0]
    console.rule("one generation, its random variables and five variants", align="left")
    options = ShowOptions(problem_id=identifier, generation=0, variants=5)
    print_problem(console, problem_page(cell, identifier), options)


def _print_estimate(
    config: RunConfig, n_problems: int, limit: int, spent: dict[str, float], console: Console
) -> None:
    """Prints an extrapolation of what the few problems cost."""
    scale = n_problems / limit
    engine_s = spent["gpu_s"] / max(config.model.num_gpus, 1e-9) if config.model.num_gpus else 0.0
    console.rule("estimate of the whole run", align="left")
    lines = [
        f"{n_problems:,} problems × {config.generate.n} generations × (1 + {config.sample.m}) "
        f"= {n_problems * config.generate.n * (1 + config.sample.m):,} programs at most",
        f"tokens to generate  {spent['n_tokens'] * scale:,.0f}",
        f"engine time         {duration(engine_s * scale)} on one engine at the rate of "
        f"{limit} problems; larger batches are faster",
        f"GPU hours           {spent['gpu_s'] * scale / 3600:.2f}",
        f"CPU time            {duration(spent['cpu_s'] * scale)} on one core to expand and run",
    ]
    if config.budget.gpu_price:
        cost = spent["gpu_s"] * scale / 3600 * config.budget.gpu_price
        lines.append(f"GPU cost            {cost:,.2f}")
    for line in lines:
        console.print(line, highlight=False)


if __name__ == "__main__":
    app.main(job)
