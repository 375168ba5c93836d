"""Run folders in a bucket, behind a real server that speaks S3: the same bytes, the same resume."""

import hashlib
import os
import re
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import fsspec
import psutil
import pytest

from bench._s3_server import BUCKET, S3Server, serve
from bench.synthetic import make_run
from pipeline.storage import Storage, StorageError
from tests.flow.conftest import ROOT, SMALL, Jobs
from tests.flow.test_run import contents


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """A server with an empty bucket, to which s3fs is led here and in every child process."""
    with serve(tmp_path_factory.mktemp("s3")) as server, pytest.MonkeyPatch.context() as patch:
        for name, value in server.environment().items():
            patch.setenv(name, value)
        yield server
    fsspec.get_filesystem_class("s3").clear_instance_cache()


@pytest.fixture(scope="module")
def stored_run(server: S3Server, job: Jobs) -> tuple[str, str]:
    """A finished run in the bucket: its URI and what it printed."""
    printed = job("run", *SMALL, f"runs_dir=s3://{BUCKET}/ppot").stdout
    (uri,) = re.findall(r"^run folder\s+(s3://\S+)$", printed, re.MULTILINE)[:1]
    return uri, printed


def stored(uri: str) -> dict[str, str]:
    """Returns a digest per Arrow file below a URI, as `contents` does for a folder."""
    files, root = fsspec.core.url_to_fs(uri, use_listings_cache=False)
    return {
        path.removeprefix(f"{root}/"): hashlib.sha256(files.cat_file(path)).hexdigest()
        for path in sorted(files.find(root))
        if path.endswith(".arrow")
    }


def analyse(module: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", module, *arguments], capture_output=True, text=True, timeout=300
    )


def test_a_run_in_a_bucket_holds_the_same_bytes_as_a_local_one(first_run, stored_run) -> None:
    folder, _ = first_run
    uri, printed = stored_run
    assert uri.rsplit("/", 1)[-1] == folder.name
    assert "k=2, m=5" in printed
    local = {k: v for k, v in contents(folder).items() if not k.startswith("executions")}
    assert stored(uri) == local
    assert Storage(uri).read_json("run.json")["status"] == "complete"
    assert b'"event": "finish"' in Storage(uri).read_bytes("events.jsonl")


def test_the_same_command_again_does_nothing_in_a_bucket(stored_run, job: Jobs) -> None:
    uri, _ = stored_run
    before = stored(uri)
    printed = job("run", *SMALL, f"runs_dir=s3://{BUCKET}/ppot").stdout
    assert "nothing: every block is done" in printed
    assert "k=2, m=5" in printed
    assert stored(uri) == before


def test_the_commands_that_look_at_runs_read_buckets(stored_run, job: Jobs, tmp_path: Path) -> None:
    uri, _ = stored_run
    status = job("status", f"run={uri}").stdout
    assert "status       complete" in status
    assert "3 of 3 blocks done" in status
    assert "word_problems/test/0" in job("show", f"run={uri}").stdout
    shown = job("show", f"run={uri}", "problem_id=word_problems/test/0", "generation=0").stdout
    assert "random variables" in shown
    for module in ("analysis.table", "analysis.compare"):
        done = analyse(module, *[uri] * (2 if module == "analysis.compare" else 1))
        assert done.returncode == 0, done.stderr
        assert "pass@2" in done.stdout
    done = analyse("analysis.report", uri)
    assert done.stdout.strip() == f"report: {uri}/report/index.html", done.stderr
    assert b"<html" in Storage(uri).read_bytes("report/index.html")
    export = ("format=sft", "allow_test_split=true", f"out={tmp_path / 'sft'}")
    job("export", uri, *export)
    assert list((tmp_path / "sft").rglob("*.parquet"))


def test_a_sweep_over_a_bucket_asks_for_each_file_a_few_times_only(
    server: S3Server, job: Jobs
) -> None:
    n_blocks, sweep = 8, "sample.m=0,1,2,3"
    uri = f"s3://{BUCKET}/sweep/run"
    make_run(uri, n_blocks, 1, 1)
    asked_before = len(server.requests())
    printed = job("expand", "-m", f"generations={uri}", sweep, f"runs_dir=s3://{BUCKET}/sweep")
    assert f"s3://{BUCKET}/sweep/default/sweep.csv" in printed.stdout
    assert len(Storage(uri).names("cells")) == 4
    asked = Counter(server.requests(asked_before))
    gets = {path: n for (method, path), n in asked.items() if method == "GET"}
    # Once to see that it is done and once to sum it up, whatever the number of cells and blocks.
    assert max(n for path, n in gets.items() if "/cells/" in path and "block-" in path) <= 2
    assert max(n for path, n in gets.items() if path.endswith("g0000-0001.arrow")) == 1
    assert max(n for path, n in gets.items() if "/generations/manifests/" in path) <= 6
    lists = sum(n for (method, _), n in asked.items() if method == "LIST")
    assert lists <= 12 + 6 * 4  # none per block


@pytest.mark.slow
@pytest.mark.timeout(900)  # four runs, with those that its fixtures make
def test_a_killed_driver_resumes_in_a_bucket(
    first_run, stored_run, job: Jobs, tmp_path: Path
) -> None:
    folder, _ = first_run
    runs = f"s3://{BUCKET}/killed"
    command = [sys.executable, "-m", "jobs.run", *SMALL, f"runs_dir={runs}"]
    storage = Storage(f"{runs}/default/{folder.name}")
    with (tmp_path / "printed").open("w") as printed:
        process = subprocess.Popen(command, cwd=ROOT, stdout=printed, stderr=printed)
    while not storage.names("generations/manifests", ".json"):
        assert process.poll() is None, (tmp_path / "printed").read_text()
        time.sleep(0.05)
    children = psutil.Process(process.pid).children(recursive=True)
    process.kill()
    process.wait()
    psutil.wait_procs(children, timeout=15)
    job("run", *SMALL, f"runs_dir={runs}")
    assert stored(storage.uri) == stored(stored_run[0])


def test_what_another_process_wrote_is_seen_at_once(server: S3Server) -> None:
    storage = Storage(f"s3://{BUCKET}/seen")
    assert storage.names("folder") == []
    assert not storage.exists("folder/stop")
    other, root = fsspec.core.url_to_fs(storage.uri, skip_instance_cache=True)
    other.pipe_file(f"{root}/folder/stop", b"1")
    assert storage.exists("folder/stop")
    assert storage.names("folder") == ["stop"]
    other.pipe_file(f"{root}/folder/stop", b"22")
    assert storage.read_bytes("folder/stop") == b"22"
    other.rm_file(f"{root}/folder/stop")
    assert not storage.exists("folder/stop")


def test_a_put_that_breaks_off_leaves_no_object(server: S3Server) -> None:
    storage = Storage(f"s3://{BUCKET}/torn")

    def emit(file) -> None:
        file.write(b"half")
        raise OSError("the shard could not be made")

    with pytest.raises(StorageError, match=f"cannot write s3://{BUCKET}/torn/shard"):
        storage.write("shard", emit)
    assert not storage.exists("shard")


def test_a_file_costs_one_request(server: S3Server) -> None:
    storage = Storage(f"s3://{BUCKET}/cost")
    for act, method in (
        (lambda: storage.write_bytes("a", b"1"), "PUT"),
        (lambda: storage.read_bytes("a"), "GET"),
        (lambda: storage.exists("a"), "GET"),
        (lambda: storage.exists("b"), "GET"),
        (lambda: storage.names(), "LIST"),
        (lambda: storage.delete("a"), "DELETE"),
        (lambda: storage.delete("a"), "DELETE"),
    ):
        before = len(server.requests())
        act()
        assert [m for m, _ in server.requests(before)] == [method]


def test_a_bucket_that_is_not_there_says_what_to_check(server: S3Server) -> None:
    with pytest.raises(StorageError, match=r"s3://nowhere/run/.*check that the bucket exists"):
        Storage("s3://nowhere/run").check_writable()


def test_missing_credentials_are_a_sentence(server: S3Server) -> None:
    code = "from pipeline.storage import Storage; Storage('s3://bucket/run').check_writable()"
    blind = {"AWS_EC2_METADATA_DISABLED": "true", "AWS_CONFIG_FILE": "/dev/null"}
    blind |= {"AWS_SHARED_CREDENTIALS_FILE": "/dev/null"}
    kept = {k: v for k, v in os.environ.items() if not k.startswith("AWS_") or "ENDPOINT" in k}
    done = subprocess.run(
        [sys.executable, "-c", code], env={**kept, **blind}, capture_output=True, text=True
    )
    assert "StorageError: cannot write s3://bucket/run" in done.stderr
    assert "credentials" in done.stderr
