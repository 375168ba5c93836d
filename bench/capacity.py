"""The capacity model against real runs, and the limits that it reckons with, on this machine.

    python -m bench capacity

Costs are fitted to two cells of one run; other runs, with other m, block sizes and numbers of
workers, are predicted and measured: seconds from the first finished block to the last, and CPU
seconds. The former are those of a machine with whatever else it does, so they are predicted
twice: with the waits of the fitted run, and with those that each run's own workers met.
"""

import os
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from analysis.capacity import CapacityOptions, Work, wall_s, work_of
from analysis.costs import Costs, measure, walls
from analysis.load import open_cells
from bench._s3_server import BUCKET, serve
from bench.synthetic import KEY, compose, make_run
from pipeline import drive, flow
from pipeline.events import JsonlSink
from pipeline.monitor import Monitor
from pipeline.run import RunFolder
from pipeline.storage import Storage
from pipeline.todo import Plan

PROBLEMS, N, BLOCK = 2560, 10, 64
SYNTHETIC = {"tokens": 1.0, "tokens_per_s": 1e9}  # no engine: what it would take is left out
ENGINE = (
    "task.options.n_problems=384",
    "generate.n=4",
    "generate.max_tokens=160",
    "execute.cache=false",
)


def job(name: str, *overrides: str) -> None:
    """Runs `python -m jobs.<name>`."""
    command = [sys.executable, "-m", f"jobs.{name}", *overrides, "flow.num_cpus=2"]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(done.stdout[-2000:] + done.stderr[-2000:])


def workers_alone(folder: Path) -> None:
    """Prints predicted and measured seconds of jobs.expand on saved generations."""
    run = make_run(folder / "fit", PROBLEMS, N, BLOCK)
    for m in (0, 20):
        expand(run, m, 1)
    costs = measure([run.storage.uri])
    print(f"{costs.table().markdown()}\n{HEAD}")
    other = make_run(folder / "other", PROBLEMS, N, 2 * BLOCK, seed=1)
    for run_, m, workers in ((run, 5, 1), (run, 10, 2), (other, 10, 1), (other, 40, 2)):
        expand(run_, m, workers)
        size = work(costs, m=m, block_problems=block_size(run_), **SYNTHETIC)
        predicted = [
            wall_s(w, 0, workers, 0.0) - w.worker_s for w in (size, at_own_pace(size, run_, m))
        ]
        row(f"expand, m={m}, blocks of {block_size(run_)}, {workers} w.", run_, predicted, size)


def with_an_engine(folder: Path) -> None:
    """Prints predicted and measured seconds of jobs.run with the bundled model."""
    job("run", *ENGINE, "sample.m=5", "flow.block_problems=8", f"runs_dir={folder}/engine-8")
    fitted = the_run(folder / "engine-8")
    expand(fitted, 0, 1)  # another m tells a variant's cost from a generation's
    costs = measure([fitted.storage.uri])
    print(f"\n{costs.table().markdown()}\n{HEAD}")
    for block, m in ((24, 5), (4, 10)):
        runs = folder / f"engine-{block}"
        job("run", *ENGINE, f"sample.m={m}", f"flow.block_problems={block}", f"runs_dir={runs}")
        run, size = the_run(runs), work(costs, m=m, block_problems=block)
        predicted = [
            wall_s(w, 1, 1, 0.0) - w.engine_s - w.worker_s
            for w in (size, at_own_pace(size, run, m))
        ]
        row(f"run, m={m}, blocks of {block}, engine + w.", run, predicted, size)


def at_own_pace(size: Work, run: RunFolder, m: int) -> Work:
    """Returns the work with the engine's speed and the workers' waits as this run met them."""
    (cell,) = [c for c in open_cells(run.storage.uri) if c.about["config"]["sample"]["m"] == m]
    own = measure([f"{run.storage.uri}/cells/{cell.name}"])
    engine_s = size.engine_s
    if own.tokens_per_s:
        engine_s = own.problems * own.n / size.blocks * own.tokens / own.tokens_per_s
    return replace(size, worker_s=size.cpu_s * own.stretch, engine_s=engine_s)


HEAD = (
    f"{'run':40}{'span s':>8}{'predicted':>11}{'ratio':>7}{'own waits':>11}{'ratio':>7}"
    f"{'CPU s':>8}{'predicted':>11}{'ratio':>7}"
)


def row(name: str, run: RunFolder, predicted: list[float], size: Work) -> None:
    last = walls(run)[-1]
    wall, cpu, told = last["wall_s"] - last["first_s"], last["cpu_s"], size.cpu_s * size.blocks
    walls_told = "".join(f"{p:11.1f}{p / wall:7.2f}" for p in predicted)
    print(f"{name:40}{wall:8.1f}{walls_told}{cpu:8.2f}{told:11.2f}{told / cpu:7.2f}", flush=True)


def expand(run: RunFolder, m: int, workers: int) -> None:
    generations = f"generations={run.storage.uri}"
    job("expand", generations, f"sample.m={m}", f"flow.expand_actors={workers}", *CACHE_OFF)


CACHE_OFF = ("execute.cache=false",)


def the_run(runs: Path) -> RunFolder:
    (folder,) = (runs / "default").glob("bundled-*")
    return RunFolder(Storage(folder))


def block_size(run: RunFolder) -> int:
    return run.read()["config"]["flow"]["block_problems"]


def work(costs: Costs, **options: float) -> Work:
    return work_of(costs, replace(CapacityOptions(), **options))  # type: ignore[arg-type]


def driver(folder: Path, n: int = 2000) -> None:
    """Prints blocks per second through Ray Data and the driver, the work itself left out."""
    run = make_run(folder / "run", 2, 1, 1)
    config = compose("generate.n=1", "flow.expand_actors=1", "flow.num_cpus=2")
    plan = Plan(run, config, KEY, [])
    flow.connect(config.flow, 0)
    item = {"run": run.storage.uri, "block": 0, "generate": None, "cells": ["c"], "stopped": True}
    monitor = Monitor(Console(quiet=True), [JsonlSink(run)])
    monitor.stage("expand", n, "blocks")
    outcome, started, cpu = drive.Outcome(plan), 0.0, 0.0
    for record in flow.stream([plan], [item] * n):
        if not started:
            started, cpu = time.perf_counter(), time.process_time()
        drive._account({**record, "done_cells": ["c"]}, outcome, monitor)
    took, cpu = time.perf_counter() - started, time.process_time() - cpu
    print(f"driver: {n / took:,.0f} blocks/s, {1e3 * cpu / n:.1f} ms of its CPU time a block")


def files(name: str, storage: Storage, n: int) -> None:
    """Prints small files per second, one after the other and read all at once, and MB/s."""
    text, big = b"x" * 600, os.urandom(32 * 2**20)
    steps = {
        "writes": lambda: [storage.write_bytes(f"small/{i}", text) for i in range(n)],
        "reads": lambda: [storage.read_bytes(f"small/{i}") for i in range(n)],
        "reads at once": lambda: storage.read_all(f"small/{i}" for i in range(n)),
        "deletes": lambda: [storage.delete(f"small/{i}") for i in range(n)],
    }
    for what, step in steps.items():
        started = time.perf_counter()
        step()
        print(f"{name}: {n / (time.perf_counter() - started):,.0f} {what}/s")
    started = time.perf_counter()
    storage.write_bytes("big", big)
    print(f"{name}: {len(big) / 1e6 / (time.perf_counter() - started):,.0f} MB/s in one file")


def main() -> None:
    """Prints the limits and the points."""
    with tempfile.TemporaryDirectory() as folder:
        files("this disk, synced", Storage(folder), 300)
        with serve(Path(folder)) as server:
            os.environ.update(server.environment())
            files("S3 server in Python here", Storage(f"s3://{BUCKET}/bench"), 300)
        driver(Path(folder))
        import ray

        ray.shutdown()
        workers_alone(Path(folder))
        with_an_engine(Path(folder))
    print(f"load of the last minute and quarter of an hour on {os.cpu_count()} cores: ", end="")
    print("{:.1f}, {:.1f}".format(*os.getloadavg()[::2]))


if __name__ == "__main__":
    main()
