"""Runs every attack class through a sandbox and prints what was not contained, as JSON.

    python tests/execute/attack_all.py namespaces=0|1

Needs nothing but the standard library, so that it runs under a bare copy of the interpreter
as any user.
"""

import json
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from pipeline.execute.config import ExecuteConfig, Limits  # noqa: E402
from pipeline.execute.job import Job  # noqa: E402
from pipeline.execute.sandbox import Sandbox  # noqa: E402
from tests.execute.attacks import CLASSES  # noqa: E402

# Sleepers cost wall time and differ in nothing here.
_SKIPPED = ("sleeping", "deadlock on a lock", "stopped by itself")


def main() -> None:
    # Half a second: this copy of the library has no bytecode, so an import compiles first.
    limits = Limits(cpu_s=0.5, wall_s=5.0, memory_mib=256, output_kib=64, value_kib=64)
    namespaces = "namespaces=1" in sys.argv
    config = ExecuteConfig(function=limits, variable=limits, namespaces=namespaces)
    victim = Job("def compute_answer():\n    return [42]")
    escaped = []
    n_run = 0
    with Sandbox(config) as sandbox:
        layers = sandbox.layers()
        pid = sandbox._servers["bare"].pid
        for kind, (programs, harness, statuses) in CLASSES.items():
            for name, source in programs.items():
                if name in _SKIPPED:
                    continue
                n_run += 1
                target = "compute_answer" if harness == "function" else "ans"
                result = sandbox._run_alone("bare", Job(source, harness, target))
                if result.status not in statuses:
                    escaped.append([kind, name, result.status, result.error])
                if sandbox._run_alone("bare", victim).value != [42]:
                    escaped.append([kind, name, "victim", ""])
        if sandbox._servers["bare"].pid != pid:
            escaped.append(["server", "", "lost", ""])
    print(json.dumps({"layers": layers, "escaped": escaped, "run": n_run}))


if __name__ == "__main__":
    main()
