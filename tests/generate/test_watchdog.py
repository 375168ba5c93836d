import logging
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from pipeline.generate.watchdog import EXIT_CODE, Watchdog

ROOT = Path(__file__).parents[2]


@pytest.fixture
def ended() -> list[int]:
    return []


def wait_for(condition: list[int], timeout_s: float = 10) -> bool:
    deadline = time.monotonic() + timeout_s
    while not condition and time.monotonic() < deadline:
        time.sleep(0.01)
    return bool(condition)


def test_silence_while_at_work_ends_the_process(
    ended: list[int], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.CRITICAL):
        watchdog = Watchdog(0.05, ended.append, poll_s=0.02)
        with watchdog.working():
            assert wait_for(ended)
    assert ended == [EXIT_CODE]
    assert "the engine has made no step" in caplog.text


def test_silence_between_pieces_of_work_is_no_hang(ended: list[int]) -> None:
    watchdog = Watchdog(0.05, ended.append, poll_s=0.02)
    with watchdog.working():
        pass
    time.sleep(0.3)
    watchdog.close()
    assert ended == []


def test_beats_keep_a_long_piece_of_work_alive(ended: list[int]) -> None:
    watchdog = Watchdog(5.0, ended.append, poll_s=0.02)
    with watchdog.working():
        for _ in range(10):
            time.sleep(0.03)
            watchdog.beat()
    watchdog.close()
    assert ended == []


def test_a_child_that_ends_ends_the_process(ended: list[int]) -> None:
    import multiprocessing

    child = multiprocessing.get_context("spawn").Process(target=time.sleep, args=(60,))
    child.start()
    Watchdog(0, ended.append, poll_s=0.02)
    assert child.pid is not None
    os.kill(child.pid, signal.SIGKILL)
    assert wait_for(ended)
    assert ended == [EXIT_CODE]


SCRIPT = """
import logging
from pipeline.generate.config import GenerateConfig, ModelConfig, PromptConfig
from pipeline.generate.engine import Request, make_engine

if __name__ == "__main__":
    logging.basicConfig(level="ERROR")
    options = {"distributed_executor_backend": "uni"}
    model = ModelConfig("tiny", MODEL, dtype="float32", kv_cache_gib=0.25, options=options)
    sampling = GenerateConfig(n=1, temperature=1.0, max_tokens=150)
    engine = make_engine(model, sampling, PromptConfig())
    print("ready", flush=True)
    while True:
        engine.generate([Request("p", "toy", "", "x", range(500))])
"""


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("victim", ["engine core", "caller"])
def test_neither_engine_core_nor_caller_outlives_the_other(tiny_llama: Path, victim: str) -> None:
    environment = os.environ | {"VLLM_ENABLE_V1_MULTIPROCESSING": "1", "PYTHONPATH": str(ROOT)}
    path = tiny_llama.parent / "engine_in_a_process.py"
    path.write_text(SCRIPT.replace("MODEL", repr(str(tiny_llama))))
    with subprocess.Popen(
        [sys.executable, str(path)],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=(tiny_llama.parent / "errors").open("w"),
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            assert any(line.startswith("ready") for line in process.stdout)
            children = psutil.Process(process.pid).children()
            (core,) = [child for child in children if "EngineCore" in " ".join(child.cmdline())]
            (core if victim == "engine core" else psutil.Process(process.pid)).kill()
            process.wait(timeout=60)
            psutil.wait_procs([core], timeout=30)
        finally:
            process.kill()
    assert not core.is_running() or core.status() == psutil.STATUS_ZOMBIE
    if victim == "engine core":
        errors = (tiny_llama.parent / "errors").read_text()
        # Who notices first, the watchdog or the caller that asks the dead core, is a race.
        noticed = {EXIT_CODE: "the engine's process", 1: "EngineError: vLLM died"}
        assert noticed[process.returncode] in errors, errors[-2000:]
