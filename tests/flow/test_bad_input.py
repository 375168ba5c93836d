"""What is wrong is said in a sentence, before a model is loaded."""

from pathlib import Path

import pytest

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
