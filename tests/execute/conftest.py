"""Sandboxes for the tests: small limits, so that hostile programs end soon."""

from collections.abc import Iterator

import pytest

from pipeline.execute.config import HARNESSES, ExecuteConfig, Limits
from pipeline.execute.sandbox import Sandbox


def small_config(**settings: object) -> ExecuteConfig:
    limits = Limits(cpu_s=0.5, wall_s=5.0, memory_mib=256, output_kib=64, value_kib=64)
    chosen = dict.fromkeys(HARNESSES, limits) | {
        "figure": Limits(cpu_s=20.0, wall_s=120.0, memory_mib=2048, value_kib=4096)
    }
    return ExecuteConfig(**(chosen | settings))  # type: ignore[arg-type]


@pytest.fixture(scope="session")
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(small_config()) as running:
        yield running
