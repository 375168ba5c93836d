"""Runs that are injured while they work: what the fault tests and the fault benchmark share."""

import json
import os
import re
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pyarrow as pa

from pipeline.events import read_events
from pipeline.storage import Storage

ROOT = Path(__file__).resolve().parents[1]
GENERATE, EXPAND = "MapBatches(Generate)", "MapBatches(Expand)"
ENGINE_CORE, FORK_SERVER = "EngineCore", "pipeline.execute.child.server"
GENERATED = "generations/manifests/*.json"
EXPANDED = "cells/*/manifests/results/*.json"
FINISHED = {
    "generate": "generations/manifests/{}.*.json",
    "expand": "cells/*/manifests/results/{}.json",
}
# Two processes per engine, as on GPUs; on CPUs the engine is part of its worker otherwise.
ENGINE_APART = {"VLLM_ENABLE_V1_MULTIPROCESSING": "1"}


class Command:
    """`python -m jobs.…` in a process of its own, watched through its run folder."""

    def __init__(
        self,
        *arguments: str,
        runs_dir: Path,
        environment: Mapping[str, str] | None = None,
        job: str = "run",
    ) -> None:
        """Starts the command; what it prints goes to a file beside the run folders."""
        self.runs_dir = runs_dir
        runs_dir.mkdir(parents=True, exist_ok=True)
        self._printed = runs_dir.parent / f"{runs_dir.name}-{time.monotonic_ns()}.printed"
        self.started = time.time()
        with self._printed.open("w") as printed:
            self.process = subprocess.Popen(
                [sys.executable, "-m", f"jobs.{job}", *arguments, f"runs_dir={runs_dir}"],
                cwd=ROOT,
                env=os.environ | dict(environment or {}),
                stdout=printed,
                stderr=subprocess.STDOUT,
            )

    @property
    def folder(self) -> Path:
        """The run folder. Raises: FileNotFoundError until it is there."""
        for about in self.runs_dir.glob("*/*/run.json"):
            return about.parent
        raise FileNotFoundError(f"no run folder below {self.runs_dir}")

    def printed(self) -> str:
        """Returns what the command has printed so far."""
        return self._printed.read_text()

    def wait_for(self, what: Callable[[], Any], limit_s: float = 240) -> Any:
        """Returns what `what` returns as soon as that is true.

        Raises: RuntimeError if the command ends before, or after `limit_s`.
        """
        deadline = time.monotonic() + limit_s
        while not (found := what()):
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"it did not come about:\n{self.printed()}")
            time.sleep(0.02)
        return found

    def finish(self, limit_s: float = 600) -> int:
        """Waits for the command's end and returns its exit code."""
        try:
            return self.process.wait(limit_s)
        except subprocess.TimeoutExpired:
            self.kill()
            raise

    def kill(self) -> None:
        """Ends the command with kill -9, waits until all that it started is gone."""
        below = psutil.Process(self.process.pid).children(recursive=True)
        self.process.kill()
        self.process.wait()
        psutil.wait_procs(below, timeout=20)

    def shards(self, pattern: str = GENERATED) -> list[Path]:
        """Returns the files of the run folder that a pattern names."""
        return list(self.runs_dir.glob(f"*/*/{pattern}"))

    def at_work(self, stage: str) -> int:
        """Returns the process that is at work on a block of a stage; 0 if none is.

        One whose block is finished, and that has only to say so, is at work no more.
        """
        for note in self.shards(f"attempts/{stage}-*.json"):
            block = note.stem.removeprefix(f"{stage}-")
            if self.shards(FINISHED[stage].format(block)):
                continue
            with suppress(FileNotFoundError):  # done in the meantime
                return int(json.loads(note.read_text())["worker"].split()[1])
        return 0

    def events(self, name: str) -> list[dict[str, Any]]:
        """Returns the run's events of one kind."""
        found = read_events(Storage(self.folder))
        return [event for event in found if event["event"] == name]


def below(pid: int, named: str) -> list[psutil.Process]:
    """Returns the processes below one whose command line holds a text."""
    found = []
    try:
        for child in psutil.Process(pid).children(recursive=True):
            try:
                if named in " ".join(child.cmdline()):
                    found.append(child)
            except psutil.Error:
                continue
    except psutil.Error:
        pass
    return found


def rows(folder: Path, key: tuple[str, ...]) -> Counter[tuple[Any, str]]:
    """Returns all rows of the Arrow shards in a folder: (their key, their content) -> how often."""
    found: Counter[tuple[Any, str]] = Counter()
    for shard in sorted(folder.glob("*.arrow")):
        if shard.name == "vocabulary.arrow":
            continue
        for row in pa.ipc.open_stream(shard.read_bytes()).read_all().to_pylist():
            found[tuple(row[name] for name in key), repr(row)] += 1
    return found


KEYS = {
    "generations": ("problem_id", "generation_index"),
    "cells/*/results": ("problem_id", "generation_index", "variant_index"),
    "cells/*/problems": ("problem_id",),
}


def losses(undisturbed: Path, injured: Path) -> dict[str, int]:
    """Compares every row of two run folders: how many are missing, doubled, different."""
    lost: Counter[str] = Counter(missing=0, doubled=0, different=0)
    for pattern, key in KEYS.items():
        folders = zip(sorted(undisturbed.glob(pattern)), sorted(injured.glob(pattern)), strict=True)
        for folder, its in folders:
            first, other = rows(folder, key), rows(its, key)
            keys = Counter(k for k, _ in other.elements())
            lost["missing"] += len({k for k, _ in first} - set(keys))
            lost["doubled"] += sum(n - 1 for n in keys.values())
            lost["different"] += len(set(other) - set(first))
            lost["compared"] += len(first)
    return dict(lost)


def repeated(blocks: list[dict[str, Any]]) -> int:
    """Returns how many units of work (block and stage) were begun before they were finished."""
    notes = " ".join(block.get("note", "") for block in blocks)
    return sum(int(n) for n in re.findall(r"(\d+) earlier attempts did not finish", notes))
