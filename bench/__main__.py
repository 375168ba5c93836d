"""`python -m bench [NAME ...]`: runs every benchmark of this folder, or those that are named.

A benchmark is a module here with a `main()` that prints its table and may return an exit code.
Each runs in a process of its own, so that none inherits another's memory, imports or warm
caches; trust the ratios within one table, not figures across runs.
"""

import os
import pkgutil
import subprocess
import sys
import time
from pathlib import Path

FOLDER = Path(__file__).resolve().parent
QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_AUTH_MODE": "disabled",
    "VLLM_NO_USAGE_STATS": "1",
    "VLLM_LOGGING_LEVEL": "WARNING",
    "DO_NOT_TRACK": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "OMP_NUM_THREADS": "1",  # as in the workers
}


def names() -> list[str]:
    """Returns the names of all benchmarks, sorted."""
    found = (module.name for module in pkgutil.iter_modules([str(FOLDER)]))
    return sorted(name for name in found if not name.startswith("_"))


def run(name: str) -> int:
    """Runs one benchmark and returns its exit code."""
    print(f"== {name} ".ljust(80, "="), flush=True)
    started = time.monotonic()
    code = f"import sys; from bench.{name} import main; sys.exit(main())"
    done = subprocess.run([sys.executable, "-c", code], cwd=FOLDER.parent, env=QUIET | os.environ)
    state = "" if done.returncode == 0 else f", failed with exit code {done.returncode}"
    print(f"-- {name}: {time.monotonic() - started:.0f} s{state}\n", flush=True)
    return done.returncode


def main() -> int:
    """Returns 0 if every benchmark ran, else 1."""
    asked = sys.argv[1:] or names()
    unknown = sorted(set(asked) - set(names()))
    if unknown:
        print(f"no benchmark {', '.join(unknown)}; there are {', '.join(names())}", file=sys.stderr)
        return 2
    failed = [name for name in asked if run(name)]
    if failed:
        print(f"failed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
