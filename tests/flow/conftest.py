"""Real runs in processes of their own: the bundled model, vLLM, Ray, Arrow shards."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from bench.synthetic import make_run

ROOT = Path(__file__).resolve().parents[2]
Jobs = Callable[..., subprocess.CompletedProcess[str]]

# Small, but several blocks, so that there is something to stream, to kill and to resume.
SMALL = ("task.limit=12", "generate.n=2", "generate.max_tokens=160", "flow.block_problems=4")


@pytest.fixture(scope="session")
def job() -> Jobs:
    """Runs `python -m jobs.<name> key=value …` and returns what it printed."""

    def run(name: str, *overrides: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        result = subprocess.run(
            [sys.executable, "-m", f"jobs.{name}", *overrides],
            cwd=ROOT,
            env=os.environ.copy(),
            capture_output=True,
            text=True,
            timeout=600,
        )
        if check:
            assert result.returncode == 0, result.stdout + result.stderr
        return result

    return run


@pytest.fixture(scope="session")
def first_run(
    job: Jobs, bundled_model: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, str]:
    """A finished run of twelve problems: its folder and what it printed."""
    runs = tmp_path_factory.mktemp("runs")
    printed = job("run", *SMALL, f"runs_dir={runs}").stdout
    (folder,) = (runs / "default").glob("bundled-word_problems-*")
    return folder, printed


@pytest.fixture(scope="session")
def saved(job: Jobs, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """512 synthetic generations in eight blocks, expanded without disturbance."""
    folder = tmp_path_factory.mktemp("saved") / "experiment" / "run"
    make_run(folder, 64, 8, 8)
    job("expand", f"generations={folder}", "sample.m=20", f"runs_dir={folder.parents[1]}")
    return folder
