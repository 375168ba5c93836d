"""Real models' programs give the outcomes that are known for them."""

import os
from collections import Counter
from math import comb
from pathlib import Path

import pytest

from bench.known_answers import (
    KnownFile,
    config,
    cruxeval_file,
    disagreements,
    humaneval_file,
    pot_file,
)
from pipeline.execute.config import ExecuteConfig, Limits
from pipeline.execute.job import Job, Result
from pipeline.execute.sandbox import Sandbox


@pytest.fixture(scope="module")
def data() -> Path:
    default = Path(__file__).parents[2].parent / "shared" / "data"
    folder = Path(os.environ.get("PPOT_DATA", default))
    if not folder.is_dir():
        pytest.skip(f"no data with known answers at {folder}; set PPOT_DATA")
    return folder


@pytest.fixture(scope="module")
def sandbox():  # type: ignore[no-untyped-def]
    with Sandbox(config()) as running:
        yield running


def run(sandbox: Sandbox, file: KnownFile) -> list[Result]:
    results = sandbox.run(file.jobs)
    statuses = Counter(result.status for result in results)
    assert statuses["sandbox_error"] == 0
    assert sandbox.counts["disagreements"] == 0
    return results


POT = [
    "gsm8k_7models_greedy_0000_0659",
    "gsm8k_codex_9prompts_greedy_0000_0659",
    "gsm8k_codex_fewshot_greedy_0000_0659",
    "gsm8k_codex_zeroshot_greedy_0000_0659",
    "gsm8k_tora_code_34b_greedy_0000_0659",
    "svamp_codex_fewshot_greedy_000_499",
    "svamp_codex_fewshot_sc30_000_499",
    "svamp_codex_zeroshot_greedy_000_499",
]


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", POT)
def test_programs_of_thought_give_the_known_statuses_and_values(
    sandbox: Sandbox, data: Path, name: str
) -> None:
    file = pot_file(data / "pot_generations" / f"{name}.expected.jsonl")
    assert disagreements(file, run(sandbox, file)) == []


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    ("name", "pass_at_1"),
    [
        ("codellama-7b_temp0.2_input_000_399", 36.875),
        ("codellama-7b_temp0.2_output_000_399", 35.475),
        ("gpt-3.5-turbo-0613_temp0.2_input_000_399", 47.975),
    ],
)
def test_all_cruxeval_verdicts_agree(
    sandbox: Sandbox, data: Path, name: str, pass_at_1: float
) -> None:
    file = cruxeval_file(data / "cruxeval_generations" / f"{name}.expected.json")
    results = run(sandbox, file)
    assert disagreements(file, results) == []
    right = sum(file.outcome(index, result) for index, result in enumerate(results))
    assert 100 * right / len(results) == pytest.approx(pass_at_1)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_humaneval_pass_at_k_is_the_known_one(sandbox: Sandbox, data: Path) -> None:
    file = humaneval_file(data)
    results = run(sandbox, file)
    wrong = disagreements(file, results)
    assert [entry for entry in wrong if "ok" in entry[1:]] == []
    # Which exception a program ends with may hang on the order of a set of strings.
    assert len(wrong) <= 2
    right = [
        sum(result.status == "ok" for result in results[start : start + 100])
        for start in range(0, len(results), 100)
    ]
    for k, known in ((1, 39.1098), (10, 70.0501), (100, 89.0244)):
        rates = [1 - comb(100 - c, k) / comb(100, k) for c in right]
        assert 100 * sum(rates) / len(rates) == pytest.approx(known, abs=1e-3)


def test_cruxeval_references_hold(sandbox: Sandbox, data: Path) -> None:
    import ast
    import json

    from pipeline.values import same_value

    rows = [json.loads(line) for line in (data / "cruxeval/cruxeval_000_399.jsonl").open()]
    jobs = [Job(row["code"], "expression", f"f({row['input']})") for row in rows]
    results = sandbox.run(jobs)
    bad = [
        row["id"]
        for row, result in zip(rows, results, strict=True)
        if not same_value(result.value, ast.literal_eval(row["output"]))
    ]
    assert len(rows) == 400 and bad == []


def test_humaneval_references_pass(sandbox: Sandbox, data: Path) -> None:
    import json

    rows = [json.loads(line) for line in (data / "humaneval/HumanEval_000_081.jsonl").open()]
    jobs = [
        Job(
            row["prompt"] + row["canonical_solution"],
            "tests",
            f"{row['test']}\ncheck({row['entry_point']})\n",
        )
        for row in rows
    ]
    results = sandbox.run(jobs)
    assert len(rows) == 82
    assert [r["task_id"] for r, x in zip(rows, results, strict=True) if x.value is not True] == []


def test_mbpp_references_pass(data: Path) -> None:
    import json

    patient = Limits(cpu_s=30.0, wall_s=120.0, memory_mib=1024)  # one takes about 3 s
    rows = [json.loads(line) for line in (data / "mbpp/sanitized_mbpp_000_213.jsonl").open()]
    jobs = [
        Job(row["code"], "tests", "\n".join([*row["test_imports"], *row["test_list"]]))
        for row in rows
    ]
    with Sandbox(ExecuteConfig(tests=patient)) as sandbox:
        results = sandbox.run(jobs)
    assert len(rows) == 214
    failed = [
        (row["task_id"], result)
        for row, result in zip(rows, results, strict=True)
        if result.value is not True
    ]
    assert failed == []
