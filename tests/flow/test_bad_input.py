"""What is wrong is said in a sentence, before a model is loaded."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from bench.synthetic import make_run
from tests.flow.conftest import Jobs


@pytest.mark.parametrize(
    ("overrides", "says"),
    [
        (["model.path=/nowhere/model"], "/nowhere/model"),
        (["generate.n=0"], "generate.n is 0; give 1 or more"),
        (["sample.m=-1"], "sample.m=-1 must not be negative"),
        (["sample.mm=1"], "sample.mm"),
        (["sample.m=many"], "sample.m"),
        (["task=nosuch"], "nosuch"),
        (["task.name=nosuch"], "no such task"),
        (["task=gsm8k", "task.source=/nowhere.jsonl"], "/nowhere.jsonl"),
        (["generate.capture=top_k", "generate.capture_top_k=500"], "500"),
        (["runs_dir=/proc/runs"], "cannot write /proc/runs"),
        (["flow.ray_address=127.0.0.1:1"], "no Ray cluster answers at 127.0.0.1:1"),
        (["flow.block_problems=0"], "flow.block_problems is 0; give 1 or more"),
    ],
)
def test_a_bad_setting_is_one_sentence(
    job: Jobs, tmp_path: Path, bundled_model: Path, overrides: list[str], says: str
) -> None:
    result = job("run", f"runs_dir={tmp_path}", "task.limit=2", *overrides, check=False)
    assert result.returncode != 0
    assert says in result.stderr
    assert "Traceback" not in result.stderr


def test_expand_says_what_it_needs(job: Jobs, tmp_path: Path) -> None:
    assert "generations is empty" in job("expand", check=False).stderr
    missing = job("expand", f"generations={tmp_path}/none", check=False)
    assert "neither a run folder nor a folder" in missing.stderr


def test_an_empty_dataset_is_an_error(job: Jobs, tmp_path: Path, bundled_model: Path) -> None:
    empty = tmp_path / "empty.jsonl"
    empty.write_text("")
    result = job("run", "task=gsm8k", f"task.source={empty}", f"runs_dir={tmp_path}", check=False)
    assert result.returncode == 1
    assert "empty.jsonl" in result.stderr


def test_a_problem_without_an_answer_is_named(
    job: Jobs, tmp_path: Path, bundled_model: Path
) -> None:
    file = tmp_path / "gsm.jsonl"
    file.write_text('{"question": "How many?", "answer": "nobody knows"}\n')
    result = job("run", "task=gsm8k", f"task.source={file}", f"runs_dir={tmp_path}", check=False)
    assert result.returncode == 1
    assert "gsm.jsonl" in result.stderr
    assert "####" in result.stderr or "answer" in result.stderr


def test_what_all_points_of_a_sweep_share_is_said_once(job: Jobs, tmp_path: Path) -> None:
    result = job("expand", "-m", f"generations={tmp_path}/none", "sample.m=0,1,2", check=False)
    assert result.returncode == 1
    assert result.stderr.count("neither a run folder nor a folder") == 1
    assert "sample.m=0 and 2 more points" in result.stderr
    assert "3 of 3 points failed" in result.stderr


@pytest.mark.parametrize("damage", [Path.unlink, lambda path: path.write_bytes(b"torn")])
def test_a_lost_vocabulary_is_said_once_and_nothing_is_marked_done(
    job: Jobs, tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    make_run(tmp_path / "run", 8, 2, 2)
    damage(tmp_path / "run" / "generations" / "vocabulary.arrow")
    result = job("expand", f"generations={tmp_path / 'run'}", check=False)
    assert result.returncode == 1
    assert result.stdout.count("copy it from where the generations were made") == 2  # and summed up
    assert not list((tmp_path / "run" / "cells").rglob("*.arrow"))
    assert json.loads((tmp_path / "run" / "run.json").read_text())["status"] == "incomplete"
