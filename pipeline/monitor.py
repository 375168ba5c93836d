"""Progress of a run: rates and time left per stage, and events for whoever listens."""

import time
from collections import deque
from dataclasses import dataclass, field
from typing import Any, Protocol

from rich.console import Console
from rich.live import Live
from rich.table import Table

_PLAIN_EVERY_S = 30.0


class EventSink(Protocol):
    """Receives every event of a run, on the driver only."""

    def emit(self, event: dict[str, Any]) -> None:
        """Takes one event: `time` (Unix seconds), `event` (its name) and its fields."""
        ...

    def close(self, status: str) -> None:
        """Called once at the end with the run's status."""
        ...


@dataclass
class Stage:
    """Counts of one stage.

    Attributes:
        total: units to do in this invocation, in `unit`s.
        done: units done.
        unit: what is counted.
        bad: rows quarantined.
    """

    total: int
    unit: str
    done: int = 0
    bad: int = 0
    _marks: deque[tuple[float, int]] = field(default_factory=lambda: deque(maxlen=20))

    started: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        """Rates count from the start, so that the first unit's time is not lost."""
        self._marks.append((self.started, 0))

    def advance(self, units: int, bad: int = 0, now: float | None = None) -> None:
        """Counts units as done."""
        self.done += units
        self.bad += bad
        self._marks.append((time.monotonic() if now is None else now, self.done))

    def rate(self) -> float:
        """Returns units per second over the last marks; 0 before the second one."""
        if len(self._marks) < 2:
            return 0.0
        (t0, n0), (t1, n1) = self._marks[0], self._marks[-1]
        return (n1 - n0) / (t1 - t0) if t1 > t0 else 0.0

    def left_s(self) -> float | None:
        """Returns the estimated seconds left; None while unknown."""
        rate = self.rate()
        return (self.total - self.done) / rate if rate else None


class Monitor:
    """Shows progress on a terminal (a live table, else a line now and then) and emits events."""

    def __init__(self, console: Console, sinks: list[EventSink]) -> None:
        """Takes a console to draw on and the sinks to feed."""
        self._console = console
        self._sinks = sinks
        self._stages: dict[str, Stage] = {}
        self._live: Live | None = None
        self._printed = time.monotonic()

    def __enter__(self) -> "Monitor":
        """Starts the live table where there is a terminal."""
        if self._console.is_terminal:
            self._live = Live(console=self._console, refresh_per_second=2, transient=True)
            self._live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Stops the live table."""
        if self._live:
            self._live.stop()
            self._live = None

    def close(self, status: str) -> None:
        """Closes the sinks."""
        for sink in self._sinks:
            sink.close(status)

    def event(self, name: str, **fields: Any) -> None:
        """Emits one event to all sinks."""
        event = {"time": time.time(), "event": name, **fields}
        for sink in self._sinks:
            sink.emit(event)

    def warn(self, message: str) -> None:
        """Prints a line above the table and emits it."""
        self._console.print(message, style="yellow", markup=False, highlight=False, soft_wrap=True)
        self.event("warning", message=message)

    def stage(self, name: str, total: int, unit: str) -> None:
        """Announces a stage; stages without work are not shown."""
        if total:
            self._stages[name] = Stage(total, unit)

    def advance(self, name: str, units: int, bad: int = 0) -> None:
        """Counts units of a stage as done and refreshes the display."""
        if name not in self._stages:
            return
        self._stages[name].advance(units, bad)
        self.event("progress", progress=self.progress())
        self.refresh()

    def progress(self) -> dict[str, dict[str, Any]]:
        """Returns done, total, rate (per second), seconds left and bad rows per stage."""
        return {
            name: {
                "done": s.done,
                "total": s.total,
                "unit": s.unit,
                "rate": s.rate(),
                "left_s": s.left_s(),
                "bad": s.bad,
            }
            for name, s in self._stages.items()
        }

    def refresh(self) -> None:
        """Redraws the table, or prints a line when it is time for one."""
        if self._live:
            self._live.update(progress_table(self.progress()))
        elif time.monotonic() - self._printed >= _PLAIN_EVERY_S:
            self._printed = time.monotonic()
            for name, row in self.progress().items():
                self._console.print(progress_line(name, row), highlight=False)


def progress_table(progress: dict[str, dict[str, Any]]) -> Table:
    """Returns the table of stages with rates and time left."""
    table = Table(box=None, padding=(0, 2))
    for title in ("stage", "done", "rate", "left", "bad"):
        table.add_column(title, justify="left" if title == "stage" else "right")
    for name, row in progress.items():
        share = row["done"] / row["total"] if row["total"] else 1.0
        table.add_row(
            name,
            f"{row['done']:,}/{row['total']:,} {row['unit']} ({share:.0%})",
            f"{row['rate']:,.1f}/s",
            duration(row["left_s"]),
            str(row["bad"]),
        )
    return table


def progress_line(name: str, row: dict[str, Any]) -> str:
    """Returns one stage's progress as a plain line."""
    return (
        f"{name}: {row['done']:,}/{row['total']:,} {row['unit']}, {row['rate']:,.1f}/s, "
        f"{duration(row['left_s'])} left, {row['bad']} bad"
    )


def duration(seconds: float | None) -> str:
    """Returns seconds for people.

    >>> duration(3725), duration(42.4), duration(None)
    ('1:02:05', '42s', '?')
    """
    if seconds is None:
        return "?"
    if seconds < 60:
        return f"{seconds:.0f}s"
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
