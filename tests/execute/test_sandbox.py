"""What the sandbox answers: harnesses, statuses, honest programs, batches, recovery."""

import logging
import os
import random
import signal
import time
from pathlib import Path

import pytest

from pipeline import values
from pipeline.execute.config import ExecuteConfig, ExecuteConfigError, Limits
from pipeline.execute.forkserver import ForkServer, SandboxUnavailableError, UnitReport
from pipeline.execute.identity import program_hash
from pipeline.execute.job import Job, Result
from pipeline.execute.sandbox import Sandbox, profile_of
from tests.execute.conftest import small_config


def function(body: str) -> Job:
    return Job("def compute_answer():\n" + "".join(f"    {x}\n" for x in body.splitlines()))


def one(sandbox: Sandbox, job: Job) -> Result:
    """Runs a job in a batch and alone; the two must agree."""
    (shared,) = sandbox.run([job])
    alone = sandbox._run_alone(profile_of(job), job)
    same = (shared.status, shared.encoded, shared.error) == (
        alone.status,
        alone.encoded,
        alone.error,
    )
    assert same, (shared, alone)
    return shared


def kill(server: ForkServer) -> None:
    os.kill(server.pid, signal.SIGKILL)
    server._process.wait()  # its children got their signal before this returns


def test_each_harness_returns_what_it_says(sandbox: Sandbox) -> None:
    add = "def add(a, b):\n    return a + b\n"
    jobs = [
        (Job(add + "def compute_answer(): return add(1, 2)"), 3),
        (Job(add, "expression", "add([1], [2])"), [1, 2]),
        (Job(add, "tests", "assert add(1, 2) == 3"), True),
        (Job("ans = add = 7", "variable", "answer, ans"), 7),
        (Job("print(' a')\nprint(2, end='  ')", "stdout", ""), "a\n2"),
    ]
    for job, value in jobs:
        result = one(sandbox, job)
        assert (result.status, result.value) == ("ok", value), job.harness
        assert values.decode(result.encoded or "") == value


def test_results_come_in_the_order_of_the_jobs_and_duplicates_run_once(sandbox: Sandbox) -> None:
    before = sandbox.counts.copy()
    jobs = [function(f"return {i % 7}") for i in range(100)]
    assert [result.value for result in sandbox.run(jobs)] == [i % 7 for i in range(100)]
    assert (sandbox.counts - before)["duplicates"] == 93
    assert (sandbox.counts - before)["shared"] == 7


@pytest.mark.parametrize(
    ("source", "status", "error"),
    [
        ("def compute_answer(:", "syntax_error", "SyntaxError"),
        ("  x = 1\n y = 2", "syntax_error", "IndentationError"),
        ("x = 1\0", "syntax_error", "SyntaxError"),
        ("x = 1", "error", "NameError"),
        ("def compute_answer(): return 1 / 0", "error", "ZeroDivisionError: division by zero"),
        ("def compute_answer(x): return x", "error", "TypeError"),
        ("raise ValueError('no')", "error", "ValueError: no"),
        ("import nowhere", "error", "ModuleNotFoundError"),
        ("def compute_answer(): return input()", "error", "EOFError"),
        ("def compute_answer(): return bytearray(10**12)", "memory", "MemoryError"),
        ("def compute_answer():\n    while True: pass", "timeout", ("Timeout", "WallTimeout")),
        ("import os\nos._exit(3)", "killed", "ProcessExit: left with exit code 3"),
        ("print('x' * 10**6)", "output_limit", "OutputLimit"),
        ("def compute_answer(): return 'x' * 10**6", "output_limit", "TooLargeError"),
        ("def compute_answer(): return compute_answer()", "error", "RecursionError"),
    ],
)
def test_every_end_has_its_status(
    sandbox: Sandbox, source: str, status: str, error: str | tuple[str, ...]
) -> None:
    (result,) = sandbox.run([Job(source)])
    assert result.status == status
    assert (result.error or "").startswith(error)
    assert result.value is None and result.encoded is None


HONEST = {
    "top-level imports, constants, helpers": (
        "import math\nRATE = 2\ndef helper(x):\n    return x * RATE\n"
        "def compute_answer():\n    return helper(math.floor(3.7))",
        6,
    ),
    "recursion of legal depth": (
        "def down(n):\n    return 0 if n == 0 else 1 + down(n - 1)\n"
        "def compute_answer():\n    return down(980)",
        980,
    ),
    "numpy": ("import numpy as np\ndef compute_answer():\n    return np.arange(4).sum()", 6),
    "numpy linear algebra": (
        "import numpy as np\ndef compute_answer():\n"
        "    return round(float(np.linalg.det(np.eye(50) * 2)) / 2**50, 6)",
        1.0,
    ),
    "sympy": (
        "from sympy import symbols, solve\nx = symbols('x')\n"
        "def compute_answer():\n    return solve(2 * x - 9, x)[0]",
        4.5,
    ),
    "dataclass": (
        "from dataclasses import dataclass\n@dataclass\nclass P:\n    a: int = 3\n"
        "def compute_answer():\n    return P().a",
        3,
    ),
    "class hierarchy": (
        "class A:\n    def f(self): return 1\n"
        "class B(A):\n    def f(self): return super().f() + 1\n"
        "def compute_answer(): return B().f()",
        2,
    ),
    "global state": (
        "total = 0\ndef add(n):\n    global total\n    total += n\n"
        "def compute_answer():\n    add(2)\n    add(3)\n    return total",
        5,
    ),
    "main guard": (
        "def compute_answer():\n    return 4\nif __name__ == '__main__':\n"
        "    print(compute_answer())",
        4,
    ),
    "exit after answering": ("def compute_answer():\n    return 8\nexit()", 8),
    "random with a seed": (
        "import random\nrandom.seed(1)\ndef compute_answer(): return random.randint(1, 10**6)",
        random.Random(1).randint(1, 10**6),
    ),
    "pickle and copy": (
        "import copy, pickle\nclass C: pass\ndef compute_answer():\n    c = C()\n    c.v = [1]\n"
        "    return pickle.loads(pickle.dumps(copy.deepcopy(c))).v",
        [1],
    ),
    "threads are not needed by asyncio": (
        "import asyncio\nasync def main():\n    await asyncio.sleep(0)\n    return 5\n"
        "def compute_answer(): return asyncio.run(main())",
        5,
    ),
    "large integer": ("def compute_answer(): return 3 ** 5000", 3**5000),
    "closures and generators": (
        "def compute_answer():\n    k = 3\n"
        "    return sum(k * i for i in range(4) if (lambda: i)())",
        18,
    ),
    "match statement": (
        "def compute_answer():\n    match (1, 2):\n        case (1, x):\n            return x",
        2,
    ),
    "future annotations": (
        "from __future__ import annotations\ndef f(x: Nope) -> Nope: return x\n"
        "def compute_answer(): return f(1)",
        1,
    ),
    "warnings": ("def compute_answer(): return (1 is 1) + ('\\d' == '\\\\d')", 2),
    "deep nesting of data": ("def compute_answer(): return [[[[[[1]]]]]]", [[[[[[1]]]]]]),
}


@pytest.mark.parametrize("name", HONEST)
def test_an_honest_program_passes(sandbox: Sandbox, name: str) -> None:
    source, value = HONEST[name]
    result = one(sandbox, Job(source))
    assert (result.status, result.value) == ("ok", value), result


def test_exit_after_binding_the_variable_is_honest(sandbox: Sandbox) -> None:
    for ending in ("exit()", "quit()", "raise SystemExit(1)", "import sys\nsys.exit(0)"):
        assert one(sandbox, Job(f"ans = 5\n{ending}", "variable", "ans")).value == 5


def test_a_variable_bound_before_an_error_is_no_answer(sandbox: Sandbox) -> None:
    assert one(sandbox, Job("ans = 5\n1 / 0", "variable", "ans")).status == "error"


def test_an_expression_is_answered_by_its_value_not_by_its_truth(sandbox: Sandbox) -> None:
    job = Job("def f(x): return [x]", "expression", "f(1) or True")
    assert not values.same_value(one(sandbox, job).value, [2])
    assert one(sandbox, job._replace(target="f(1); f(2)")).status == "syntax_error"


def test_a_large_but_legal_answer_arrives_whole() -> None:
    limits = Limits(cpu_s=10, wall_s=60, value_kib=4096)
    with Sandbox(ExecuteConfig(function=limits)) as sandbox:
        (result,) = sandbox.run([function("return list(range(300_000))")])
    assert result.value == list(range(300_000))


def test_a_result_of_a_hundred_megabytes_is_refused_and_the_next_runs(sandbox: Sandbox) -> None:
    jobs = [function("return 'x' * 100_000_000"), function("return 1")]
    results = sandbox.run(jobs)
    assert [result.status for result in results] == ["output_limit", "ok"]


def test_a_hanging_program_in_a_batch_costs_no_neighbour_its_answer(sandbox: Sandbox) -> None:
    jobs = [function(f"return {i}") for i in range(60)]
    jobs[20] = function("while True: pass")
    jobs[40] = function("x = []\nwhile True: x.append(x[:] + [0] * 10**6)")
    jobs[50] = Job("import os\nos.abort()")
    results = sandbox.run(jobs)
    for index, result in enumerate(results):
        if index == 20:
            assert result.status == "timeout"
        elif index == 40:
            assert result.status in ("memory", "timeout")
        elif index == 50:
            assert result.status == "killed"
        else:
            assert result.value == index


def test_many_hanging_programs_in_a_row_are_each_ended_and_logged_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    limits = Limits(cpu_s=0.05, wall_s=5.0, memory_mib=256)
    with Sandbox(small_config(function=limits, patience_s=0.01)) as sandbox:
        jobs = [function(f"while {i + 1}: pass") for i in range(30)] + [function("return 1")]
        with caplog.at_level(logging.WARNING):
            results = sandbox.run(jobs)
    assert [result.status for result in results] == ["timeout"] * 30 + ["ok"]
    assert len(caplog.records) <= 2


def test_a_killed_server_is_replaced_and_nothing_is_lost(caplog: pytest.LogCaptureFixture) -> None:
    with Sandbox(small_config()) as sandbox:
        sandbox.run([function("return 0")])
        kill(sandbox._servers["bare"])
        jobs = [function(f"return {i}") for i in range(1, 30)] + [Job("class C: pass\nans=1")]
        with caplog.at_level(logging.WARNING):
            results = sandbox.run(jobs)
        assert [result.value for result in results[:-1]] == list(range(1, 30))
        assert sandbox.counts["restarts"] == 1
    assert sum("replaced" in record.message for record in caplog.records) == 1


def test_a_server_that_dies_again_and_again_gives_sandbox_errors() -> None:
    with Sandbox(small_config(retries=1)) as sandbox:
        sandbox.run([function("return 0")])
        ask = sandbox._ask

        def kill_first(profile: str, *rest: object) -> object:
            kill(sandbox._server(profile))
            return ask(profile, *rest)  # type: ignore[arg-type]

        sandbox._ask = kill_first  # type: ignore[method-assign,assignment]
        (result,) = sandbox.run([function("return 1")])
        assert result.status == "sandbox_error"
        sandbox._ask = ask  # type: ignore[method-assign]
        (result,) = sandbox.run([function("return 1")])
        assert result.value == 1


def test_no_process_to_be_had_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    run, failures = ForkServer.run, iter([True, True, False])

    def scarce(self: ForkServer, *rest: object) -> UnitReport:
        if next(failures, False):
            return UnitReport(end="fork", error="Resource temporarily unavailable")
        return run(self, *rest)  # type: ignore[arg-type]

    with Sandbox(small_config()) as sandbox:
        sandbox.run([function("return 0")])
        monkeypatch.setattr(ForkServer, "run", scarce)
        (result,) = sandbox.run([function("return 3")])
        assert result.value == 3 and sandbox.counts["fork_failures"] == 2


def test_an_interrupted_run_leaves_no_answer_behind_for_the_next(sandbox: Sandbox) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    kept = signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, 0.5)
    try:
        with pytest.raises(KeyboardInterrupt):
            sandbox.run([Job("import time\ntime.sleep(3)\nans = 1", "variable", "ans")])
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, kept)
    assert sandbox.run([function("return 'fresh'")])[0].value == "fresh"


def test_a_server_ends_with_its_sandbox() -> None:
    with Sandbox(small_config()) as sandbox:
        sandbox.run([function("return 0")])
        pid = sandbox._servers["bare"].pid
    deadline = time.monotonic() + 5
    while os.path.exists(f"/proc/{pid}") and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not os.path.exists(f"/proc/{pid}")


def test_a_running_sandbox_leaves_no_folder_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with Sandbox(small_config()) as sandbox:
        assert sandbox.run([function("return 1")])[0].value == 1
        assert list(tmp_path.iterdir()) == []


def test_the_wall_limit_is_its_own_kind_of_timeout(sandbox: Sandbox) -> None:
    result = sandbox._run_alone("bare", Job("import time\ntime.sleep(100)"))
    assert (result.status, (result.error or "")[:11]) == ("timeout", "WallTimeout")


def test_the_audit_finds_programs_that_answer_by_company() -> None:
    with Sandbox(small_config(audit_fraction=1.0)) as sandbox:
        honest = [function(f"return {i}") for i in range(50)]
        sandbox.run(honest)
        assert (sandbox.counts["audited"], sandbox.counts["disagreements"]) == (50, 0)
        # The clock is not behind the gate: what it says differs from run to run.
        sandbox.run([function("import datetime\nreturn str(datetime.datetime.now())")])
        assert sandbox.counts["disagreements"] == 1


def test_a_required_layer_that_is_missing_stops_the_start() -> None:
    config = small_config(namespaces=False, require=["namespaces"])
    with Sandbox(config) as sandbox, pytest.raises(SandboxUnavailableError, match="namespaces"):
        sandbox.run([function("return 1")])


def test_without_namespaces_answers_are_the_same() -> None:
    with Sandbox(small_config(namespaces=False)) as sandbox:
        assert sandbox.layers()["namespaces"].startswith("off")
        assert one(sandbox, function("return 5")).value == 5
        blocked = sandbox.run([Job("import socket\nsocket.socket()"), Job("import os\nos.fork()")])
        assert [result.status for result in blocked] == ["error", "error"]


def test_the_hash_depends_on_program_harness_target_and_limits() -> None:
    config, job = small_config(), Job("x = 1", "variable", "x")
    others = [job._replace(source="x = 2"), job._replace(target="y"), job._replace(harness="tests")]
    hashes = {program_hash(other, config) for other in [job, *others]}
    hashes.add(program_hash(job, small_config(variable=Limits(cpu_s=9))))
    assert len(hashes) == 5 and all(len(text) == 32 for text in hashes)
    assert program_hash(job, config) == program_hash(job, small_config(function=Limits(cpu_s=9)))


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"batch_size": 0}, "batch_size is 0"),
        ({"audit_fraction": 2.0}, "audit_fraction is 2.0"),
        ({"require": ["moat"]}, "moat"),
        ({"outer": "docker"}, "docker"),
        ({"function": Limits(cpu_s=0)}, "function.cpu_s is 0"),
        ({"function": Limits(cpu_s=5, wall_s=1)}, "wall_s is 1"),
    ],
)
def test_a_bad_setting_is_refused_with_a_sentence(settings: dict[str, object], words: str) -> None:
    with pytest.raises(ExecuteConfigError, match=words):
        small_config(**settings).check()


def test_the_shipped_configuration_holds_the_defaults() -> None:
    from omegaconf import OmegaConf

    path = Path(__file__).parents[2] / "conf" / "execute" / "default.yaml"
    merged = OmegaConf.merge(OmegaConf.structured(ExecuteConfig), OmegaConf.load(path))
    assert OmegaConf.to_object(merged) == ExecuteConfig()
