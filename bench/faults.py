"""Injures real runs, one fault each, and shows what was lost, repeated and how long it took.

    python -m bench.faults [part of a fault's name ...]

Two undisturbed runs are made first: one of the bundled model from prompts to votes, and one
that only expands saved generations. Each fault then strikes a run of the same settings, while
the stage concerned is at work; where the command ends, the same command is given again. All
rows (generations, executed programs, votes) are compared with the undisturbed run's.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from bench._injury import (
    ENGINE_APART,
    ENGINE_CORE,
    EXPANDED,
    FORK_SERVER,
    Command,
    below,
    losses,
    repeated,
)
from bench._nodes import Nodes, three_nodes
from bench.synthetic import make_run
from pipeline.events import read_events
from pipeline.storage import Storage

RUN = ("task.limit=32", "generate.n=8", "generate.max_tokens=160", "flow.block_problems=4")
EXPANSION = "sample.m=20"
N_PROBLEMS, N, BLOCK = 64, 8, 8  # of the saved generations
HANG_S = 20


def _at_work(command: Command, stage: str, seen: str) -> int:
    """Waits until a block is done and another is being worked on; returns by which process."""
    command.wait_for(lambda: command.shards(seen))
    return command.wait_for(lambda: command.at_work(stage))


def _generator(command: Command) -> int:
    return _at_work(command, "generate", "generations/manifests/*.json")


def _expander(command: Command) -> int:
    return _at_work(command, "expand", EXPANDED)


def kill_generator(command: Command) -> None:
    psutil.Process(_generator(command)).kill()


def end_generator(command: Command) -> None:
    os.kill(_generator(command), signal.SIGTERM)


def kill_engine(command: Command) -> None:
    for core in below(_generator(command), ENGINE_CORE):
        core.kill()


def stop_engine(command: Command) -> None:
    for core in below(_generator(command), ENGINE_CORE):
        core.suspend()


def kill_expander(command: Command) -> None:
    psutil.Process(_expander(command)).kill()


def kill_fork_server(command: Command) -> None:
    for server in below(_expander(command), FORK_SERVER):
        server.kill()


def kill_driver(command: Command) -> None:
    _expander(command)
    command.kill()


def end_driver(command: Command) -> None:
    _expander(command)
    command.process.send_signal(signal.SIGTERM)


@dataclass(frozen=True)
class Fault:
    """What is done to a run.

    Attributes:
        name: of the fault, for the table.
        injure: strikes the running command.
        expands: the run only expands saved generations; else it generates as well.
        again: the command ends, and is given again.
        settings, environment: more of them for the command.
    """

    name: str
    injure: Callable[[Command], None]
    expands: bool = False
    again: bool = False
    settings: tuple[str, ...] = ()
    environment: dict[str, str] = field(default_factory=dict)


HANG = (f"model.hang_timeout_s={HANG_S}",)
FAULTS = (
    Fault("kill -9 of a GPU worker", kill_generator),
    Fault("SIGTERM to a GPU worker", end_generator),
    Fault("kill -9 of its engine core", kill_engine, environment=ENGINE_APART),
    Fault(f"hung engine core, {HANG_S} s", stop_engine, settings=HANG, environment=ENGINE_APART),
    Fault("kill -9 of a CPU worker", kill_expander, expands=True),
    Fault("kill -9 of the fork server", kill_fork_server, expands=True),
    Fault("kill -9 of the driver", kill_driver, expands=True, again=True),
    Fault("SIGTERM to the driver", end_driver, expands=True, again=True),
)


class Bench:
    """The undisturbed runs, and a folder for the injured ones."""

    def __init__(self, folder: Path) -> None:
        """Makes the undisturbed runs."""
        self.folder = folder
        first = Command(*RUN, runs_dir=folder / "first")
        _must(first.finish() == 0, first)
        self.run, self.run_s = first.folder, time.time() - first.started
        self.saved = folder / "saved" / "experiment" / "run"
        make_run(self.saved, N_PROBLEMS, N, BLOCK)
        second = self.expansion(self.saved, folder / "saved")
        _must(second.finish() == 0, second)
        self.expansion_s = time.time() - second.started

    def expansion(self, run: Path, runs: Path) -> Command:
        """Starts the expansion of saved generations."""
        return Command(f"generations={run}", EXPANSION, runs_dir=runs, job="expand")

    def start(self, fault: Fault, *more: str) -> Command:
        """Starts the command of a fault in a folder of its own; again: in the same."""
        runs = self.folder / fault.name.replace(" ", "-").replace(",", "")
        if not fault.expands:
            settings = (*RUN, *fault.settings, *more)
            return Command(*settings, runs_dir=runs, environment=fault.environment)
        copy = runs / "experiment" / "run"
        if not copy.exists():
            made = shutil.ignore_patterns("cells", "executions", "events.jsonl")
            shutil.copytree(self.saved, copy, ignore=made)
        return self.expansion(copy, runs)

    def strike(self, fault: Fault, *more: str) -> None:
        """Injures a run, lets it end, and prints its line."""
        command = self.start(fault, *more)
        fault.injure(command)
        since = time.time()
        status = command.finish()
        if fault.again:
            _must(status != 0, command)
            command = self.start(fault, *more)
            since = command.started
            status = command.finish()
        _must(status == 0, command)
        self.show(fault.name, command, since, self.saved if fault.expands else self.run)

    def show(self, name: str, command: Command, since: float, undisturbed: Path) -> None:
        """Prints a fault's line."""
        lost = losses(undisturbed, command.folder)
        blocks = command.events("block")
        lost_rows = "/".join(str(lost[kind]) for kind in ("missing", "doubled", "different"))
        again = repeated(blocks) + _done_twice(blocks)
        recovered = f"{_recovery_s(blocks, since):.0f}"
        print(
            f"| {name} | {lost_rows} of {lost['compared']:,} | {again} | {recovered} |", flush=True
        )


def _must(true: bool, command: Command) -> None:
    if not true:
        raise RuntimeError(f"the run went otherwise than it should:\n{command.printed()}")


def _done_twice(blocks: list[dict[str, Any]]) -> int:
    """Returns how often a block was finished again, by either stage."""
    generated = Counter(b["block"] for b in blocks if b.get("n_tokens"))
    expanded = Counter(b["block"] for b in blocks if b.get("done_cells"))
    return sum(n - 1 for n in (*generated.values(), *expanded.values()))


def _recovery_s(blocks: list[dict[str, Any]], since: float) -> float:
    """Returns seconds until the block that the fault struck is done, else until the next one."""
    after = [b for b in blocks if b["time"] > since]
    struck = [b for b in after if b.get("note")]
    return min(b["time"] for b in struck or after) - since


def lost_node(bench: Bench) -> None:
    """A whole node of three is gone while its engine is at work."""
    nodes: Nodes

    def lose(command: Command) -> None:
        command.wait_for(command.shards)
        nodes.lose(command.wait_for(lambda: nodes.node_of(command.at_work("generate"))))

    with three_nodes() as nodes:
        bench.strike(Fault("kill -9 of a whole node", lose), f"flow.ray_address={nodes.address}")


def torn_shard(bench: Bench) -> None:
    """A shard of generations has lost its end."""
    fault = Fault("torn shard", lambda _: None)
    runs = bench.folder / "torn-shard"
    copy = runs / bench.run.parent.name / bench.run.name
    shutil.copytree(bench.run, copy, ignore=shutil.ignore_patterns("cells", "executions"))
    shard = min((copy / "generations").glob("block-*.arrow"))
    shard.write_bytes(shard.read_bytes()[:-1000])
    events = list(read_events(Storage(copy)))
    made = [{**event, "done_cells": []} for event in events]  # cells are not there
    (copy / "events.jsonl").write_text("".join(json.dumps(event) + "\n" for event in made))
    bench.strike(fault)


def full_disk(bench: Bench) -> None:
    """The disk is full after some blocks; room is made and the command given again."""
    disk = bench.folder / "full-disk"
    disk.mkdir()
    whole = _pages_bytes(bench.saved)
    made = sum(_pages_bytes(bench.saved / name) for name in ("cells", "executions"))
    size = f"size={whole - made // 2}"
    mount = ["mount", "-t", "tmpfs", "-o", size, "tmpfs", str(disk)]
    if os.geteuid() or subprocess.run(mount, capture_output=True).returncode:
        print("| full disk | not tried: mounting a small file system needs root | | |")
        return

    def more_room(command: Command) -> None:
        command.finish()
        subprocess.run(["mount", "-o", "remount,size=100m", str(disk)], check=True)

    with ExitStack() as stack:
        stack.callback(subprocess.run, ["umount", "-l", str(disk)], check=False)
        bench.strike(Fault("full disk", more_room, expands=True, again=True))


def _pages_bytes(folder: Path) -> int:
    """Returns what the files in a folder take where space is given in pages of 4 KiB."""
    return sum(-(-path.stat().st_size // 4096) * 4096 for path in folder.rglob("*.*"))


def main() -> None:
    """Prints the table, or the lines of the faults whose names hold an argument."""
    strikes: dict[str, Callable[[Bench], None]] = {
        fault.name: lambda bench, fault=fault: bench.strike(fault) for fault in FAULTS
    }
    strikes |= {"kill -9 of a whole node": lost_node, "full disk": full_disk}
    strikes |= {"torn shard": torn_shard}
    with tempfile.TemporaryDirectory(prefix="ppot-faults-") as folder:
        bench = Bench(Path(folder))
        print(
            f"undisturbed: {bench.run_s:.0f} s for {' '.join(RUN)}; {bench.expansion_s:.0f} s to "
            f"expand {N_PROBLEMS} × {N} saved generations with {EXPANSION}\n\n"
            "| fault | rows missing/doubled/different | blocks repeated | s to recover |\n"
            "|---|---|---|---|",
            flush=True,
        )
        for name, strike in strikes.items():
            if not sys.argv[1:] or any(part in name for part in sys.argv[1:]):
                strike(bench)


if __name__ == "__main__":
    main()
