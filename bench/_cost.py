"""What a command costs: wall seconds, and processor seconds of all the processes it starts."""

import subprocess
import time
from collections.abc import Sequence

import psutil

from bench._sampling import cpu_s, processes

_EVERY_S = 0.25


def cost(command: Sequence[str]) -> tuple[float, float, str]:
    """Returns wall seconds, CPU seconds and output of a command.

    Processor time is read off the running processes a few times a second, since Ray does not
    wait for all of its own: what a process does after the last look is not counted.

    Raises: RuntimeError with the output if the command fails.
    """
    started = time.perf_counter()
    spent: dict[tuple[int, float], float] = {}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as running:
        root = psutil.Process(running.pid)
        while True:
            try:
                output, _ = running.communicate(timeout=_EVERY_S)
                break
            except subprocess.TimeoutExpired:
                _look(root, spent)
    wall = time.perf_counter() - started
    if running.returncode:
        raise RuntimeError(f"{' '.join(command)} ended with {running.returncode}:\n{output}")
    return wall, sum(spent.values()), output


def _look(root: psutil.Process, spent: dict[tuple[int, float], float]) -> None:
    try:
        found = processes(root)
    except psutil.NoSuchProcess:
        return
    for group, process in found:
        try:
            spent[process.pid, process.create_time()] = cpu_s(group, process)
        except psutil.NoSuchProcess:
            continue
