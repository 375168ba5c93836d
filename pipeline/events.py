"""A run's events.jsonl: what happened, in order, as `monitor.Monitor` tells it."""

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from pipeline.run import RunFolder
from pipeline.storage import Storage

_UPLOAD_EVERY_S = 30.0


class JsonlSink:
    """Appends events to a run's events.jsonl, one JSON object a line.

    A local file is appended to at every event. Object storage cannot append: there a file of its
    own below events/ takes what came up in 30 seconds, the most that a killed driver loses, and
    the end of a run adds them all to events.jsonl.
    """

    def __init__(self, run: RunFolder) -> None:
        """Takes the run folder; events that name another run are left out."""
        self._storage = run.storage
        self._lines: list[bytes] = []
        self._written = time.monotonic()

    def emit(self, event: dict[str, Any]) -> None:
        """Writes one event."""
        if event.get("run", self._storage.uri) != self._storage.uri:
            return
        line = json.dumps(event, ensure_ascii=False, default=str).encode() + b"\n"
        if self._storage.is_local:
            path = Path(self._storage.path("events.jsonl"))
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("a+b") as file:
                file.write(line if _ends_a_line(file) else b"\n" + line)
            return
        self._lines.append(line)
        if time.monotonic() - self._written >= _UPLOAD_EVERY_S:
            self._storage.write_bytes(f"events/{time.time_ns():020d}.jsonl", b"".join(self._lines))
            self._lines, self._written = [], time.monotonic()

    def close(self, status: str) -> None:
        """Writes the last event and what is not uploaded yet."""
        self.emit({"time": time.time(), "event": "close", "status": status})
        if self._storage.is_local:
            return
        parts = event_files(self._storage)
        found = self._storage.read_all(parts)
        text = b"".join([*(found[name] for name in parts if name in found), *self._lines])
        self._storage.write_bytes("events.jsonl", text)
        for name in parts[1:]:
            self._storage.delete(name)
        self._lines = []


def _ends_a_line(file: IO[bytes]) -> bool:
    """Tells whether a file's last line is whole: a kill or a full disk may have cut it off."""
    if not file.seek(0, os.SEEK_END):
        return True
    file.seek(-1, os.SEEK_END)
    return file.read(1) == b"\n"


def event_files(storage: Storage) -> list[str]:
    """Returns the files that hold a run's events, in order; the first need not be there."""
    return ["events.jsonl", *(f"events/{name}" for name in storage.names("events", ".jsonl"))]


def read_events(storage: Storage) -> Iterator[dict[str, Any]]:
    """Yields a run's events, also while it runs; a line that is half written is left out."""
    files = event_files(storage)
    found = storage.read_all(files)
    for line in b"".join(found[name] for name in files if name in found).splitlines():
        try:
            yield json.loads(line)
        except ValueError:
            continue
