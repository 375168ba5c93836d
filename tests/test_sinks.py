"""The W&B sink is checked by reading back the file that an offline run leaves."""

import json
import logging
import struct
import time
from pathlib import Path
from types import SimpleNamespace

import pyarrow as pa
import pytest

from pipeline import schema
from pipeline.run import RunFolder
from pipeline.shards import write_shard
from pipeline.sinks import WandbSink, wandb_mode
from pipeline.storage import Storage
from pipeline.vote.vote import problem_row


def read_offline_run(folder, patience_s=30.0):
    """Returns the records of an offline run; W&B's own process writes the last ones late."""
    started = time.monotonic()
    while True:
        records = list(offline_records(folder))
        finished = any(r.WhichOneof("record_type") == "exit" for r in records)
        if finished or time.monotonic() - started > patience_s:
            return records
        time.sleep(0.05)


def offline_records(folder):
    """Yields the protobuf records of the .wandb file: LevelDB's log format, 32 KiB blocks."""
    from wandb.proto import wandb_internal_pb2

    (path,) = Path(folder).glob("**/*.wandb")
    data, at, parts = path.read_bytes(), 7, []
    while at + 7 <= len(data):
        if 32768 - at % 32768 < 7:
            at += 32768 - at % 32768
            continue
        _, length, kind = struct.unpack("<IHB", data[at : at + 7])
        parts.append(data[at + 7 : at + 7 + length])
        at += 7 + length
        if kind in (1, 4):
            record = wandb_internal_pb2.Record()
            record.ParseFromString(b"".join(parts))
            parts = []
            yield record


def settings(**changes):
    fields = {
        "wandb": "offline",
        "project": "test",
        "entity": "",
        "group": "",
        "tags": ["toy"],
        "max_table_problems": 3,
    }
    return SimpleNamespace(**fields | changes)


def result(problem, right):
    return {
        "problem_id": problem,
        "generation_index": 0,
        "variant_index": 0,
        "program_hash": problem,
        "logprob": 0.0,
        "n_drawn": 0,
        "reject": None,
        "status": "ok",
        "answer": "1",
        "correct": right,
    }


@pytest.fixture
def run(tmp_path):
    folder = RunFolder(Storage(tmp_path / "runs" / "toy" / "model-task-abc"))
    folder.open("toy", "abc", {"seed": 0})
    rows = [problem_row([result(f"p{i}", i % 2 == 0)]) for i in range(10)]
    table = pa.Table.from_pylist(rows, schema=schema.PROBLEM)
    write_shard(folder.cell("c1"), "problems/block-00000.arrow", table, "c1")
    empty = schema.RESULT.empty_table()
    write_shard(folder.cell("c1"), "results/block-00000.arrow", empty, "c1")
    write_shard(folder.generations, "block-00000.arrow", schema.GENERATION.empty_table(), "abc")
    entry = {
        "cell": "c1",
        "k": 2,
        "m": 5,
        "pass_at_k": {"1": 0.25, "2": 0.5},
        "pass_at_k_interval": {"1": [0.1, 0.4], "2": [0.3, 0.7]},
        "gpu_s": 12.0,
        "programs": {"drawn": 50, "distinct": 40, "executed": 40},
        "statuses": {"ok": 38, "timeout": 2},
    }
    folder.storage.write_json("summary.json", {"cells": [entry, entry | {"cell": "other"}]})
    return folder


PROGRESS = {"expand": {"done": 1, "total": 2, "unit": "blocks", "rate": 3.5, "left_s": None}}


@pytest.fixture
def no_wandb_environment(monkeypatch, tmp_path):
    for name in ("WANDB_MODE", "WANDB_API_KEY", "WANDB_SWEEP_ID", "WANDB_DATA_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "no-netrc"))
    monkeypatch.setenv("WANDB_DATA_DIR", str(tmp_path / "wandb"))


def test_an_offline_run_holds_config_progress_metrics_table_figures_and_references(
    run, tmp_path, no_wandb_environment
):
    picture = tmp_path / "figure.png"
    from PIL import Image

    Image.new("RGB", (4, 4)).save(picture)
    sink = WandbSink(
        settings(),
        [run],
        ["c1"],
        {"task": {"name": "toy"}},
        group="sweep-1",
        figures=lambda uri: {"accuracy": picture},
        directory=str(tmp_path),
    )
    sink.emit({"time": 0.0, "event": "block", "gpu_s": 2.5, "n_tokens": 100})
    sink.emit({"time": 0.0, "event": "progress", "progress": PROGRESS})
    run_id = sink.run_id
    sink.close("complete")

    records = read_offline_run(tmp_path)
    (started,) = [r.run for r in records if r.WhichOneof("record_type") == "run"]
    assert (started.run_id, started.project, started.run_group) == (run_id, "test", "sweep-1")
    config = {u.key: json.loads(u.value_json) for u in started.config.update}
    assert config["task"] == {"name": "toy"} and config["runs"] == [run.storage.uri]

    history, summary = {}, {}
    for record in records:
        for item in record.history.item:
            history[item.key or "/".join(item.nested_key)] = json.loads(item.value_json)
        for item in record.summary.update:
            summary[item.key or "/".join(item.nested_key)] = json.loads(item.value_json)
    assert history["expand/done"] == 1 and history["expand/rate"] == 3.5
    assert history["total/gpu_s"] == 2.5 and history["total/n_tokens"] == 100
    assert history["problems/nrows"] == 3
    assert history["figures/accuracy/_type"] == "image-file"
    assert summary["pass_at_k"] == 0.5 and summary["pass_at_k_low"] == 0.3
    assert summary["pass_at_k/1"] == 0.25 and summary["statuses/timeout"] == 2
    assert summary["status"] == "complete"
    assert not any(key.startswith("other") for key in summary)

    references = {}
    for record in records:
        artifact = record.artifact
        if record.WhichOneof("record_type") == "request":
            artifact = record.request.log_artifact.artifact
        if artifact.type in ("generations", "results"):
            references[artifact.type] = [entry.ref for entry in artifact.manifest.contents]
    base = Path(run.storage.uri).as_uri()
    assert references["generations"] == [f"{base}/generations/block-00000.arrow"]
    assert references["results"] == [f"{base}/cells/c1/results/block-00000.arrow"]


def test_the_same_folders_and_cells_resume_the_same_wandb_run(run, monkeypatch):
    ids = [
        WandbSink(settings(wandb="disabled"), [run], cells, {}, "g").run_id
        for cells in (["c1", "c2"], ["c2", "c1"], ["c1"])
    ]
    assert ids[0] == ids[1] != ids[2]


def test_online_without_a_key_is_offline_and_disabled_stays_disabled(
    monkeypatch, no_wandb_environment
):
    assert wandb_mode("online") == "offline"
    assert wandb_mode("disabled") == "disabled"
    monkeypatch.setenv("WANDB_API_KEY", "x" * 40)
    assert wandb_mode("online") == "online"
    monkeypatch.setenv("WANDB_MODE", "offline")
    assert wandb_mode("online") == "offline"
    monkeypatch.setenv("WANDB_MODE", "online")
    assert wandb_mode("disabled") == "disabled"


def test_a_failure_of_wandb_is_a_warning_and_the_run_goes_on(
    run, monkeypatch, caplog, tmp_path, no_wandb_environment
):
    import wandb

    def broken(**_):
        raise ConnectionError("no route")

    monkeypatch.setattr(wandb, "init", broken)
    with caplog.at_level(logging.WARNING):
        sink = WandbSink(settings(), [run], ["c1"], {}, "g", directory=str(tmp_path))
        sink.emit({"time": 0.0, "event": "progress", "progress": PROGRESS})
        sink.close("complete")
    assert "no route" in caplog.text and "the run goes on" in caplog.text


def test_a_figure_that_cannot_be_drawn_loses_only_the_figure(
    run, tmp_path, no_wandb_environment, monkeypatch
):
    def broken(uri):
        raise RuntimeError("no font")

    # Not caplog: libraries that other tests load set up logging for the whole process.
    said: list[str] = []
    log = logging.getLogger("pipeline.sinks")
    monkeypatch.setattr(log, "warning", lambda message, *args: said.append(message % args))
    sink = WandbSink(settings(), [run], ["c1"], {}, "g", figures=broken, directory=str(tmp_path))
    sink.close("failed")
    assert any("no font" in line for line in said)
    kinds = {r.WhichOneof("record_type") for r in read_offline_run(tmp_path)}
    assert {"run", "exit"} <= kinds
