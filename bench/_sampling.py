"""Samples the memory and the progress of a flow over time, by kind of process, into a CSV."""

import csv
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

import psutil

GROUPS = ("driver", "workers", "fork_servers", "ray")
COLUMNS = (
    *("wall_s", "generations", "programs", "executed"),
    *(f"{group}_mib" for group in GROUPS),
    *(f"{group}_cpu_s" for group in GROUPS),
    *("object_store_mib", "disk_free_mib", "load"),
)
Sample = dict[str, float]


class Progress:
    """Counts what the flow reports as done; an `EventSink` of the monitor."""

    def __init__(self, sizes: dict[int, int], m: int) -> None:
        """Takes the generations of each block and the variants drawn of each generation."""
        self._sizes, self._m = sizes, m
        self.generations = self.executed = self.blocks = 0
        self.first: tuple[float, int] | None = None  # when the first block was done, and its size
        self.last = 0.0

    @property
    def programs(self) -> int:
        """Programs before equal ones are merged: originals and what was drawn."""
        return self.generations * (1 + self._m)

    def emit(self, event: dict[str, Any]) -> None:
        """Takes one event."""
        if event["event"] != "block" or not event.get("done_cells"):
            return
        generations = self._sizes[event["block"]]
        self.blocks += 1
        self.generations += generations
        self.executed += event["n_programs"]
        self.last = time.monotonic()
        self.first = self.first or (self.last, generations)

    def close(self, status: str) -> None:
        """Keeps the counts."""

    def steady_rate(self) -> float:
        """Returns generations per second between the first finished block and the last."""
        if self.first is None or self.last <= self.first[0]:
            return 0.0
        return (self.generations - self.first[1]) / (self.last - self.first[0])


class Sampler:
    """A thread of the driver that writes a line every few seconds.

    Memory is proportional: a page shared by several processes, such as forked or mapped ones,
    counts once in the sum over all. A program in a sandbox lives shorter than the time between
    samples: its processor time is that of its fork server's ended children.
    """

    def __init__(self, path: Path, progress: Progress, every_s: float) -> None:
        """Starts nothing yet."""
        self.samples: list[Sample] = []
        self._path, self._progress, self._every_s = path, progress, every_s
        self._spent: dict[tuple[str, int, float], float] = {}
        self._started = time.monotonic()
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> "Sampler":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def _run(self) -> None:
        with self._path.open("w", newline="") as file:
            writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
            writer.writeheader()
            while True:
                self.samples.append(self._sample())
                writer.writerow({k: round(v, 2) for k, v in self.samples[-1].items()})
                file.flush()
                if self._done.wait(self._every_s):
                    return

    def _sample(self) -> Sample:
        memory: Counter[str] = Counter()
        for group, process in processes():
            try:
                memory[group] += process.memory_full_info().pss
                self._spent[group, process.pid, process.create_time()] = cpu_s(group, process)
            except (psutil.NoSuchProcess, psutil.AccessDenied):
                continue
        cpu: dict[str, float] = dict.fromkeys(GROUPS, 0.0)
        for (group, _, _), seconds in self._spent.items():
            cpu[group] += seconds
        return {
            "wall_s": time.monotonic() - self._started,
            "generations": self._progress.generations,
            "programs": self._progress.programs,
            "executed": self._progress.executed,
            **{f"{group}_mib": memory[group] / 2**20 for group in GROUPS},
            **{f"{group}_cpu_s": cpu[group] for group in GROUPS},
            "object_store_mib": _object_store_bytes() / 2**20,
            "disk_free_mib": psutil.disk_usage(str(self._path.parent)).free / 2**20,
            "load": psutil.getloadavg()[0],
        }


def cpu_s(group: str, process: psutil.Process) -> float:
    """Returns the processor seconds of a process; those of sandboxes count their programs'."""
    times = process.cpu_times()
    own = times.user + times.system
    return own + times.children_user + times.children_system if group == "fork_servers" else own


def processes(driver: psutil.Process | None = None) -> list[tuple[str, psutil.Process]]:
    """Returns a driver's process tree (this process's by default), each with its group."""
    driver = driver or psutil.Process()
    found = [("driver", driver)]
    groups = {driver.pid: "driver"}
    for process in driver.children(recursive=True):  # parents before their children
        try:
            name, parent = process.name(), process.ppid()
        except psutil.NoSuchProcess:
            continue
        if name.startswith("ray::MapWorker"):
            group = "workers"
        elif groups.get(parent) in ("workers", "fork_servers"):
            group = "fork_servers"
        else:
            group = "ray"
        groups[process.pid] = group
        found.append((group, process))
    return found


def _object_store_bytes() -> float:
    import ray

    if not ray.is_initialized():
        return 0.0
    name = "object_store_memory"
    return ray.cluster_resources().get(name, 0.0) - ray.available_resources().get(name, 0.0)


def slope(samples: list[Sample], column: str) -> float:
    """Returns the least-squares growth of a column per 100,000 generations.

    The first tenth and what follows the last block are left out: pools fill up and empty there.
    """
    import numpy as np

    end = samples[-1]["generations"]
    kept = [s for s in samples if 0.1 * end <= s["generations"] < end]
    if len(kept) < 3:
        return float("nan")
    x = np.array([s["generations"] for s in kept]) / 1e5
    return float(np.polyfit(x, np.array([s[column] for s in kept]), 1)[0])


def at_share(samples: list[Sample], share: float) -> Sample:
    """Returns the sample at a share of the generations; for 1 the last before the end."""
    end = samples[-1]["generations"]
    before = [s for s in samples if s["generations"] < end] or samples
    return next((s for s in before if s["generations"] >= share * end), before[-1])
