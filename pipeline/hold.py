"""One driver at a time in a run folder: a second one waits until the first has ended.

A driver writes `driver.json` anew every few seconds. Whoever finds another's watches whether
that goes on; on the same machine it looks for the process. A driver that was killed therefore
stands in nobody's way for long, and clocks of different machines are not compared.
"""

import os
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil

from pipeline.storage import Storage

HELD = "driver.json"
BEAT_S = 5.0
SILENT_S = 30.0  # without a beat for so long, the holder is gone
_SETTLE_S = 0.3  # two that come at once both write; the one whose words last holds


def _machine() -> str:
    """Returns what tells this machine, or this container of it, from others."""
    parts = [socket.gethostname()]
    with suppress(OSError):
        parts.append(Path("/proc/sys/kernel/random/boot_id").read_text().strip())
        parts.append(os.readlink("/proc/self/ns/pid"))
    return " ".join(parts)


class _Hold:
    """A driver's hold on one folder."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._me = {
            "id": uuid.uuid4().hex,
            "machine": _machine(),
            "pid": os.getpid(),
            "born": psutil.Process().create_time(),
        }
        self._beats = 0
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="ppot-hold", daemon=True)

    def acquire(self, say: Callable[[str], None]) -> None:
        """Waits until nobody else holds the folder, and holds it."""
        while True:
            self._wait(say)
            self._write()
            time.sleep(_SETTLE_S)
            if (self._read() or {}).get("id") == self._me["id"]:
                self._thread.start()
                return

    def _wait(self, say: Callable[[str], None]) -> None:
        seen, since = self._read(), time.monotonic()
        if seen is None or self._gone(seen):
            return
        say(
            f"{self._storage.uri} is being worked on by process {seen['pid']} on "
            f"{seen['machine'].split()[0]}; waiting until that ends (Ctrl-C to give up)"
        )
        while time.monotonic() - since < SILENT_S:
            time.sleep(0.5)
            now = self._read()
            if now is None or self._gone(now):
                return
            if now != seen:
                seen, since = now, time.monotonic()

    def _gone(self, holder: dict[str, Any]) -> bool:
        """Tells whether a holder is a process of this machine that has ended."""
        if holder["machine"] != self._me["machine"]:
            return False
        try:
            return psutil.Process(holder["pid"]).create_time() != holder["born"]
        except psutil.Error:
            return True

    def _read(self) -> dict[str, Any] | None:
        try:
            return self._storage.read_json(HELD)
        except FileNotFoundError:
            return None

    def _write(self) -> None:
        self._beats += 1
        self._storage.write_json(HELD, {**self._me, "beats": self._beats})

    def _beat(self) -> None:
        while not self._done.wait(BEAT_S):
            with suppress(OSError):  # a full disk is reported by those who work
                self._write()

    def release(self) -> None:
        """Lets go of the folder."""
        self._done.set()
        self._thread.join()
        if (self._read() or {}).get("id") == self._me["id"]:
            self._storage.delete(HELD)


@contextmanager
def held(storages: list[Storage], say: Callable[[str], None]) -> Iterator[None]:
    """Holds folders, in an order that keeps two drivers from waiting for each other.

    Args:
        storages: the run folders.
        say: told, as a sentence, for whom this driver waits.
    """
    with ExitStack() as stack:
        for storage in sorted(storages, key=lambda s: s.uri):
            hold = _Hold(storage)
            hold.acquire(say)
            stack.callback(hold.release)
        yield
