"""Ends a process whose engine died or hangs, and an engine whose process died."""

import contextlib
import faulthandler
import logging
import multiprocessing
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator

import psutil

EXIT_CODE = 70  # EX_SOFTWARE
_POLL_S = 1.0
# Waits for the end of its standard input, which comes when the other end's process dies in
# whatever way, and ends the processes it was given, unless their number is another's by now.
_GUARDIAN = """
import sys, psutil
given = [pair.split(":") for pair in sys.argv[1:]]
sys.stdin.read()
for pid, born in given:
    try:
        process = psutil.Process(int(pid))
        if process.create_time() == float(born):
            process.kill()
    except psutil.Error:
        pass
"""
logger = logging.getLogger(__name__)


def guard_children(children: list[psutil.Process]) -> subprocess.Popen[bytes] | None:
    """Starts a process that kills `children` when this one is gone; None without children.

    vLLM's engine core outlives a caller that was killed, and keeps its GPU's memory.
    """
    if not children:
        return None
    names = [f"{child.pid}:{child.create_time()!r}" for child in children]
    return subprocess.Popen(
        [sys.executable, "-I", "-c", _GUARDIAN, *names],
        stdin=subprocess.PIPE,
        start_new_session=True,  # Ctrl-C and kill of the process group are not meant for it
    )


class Watchdog:
    """Watches an engine from a thread.

    vLLM's engine core is another process; when that is killed, a caller may wait for its
    answer forever, and no exception can be raised in a thread that waits in C. So the whole
    process ends, with exit code 70 and a line that says why.
    """

    def __init__(
        self,
        timeout_s: float,
        end: Callable[[int], object] = os._exit,
        poll_s: float = _POLL_S,
    ) -> None:
        """Starts watching.

        Args:
            timeout_s: seconds without a beat, while at work, that count as hanging; 0: any.
            end: called with the exit code.
            poll_s: seconds between looks.
        """
        self.timeout_s = timeout_s
        self.children = [p for p in multiprocessing.active_children() if p.is_alive()]
        below = [child for p in self.children for child in _tree(p.pid)]
        self._guardian = guard_children(below)
        self._end = end
        self._poll_s = poll_s
        self._beat_at: float | None = None
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="ppot-watchdog", daemon=True)
        self._thread.start()

    def beat(self) -> None:
        """Says that the engine has made a step."""
        self._beat_at = time.monotonic()

    @contextlib.contextmanager
    def working(self) -> Iterator[None]:
        """Expects beats while the block runs."""
        self.beat()
        try:
            yield
        finally:
            self._beat_at = None

    def close(self) -> None:
        """Stops watching; to be called before the engine is shut down."""
        self._closed.set()
        if self._guardian is not None:
            self._guardian.kill()
            self._guardian.wait()

    def _watch(self) -> None:
        while not self._closed.wait(self._poll_s):
            reason = self._reason()
            if reason and not self._closed.is_set():
                logger.critical("ended itself: %s", reason)
                sys.stderr.flush()
                self._end(EXIT_CODE)
                return

    def _reason(self) -> str | None:
        for child in self.children:
            if not child.is_alive():
                return f"the engine's process {child.pid} ended (exit code {child.exitcode})"
        beat_at = self._beat_at
        if self.timeout_s and beat_at is not None:
            silent_s = time.monotonic() - beat_at
            if silent_s > self.timeout_s:
                with contextlib.suppress(Exception):  # stderr may be no real file
                    faulthandler.dump_traceback(all_threads=True)
                return f"the engine has made no step for {silent_s:.0f} s"
        return None


def _tree(pid: int | None) -> list[psutil.Process]:
    """Returns a process and its descendants; empty if it is gone."""
    try:
        process = psutil.Process(pid)
        return [process, *process.children(recursive=True)]
    except psutil.Error:
        return []
