"""Runs a job on a Ray cluster: `python -m jobs.submit runs_dir=s3://bucket/ppot task=gsm8k`.

Settings that begin with `submit.` are this command's own (see `SubmitConfig`); all others go
to the job as they are, after they have been composed here, so that a misspelt one costs a
second and not a cluster's minutes. The checkout's code travels along; secrets do not: the
cluster's platform puts them into its nodes' environment.
"""

import asyncio
import json
import logging
import os
import shlex
import subprocess
import sys
import urllib.request
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
# Never uploaded, beside what .gitignore names (Ray reads it).
EXCLUDES = [".git", ".venv", "/runs", "/artifacts", "/tests", "/bench"]
# These would carry a secret into the job's record, which every user of the cluster can read.
_TALKATIVE = (
    "ray.dashboard.modules.dashboard_sdk",
    "ray.dashboard.modules.job.sdk",
    "ray._private.runtime_env.packaging",
)
SECRET_WORDS = ("key", "token", "secret", "password")


class SubmitError(ValueError):
    """The job cannot be submitted; says what is wrong and how to mend it."""


@dataclass
class SubmitConfig:
    """Where and how a job is submitted.

    Attributes:
        address: of the cluster's job server, as `ray dashboard` forwards it.
        job: which of jobs/ to run.
        environment: "image": the nodes hold the pinned environment (cluster.yaml and
            deploy/Dockerfile install it); "install": Ray installs requirements/<build>.lock
            into an environment of the job's own, minutes per node, then cached.
        build: "gpu" or "cpu": which lock "install" means.
        python: interpreter on the nodes.
        name: shown in the dashboard; empty: Ray makes one.
        wait: follow the output and end with the job's exit code; false: return at once.
    """

    address: str = "http://127.0.0.1:8265"
    job: str = "run"
    environment: str = "image"
    build: str = "gpu"
    python: str = "python"
    name: str = ""
    wait: bool = True

    def check(self) -> None:
        """Raises: SubmitError if a value is not one of those that exist."""
        if not (ROOT / "jobs" / f"{self.job}.py").is_file() or self.job == "submit":
            raise SubmitError(f"submit.job is {self.job!r}; give the name of a module in jobs/")
        for name, known in (("environment", ("image", "install")), ("build", ("gpu", "cpu"))):
            if getattr(self, name) not in known:
                raise SubmitError(
                    f"submit.{name} is {getattr(self, name)!r}; give {' or '.join(known)}"
                )
        if not self.address.startswith(("http://", "https://")):
            raise SubmitError(
                f"submit.address is {self.address!r}; give the job server's address, such as "
                "http://127.0.0.1:8265 (`ray dashboard cluster.yaml` forwards it)"
            )


def parse(arguments: list[str]) -> tuple[SubmitConfig, list[str]]:
    """Returns this command's settings and the job's own arguments.

    Raises: SubmitError on an unknown or ill-typed `submit.` setting.
    """
    config, rest = SubmitConfig(), []
    types = {field.name: type(field.default) for field in fields(SubmitConfig)}
    for argument in arguments:
        if not argument.startswith("submit."):
            rest.append(argument)
            continue
        name, equals, value = argument.removeprefix("submit.").partition("=")
        if name not in types or not equals:
            known = ", ".join(f"submit.{known}=" for known in types)
            raise SubmitError(f"{argument!r} is not known; there are {known}")
        if types[name] is bool and value.lower() not in ("true", "false"):
            raise SubmitError(f"submit.{name} is {value!r}; give true or false")
        setattr(config, name, value.lower() == "true" if types[name] is bool else value)
    config.check()
    return config, rest


def first_point(arguments: list[str]) -> list[str]:
    """Returns the arguments of a sweep's first point; those of a single run as they are.

    Hydra composes either a sweep or a configuration to show, not both.
    """
    flags = {"-m", "--multirun"}
    if not flags & set(arguments):
        return arguments
    from hydra.core.override_parser.overrides_parser import OverridesParser

    point = [argument for argument in arguments if argument not in flags]
    for at, override in enumerate(OverridesParser.create().parse_overrides(point)):
        if override.is_sweep_override():
            value = next(iter(override.sweep_string_iterator()))
            point[at] = f"{override.get_key_element()}={value}"
    return point


def check_arguments(config: SubmitConfig, arguments: list[str]) -> None:
    """Raises SubmitError where the job would fail, or lose its results, on the cluster."""
    for argument in arguments:
        key = argument.partition("=")[0].lower().lstrip("+~")
        if "=" in argument and key.rpartition(".")[2].endswith(SECRET_WORDS):
            raise SubmitError(
                f"{key} looks like a secret, and a job's arguments are open to all users of the "
                "cluster; let the platform put it into the nodes' environment"
            )
    if "app.main(" not in (ROOT / "jobs" / f"{config.job}.py").read_text():
        return  # it takes no Hydra settings and makes no run folder
    given = dict(argument.split("=", 1) for argument in arguments if "=" in argument)
    folder = given.get("runs_dir") or given.get("generations", "")
    if not folder.startswith(("/", "s3://", "gs://")):
        raise SubmitError(
            f"runs_dir is {folder or 'runs'!r}, a folder of a node that goes away with the "
            "cluster; give runs_dir=s3://bucket/prefix, gs://… or an absolute path that all "
            "nodes share"
        )
    first = first_point(arguments)
    command = [sys.executable, "-m", f"jobs.{config.job}", "--cfg", "job", *first]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        reason = "\n".join((done.stderr.strip() or done.stdout.strip()).splitlines()[-6:])
        raise SubmitError(f"the settings do not compose:\n{reason}")


def runtime_environment(config: SubmitConfig) -> dict[str, Any]:
    """Returns what Ray prepares on every node before the job: code, packages, quietness."""
    environment: dict[str, Any] = {
        "working_dir": str(ROOT),
        "excludes": EXCLUDES,
        "env_vars": {
            "RAY_USAGE_STATS_ENABLED": "0",
            "VLLM_NO_USAGE_STATS": "1",
            "DO_NOT_TRACK": "1",
            "PPOT_GIT": json.dumps(_git_state()),  # .git stays here
        },
    }
    if config.environment == "install":
        lock = (ROOT / "requirements" / f"{config.build}.lock").read_text()
        pins = [line for line in lock.splitlines() if line and line[0] not in " #-"]
        options = ["--no-deps"]  # the lock is a whole closure, see requirements/install.py
        if config.build == "cpu":
            options += ["--extra-index-url", "https://download.pytorch.org/whl/cpu"]
            options += ["--index-strategy", "unsafe-best-match"]
        environment["uv"] = {
            "packages": pins,
            "uv_check": False,  # it would ask for the packages that the lock leaves out
            "uv_pip_install_options": options,
        }
    return environment


def _git_state() -> dict[str, Any]:
    git = ["git", "-C", str(ROOT)]
    try:
        commit = subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, text=True)
        dirty = subprocess.run([*git, "status", "--porcelain"], capture_output=True, text=True)
    except OSError:
        return {}
    if commit.returncode:
        return {}
    return {"commit": commit.stdout.strip(), "dirty": bool(dirty.stdout.strip())}


def _reach(address: str) -> None:
    """Raises SubmitError unless a Ray job server answers; Ray's own client waits for minutes."""
    try:
        with urllib.request.urlopen(f"{address}/api/version", timeout=10) as answer:
            version = json.load(answer)
    except (OSError, ValueError) as error:
        raise SubmitError(
            f"no Ray job server answers at {address} ({error}); start `ray dashboard "
            "cluster.yaml` (or kubectl port-forward) in another terminal, or give submit.address="
        ) from None
    print(f"cluster: Ray {version.get('ray_version', '?')} at {address}", flush=True)


async def _follow(client: Any, job_id: str) -> None:
    async for text in client.tail_job_logs(job_id):
        print(text, end="", flush=True)


def submit(config: SubmitConfig, arguments: list[str]) -> int:
    """Submits the job, follows it if asked to, and returns the exit code.

    Raises: SubmitError if the settings are wrong or the cluster cannot be reached.
    """
    check_arguments(config, arguments)
    _reach(config.address)
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    from ray.job_submission import JobStatus, JobSubmissionClient

    for name in _TALKATIVE:  # a dozen lines on what is uploaded
        logging.getLogger(name).setLevel(logging.ERROR)
    client = JobSubmissionClient(config.address)
    words = [config.python, "-m", f"jobs.{config.job}", *arguments]
    job_id = client.submit_job(
        entrypoint=shlex.join(words),
        submission_id=config.name or None,
        runtime_env=runtime_environment(config),
        metadata={"project": "ppot"},
    )
    print(f"job {job_id} submitted", flush=True)
    if not config.wait:
        print(f"follow it: ray job logs --follow {job_id} --address {config.address}")
        return 0
    try:
        asyncio.run(_follow(client, job_id))
    except KeyboardInterrupt:
        print(f"\nthe job goes on; stop it: ray job stop {job_id} --address {config.address}")
        return 130
    info = client.get_job_info(job_id)
    if info.status == JobStatus.SUCCEEDED:
        print(f"job {job_id} succeeded")
        return 0
    # The message repeats the output that was followed; its first line says what happened.
    reason = (info.message or "").partition(",")[0]
    print(f"job {job_id}: {info.status}. {reason}", file=sys.stderr)
    return info.driver_exit_code or 1


def main() -> int:
    """Returns the exit code."""
    try:
        config, arguments = parse(sys.argv[1:])
        return submit(config, arguments)
    except SubmitError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
