"""What dies is replaced: the same command completes and no row is lost, doubled or different."""

import json
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from bench._injury import (
    ENGINE_APART,
    ENGINE_CORE,
    EXPANDED,
    FORK_SERVER,
    GENERATE,
    Command,
    below,
    losses,
)
from tests.flow.conftest import SMALL, Jobs
from tests.flow.test_run import contents, results, the_cell

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


def same_run(first: Path, other: Path) -> None:
    """Asserts that generations, results and problems are equal, file by file, row by row."""
    assert contents(other / "generations") == contents(first / "generations")
    assert contents(the_cell(other)) == contents(the_cell(first))


def completes(command: Command) -> str:
    """Asserts that a command ends well and returns what it printed."""
    assert command.finish() == 0, command.printed()
    return command.printed()


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Command]:
    """A small run that has just begun."""
    command = Command(*SMALL, runs_dir=tmp_path / "runs")
    yield command
    if command.process.poll() is None:
        command.kill()


def expansion(saved: Path, runs: Path, *more: str, **environment: str) -> Command:
    """Starts the expansion of a fresh copy of the saved generations."""
    copy = runs / "experiment" / "run"
    made = shutil.ignore_patterns("cells", "executions", "events.jsonl")
    shutil.copytree(saved, copy, ignore=made)
    arguments = (f"generations={copy}", "sample.m=20", *more)
    return Command(*arguments, runs_dir=runs, job="expand", environment=environment)


def test_a_killed_generator_is_replaced(first_run, run: Command) -> None:
    run.wait_for(lambda: below(run.process.pid, GENERATE))
    psutil.Process(run.wait_for(lambda: run.at_work("generate"))).kill()
    printed = completes(run)
    assert "1 earlier attempts did not finish" in printed
    assert "ended without a word: killed" in printed
    same_run(first_run[0], run.folder)


def test_a_generator_that_is_told_to_end_finishes_its_block_first(first_run, run: Command) -> None:
    victim = run.wait_for(lambda: run.at_work("generate"))
    os.kill(victim, signal.SIGTERM)
    printed = completes(run)
    assert not psutil.pid_exists(victim)
    assert (
        "finished by a worker that ended before it could say so" in printed
        or "was told to end by SIGTERM" in printed
    )
    same_run(first_run[0], run.folder)


@pytest.mark.parametrize("fault", [signal.SIGKILL, signal.SIGSTOP])
def test_an_engine_that_dies_or_hangs_is_replaced(first_run, tmp_path: Path, fault: int) -> None:
    settings = (*SMALL, "model.hang_timeout_s=20")
    command = Command(*settings, runs_dir=tmp_path / "runs", environment=ENGINE_APART)
    (core,) = command.wait_for(lambda: below(command.process.pid, ENGINE_CORE))
    command.wait_for(lambda: command.at_work("generate"))
    core.send_signal(fault)
    printed = completes(command)
    assert not core.is_running()
    # Whoever notices a death first, the watchdog or vLLM itself, says so.
    dead, hung = "the engine's process|vLLM died", "the engine has made no step for"
    why = dead if fault == signal.SIGKILL else hung
    assert re.search(f"ended itself: ({why})", printed)
    same_run(first_run[0], command.folder)


def test_a_killed_expander_is_replaced(saved: Path, tmp_path: Path) -> None:
    command = expansion(saved, tmp_path)
    command.wait_for(lambda: command.shards(EXPANDED))
    psutil.Process(command.wait_for(lambda: command.at_work("expand"))).kill()
    printed = completes(command)
    assert "1 earlier attempts did not finish" in printed
    same_run(saved, command.folder)


def test_a_killed_fork_server_is_replaced(saved: Path, tmp_path: Path) -> None:
    command = expansion(saved, tmp_path)
    command.wait_for(lambda: command.shards(EXPANDED))
    worker = command.wait_for(lambda: command.at_work("expand"))
    for server in below(worker, FORK_SERVER):
        server.kill()
    printed = completes(command)
    assert "fork server is replaced: the fork server" in printed
    same_run(saved, command.folder)


POISON = """
import os, signal
from pipeline.tasks.word_problems import WordProblems

class Poison(WordProblems):
    def job(self, problem, program):
        if problem.id.endswith("/13"):
            os.kill(os.getpid(), signal.SIGKILL)  # what the kernel does when memory runs out
        return super().job(problem, program)
"""


def test_a_problem_that_kills_its_worker_each_time_is_set_aside(
    saved: Path, tmp_path: Path
) -> None:
    (tmp_path / "poison.py").write_text(POISON)
    poisoned = tmp_path / "poisoned"
    shutil.copytree(saved, poisoned, ignore=shutil.ignore_patterns("cells", "executions"))
    about = json.loads((poisoned / "run.json").read_text())
    about["config"]["task"]["name"] = "poison:Poison"
    about["config"]["flow"]["max_attempts"] = 2
    (poisoned / "run.json").write_text(json.dumps(about))
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    command = expansion(poisoned, tmp_path / "runs", PYTHONPATH=path)
    printed = completes(command)
    assert "3 earlier attempts did not finish" in printed  # two together, one alone
    assert "left out: word_problems/test/13" in printed
    rows = (command.folder / "quarantine" / "expand-block-00001.jsonl").read_text().splitlines()
    assert {json.loads(row)["problem_id"] for row in rows} == {"word_problems/test/13"}
    lost = {r["problem_id"] for r in results(the_cell(saved))}
    lost -= {r["problem_id"] for r in results(the_cell(command.folder))}
    assert lost == {"word_problems/test/13"}


def test_a_killed_driver_resumes(first_run, job: Jobs, run: Command) -> None:
    run.wait_for(run.shards)
    run.kill()
    job("run", *SMALL, f"runs_dir={run.runs_dir}")
    same_run(first_run[0], run.folder)


def test_sigterm_keeps_what_is_done_and_the_same_command_goes_on(
    first_run, job: Jobs, run: Command
) -> None:
    run.wait_for(run.shards)
    run.process.send_signal(signal.SIGTERM)
    assert run.finish() == 1, run.printed()
    assert "SIGTERM received" in run.printed()
    assert "the same command goes on from here" in run.printed()
    job("run", *SMALL, f"runs_dir={run.runs_dir}")
    same_run(first_run[0], run.folder)


def test_two_drivers_of_one_folder_take_turns(saved: Path, tmp_path: Path) -> None:
    first = expansion(saved, tmp_path)
    first.wait_for(lambda: first.shards("driver.json"))
    arguments = (f"generations={first.folder}", "sample.m=20")
    second = Command(*arguments, runs_dir=tmp_path, job="expand")
    assert "is being worked on" not in completes(first)
    assert f"is being worked on by process {first.process.pid}" in completes(second)
    same_run(saved, first.folder)
    assert len(first.events("block")) == 8
    assert losses(saved, first.folder)["doubled"] == 0


def test_a_torn_shard_is_named_and_made_again(first_run, job: Jobs, tmp_path: Path) -> None:
    folder, _ = first_run
    copy = tmp_path / "default" / folder.name
    shutil.copytree(folder, copy, ignore=shutil.ignore_patterns("cells", "executions"))
    shard = min((copy / "generations").glob("block-*.arrow"))
    shard.write_bytes(shard.read_bytes()[:-1000])
    printed = job("run", *SMALL, f"runs_dir={tmp_path}").stdout
    assert f"shard {shard} is torn" in printed
    same_run(folder, copy)


def test_a_shard_with_other_bytes_is_named_and_made_again(
    saved: Path, job: Jobs, tmp_path: Path
) -> None:
    copy = tmp_path / "experiment" / "run"
    shutil.copytree(saved, copy)
    shard = min((the_cell(copy) / "problems").glob("*.arrow"))
    shard.write_bytes(bytes(shard.stat().st_size))  # of the right length: found when it is read
    command = (f"generations={copy}", "sample.m=20", f"runs_dir={tmp_path}")
    result = job("expand", *command, check=False)
    assert result.returncode == 1
    assert f"shard {shard} is torn" in result.stdout
    lost = max((the_cell(copy) / "results").glob("*.arrow"))
    lost.unlink()
    assert f"shard {lost} is missing" in job("expand", *command).stdout
    same_run(saved, copy)


def test_a_shard_of_another_configuration_is_refused(first_run, job: Jobs, tmp_path: Path) -> None:
    folder, _ = first_run
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy, ignore=shutil.ignore_patterns("cells", "executions"))
    manifest = min((copy / "generations" / "manifests").glob("*.json"))
    key = folder.name.rsplit("-", 1)[-1]
    text = manifest.read_text()
    assert key in text
    manifest.write_text(text.replace(key, "0" * len(key)))
    result = job("expand", f"generations={copy}", check=False)
    assert result.returncode == 1
    assert "made with configuration 00000000" in result.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small file system needs root")
def test_a_full_disk_says_so_and_the_same_command_goes_on(
    first_run, job: Jobs, tmp_path: Path
) -> None:
    folder, _ = first_run
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=400k", "tmpfs", str(disk)]
    if subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("this host does not let a tmpfs be mounted")
    try:
        result = job("run", *SMALL, f"runs_dir={disk}", check=False)
        assert result.returncode == 1
        assert "No space left" in result.stdout + result.stderr
        subprocess.run(["mount", "-o", "remount,size=50m", str(disk)], check=True)
        job("run", *SMALL, f"runs_dir={disk}")
        same_run(folder, disk / "default" / folder.name)
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=False)
