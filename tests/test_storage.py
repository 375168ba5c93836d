"""Files are whole or not there, on local disks and behind fsspec."""

import errno
import os
import pickle
import time
from pathlib import Path
from typing import IO

import pytest

from pipeline.storage import Storage, StorageError


@pytest.fixture(params=["local", "memory"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Storage:
    if request.param == "local":
        return Storage(tmp_path)
    return Storage(f"memory://ppot-test-{tmp_path.name}/run")


def test_files_read_back_and_list(storage: Storage) -> None:
    storage.write_bytes("a/one.json", b"{}")
    storage.write_json("a/two.json", {"x": [1]})
    storage.write_bytes("a/three.txt", b"3")
    assert storage.names("a", ".json") == ["one.json", "two.json"]
    assert storage.read_json("a/two.json") == {"x": [1]}
    assert storage.buffer("a/three.txt").to_pybytes() == b"3"
    assert storage.exists("a/one.json")
    assert not storage.exists("a/four.json")
    assert storage.names("nowhere") == []


def test_deleting_what_is_not_there_is_fine(storage: Storage) -> None:
    storage.write_bytes("a/one", b"1")
    storage.delete("a/one")
    storage.delete("a/one")
    storage.delete("a")
    assert not storage.exists("a/one")


def test_a_missing_file_is_file_not_found(storage: Storage) -> None:
    with pytest.raises(FileNotFoundError):
        storage.read_json("none.json")


def test_a_sub_folder_and_a_pickled_copy_see_the_same_files(storage: Storage) -> None:
    storage.write_bytes("a/one", b"1")
    copy = pickle.loads(pickle.dumps(storage.sub("a")))
    assert copy.read_bytes("one") == b"1"


def test_a_full_disk_leaves_no_file_and_says_what_to_do(tmp_path: Path) -> None:
    storage = Storage(tmp_path)
    storage.write_bytes("shard", b"old")

    def emit(file: IO[bytes]) -> None:
        file.write(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(StorageError, match=r"No space left.*free space"):
        storage.write("shard", emit)
    assert storage.read_bytes("shard") == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["shard"]


def test_a_folder_under_a_file_is_not_writable(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="cannot write"):
        Storage(tmp_path / "file" / "run").check_writable()


def test_an_unknown_protocol_says_what_to_install() -> None:
    with pytest.raises(StorageError, match="nosuch"):
        Storage("nosuch://bucket/run")


def test_leftovers_of_killed_writers_are_unseen_and_cleared(tmp_path: Path) -> None:
    storage = Storage(tmp_path)
    storage.write_bytes("shards/whole", b"1")
    for name, age_s in (("old.1234.tmp", 3600), ("new.1234.tmp", 1)):
        path = tmp_path / "shards" / name
        path.write_bytes(b"half")
        then = time.time() - age_s
        os.utime(path, (then, then))
    assert storage.names("shards") == ["whole"]
    storage.clear_leftovers()
    assert sorted(os.listdir(tmp_path / "shards")) == ["new.1234.tmp", "whole"]
