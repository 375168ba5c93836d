"""A sweep over saved generations against its dearest cell alone.

The grid of the README: 135 cells over m, rules, program temperature and top_k, on generations
of the bundled model. Two tables: what the two commands take from start to end, all processes
counted; and what the cells alone take once everything is loaded, in one process.
"""

import shutil
import sys
import tempfile
from itertools import product
from pathlib import Path

from bench._cost import cost
from bench.synthetic import compose
from pipeline.expand import Expander
from pipeline.plan import plan_expansion
from pipeline.todo import Plan

N_PROBLEMS, N = 200, 10
AXES: dict[str, tuple[object, ...]] = {
    "sample.m": (0, 1, 5, 10, 20),
    "rules": ("digit", "arithmetic", "all"),
    "sample.program_temperature": (0.5, 1.0, 1.5),
    "compile.top_k": (2, 5, 20),
}
DEAREST = tuple(f"{key}={values[-1]}" for key, values in AXES.items())
GRID = [
    tuple(f"{key}={value}" for key, value in zip(AXES, values, strict=True))
    for values in product(*AXES.values())
]


def main() -> None:
    """Prints both tables."""
    with tempfile.TemporaryDirectory() as folder:
        settings = (f"task.limit={N_PROBLEMS}", f"generate.n={N}", f"runs_dir={folder}/runs")
        cost([sys.executable, "-m", "jobs.generate", *settings])
        (run,) = Path(folder, "runs", "default").glob("bundled-*")
        print(f"{N_PROBLEMS} problems x {N} generations; {len(GRID)} cells over {', '.join(AXES)}")
        _commands(run, Path(folder))
        _passes(run, Path(folder))


def _commands(run: Path, folder: Path) -> None:
    swept = tuple(f"{key}={','.join(map(str, values))}" for key, values in AXES.items())
    print(f"\n{'the whole command':28}{'wall s':>10}{'CPU s':>10}{'wall':>8}{'CPU':>8}")
    first: tuple[float, float] | None = None
    for name, flags, settings in (("dearest cell", (), DEAREST), ("all cells", ("-m",), swept)):
        copy = _copy(run, folder / name.replace(" ", "-"))
        command = [sys.executable, "-m", "jobs.expand", *flags]
        wall, cpu, _ = cost([*command, f"generations={copy}", f"runs_dir={folder}", *settings])
        first = first or (wall, cpu)
        ratios = f"{wall / first[0]:>8.2f}{cpu / first[1]:>8.2f}"
        print(f"{name:28}{wall:>10.1f}{cpu:>10.1f}{ratios}", flush=True)


def _passes(run: Path, folder: Path) -> None:
    print(f"\n{'the cells themselves':28}{'CPU s':>10}{'programs run':>16}{'CPU':>8}{'run':>8}")
    first: tuple[float, int] | None = None
    for name, points in (("dearest cell", [DEAREST]), ("all cells", GRID)):
        found = _seconds(_copy(run, folder / f"pass-{len(points)}"), points)
        first = first or found
        ratios = f"{found[0] / first[0]:>8.2f}{found[1] / first[1]:>8.2f}"
        print(f"{name:28}{found[0]:>10.2f}{found[1]:>16,}{ratios}", flush=True)


def _seconds(run: Path, points: list[tuple[str, ...]]) -> tuple[float, int]:
    """Returns CPU seconds of the cells in one pass, sandbox included, and the programs it ran."""
    expander = Expander()
    try:
        for chosen in ([("sample.m=1", "seed=7")], points):  # the first pass starts the sandbox
            plan = _plan(run, chosen)
            names = [cell.name for cell in plan.cells]
            records = [
                expander.expand_block(plan.run, plan.config, plan.key, block, names)
                for block in plan.blocks()
            ]
    finally:
        expander.close()
    return sum(r["cpu_s"] for r in records), sum(r["n_programs"] for r in records)


def _plan(run: Path, points: list[tuple[str, ...]]) -> Plan:
    (plan,) = plan_expansion([((), compose(f"generations={run}", *point)) for point in points])
    return plan


def _copy(run: Path, to: Path) -> Path:
    ignored = shutil.ignore_patterns("cells", "executions")
    return Path(shutil.copytree(run, to / run.name, ignore=ignored))


if __name__ == "__main__":
    main()
