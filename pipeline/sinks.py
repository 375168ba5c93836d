"""Weights & Biases, where a run's events go beside the terminal and events.jsonl.

It is fed by `monitor.Monitor` on the driver alone; no worker talks to W&B. Nothing that
happens to W&B stops or fails a run: the first error is logged as a warning and ends logging.
"""

import logging
import netrc
import os
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlparse

import pyarrow as pa

from pipeline.run import RunFolder, fingerprint

if TYPE_CHECKING:
    from pipeline.config import LoggerConfig

_log = logging.getLogger(__name__)
_LOG_EVERY_S = 2.0
_MAX_REFERENCES = 2000
_CURVES = ("pass_at_k", "maj_at_k", "weighted_maj_at_k", "pass_at_k_m0", "maj_at_k_m0")
_SCALARS = ("avg_at_k", "coverage", "no_answer", "gpu_s", "cpu_s", "n_problems", "k", "m")
_TABLE = [
    *("problem_id", "vote_answer", "vote_share", "vote_correct", "weighted_answer"),
    *("weighted_correct", "plain_answer", "plain_correct", "n_drawn", "n_distinct"),
    *("n_executed", "tied", "statuses"),
]


def wandb_mode(asked: str) -> str:
    """Returns "online", "offline" or "disabled": what was asked for, offline without a key.

    WANDB_MODE in the environment overrides what was asked for, unless that is disabled.
    """
    if asked == "disabled":
        return asked
    mode = os.environ.get("WANDB_MODE") or asked
    if mode == "online" and not _has_key():
        return "offline"
    return mode if mode in ("online", "disabled") else "offline"


def _has_key() -> bool:
    if os.environ.get("WANDB_API_KEY"):
        return True
    host = urlparse(os.environ.get("WANDB_BASE_URL", "https://api.wandb.ai")).hostname or ""
    try:
        return netrc.netrc(os.environ.get("NETRC")).authenticators(host) is not None
    except (OSError, netrc.NetrcParseError):
        return False


class WandbSink:
    """One W&B run per invocation, resumed by the same command.

    Args:
        config: mode, project, entity, group, tags and table size.
        runs: the run folders of this invocation, opened.
        cells: names of the cells computed, part of the run's id.
        settings: the resolved configuration.
        group: W&B group where the configuration names none: the sweep's or experiment's name.
        figures: run folder URI -> {name: path of a picture}, drawn at the end.
        directory: local folder in which W&B makes its folder `wandb`.
    """

    def __init__(
        self,
        config: "LoggerConfig",
        runs: Sequence[RunFolder],
        cells: Sequence[str],
        settings: Mapping[str, Any],
        group: str,
        figures: Callable[[str], Mapping[str, str | Path]] | None = None,
        directory: str = ".",
    ) -> None:
        """Starts the W&B run; a failure is logged and leaves a sink that does nothing."""
        self._config = config
        self._runs = list(runs)
        self._cells = set(cells)
        self._figures = figures
        self._logged = 0.0
        self._totals: dict[str, float] = {}
        self._run: Any = None
        self.mode = wandb_mode(config.wandb)
        if self.mode == "disabled":
            return
        if config.wandb == "online" and self.mode == "offline":
            _log.warning(
                "no W&B key: logging offline below %s/wandb; set WANDB_API_KEY, or send it "
                "later with `wandb sync`",
                directory,
            )
        self._safely(lambda: self._start(dict(settings), group, directory), "start")

    @property
    def run_id(self) -> str:
        """The W&B id: the same for the same run folders and cells."""
        keys = [run.read()["fingerprint"] for run in self._runs]
        return fingerprint([sorted(keys), sorted(self._cells)])

    def emit(self, event: dict[str, Any]) -> None:
        """Logs progress every other second, counters of finished blocks, and warnings."""
        if self._run is not None:
            self._safely(lambda: self._emit(event), "log")

    def close(self, status: str) -> None:
        """Logs final metrics, figures, table and references, and finishes the run."""
        if self._run is None:
            return
        run = self._run
        for what in (self._metrics, self._table, self._pictures, self._artifacts):
            self._safely(what, what.__name__.strip("_"))
        self._safely(lambda: run.summary.update({"status": status}), "status")
        self._safely(lambda: run.finish(exit_code=0 if status == "complete" else 1), "finish")
        self._run = None

    def _safely(self, action: Callable[[], Any], what: str) -> None:
        if what not in ("start", "finish") and self._run is None:
            return
        try:
            action()
        except Exception as error:  # noqa: BLE001
            # Whatever a logging service or its library does, the run goes on.
            _log.warning(
                "W&B: %s failed (%s: %s); the run goes on", what, type(error).__name__, error
            )
            if what in ("start", "log"):
                self._run = None

    def _start(self, settings: dict[str, Any], group: str, directory: str) -> None:
        data = Path(directory).resolve() / "wandb"
        data.mkdir(parents=True, exist_ok=True)
        # Else artifacts are staged in the home folder.
        os.environ.setdefault("WANDB_DATA_DIR", str(data))
        import wandb

        in_sweep = bool(os.environ.get("WANDB_SWEEP_ID"))  # the agent gives the id then
        name = " ".join(run.storage.uri.rsplit("/", 1)[-1] for run in self._runs)
        self._run = wandb.init(
            mode=self.mode,  # type: ignore[arg-type]
            project=self._config.project,
            entity=self._config.entity or None,
            group=self._config.group or group,
            tags=list(self._config.tags),
            id=None if in_sweep else self.run_id,
            name=name[:128],
            resume="allow",
            dir=directory,
            config=settings | {"runs": [run.storage.uri for run in self._runs]},
            settings=wandb.Settings(
                console="off", silent=True, init_timeout=30.0, finish_timeout=300.0
            ),
        )

    def _emit(self, event: dict[str, Any]) -> None:
        if event["event"] == "block":
            for key in ("n_generations", "n_tokens", "gpu_s", "bad"):
                self._totals[key] = self._totals.get(key, 0.0) + float(event.get(key) or 0)
        elif event["event"] == "warning":
            self._totals["warnings"] = self._totals.get("warnings", 0.0) + 1
        elif event["event"] == "progress":
            stages = event["progress"]
            over = all(row["done"] >= row["total"] for row in stages.values())
            if not over and time.monotonic() - self._logged < _LOG_EVERY_S:
                return
            self._logged = time.monotonic()
            row = {
                f"{stage}/{key}": value
                for stage, fields in stages.items()
                for key, value in fields.items()
                if isinstance(value, int | float)
            }
            self._run.log(row | {f"total/{k}": v for k, v in self._totals.items()})

    def _entries(self) -> list[dict[str, Any]]:
        """Returns the summary entries of this invocation's cells."""
        found = []
        for run in self._runs:
            try:
                cells = run.storage.read_json("summary.json")["cells"]
            except FileNotFoundError:
                continue
            found += [c | {"run": run.storage.uri} for c in cells if c["cell"] in self._cells]
        return found

    def _metrics(self) -> None:
        """Final numbers: plain names for a single cell, `<cell>/…` for several."""
        entries = self._entries()
        for entry in entries:
            prefix = f"{entry['cell']}/" if len(entries) > 1 else ""
            values: dict[str, Any] = {name: entry.get(name) for name in _SCALARS}
            for name in _CURVES:
                curve = entry.get(name) or {}
                values |= {f"{name}/{k}": value for k, value in curve.items()}
                if curve:
                    last = max(curve, key=int)
                    values[name] = curve[last]
                    values[f"{name}_low"], values[f"{name}_high"] = entry[f"{name}_interval"][last]
            values |= {f"programs/{k}": v for k, v in (entry.get("programs") or {}).items()}
            values |= {f"statuses/{k}": v for k, v in (entry.get("statuses") or {}).items()}
            self._run.summary.update(
                {prefix + key: value for key, value in values.items() if value is not None}
            )

    def _table(self) -> None:
        """At most `max_table_problems` problems, spread evenly over the cells' shards."""
        import wandb

        rows: list[Any] = []
        shards = [
            (run.cell(cell), cell, name)
            for run in self._runs
            for cell in sorted(self._cells)
            for name in run.cell(cell).names("problems", ".arrow")
        ]
        limit = min(self._config.max_table_problems, 1000)
        for i, (storage, cell, name) in enumerate(shards):
            share = limit * (i + 1) // len(shards) - limit * i // len(shards)
            if share:
                batch = pa.ipc.open_stream(storage.buffer(f"problems/{name}")).read_all()
                step = max(1, batch.num_rows // share)
                picked = batch.take(list(range(0, batch.num_rows, step))[:share])
                rows += [
                    [cell, *(row[column] for column in _TABLE)]
                    for row in picked.select(_TABLE).to_pylist()
                ]
        if rows:
            self._run.log({"problems": wandb.Table(columns=["cell", *_TABLE], data=rows)})

    def _pictures(self) -> None:
        import wandb

        if self._figures is None:
            return
        for run in self._runs:
            pictures = self._figures(run.storage.uri)
            if pictures:
                self._run.log({f"figures/{k}": wandb.Image(str(v)) for k, v in pictures.items()})

    def _artifacts(self) -> None:
        """References to the shards; nothing is copied or read."""
        import wandb

        for run in self._runs:
            key = run.read()["fingerprint"]
            folders = {"generations": "generations"}
            folders |= {f"cells/{cell}/results": "results" for cell in sorted(self._cells)}
            for folder, kind in folders.items():
                names = run.storage.names(folder, ".arrow")
                if not names:
                    continue
                artifact = wandb.Artifact(
                    f"{kind}-{key}" if kind == "generations" else f"results-{folder.split('/')[1]}",
                    type=kind,
                    metadata={"run": run.storage.uri, "n_shards": len(names)},
                )
                base = f"{_uri(run.storage.uri)}/{folder}"
                if len(names) > _MAX_REFERENCES:
                    artifact.add_reference(base, name=folder, checksum=False)
                else:
                    for name in names:
                        artifact.add_reference(f"{base}/{name}", name=name, checksum=False)
                self._run.log_artifact(artifact)


def _uri(folder: str) -> str:
    return folder if "://" in folder else Path(folder).resolve().as_uri()
