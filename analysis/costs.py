"""Stage costs of runs, from their folders: manifests, timings and events."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from analysis.load import Cell, open_cells
from analysis.table import Table
from pipeline.events import read_events
from pipeline.run import RunFolder
from pipeline.shards import read_manifests


class CostError(ValueError):
    """The runs do not tell a cost; says which and what would."""


@dataclass(frozen=True)
class Costs:
    """What the stages of a run cost.

    Attributes:
        problems, block_problems, n, m: of the (first) run and its (last) cell.
        tokens: generated tokens per generation.
        tokens_per_s: generated tokens per second and engine, while it generates; 0: unknown.
        start_s: from the command to the first block, its work apart: Ray, the pools, the model.
        generation_cpu_s: CPU seconds per generation to read, compile and run it.
        variant_cpu_s: CPU seconds per variant, drawn, deduplicated and run.
        stretch: seconds that a worker is at it per CPU second: waits for storage and programs,
            and for a processor where others work beside it.
        bytes_per_generation: of the generation shards.
        bytes_per_program: of results and votes, per generation and 1 + m.
        points: cells that the CPU seconds were fitted to.
    """

    problems: int
    block_problems: int
    n: int
    m: int
    tokens: float
    tokens_per_s: float
    start_s: float
    generation_cpu_s: float
    variant_cpu_s: float
    stretch: float
    bytes_per_generation: float
    bytes_per_program: float
    points: int

    def cpu_s(self, m: int) -> float:
        """Returns CPU seconds per generation with m variants."""
        return self.generation_cpu_s + m * self.variant_cpu_s

    def n_bytes(self, tokens: float) -> float:
        """Returns bytes of a generation's row with so many tokens."""
        return self.bytes_per_generation * (tokens / self.tokens if self.tokens else 1.0)

    def table(self) -> Table:
        """Returns the costs with their units."""
        how = "fitted" if self.points > 1 else "one m: shared out evenly"
        rows = [
            ["generated tokens per generation", self.tokens, "from manifests"],
            ["tokens per s and engine", self.tokens_per_s, "from manifests, batches as they were"],
            ["start, s", self.start_s, "from events: Ray, pools, model"],
            ["CPU ms per generation", 1e3 * self.generation_cpu_s, f"{self.points} cells, {how}"],
            ["CPU ms per variant", 1e3 * self.variant_cpu_s, f"{self.points} cells, {how}"],
            ["worker s per CPU s", self.stretch, "from timings"],
            ["bytes per generation", self.bytes_per_generation, "from manifests"],
            ["bytes per program", self.bytes_per_program, "from manifests"],
        ]
        return Table(
            "Costs reckoned with: measured in the runs, unless given",
            ["cost", "value", "how"],
            rows,
        )


def measure(folders: Sequence[str]) -> Costs:
    """Returns the costs that runs show: tokens from all, CPU time from all their cells.

    Raises: LoadError if a folder is no run; CostError if there are no generations.
    """
    cells = [cell for folder in folders for cell in open_cells(folder)]
    runs = list({cell.run.storage.uri: cell.run for cell in cells}.values())
    shards = [m for run in runs for m in read_manifests(run.generations)]
    generations = sum(shard.rows for shard in shards)
    tokens = sum(shard.counts.get("n_tokens", 0.0) for shard in shards)
    if not generations:
        raise CostError(f"{folders[0]} holds no generations; run jobs.generate first")
    config = runs[0].read()["config"]
    engine_s = sum(s.counts.get("gpu_s", 0.0) for s in shards)
    engine_s /= config["model"]["num_gpus"] or 1.0
    points = [_point(cell) for cell in cells]
    fixed, each = fit([p[0] for p in points], [p[1] for p in points])
    return Costs(
        problems=runs[0].read_problems().num_rows,
        block_problems=config["flow"]["block_problems"],
        n=config["generate"]["n"],
        m=int(points[-1][0]),
        tokens=tokens / generations,
        tokens_per_s=tokens / engine_s if engine_s else 0.0,
        start_s=float(np.median([s for run in runs for s in starts(run)] or [0.0])),
        generation_cpu_s=fixed,
        variant_cpu_s=each,
        stretch=max(1.0, float(np.median([p[2] for p in points]))),
        bytes_per_generation=sum(s.n_bytes for s in shards) / generations,
        bytes_per_program=float(np.mean([p[3] for p in points])),
        points=len(points),
    )


def _point(cell: Cell) -> tuple[float, float, float, float]:
    """Returns m, CPU s per generation, wall s per CPU s, and bytes per generation and 1 + m."""
    m = int(cell.about["config"]["sample"]["m"])
    results = read_manifests(cell.storage, "manifests/results")
    written = [*results, *read_manifests(cell.storage, "manifests/problems")]
    generations = sum(manifest.counts.get("generations", 0) for manifest in results)
    names = cell.storage.names("timings", ".json")
    texts = cell.storage.read_all(f"timings/{name}" for name in names)
    times = [cell.storage.parse_json(name, text) for name, text in texts.items()]
    cpu_s, wall_s = (sum(t[key] for t in times) for key in ("cpu_s", "wall_s"))
    if not generations:
        raise CostError(f"{cell.storage.uri} has no finished block yet; run jobs.expand on it")
    n_bytes = sum(manifest.n_bytes for manifest in written)
    return m, cpu_s / generations, wall_s / max(cpu_s, 1e-9), n_bytes / generations / (1 + m)


def fit(m: Sequence[float], cpu_s: Sequence[float]) -> tuple[float, float]:
    """Returns seconds per generation and per variant, neither negative.

    With a single m a generation's own program is taken to cost what a variant costs.

    >>> fit([0, 10], [1.0, 3.0])
    (1.0, 0.2)
    >>> fit([4], [1.0])
    (0.2, 0.2)
    """
    x, y = np.asarray(m, float), np.asarray(cpu_s, float)
    if len(set(m)) < 2:
        each = float(y.mean() / (1 + x[0]))
        return each, each
    each, fixed = (float(v) for v in np.polyfit(x, y, 1))
    if fixed < 0:
        return 0.0, round(float((x @ y) / (x @ x)), 12)
    if each < 0:
        return float(y.mean()), 0.0
    return round(fixed, 12), round(each, 12)


def starts(run: RunFolder) -> list[float]:
    """Returns, per invocation that generated, seconds until the work on its first block began."""
    found: list[float] = []
    began: float | None = None
    per_engine = run.read()["config"]["model"]["num_gpus"] or 1.0
    for event in read_events(run.storage):
        if event["event"] == "start":
            began = event["time"]
        elif event["event"] == "block" and began is not None:
            if event.get("n_generations"):
                own = event.get("gpu_s", 0.0) / per_engine + event.get("cpu_s", 0.0)
                found.append(max(0.0, event["time"] - began - own))
            began = None
    return found


def walls(run: RunFolder) -> list[dict[str, Any]]:
    """Returns per invocation its blocks, wall_s from the command to the last, and first_s."""
    found: list[dict[str, Any]] = []
    for event in read_events(run.storage):
        if event["event"] == "start":
            found.append({"began": event["time"], "blocks": 0, "wall_s": 0.0, "cpu_s": 0.0})
        elif event["event"] == "block" and found:
            now = found[-1]
            now["blocks"] += 1
            now["wall_s"] = event["time"] - now["began"]
            now.setdefault("first_s", now["wall_s"])
            now["cpu_s"] += event.get("cpu_s", 0.0)
    return [one for one in found if one["blocks"]]
