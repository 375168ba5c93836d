"""A budget that is used up stops a run cleanly: all done is kept, and the same command goes on."""

import json
import re
import time

import pytest

from pipeline.flow import Deadline
from tests.flow.conftest import SMALL, Jobs
from tests.flow.test_faults import same_run


def test_a_budget_of_zero_never_ends_and_others_say_which_is_used_up() -> None:
    free = Deadline(0.0, 0.0)
    free.spend(1e9)
    assert free.passed() == ""
    gpus = Deadline(2.0, 0.0)
    gpus.spend(3600.0)
    assert gpus.passed() == ""
    gpus.spend(3600.0)  # of another model of the same sweep
    assert gpus.passed() == "budget.gpu_hours=2 is used up"
    wall = Deadline(0.0, 0.01 / 3600)
    time.sleep(0.02)
    assert "budget.wall_hours" in wall.passed()


@pytest.mark.slow
@pytest.mark.parametrize("budget", ["budget.wall_hours=0.0005", "budget.gpu_hours=0.000001"])
def test_a_used_up_budget_stops_says_why_and_goes_on(
    first_run, job: Jobs, tmp_path, budget: str
) -> None:
    folder, _ = first_run
    stopped = job("run", *SMALL, budget, f"runs_dir={tmp_path}", check=False)
    assert stopped.returncode == 1
    assert re.search(rf"stopping: {re.escape(budget.split('=')[0])}=\S+ is used up", stopped.stdout)
    other = tmp_path / "default" / folder.name
    assert json.loads((other / "run.json").read_text())["status"] == "stopped"
    said = job("status", f"run={other}").stdout
    assert re.search(r"status       stopped: budget\.\S+ is used up; the same command goes", said)
    job("run", *SMALL, f"runs_dir={tmp_path}")
    same_run(folder, other)
    assert "status       complete" in job("status", f"run={other}").stdout
