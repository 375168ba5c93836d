"""Streams blocks through the Ray actors: generate on GPUs, expand on CPUs, behind each other.

Shards are the interface: an item is a few hundred bytes of specification, the actors read and
write the run folder themselves, and a small record comes back. The driver holds no state that
is not in the run folder, so that the same command resumes wherever it was stopped.

The stages are coupled by files, not by memory: a slow CPU side lets shards pile up on disk and
never stalls a GPU, and a slow GPU side leaves CPU actors waiting without holding rows.
"""

import json
import logging
import os
import socket
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from pipeline.config import FlowConfig
from pipeline.shards import ShardError
from pipeline.todo import Plan
from pipeline.workers import Expand, Generate

_RAY_ENV = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_worker_niceness": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_DEDUP_LOGS": "0",
    "RAY_BACKEND_LOG_LEVEL": "fatal",
}
_WORKER_ENV = {
    "VLLM_NO_USAGE_STATS": "1",
    "DO_NOT_TRACK": "1",
    "VLLM_LOGGING_LEVEL": "WARNING",
    "OMP_NUM_THREADS": "1",
    "TOKENIZERS_PARALLELISM": "false",
}


class ClusterError(ValueError):
    """There is no Ray cluster where one is said to be; says where and what to do."""


def connect(flow: FlowConfig, need_gpus: float) -> None:
    """Connects to Ray, starting it on this machine unless an address is configured.

    Args:
        flow: where Ray is and how much of this machine to use.
        need_gpus: GPUs that one engine asks for. A machine without GPUs is given that many
            logical ones, so that the same scheduling path runs everywhere.
    """
    # Ray reads these when it is imported.
    os.environ.update({k: v for k, v in _RAY_ENV.items() if k not in os.environ})
    import ray

    if ray.is_initialized():
        return
    options: dict[str, Any] = {
        "logging_level": logging.ERROR,
        "log_to_driver": False,
        "include_dashboard": False,
        "runtime_env": {"env_vars": {k: os.environ.get(k, v) for k, v in _WORKER_ENV.items()}},
    }
    address = flow.ray_address or os.environ.get("RAY_ADDRESS", "")
    if address:
        options.pop("include_dashboard")
        _join(address, options)
        return
    options["address"] = "local"  # never a cluster that happens to run on this machine
    options["num_cpus"] = flow.num_cpus or os.cpu_count()
    # No dashboard reads the history of tasks here, and Ray keeps it in memory, shard by shard.
    options["_system_config"] = {"task_events_report_interval_ms": 0}
    if need_gpus and not _visible_gpus():
        options["num_gpus"] = max(1, int(need_gpus * max(1, flow.generate_actors)))
    os.environ.setdefault("RAY_AUTH_MODE", "disabled")
    _start_here(options)


def _join(address: str, options: dict[str, Any]) -> None:
    """Joins a running cluster. Raises: ClusterError if there is none."""
    import ray

    try:
        host, _, port = address.removeprefix("ray://").rpartition(":")
        if host and port.isdigit():  # Ray itself would wait for many minutes
            socket.create_connection((host, int(port)), timeout=20).close()
        ray.init(address=address, **options)
    except OSError as error:  # Ray's ConnectionError is one
        raise ClusterError(
            f"no Ray cluster answers at {address} ({error}); start it, or change "
            "flow.ray_address or RAY_ADDRESS (empty: Ray is started on this machine)"
        ) from error


class ClusterWatch:
    """Notices that the cluster's head is gone: Ray ends the driver's process then, unexplained."""

    def __init__(self, patience_s: float = 20.0) -> None:
        """Takes how long the head may be silent."""
        self._patience_s = patience_s
        self._heard = self._looked = time.monotonic()

    def lost(self) -> str:
        """Returns that the head does not answer any more, as a sentence; empty while it does."""
        import ray

        now = time.monotonic()
        if not ray.is_initialized() or now - self._looked < self._patience_s / 4:
            return ""
        self._looked = now
        address = ray.get_runtime_context().gcs_address
        host, _, port = address.rpartition(":")
        try:
            socket.create_connection((host, int(port)), timeout=5).close()
            self._heard = now
        except OSError:
            if now - self._heard > self._patience_s:
                return f"the Ray cluster at {address} is gone; start it again"
        return ""


def _start_here(options: dict[str, Any], attempts: int = 4) -> None:
    """Starts Ray on this machine, again if the machine is too busy for Ray's patience of 30 s."""
    import ray

    for attempt in range(attempts):
        try:
            ray.init(**options)
            return
        except Exception as error:
            ray.shutdown()
            if "timed out" not in str(error) or attempt == attempts - 1:
                raise


def _visible_gpus() -> int:
    return sum(name.startswith("nvidia") and name[6:].isdigit() for name in os.listdir("/dev"))


def stream(plans: list[Plan], items: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Runs the items through the actors and yields one record each, as they finish.

    All plans must share one model: an engine, once loaded, serves them all.
    """
    import ray

    flow = plans[0].config.flow
    model = plans[0].config.model
    _configure_ray_data(flow)
    dataset = ray.data.from_items(
        [{"item": json.dumps(item)} for item in items], override_num_blocks=len(items)
    )
    # Ray Data replaces dead actors and repeats what they were at, without end: `attempts`
    # finds what kills them.
    pool: dict[str, Any] = {"batch_size": 1, "batch_format": "numpy", "zero_copy_batch": False}
    n_generate = sum(item["generate"] is not None for item in items)
    if n_generate:
        dataset = dataset.map_batches(
            Generate,
            compute=_pool(flow.generate_actors, n_generate, lambda: _engines(model.num_gpus)),
            num_gpus=model.num_gpus,
            num_cpus=0 if model.num_gpus else 1,
            **pool,
        )
    if any(item["cells"] for item in items):
        dataset = dataset.map_batches(
            Expand,
            compute=_pool(flow.expand_actors, len(items), lambda: _cpus(not model.num_gpus)),
            num_cpus=1,
            **pool,
        )
    for batch in dataset.iter_batches(batch_size=1, batch_format="numpy", prefetch_batches=0):
        yield json.loads(str(batch["item"][0]))  # type: ignore[index]


def _configure_ray_data(flow: FlowConfig) -> None:
    """Makes Ray Data quiet, and stubborn about dying workers but not about our own errors."""
    from ray.data import DataContext

    context = DataContext.get_current()
    context.enable_progress_bars = False
    context.enable_operator_progress_bars = False
    context.max_consecutive_actor_init_deaths = flow.max_attempts
    context.execution_no_progress_timeout_s = -1  # one shard may take longer than any default
    logging.getLogger("ray.data").setLevel(logging.ERROR)


def _engines(per_engine: float) -> int:
    """Returns how many engines the nodes that are there hold.

    Raises: ShardError if they hold none.
    """
    import ray

    if not per_engine:
        return int(ray.cluster_resources().get("CPU", 1)) - 1 or 1
    gpus = [int(n["Resources"].get("GPU", 0)) for n in ray.nodes() if n["Alive"]]
    slots = engines_that_fit(per_engine, gpus)
    if not slots:
        raise ShardError(
            f"the model asks for {per_engine:g} GPU per engine, and the nodes have "
            f"{max(gpus, default=0)} at most; set model.num_gpus=0 for a CPU engine, add GPUs, "
            "or tell a cluster that adds them by itself how many engines to make room for: "
            "flow.generate_actors=N"
        )
    return slots


def engines_that_fit(per_engine: float, gpus: Iterable[int]) -> int:
    """Returns how many engines fit: none spans two nodes, and a fraction of a GPU is of one.

    Args:
        per_engine: GPUs of an engine, above 0.
        gpus: of each node.

    >>> engines_that_fit(2, [1, 1, 4]), engines_that_fit(0.4, [1, 1]), engines_that_fit(0.1, [1])
    (2, 4, 10)
    """
    if per_engine < 1:
        return sum(gpus) * int(1 / per_engine + 1e-9)
    return sum(int(count / per_engine) for count in gpus)


def _cpus(engine_too: bool) -> int:
    """Returns how many CPU workers the nodes that are there hold beside a CPU engine."""
    import ray

    return int(ray.cluster_resources().get("CPU", 1)) - engine_too


def _pool(configured: int, n_items: int, slots: Callable[[], int]) -> Any:
    """Returns a fixed pool when configured, else one that scales from 1 to what fits.

    A cluster that grows by itself is asked for all of a fixed pool at once, and work begins with
    the first actor; what is not there yet counts for nothing in a pool that scales.
    """
    from ray.data import ActorPoolStrategy

    if configured:
        return ActorPoolStrategy(size=min(configured, max(1, n_items)))
    return ActorPoolStrategy(min_size=1, max_size=max(1, min(slots(), n_items)))
