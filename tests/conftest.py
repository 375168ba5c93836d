"""What every test may rely on: quiet libraries without network, and the shared fixtures.

The environment is set when this file is read, before any test module imports Ray, vLLM, wandb
or the hub client, because these read it at import.
"""

import os
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest

ROOT = Path(__file__).resolve().parents[1]

ENVIRONMENT = {
    "RAY_AUTH_MODE": "disabled",  # else ray.init may write a token into the home folder
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_DEDUP_LOGS": "0",
    "RAY_worker_niceness": "0",  # Ray's workers start 15 nicer and starve on a busy machine
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # Ray's own default to be; silences a warning
    "RAY_DATA_DISABLE_PROGRESS_BARS": "1",
    "VLLM_NO_USAGE_STATS": "1",
    "VLLM_LOGGING_LEVEL": "WARNING",
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
    "VLLM_CPU_KVCACHE_SPACE": "1",
    "DO_NOT_TRACK": "1",
    "WANDB_MODE": "offline",
    "WANDB_SILENT": "true",
    "HF_HUB_OFFLINE": "1",
    "HF_DATASETS_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "OMP_NUM_THREADS": "1",
    "MPLBACKEND": "Agg",
}
os.environ.update(ENVIRONMENT)

# Seconds belong in benchmarks: a busy machine must not fail a property.
hypothesis.settings.register_profile("ppot", deadline=None)
hypothesis.settings.load_profile("ppot")


@pytest.fixture(scope="session")
def repository() -> Path:
    """The root of this checkout."""
    return ROOT


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of published benchmark files; the test is skipped where there is none."""
    folder = Path(os.environ.get("PPOT_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no benchmark files at {folder}; set PPOT_DATA to a folder that holds them")
    return folder


@pytest.fixture(scope="session")
def shared_vectors() -> Path:
    """The folder of reference vectors; the test is skipped where there is none."""
    folder = Path(os.environ.get("PPOT_VECTORS", ROOT.parent / "shared" / "vectors"))
    if not folder.is_dir():
        pytest.skip(f"no reference vectors at {folder}; set PPOT_VECTORS to a folder of them")
    return folder


@pytest.fixture(scope="session")
def bundled_model() -> Path:
    """The checkpoint that is shipped with the code."""
    folder = ROOT / "pipeline" / "model"
    if not (folder / "config.json").is_file():
        pytest.skip(f"no checkpoint at {folder}; train it with `python -m jobs.train_reference`")
    return folder


@pytest.fixture(scope="session")
def ray_local() -> Iterator[None]:
    """A Ray cluster of two CPUs on this machine, shared by the tests of a session."""
    import ray

    if not ray.is_initialized():
        ray.init(
            address="local",  # never a cluster that something else started on this machine
            num_cpus=2,
            num_gpus=0,
            object_store_memory=256 * 2**20,
            include_dashboard=False,
            log_to_driver=False,
            logging_level="error",
        )
    yield
    ray.shutdown()
