"""What a sampled run says of itself is read off its samples correctly."""

import math
import os
import subprocess
import sys
from pathlib import Path

import psutil

from bench._sampling import COLUMNS, Progress, Sampler, at_share, processes, slope
from bench.scale import rates


def samples(*memory: float) -> list[dict[str, float]]:
    """Samples of a run of 1,000,000 generations, a second apart, and one after its end."""
    last = len(memory) - 1
    found = [
        {"wall_s": float(i), "generations": 1e6 * i / last, "driver_mib": value}
        for i, value in enumerate(memory)
    ]
    return [*found, {"wall_s": last + 1.0, "generations": 1e6, "driver_mib": 0.0}]


def test_the_slope_is_that_of_the_run_without_its_ends() -> None:
    growing = samples(0, *(100 + 2 * i for i in range(1, 10)), 500)  # 2 MiB per 100,000
    assert math.isclose(slope(growing, "driver_mib"), 2.0)
    assert math.isnan(slope(samples(1, 2), "driver_mib"))


def test_the_end_of_a_run_is_the_last_sample_before_its_pools_are_gone() -> None:
    found = samples(0, 10, 20, 30, 40)
    assert at_share(found, 0.5)["driver_mib"] == 20
    assert at_share(found, 1.0)["driver_mib"] == 30


def test_rates_are_increases_per_second_over_the_window() -> None:
    assert rates(samples(0, 0, 0, 0, 0), "generations", window_s=2)[2:5] == [250_000.0] * 3


def test_progress_counts_originals_and_variants_of_finished_blocks_only() -> None:
    progress = Progress({0: 20, 1: 10}, m=3)
    progress.emit({"event": "block", "block": 0, "done_cells": ["c"], "n_programs": 7})
    progress.emit({"event": "block", "block": 1, "failed": "OSError"})
    progress.emit({"event": "progress"})
    assert (progress.generations, progress.programs, progress.executed) == (20, 80, 7)


def test_a_sampler_sees_this_process_and_its_children(tmp_path: Path) -> None:
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        found = {process.pid: group for group, process in processes()}
        with Sampler(tmp_path / "log.csv", Progress({}, 0), every_s=0.1) as sampler:
            pass
    finally:
        child.communicate(b"\n")
    assert found[os.getpid()] == "driver"
    assert found[child.pid] == "ray"
    own = psutil.Process().memory_full_info().pss / 2**20
    assert 0.3 * own < sampler.samples[0]["driver_mib"] < 3 * own
    header, *rows = (tmp_path / "log.csv").read_text().splitlines()
    assert header == ",".join(COLUMNS)
    assert len(rows) == len(sampler.samples) >= 1
