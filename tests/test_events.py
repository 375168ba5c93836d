"""Events are lines of JSON; in object storage they neither get lost nor are written twice over."""

import json
from pathlib import Path

import pytest

from pipeline import events
from pipeline.events import JsonlSink, event_files, read_events
from pipeline.run import RunFolder
from pipeline.storage import Storage


@pytest.fixture
def bucket(tmp_path: Path) -> RunFolder:
    return RunFolder(Storage(f"memory://bucket-{tmp_path.name}/run"))


def names(run: RunFolder) -> list[str]:
    return [event["event"] for event in read_events(run.storage)]


def test_events_are_lines_of_json_and_another_runs_events_are_left_out(tmp_path: Path) -> None:
    run = RunFolder(Storage(tmp_path))
    sink = JsonlSink(run)
    sink.emit({"time": 1.0, "event": "start"})
    sink.emit({"time": 2.0, "event": "block", "run": "elsewhere"})
    sink.emit({"time": 3.0, "event": "block", "run": run.storage.uri, "text": "ü\n"})
    sink.close("complete")
    lines = Path(run.storage.path("events.jsonl")).read_text().splitlines()
    found = [json.loads(line) for line in lines]
    assert [e["event"] for e in found] == ["start", "block", "close"]
    assert found[1]["text"] == "ü\n" and found[2]["status"] == "complete"


def test_a_line_that_was_cut_off_does_not_take_the_next_one_with_it(tmp_path: Path) -> None:
    run = RunFolder(Storage(tmp_path))
    JsonlSink(run).emit({"event": "start"})
    with open(run.storage.path("events.jsonl"), "ab") as file:
        file.write(b'{"event": "bl')  # a full disk, or kill -9
    JsonlSink(run).emit({"event": "again"})
    assert names(run) == ["start", "again"]


def test_events_of_a_resumed_run_are_appended_in_object_storage_too(bucket: RunFolder) -> None:
    for name in ("first", "second"):
        sink = JsonlSink(bucket)
        sink.emit({"time": 0.0, "event": name})
        sink.close("complete")
    lines = bucket.storage.read_bytes("events.jsonl").splitlines()
    assert [json.loads(line)["event"] for line in lines] == ["first", "close", "second", "close"]


def test_each_event_is_uploaded_once_and_a_killed_driver_loses_none_of_them(
    bucket: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events, "_UPLOAD_EVERY_S", 0.0)
    killed = JsonlSink(bucket)
    for name in ("first", "second", "third"):
        killed.emit({"event": name})
    parts = event_files(bucket.storage)[1:]
    assert [len(bucket.storage.read_bytes(p).splitlines()) for p in parts] == [1, 1, 1]
    assert names(bucket) == ["first", "second", "third"]
    JsonlSink(bucket).close("complete")
    assert event_files(bucket.storage) == ["events.jsonl"]
    assert names(bucket) == ["first", "second", "third", "close"]
