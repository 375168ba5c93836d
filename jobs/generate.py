"""Generates and stores completions with logprobs: `python -m jobs.generate [key=value …]`.

Needs the model (and its GPUs), no sandbox; jobs.expand does the rest on the saved shards.
"""

from hydra_plugins.onepass import Point
from jobs import app
from jobs.start import start
from pipeline.plan import Point as TypedPoint
from pipeline.todo import Plan


def job(points: list[Point]) -> list[str]:
    """Generates for all points; returns each one's failure."""
    return start(points, plan_generation)


def plan_generation(typed: list[TypedPoint], expand: bool = False) -> list[Plan]:
    """Checks the models and returns the plans of their run folders."""
    from pipeline.generate.checkpoints import check_model, model_revision
    from pipeline.plan import plan_runs

    for _, config in typed:
        check_model(config.model, config.generate, config.prompt)
    return plan_runs(typed, lambda config: model_revision(config.model), expand)


if __name__ == "__main__":
    app.main(job)
