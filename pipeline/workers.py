"""The two actor classes. They are plain classes: Ray appears in `flow` alone."""

import json
import logging
import os
import sys
import threading
import time
import traceback
from abc import ABC, abstractmethod
from typing import Any

import numpy as np

from pipeline.attempts import told_to_end
from pipeline.config import RunConfig, from_saved
from pipeline.run import RunFolder
from pipeline.storage import Storage

Batch = dict[str, np.ndarray]
logger = logging.getLogger(__name__)
STOP = "stop"  # a file of this name in the run folder: do not begin what is not begun


class _Worker(ABC):
    """Reads items, keeps what is expensive between them, answers with records."""

    def __init__(self) -> None:
        self._runs: dict[str, tuple[RunFolder, RunConfig, str]] = {}
        self._grace_s = 0.0
        threading.Thread(target=self._end_in_time, daemon=True).start()

    def _end_in_time(self) -> None:
        """Gives the block in work `flow.grace_s` to be finished after SIGTERM.

        Ray ends the main thread at SIGTERM; Ray Data calls this class in another one, which
        the process waits for.
        """
        threading.main_thread().join()
        told_to_end()
        time.sleep(self._grace_s)
        os._exit(1)

    def _run(self, uri: str) -> tuple[RunFolder, RunConfig, str]:
        if uri not in self._runs:
            run = RunFolder(Storage(uri))
            about = run.read()
            config = from_saved(about["config"])
            self._grace_s = config.flow.grace_s
            self._runs[uri] = (run, config, about["fingerprint"])
        return self._runs[uri]

    def __call__(self, batch: Batch) -> Batch:
        """Works on one item; an exception becomes the record's `failed`, with its traceback."""
        item: dict[str, Any] = json.loads(batch["item"][0])
        if item.get("failed") or item.get("stopped"):
            return _reply(item)
        run, _, _ = self._run(item["run"])
        if run.storage.exists(STOP):
            return _reply({**item, "stopped": True})
        try:
            done = self.work(item)
            notes = filter(None, [item.get("note"), done.get("note")])
            return _reply({**item, **done, "note": "; ".join(notes)})
        except Exception as error:  # noqa: BLE001 - one block must not end the run
            return _reply(
                {
                    **item,
                    "failed": f"{type(error).__name__}: {error}",
                    "traceback": traceback.format_exc(),
                }
            )

    @abstractmethod
    def work(self, item: dict[str, Any]) -> dict[str, Any]:
        """Does one item and returns the fields to add to its record."""


def _reply(record: dict[str, Any]) -> Batch:
    return {"item": np.array([json.dumps(record)], dtype=object)}


class Generate(_Worker):
    """Holds an engine and generates blocks with it."""

    def __init__(self) -> None:
        """Loads nothing yet: the first block that needs an engine does."""
        super().__init__()
        self._engine: Any = None
        self._made_for = self._settings = ""

    def work(self, item: dict[str, Any]) -> dict[str, Any]:
        """Generates what the item asks for; nothing if its generations are there."""
        from pipeline.adopt import shard_name
        from pipeline.generate.engine import EngineError
        from pipeline.generation import finished, generate_block

        if item["generate"] is None:
            return {}
        run, config, key = self._run(item["run"])
        block = run.blocks(config.flow.block_problems)[item["block"]]
        indices = range(*item["generate"])
        shards = {"shards": [*item["shards"], shard_name(block, indices)]}
        if (record := finished(run, key, block, indices)) is not None:
            return record | shards
        engine = self._engine_for(config)
        try:
            return generate_block(run, config, key, block, indices, engine) | shards
        except EngineError as error:
            # A dead engine does not come back: end the process, Ray starts another one.
            logger.critical("ended itself: %s", error, exc_info=True)
            sys.stderr.flush()
            os._exit(1)

    def _engine_for(self, config: RunConfig) -> Any:
        from pipeline.generate.engine import make_engine

        if self._made_for != repr(config.model):
            if self._engine is not None:
                self._engine.close()
            self._engine = make_engine(config.model, config.generate, config.prompt, config.seed)
            self._made_for = repr(config.model)
            self._settings = ""
        settings = repr((config.generate, config.prompt, config.seed))
        if self._settings not in ("", settings):
            self._reconfigure(config)
        self._settings = settings
        return self._engine

    def _reconfigure(self, config: RunConfig) -> None:
        """Changes sampling and prompts; the loaded model stays where the engine can do that."""
        from pipeline.generate.engine import make_engine

        if hasattr(self._engine, "configure"):
            self._engine.configure(config.generate, config.prompt, config.seed)
        else:
            self._engine.close()
            self._engine = make_engine(config.model, config.generate, config.prompt, config.seed)


class Expand(_Worker):
    """Holds sandboxes and expands, executes and votes on blocks."""

    def __init__(self) -> None:
        """Starts nothing yet: the first block does."""
        super().__init__()
        self._expander: Any = None

    def work(self, item: dict[str, Any]) -> dict[str, Any]:
        """Computes the item's cells on its block."""
        from pipeline.expand import Expander

        if self._expander is None:
            self._expander = Expander()
        run, config, key = self._run(item["run"])
        block = run.blocks(config.flow.block_problems)[item["block"]]
        return self._expander.expand_block(run, config, key, block, item["cells"], item["shards"])
