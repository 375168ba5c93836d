"""What a command costs: wall and processor seconds of all the processes that it leaves behind."""

import ctypes
import os
import resource
import subprocess
import time
from collections.abc import Sequence

_PR_SET_CHILD_SUBREAPER = 36


def cost(command: Sequence[str], env: dict[str, str] | None = None) -> tuple[float, float, str]:
    """Returns wall seconds, CPU seconds and output of a command, its orphans included.

    Ray's daemons outlive the process that started them: they are waited for as well.

    Raises: RuntimeError with the output if the command fails.
    """
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    before, started = _children_s(), time.perf_counter()
    done = subprocess.run(
        command, env={**os.environ, **(env or {})}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    wall = time.perf_counter() - started
    _reap()
    output = done.stdout.decode(errors="replace")
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} ended with {done.returncode}:\n{output}")
    return wall, _children_s() - before, output


def _children_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _reap(patience_s: float = 30.0) -> None:
    deadline = time.monotonic() + patience_s
    while time.monotonic() < deadline:
        try:
            if os.waitpid(-1, os.WNOHANG)[0] == 0:
                time.sleep(0.1)
        except ChildProcessError:
            return
