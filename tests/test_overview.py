"""What a person sees at the end of a run."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

from rich.console import Console

from bench.synthetic import compose, make_run
from pipeline.overview import first_lines, results_table
from pipeline.plan import plan_expansion


def entry(cell: int, m: int, passes: float) -> dict[str, Any]:
    curve, interval = {"1": passes}, {"1": [0.0, 1.0]}
    names = ("pass_at_k", "pass_at_k_m0", "maj_at_k", "maj_at_k_m0", "weighted_maj_at_k")
    return {
        "run": "runs/x",
        "cell": str(cell),
        "k": 1,
        "m": m,
        "overrides": ["rules=all", f"seed={cell}"],
        "n_generations": 4,
        "programs": {"distinct": 9},
        **dict.fromkeys(names, curve),
        **{f"{name}_interval": interval for name in names},
    }


def printed(entries: list[dict[str, Any]]) -> tuple[str, int]:
    outcome: Any = SimpleNamespace(summaries=entries)
    table, n_more = results_table([outcome], most=3)
    console = Console(width=100)
    with console.capture() as captured:
        console.print(table)
    return captured.get(), n_more


def test_a_large_sweep_shows_its_best_cells_and_counts_the_others() -> None:
    text, n_more = printed([entry(i, m=5, passes=i / 10) for i in range(9)])
    assert n_more == 6
    assert "seed=8" in text and "seed=6" in text and "seed=5" not in text
    assert "m=0" in text


def test_a_small_one_shows_all() -> None:
    text, n_more = printed([entry(0, m=0, passes=0.1), entry(1, m=5, passes=0.2)])
    assert n_more == 0
    assert "20.0 [0.0, 100.0]" in text


def test_blocks_without_generations_are_not_called_done(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", n_problems=6, n=1, block_problems=2)
    shards = run.generations
    shards.delete("manifests/block-00001.g0000-0001.json")
    (plan,) = plan_expansion([((), compose(f"generations={run.storage.uri}"))])
    lines = "\n".join(first_lines(plan, plan.todo(generate=False)))
    assert "0 of 3 blocks to generate, 2 cell blocks to expand" in lines
    assert "1 of 3 blocks: generations are missing" in lines
    assert "nothing: every block that has generations is done" in "\n".join(first_lines(plan, []))
    assert "missing" not in "\n".join(first_lines(plan, plan.todo(generate=True)))
