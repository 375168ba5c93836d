"""A budget that is used up stops a run cleanly: all done is kept, and the same command goes on."""

import json
import re
import time
from pathlib import Path

import pyarrow as pa
import pytest

from pipeline.budget import Budget
from pipeline.config import BudgetConfig
from pipeline.shards import write_shard
from pipeline.storage import Storage
from tests.flow.conftest import SMALL, Jobs
from tests.flow.test_run import contents, the_cell


def paid(storage: Storage, name: str, gpu_s: float) -> None:
    """Writes a shard whose generation took some engine time."""
    write_shard(storage, name, pa.table({"x": [1]}), "key", counts={"gpu_s": gpu_s})


def used_up(budget: Budget) -> str:
    """Returns what a budget says once it has had time to look again."""
    budget._next_look = 0.0
    return budget.used_up()


def test_a_limit_of_zero_is_none(tmp_path: Path) -> None:
    budget = Budget(BudgetConfig(), [Storage(str(tmp_path))])
    paid(Storage(str(tmp_path)), "block.arrow", 1e9)
    assert used_up(budget) == ""


def test_engine_time_is_that_of_all_shards_written_since(tmp_path: Path) -> None:
    models = [Storage(str(tmp_path / name)) for name in ("small", "large")]
    paid(models[0], "before.arrow", 1e9)
    budget = Budget(BudgetConfig(gpu_hours=2.0), models)
    assert used_up(budget) == ""
    paid(models[0], "one.arrow", 3600.0)
    assert used_up(budget) == ""
    assert used_up(budget) == ""  # and counts once
    paid(models[1], "one.arrow", 3600.0)
    assert used_up(budget) == "budget.gpu_hours=2 is used up"


def test_wall_time_runs_from_the_start_of_the_invocation() -> None:
    budget = Budget(BudgetConfig(wall_hours=0.01 / 3600), [])
    time.sleep(0.02)
    assert budget.used_up().startswith("budget.wall_hours=")


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_used_up_budget_stops_says_why_and_goes_on(first_run, job: Jobs, tmp_path: Path) -> None:
    folder, _ = first_run
    larger = (*SMALL, "task.limit=120", f"runs_dir={tmp_path}")  # begins with the same blocks
    done = []
    for budget in ("budget.wall_hours=0.0005", "budget.gpu_hours=0.000001"):
        stopped = job("run", *larger, budget, check=False)
        assert stopped.returncode == 1
        name = re.escape(budget.split("=")[0])
        assert re.search(rf"stopping: {name}=\S+ is used up", stopped.stdout)
        (other,) = (tmp_path / "default").iterdir()
        assert json.loads((other / "run.json").read_text())["status"] == "stopped"
        said = job("status", f"run={other}").stdout
        assert re.search(rf"status       stopped: {name}=\S+ is used up; the same command", said)
        done.append(len(list((other / "generations").glob("block-*.arrow"))))
    assert done[0] < done[1] < 30
    job("run", *larger)
    assert "status       complete" in job("status", f"run={other}").stdout
    assert contents(folder / "generations").items() <= contents(other / "generations").items()
    assert contents(the_cell(folder)).items() <= contents(the_cell(other)).items()
