"""A run folder has one driver at a time."""

import json
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from pipeline import hold
from pipeline.hold import HELD, held
from pipeline.storage import Storage


def test_a_second_driver_waits_for_the_first_and_says_for_whom(tmp_path: Path) -> None:
    storage, order, said = Storage(tmp_path), [], []

    def second() -> None:
        with held([storage], said.append):
            order.append("second")

    with held([storage], said.append):
        thread = threading.Thread(target=second)
        thread.start()
        deadline = time.monotonic() + 30
        while not said and time.monotonic() < deadline:
            time.sleep(0.05)
        order.append("first")
    thread.join(20)
    assert order == ["first", "second"]
    (sentence,) = said
    assert "is being worked on by process" in sentence
    assert not storage.exists(HELD)


def test_a_driver_that_was_killed_stands_in_nobodys_way(tmp_path: Path) -> None:
    code = (
        "import os, signal\n"
        "from pipeline.hold import held\n"
        "from pipeline.storage import Storage\n"
        f"with held([Storage({str(tmp_path)!r})], print):\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[1])
    assert (tmp_path / HELD).exists()
    said: list[str] = []
    with held([Storage(tmp_path)], said.append):
        assert said == []


def test_a_driver_elsewhere_is_gone_when_it_no_longer_beats(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hold, "SILENT_S", 1.5)
    storage = Storage(tmp_path)
    other = {"id": "x", "machine": "elsewhere", "pid": 1, "born": 0.0, "beats": 1}
    storage.write_json(HELD, other)
    said: list[str] = []
    started = time.monotonic()
    with held([storage], said.append):
        assert time.monotonic() - started >= 1.5
        assert json.loads((tmp_path / HELD).read_text())["id"] != "x"
    assert "process 1 on elsewhere" in said[0]


def test_two_drivers_of_two_folders_do_not_wait_for_each_other(tmp_path: Path) -> None:
    folders = [Storage(tmp_path / "a"), Storage(tmp_path / "b")]
    finished: list[int] = []

    def drive(number: int) -> None:
        with held(folders[:: 1 if number else -1], lambda _: None):
            time.sleep(0.2)
            finished.append(number)

    threads = [threading.Thread(target=drive, args=(number,)) for number in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert sorted(finished) == [0, 1]
