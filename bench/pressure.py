"""How the two stages hold each other up: the bundled model before a light and a heavy CPU side.

Both pools scale from one actor. What is measured is when each shard and each result was
written, and the stages' processes. A GPU here is a processor in disguise, so a busy CPU side
takes time from the engine: a stall would show as gaps far longer than the others.
"""

import tempfile
import threading
from pathlib import Path

import numpy as np
import psutil
from rich.console import Console

from bench.synthetic import compose
from jobs.generate import plan_generation
from pipeline.drive import drive
from pipeline.monitor import Monitor

PROBLEMS, N, BLOCK = 192, 4, 8
SMALL = (
    f"task.options.n_problems={PROBLEMS}",
    f"generate.n={N}",
    "generate.max_tokens=160",
    f"flow.block_problems={BLOCK}",
    "execute.cache=false",
)
HEAVY = ("sample.m=400", "rules=all", "sample.program_temperature=3")
CASES: dict[str, tuple[bool, tuple[str, ...]]] = {
    "generate alone": (False, ()),
    "light CPU side (m=1)": (True, ("sample.m=1",)),
    "heavy CPU side (m=400)": (True, HEAVY),
    "two engines on half a GPU": (
        True,
        ("sample.m=1", "model.num_gpus=0.5", "model.gpu_memory_utilization=0.5"),
    ),
}


class Watch:
    """Most actors of each stage at once and the most memory of all of them, in MiB."""

    def __init__(self) -> None:
        """Starts nothing yet."""
        self.actors = {"Generate": 0, "Expand": 0}
        self.mib = {"Generate": 0.0, "Expand": 0.0}
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> "Watch":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._done.wait(1.0):
            sizes: dict[str, list[float]] = {stage: [] for stage in self.actors}
            for process in psutil.Process().children(recursive=True):
                try:
                    stage = process.name().removeprefix("ray::MapWorker(MapBatches(").split(")")[0]
                    if stage in sizes:
                        sizes[stage].append(process.memory_full_info().pss / 2**20)
                except psutil.NoSuchProcess:
                    continue
            for stage, found in sizes.items():
                self.actors[stage] = max(self.actors[stage], len(found))
                self.mib[stage] = max(self.mib[stage], sum(found))


def measure(folder: Path, expand: bool, overrides: tuple[str, ...]) -> str:
    """Returns the row of one run."""
    config = compose(*SMALL, f"runs_dir={folder}", *overrides)
    (plan,) = plan_generation([((), config)], expand)
    with Watch() as watch, Monitor(Console(quiet=True), []) as monitor:
        (outcome,) = drive([plan], monitor)
    if outcome.failures:
        raise SystemExit(outcome.failures[0])
    root = Path(plan.run.storage.uri)
    made = written(root, "generations/manifests/*.json")
    done = written(root, "cells/*/manifests/results/*.json")
    waiting = np.searchsorted(made, made, "right") - np.searchsorted(done, made, "right")
    gaps = np.diff(made)
    return (
        f"{len(gaps) / gaps.sum():>9.2f}{np.median(gaps):>9.1f}{gaps.max():>9.1f}"
        f"{waiting.max() if expand else 0:>9}{max([0, *(done - made[-1])]):>9.1f}"
        f"{watch.actors['Generate']:>9}{watch.mib['Generate']:>7,.0f}"
        f"{watch.actors['Expand']:>9}{watch.mib['Expand']:>7,.0f}"
    )


def written(root: Path, pattern: str) -> np.ndarray:
    """Returns when the files of a pattern were written, sorted, in seconds."""
    return np.sort([path.stat().st_mtime for path in root.glob(pattern)])


def main() -> None:
    """Prints the table."""
    print(f"{PROBLEMS} problems x {N} generations, bundled model, blocks of {BLOCK}")
    print(
        f"{'':26}{'blocks/s':>9}{'median':>9}{'longest':>9}{'waiting':>9}{'after':>9}"
        f"{'engines':>9}{'MiB':>7}{'workers':>9}{'MiB':>7}"
    )
    for name, (expand, overrides) in CASES.items():
        with tempfile.TemporaryDirectory() as folder:
            print(f"{name:26}{measure(Path(folder), expand, overrides)}", flush=True)
    print(
        "median, longest: seconds between shards; waiting: most blocks generated and not yet\n"
        "expanded; after: seconds that the CPU side went on alone"
    )


if __name__ == "__main__":
    main()
