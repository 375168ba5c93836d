"""Shards survive what file systems do, and say what is wrong with them."""

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pytest
from datasets import load_from_disk

from pipeline.schema import GENERATION, VOCABULARY
from pipeline.shards import (
    ShardError,
    check_manifest,
    discard_lost,
    read_manifest,
    read_manifests,
    read_shard,
    read_vocabulary,
    write_dataset_index,
    write_shard,
    write_vocabulary,
)
from pipeline.storage import Storage, StorageError


def rows(n: int) -> pa.Table:
    return pa.Table.from_pylist(
        [
            {
                "problem_id": f"p{i}",
                "generation_index": 0,
                "text": "x = 1",
                "token_ids": [1, 2],
                "tokens": [b"x =", b" 1"],
                "logprobs": [-0.5, -0.25],
                "candidate_ids": [1, 2],
                "candidate_logprobs": [-0.5, -1.0, -2.0, -0.25],
            }
            for i in range(n)
        ],
        schema=GENERATION,
    )


def test_a_shard_reads_back_as_written(tmp_path: Path) -> None:
    storage = Storage(tmp_path)
    written = write_shard(storage, "a.arrow", rows(5), "f", {"block": 0}, {"n_tokens": 10})
    found = read_manifest(storage, "a.arrow")
    assert found == written
    assert read_shard(storage, written, GENERATION).equals(rows(5))


def test_shards_that_the_disk_has_lost_are_marked_undone(tmp_path: Path) -> None:
    storage = Storage(tmp_path)
    kept, cut, gone = (
        write_shard(storage, f"{name}.arrow", rows(4), "f") for name in ("kept", "cut", "gone")
    )
    (tmp_path / "cut.arrow").write_bytes((tmp_path / "cut.arrow").read_bytes()[:-1])
    (tmp_path / "gone.arrow").unlink()
    said = discard_lost(storage, [kept, cut, gone], ("manifests",))
    assert [m.name for m in read_manifests(storage)] == ["kept.arrow"]
    assert f"cut.arrow is torn: {cut.n_bytes - 1} of {cut.n_bytes} bytes" in said[0]
    assert "gone.arrow is missing" in said[1]


def test_a_stream_cut_at_a_batch_boundary_is_torn(tmp_path: Path) -> None:
    storage = Storage(tmp_path)
    manifest = write_shard(storage, "a.arrow", rows(4), "f")
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, GENERATION) as writer:
        writer.write_table(rows(2))
    (tmp_path / "a.arrow").write_bytes(sink.getvalue().to_pybytes())
    with pytest.raises(ShardError, match=r"a\.arrow is torn"):
        read_shard(storage, manifest, GENERATION)


def test_one_flipped_byte_is_torn(tmp_path: Path) -> None:
    storage = Storage(tmp_path)
    manifest = write_shard(storage, "a.arrow", rows(4), "f")
    data = bytearray((tmp_path / "a.arrow").read_bytes())
    data[-40] ^= 1
    (tmp_path / "a.arrow").write_bytes(bytes(data))
    with pytest.raises(ShardError, match="torn"):
        read_shard(storage, manifest, GENERATION)


def test_a_missing_or_empty_file_is_named(tmp_path: Path) -> None:
    storage = Storage(tmp_path)
    manifest = write_shard(storage, "a.arrow", rows(1), "f")
    (tmp_path / "a.arrow").write_bytes(b"")
    with pytest.raises(ShardError, match=r"a\.arrow"):
        read_shard(storage, manifest, GENERATION)
    (tmp_path / "a.arrow").unlink()
    with pytest.raises(ShardError, match="missing"):
        read_shard(storage, manifest, GENERATION)


def test_a_shard_of_another_configuration_or_version_is_refused(tmp_path: Path) -> None:
    storage = Storage(tmp_path)
    manifest = write_shard(storage, "a.arrow", rows(1), "mine", {"block": 1})
    check_manifest(storage, manifest, "mine", {"block": 1})
    with pytest.raises(ShardError, match="configuration mine, this run is yours"):
        check_manifest(storage, manifest, "yours")
    with pytest.raises(ShardError, match="other inputs"):
        check_manifest(storage, manifest, "mine", {"block": 2})
    with pytest.raises(ShardError, match="schema version 99"):
        check_manifest(storage, dataclasses.replace(manifest, schema_version=99), "mine")


def test_another_schema_is_refused(tmp_path: Path) -> None:
    storage = Storage(tmp_path)
    manifest = write_shard(storage, "a.arrow", pa.table({"x": [1]}), "f")
    with pytest.raises(ShardError, match="another schema"):
        read_shard(storage, manifest, GENERATION)


def test_a_torn_manifest_is_an_error_that_names_it(tmp_path: Path) -> None:
    storage = Storage(tmp_path)
    write_shard(storage, "a.arrow", rows(1), "f")
    (tmp_path / "manifests/a.json").write_text('{"name": "a.ar')
    with pytest.raises(StorageError, match=r"manifests/a\.json is not JSON"):
        read_manifest(storage, "a.arrow")
    (tmp_path / "manifests/a.json").write_text(json.dumps({"foreign": 1}))
    with pytest.raises(ShardError, match="foreign"):
        read_manifest(storage, "a.arrow")


def test_manifests_come_in_order_from_a_disk_and_from_object_storage(tmp_path: Path) -> None:
    for uri in (str(tmp_path), f"memory://ppot-shards-{tmp_path.name}"):
        storage = Storage(uri)
        for index in reversed(range(70)):
            write_shard(storage, f"block-{index:05d}.arrow", rows(1), "key", {"block": index})
        found = read_manifests(storage)
        assert [manifest.inputs["block"] for manifest in found] == list(range(70))


def test_datasets_opens_the_folder_as_it_is(tmp_path: Path) -> None:
    storage = Storage(tmp_path)
    write_shard(storage, "a.arrow", rows(3), "f")
    write_shard(storage, "b.arrow", rows(2), "f")
    write_dataset_index(storage, read_manifests(storage))
    dataset = load_from_disk(str(tmp_path))
    assert len(dataset) == 5
    assert dataset[3]["tokens"] == [b"x =", b" 1"]
    assert dataset.features.arrow_schema.names == GENERATION.names


def test_the_vocabulary_reads_back(tmp_path: Path) -> None:
    storage = Storage(tmp_path)
    table = pa.table({"token_id": pa.array([3, 5], pa.int32()), "token": [b" +", b"\xc3"]})
    write_vocabulary(storage, table)
    assert read_vocabulary(storage).to_pydict() == {"token_id": [3, 5], "token": [b" +", b"\xc3"]}
    with pytest.raises(ShardError, match=r"vocabulary\.arrow is missing"):
        read_vocabulary(Storage(tmp_path / "elsewhere"))


KILLED_WRITER = """
import os, signal, sys
import pyarrow as pa
from pipeline.schema import VOCABULARY
from pipeline.shards import write_shard
from pipeline.storage import Storage

folder, left = sys.argv[1], int(sys.argv[2])

def dying(call):
    def wrapped(*arguments):
        global left
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        left -= 1
        return call(*arguments)
    return wrapped

os.fsync, os.replace = dying(os.fsync), dying(os.replace)
table = pa.table({"token_id": [1], "token": [b"x"]}, schema=VOCABULARY)
write_shard(Storage(folder), "block-00000.arrow", table, "key")
"""


def test_a_writer_killed_at_any_step_leaves_a_shard_that_is_whole_or_undone(tmp_path: Path) -> None:
    """Steps: sync and rename of the data, sync and rename of the manifest."""
    storage = Storage(tmp_path)
    for step in range(5):
        command = [sys.executable, "-c", KILLED_WRITER, str(tmp_path), str(step)]
        done = subprocess.run(command, cwd=Path(__file__).parents[1])
        manifest = read_manifest(storage, "block-00000.arrow")
        assert (manifest is not None) == (done.returncode == 0) == (step == 4)
        assert set(storage.names()) <= {"block-00000.arrow", "manifests"}
    (manifest,) = read_manifests(storage)
    assert read_shard(storage, manifest, VOCABULARY).num_rows == 1
