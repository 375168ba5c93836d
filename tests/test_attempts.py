"""A problem that kills its worker is found and set aside."""

import logging
import os
import socket
from pathlib import Path

import pytest

from pipeline.attempts import (
    DEADLY,
    Attempts,
    bad_rows,
    forgive,
    quarantine,
    told_to_end,
)
from pipeline.storage import Storage


class Killed(BaseException):
    """Stands for kill -9: nothing after it runs."""


def run_once(storage: Storage, problems: list[str], deadly: set[str]) -> tuple[list[str], list]:
    attempts = Attempts(storage, "stage-block", limit=2)

    def do(ids: list[str]) -> str:
        if deadly & set(ids):
            raise Killed
        return "+".join(ids)

    done, poison = attempts.work(problems, do)
    attempts.done()
    return done, list(poison)


def test_healthy_work_is_done_at_once_and_leaves_no_note(tmp_path: Path) -> None:
    storage = Storage(tmp_path)
    assert run_once(storage, ["a", "b"], set()) == (["a+b"], [])
    assert storage.names("attempts") == []


def test_two_poison_problems_are_found_and_the_others_done(tmp_path: Path) -> None:
    storage = Storage(tmp_path)
    deaths = 0
    while True:
        try:
            done, poison = run_once(storage, ["a", "bad", "b", "worse", "c"], {"bad", "worse"})
            break
        except Killed:
            deaths += 1
            assert deaths < 10
    assert done == ["a", "b", "c"]
    assert poison == ["bad", "worse"]
    assert deaths == 4  # two of the whole block, one per culprit


def test_a_death_that_was_not_the_problems_fault_costs_nothing(tmp_path: Path) -> None:
    storage = Storage(tmp_path)
    with pytest.raises(Killed):
        run_once(storage, ["a", "b"], {"a"})
    assert run_once(storage, ["a", "b"], set()) == (["a+b"], [])


def test_quarantine_replaces_and_clears(tmp_path: Path) -> None:
    storage = Storage(tmp_path)
    quarantine(storage, "s", [{"problem_id": "a"}, {"problem_id": "b"}])
    assert storage.read_bytes("quarantine/s.jsonl").count(b"\n") == 2
    quarantine(storage, "s", [])
    assert storage.names("quarantine") == []


def test_a_problem_that_raises_is_left_out_with_its_traceback(tmp_path: Path) -> None:
    def do(ids: list[str]) -> str:
        if "bad" in ids:
            raise KeyError("no such field")
        return "+".join(ids)

    attempts = Attempts(Storage(tmp_path), "s", limit=3)
    done, left_out = attempts.work(["a", "bad", "c"], do)
    assert done == ["a", "c"]
    rows = bad_rows("expand", left_out, range(2))
    assert [(r["problem_id"], r["generation_index"]) for r in rows] == [("bad", 0), ("bad", 1)]
    assert rows[0]["reason"] == "KeyError: 'no such field'"
    assert "Traceback" in rows[0]["traceback"]


def test_what_fails_for_every_problem_is_no_problems_fault(tmp_path: Path) -> None:
    def do(ids: list[str]) -> str:
        raise TypeError("a bug")

    with pytest.raises(TypeError, match="a bug"):
        Attempts(Storage(tmp_path), "s", limit=3).work(["a", "b"], do)


def test_a_full_disk_is_not_blamed_on_a_problem(tmp_path: Path) -> None:
    calls = []

    def do(ids: list[str]) -> str:
        calls.append(ids)
        raise OSError("No space left on device")

    with pytest.raises(OSError, match="No space"):
        Attempts(Storage(tmp_path), "s", limit=3).work(["a", "b"], do)
    assert calls == [["a", "b"]]


def test_an_engine_that_dies_of_one_problem_is_not_started_forever(tmp_path: Path) -> None:
    class EngineDied(Exception):
        """After it the worker ends its process."""

    def do(ids: list[str]) -> str:
        if "bad" in ids:
            raise EngineDied
        return "+".join(ids)

    for _ in range(3):  # two of the whole block, one of the culprit
        with pytest.raises(EngineDied):
            Attempts(Storage(tmp_path), "s", limit=2).work(["a", "bad", "c"], do, (), (EngineDied,))
    attempts = Attempts(Storage(tmp_path), "s", limit=2)
    done, left_out = attempts.work(["a", "bad", "c"], do, (), (EngineDied,))
    assert done == ["a", "c"]
    assert left_out == {"bad": DEADLY}
    assert "3 earlier attempts did not finish" in attempts.note(left_out)


def begin(storage: Storage) -> Attempts:
    """Returns the note of an attempt whose worker dies in it, at a problem if one by one."""
    attempts = Attempts(storage, "stage-block", limit=2)

    def die(ids: list[str]) -> str:
        raise Killed

    with pytest.raises(Killed):
        attempts.work(["a", "b"], die)
    return attempts


def test_being_told_to_end_is_no_death_and_blames_no_problem(tmp_path: Path) -> None:
    storage = Storage(tmp_path)
    begin(storage)
    begin(storage)
    assert begin(storage).isolate
    told_to_end()
    after = Attempts(storage, "stage-block", limit=2)
    assert after.deaths == 2
    assert after.poison == []
    assert after.note({}).endswith("was told to end by SIGTERM)")


def test_a_stop_of_the_run_takes_the_attempts_back(tmp_path: Path) -> None:
    storage = Storage(tmp_path)
    for _ in range(5):
        begin(storage)
        forgive(storage)
    after = Attempts(storage, "stage-block", limit=2)
    assert (after.deaths, after.poison, after.isolate) == (0, [], False)
    assert "5 earlier attempts did not finish" in after.note({})
    assert "was stopped with the run" in after.note({})


def test_the_note_tells_what_was_logged_and_why_the_last_worker_ended_itself(
    tmp_path: Path,
) -> None:
    storage, log = Storage(tmp_path), logging.getLogger("pipeline.somewhere")
    begin(storage)
    log.critical("ended itself: the engine hangs")
    attempts = Attempts(storage, "stage-block", limit=3)
    log.warning("the fork server is replaced")
    attempts.done()
    log.warning("said between two units")
    note = attempts.note({})
    assert f"process {os.getpid()} on {socket.gethostname()} ended itself: the engine hangs" in note
    assert note.endswith("the fork server is replaced")
