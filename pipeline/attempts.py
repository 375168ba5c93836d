"""Finds the problem that kills its worker, so that it is quarantined and not tried forever.

A worker notes what it begins and erases the note when it is done. Who finds a note knows that
its predecessor died: after `limit` deaths the work is done problem by problem, each noted
first, and the problem that is noted at the next death is the culprit. Being told to end, by
SIGTERM or by a stop of the run, is no death.
"""

import json
import logging
import os
import socket
import traceback
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any

from pipeline.storage import Storage

DEADLY = "the worker died each time it worked on this problem"
_SILENT = "ended without a word: killed, out of memory, or its node was lost"
_MAX_SAID = 5


class _Said(logging.Handler):
    """The log of the pipeline's own modules in a worker: standard error, and the unit's note.

    What is logged while a unit is worked on is worth a line on the driver; what is critical is
    why the process ends, and is left for the next attempt to report.
    """

    unit: "Attempts | None" = None

    def emit(self, record: logging.LogRecord) -> None:
        """Takes one message."""
        if logging.lastResort is not None:
            logging.lastResort.handle(record)
        if self.unit is not None:
            self.unit.hear(record.getMessage(), last=record.levelno >= logging.CRITICAL)


_said = _Said(logging.WARNING)  # one unit at a time is worked on in a process


class Attempts:
    """The note on one unit of work."""

    def __init__(self, storage: Storage, name: str, limit: int) -> None:
        """Reads the note and adds this attempt.

        Args:
            storage: the run folder.
            name: names the unit of work, stage and block.
            limit: attempts on the whole unit before its problems are isolated.
        """
        self._storage = storage
        self._path = f"attempts/{name}.json"
        self._limit = limit
        self._current = ""
        self._heard: list[str] = []
        self._ends: list[str] = []
        self.poison: list[str] = []
        self.deaths = 0
        self._excused, self._last_word = False, ""
        with suppress(FileNotFoundError):
            note = storage.read_json(self._path)
            self.deaths = note["attempts"]
            self.poison = note["poison"] + ([note["current"]] if note["current"] else [])
            self._ends = [*note["ends"], f"{note['worker']} {note['last_word'] or _SILENT}"]
        self._write()
        _said.unit = self
        heard = logging.getLogger("pipeline")
        heard.addHandler(_said)  # adding it again changes nothing
        heard.setLevel(logging.WARNING)  # whatever libraries made of the root's

    @property
    def isolate(self) -> bool:
        """Whether problems are to be worked on one by one."""
        return self.deaths >= self._limit

    def _write(self, current: str = "") -> None:
        self._current = current
        self._storage.write_json(
            self._path,
            {
                "attempts": self.deaths + (not self._excused),
                "current": "" if self._excused else current,
                "poison": self.poison,
                "worker": f"process {os.getpid()} on {socket.gethostname()}",
                "last_word": self._last_word,
                "ends": self._ends,
            },
        )

    def excuse(self, why: str) -> None:
        """Leaves word why this attempt may not finish; it does not count as a death."""
        self._excused, self._last_word = True, why
        with suppress(OSError):  # the disk may be full
            self._write()

    def hear(self, message: str, last: bool = False) -> None:
        """Keeps a message for the note; the last one is why this process ends."""
        if last:
            self._last_word = message
            with suppress(OSError):  # ending is more urgent than saying why
                self._write(self._current)
        elif len(self._heard) < _MAX_SAID:
            self._heard.append(message)

    def work(
        self,
        problems: Iterable[str],
        do: Callable[[list[str]], Any],
        fatal: tuple[type[Exception], ...] = (OSError,),
        deadly: tuple[type[Exception], ...] = (),
    ) -> tuple[list[Any], dict[str, str]]:
        """Does the work, problem by problem if need be.

        Args:
            problems: ids of the problems.
            do: works on a list of problems.
            fatal: errors that are no problem's fault; they are raised, and are no deaths.
            deadly: errors after which the caller ends the process; raised, and deaths.

        Returns: what `do` returned, per call; and why each problem that is left out is.

        Raises: `fatal` and `deadly` errors, and any error if it is the same for all problems.
        """
        left_out = {problem: DEADLY for problem in problems if problem in set(self.poison)}
        healthy = [p for p in problems if p not in left_out]
        try:
            if not self.isolate:
                try:
                    return ([do(healthy)] if healthy else []), left_out
                except (*fatal, *deadly):
                    raise
                except Exception:
                    if len(healthy) == 1:
                        raise
            return self._one_by_one(healthy, do, (*fatal, *deadly), left_out)
        except fatal as error:
            self.excuse(f"ended with {type(error).__name__}: {error}")
            raise

    def _one_by_one(
        self,
        healthy: list[str],
        do: Callable[[list[str]], Any],
        raised: tuple[type[Exception], ...],
        left_out: dict[str, str],
    ) -> tuple[list[Any], dict[str, str]]:
        done = []
        for problem in healthy:
            self._write(problem)
            try:
                done.append(do([problem]))
            except raised:
                raise
            except Exception:
                left_out[problem] = traceback.format_exc()
                if not done and len(left_out) == len(healthy):
                    raise
        self._write()
        return done, left_out

    def note(self, left_out: dict[str, str]) -> str:
        """Returns what is worth a line in the log; empty if all went well."""
        ends = ", ".join(self._ends[-_MAX_SAID:])
        died = f"{len(self._ends)} earlier attempts did not finish ({ends})" if ends else ""
        out = f"left out: {', '.join(list(left_out)[:5])}" if left_out else ""
        return "; ".join(filter(None, [died, *self._heard, out]))

    def done(self) -> None:
        """Erases the note."""
        _said.unit = None
        self._storage.delete(self._path)


def told_to_end() -> None:
    """Excuses the unit that this process is at, if any: it may not be finished in time."""
    if (unit := _said.unit) is not None:
        unit.excuse("was told to end by SIGTERM")


def forgive(storage: Storage) -> None:
    """Takes back the attempts that a stop of the run cut short; the problems are not to blame."""
    for name in storage.names("attempts", ".json"):
        path = f"attempts/{name}"
        with suppress(FileNotFoundError):  # done in the meantime
            note = storage.read_json(path)
            if not note["last_word"]:
                note |= {"attempts": note["attempts"] - 1, "current": ""}
                storage.write_json(path, {**note, "last_word": "was stopped with the run"})


def bad_rows(stage: str, left_out: dict[str, str], indices: Iterable[int]) -> list[dict[str, Any]]:
    """Returns the quarantine's rows for problems left out of a stage.

    Args:
        stage: its name.
        left_out: problem id -> reason or traceback.
        indices: generation indices of each problem.
    """
    return [
        {
            "problem_id": problem,
            "generation_index": index,
            "stage": stage,
            "reason": why.strip().splitlines()[-1],
            "traceback": "" if why == DEADLY else why,
        }
        for problem, why in left_out.items()
        for index in indices
    ]


def quarantine(storage: Storage, name: str, rows: list[dict[str, Any]]) -> None:
    """Writes the bad rows of one unit of work; replaces what an earlier attempt wrote.

    Args:
        storage: the run folder.
        name: names the unit of work, stage and block.
        rows: {problem_id, generation_index, stage, reason, traceback}.
    """
    path = f"quarantine/{name}.jsonl"
    if not rows:
        storage.delete(path)
        return
    storage.write_bytes(path, "".join(json.dumps(row) + "\n" for row in rows).encode())
