"""Tells when a budget of this invocation is used up, from the clock and the shards written."""

import time
from contextlib import suppress

from pipeline.config import BudgetConfig
from pipeline.shards import read_manifests
from pipeline.storage import Storage

_LOOK_SHARE = 0.05  # of the time, at most, that goes into looking for new shards


class Budget:
    """Watches what one invocation has spent; limits of 0 are none.

    Engine time is read off the manifests of the generations, which the GPU side writes: behind
    a slow CPU side, the driver hears of a block long after its engine time is spent.
    """

    def __init__(self, config: BudgetConfig, generations: list[Storage]) -> None:
        """Starts the clock.

        Args:
            config: the limits.
            generations: folders of the shards; what they hold now was paid for before.
        """
        self._config = config
        self._started = time.monotonic()
        self._next_look = 0.0
        self._gpu_s = 0.0
        self._seen = [(storage, self._stems(storage)) for storage in generations]

    def _stems(self, storage: Storage) -> set[str]:
        if not self._config.gpu_hours:
            return set()
        return {name.removesuffix(".json") for name in storage.names("manifests", ".json")}

    def used_up(self) -> str:
        """Returns which budget is used up, as a sentence; empty while none is."""
        wall, gpu = self._config.wall_hours, self._config.gpu_hours
        if wall and time.monotonic() - self._started >= wall * 3600:
            return f"budget.wall_hours={wall:g} is used up"
        if gpu and self._spent_gpu_s() >= gpu * 3600:
            return f"budget.gpu_hours={gpu:g} is used up"
        return ""

    def _spent_gpu_s(self) -> float:
        began = time.monotonic()
        if began >= self._next_look:
            for storage, seen in self._seen:
                with suppress(OSError, ValueError):  # who works with these files reports it
                    new = self._stems(storage) - seen
                    made = read_manifests(storage, stems=sorted(new))
                    self._gpu_s += sum(m.counts.get("gpu_s", 0.0) for m in made)
                    seen |= new
            now = time.monotonic()
            self._next_look = now + (now - began) / _LOOK_SHARE
        return self._gpu_s
