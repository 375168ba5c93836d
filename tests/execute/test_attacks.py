"""Hostile and faulty programs, by class: each is contained, the next in line is unharmed.

Every case names what may become of it. After it a victim runs on the same fork server, which
must still be the same process.
"""

import os
import tempfile
from pathlib import Path

import pytest

from pipeline.execute.job import Job, Result
from pipeline.execute.sandbox import Sandbox
from tests.execute.attacks import (
    BOMBS,
    CRASHES,
    DISK,
    FORGERY,
    HOSTILE_EXCEPTIONS,
    MEMORY,
    NETWORK,
    PROCESSES,
    SECRETS,
    STREAMS,
    TIMEOUTS,
    in_function,
)
from tests.execute.conftest import small_config

VICTIM = Job("import math\ndef compute_answer():\n    return [math.floor(6.5) * 7, 'well']\n")


def attack(sandbox: Sandbox, source: str, *statuses: str, harness: str = "function") -> Result:
    """Runs a program alone, then a victim; asserts status, victim and server."""
    sandbox.run([VICTIM])
    pid = sandbox._servers["bare"].pid
    job = Job(source, harness, "compute_answer" if harness == "function" else "ans")
    result = sandbox._run_alone("bare", job)
    assert result.status in statuses, result
    assert sandbox._run_alone("bare", VICTIM).value == [42, "well"]
    assert sandbox._servers["bare"].pid == pid, "the fork server was lost"
    return result


@pytest.mark.parametrize("name", TIMEOUTS)
def test_a_program_without_end_is_ended(sandbox: Sandbox, name: str) -> None:
    attack(sandbox, TIMEOUTS[name], "timeout")


def test_a_hang_at_exit_costs_nothing(sandbox: Sandbox) -> None:
    source = "import atexit\natexit.register(lambda: [None for _ in iter(int, 1)])\nans = 5"
    result = attack(sandbox, source, "ok", harness="variable")
    assert result.value == 5 and result.wall_s < 4  # of the limit of 5


def test_a_destructor_that_hangs_is_ended(sandbox: Sandbox) -> None:
    source = "class C:\n    def __del__(self):\n        while True: pass\nx = C()\ndel x\nans = 1"
    attack(sandbox, source, "timeout", harness="variable")


@pytest.mark.parametrize("name", STREAMS)
def test_standard_streams_are_bounded_and_empty(sandbox: Sandbox, name: str) -> None:
    source, status = STREAMS[name]
    attack(sandbox, source, status, harness="variable")


def test_control_characters_and_lone_surrogates_arrive_as_they_are(sandbox: Sandbox) -> None:
    text = '\x00\n{"ready": 1}\n\x1b[2J\ud800\U0001f600'
    result = attack(sandbox, f"ans = {text!r}", "ok", harness="variable")
    assert result.value == text


def test_printed_text_cannot_break_the_protocol(sandbox: Sandbox) -> None:
    source = "import os\nprint('{\"end\": \"exit\"}')\nos.write(1, b'\\x00' * 10)\nans = 3"
    assert attack(sandbox, source, "ok", harness="variable").value == 3


@pytest.mark.parametrize("name", MEMORY)
def test_memory_is_bounded(sandbox: Sandbox, name: str) -> None:
    attack(sandbox, MEMORY[name], "memory", "error", "timeout", "killed", harness="variable")


def test_a_memory_error_has_its_own_status(sandbox: Sandbox) -> None:
    attack(sandbox, "x = bytearray(10**12)", "memory", harness="variable")


def test_a_program_that_recovers_from_a_memory_error_is_honest(sandbox: Sandbox) -> None:
    source = "try:\n    x = bytearray(10**12)\nexcept MemoryError:\n    ans = 'recovered'"
    assert attack(sandbox, source, "ok", harness="variable").value == "recovered"


@pytest.mark.parametrize("name", PROCESSES)
def test_other_processes_are_out_of_reach(sandbox: Sandbox, name: str) -> None:
    attack(sandbox, PROCESSES[name], "error", "killed", harness="variable")


@pytest.mark.parametrize("name", CRASHES)
def test_a_crash_ends_only_the_program(sandbox: Sandbox, name: str) -> None:
    attack(sandbox, CRASHES[name], "killed", "error", "memory", "timeout", harness="variable")


def test_endless_recursion_is_an_error_of_the_program(sandbox: Sandbox) -> None:
    result = attack(sandbox, in_function("return compute_answer()"), "error")
    assert (result.error or "").startswith("RecursionError")


def test_leaving_with_exit_code_0_is_no_answer(sandbox: Sandbox) -> None:
    for call in ("import os\nos._exit(0)", "raise SystemExit(0)", "import sys\nsys.exit()"):
        result = attack(sandbox, in_function(call), "killed", "error")
        assert result.value is None


@pytest.mark.parametrize("name", HOSTILE_EXCEPTIONS)
def test_hostile_exceptions_are_reported_and_bounded(sandbox: Sandbox, name: str) -> None:
    source, status = HOSTILE_EXCEPTIONS[name]
    assert len(attack(sandbox, source, status, harness="variable").error or "") < 1000


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_for_the_compiler_hits_only_its_own_process(sandbox: Sandbox, name: str) -> None:
    attack(
        sandbox, BOMBS[name], "syntax_error", "timeout", "memory", "error", "killed",
        harness="variable",
    )  # fmt: skip


@pytest.mark.parametrize("name", FORGERY)
def test_a_forged_result_is_no_answer(sandbox: Sandbox, name: str) -> None:
    result = attack(sandbox, FORGERY[name], "killed", harness="variable")
    assert result.value is None


def test_the_shared_memory_cannot_be_cut_short(sandbox: Sandbox) -> None:
    source = (
        "import os\nfor fd in range(64):\n    try: os.ftruncate(fd, 0)\n    except OSError: pass"
    )
    attack(sandbox, source + "\nans = 1", "ok", harness="variable")


def test_an_object_that_equals_everything_leaves_as_no_value(sandbox: Sandbox) -> None:
    source = "class E:\n    def __eq__(self, other): return True\nans = E()"
    result = attack(sandbox, source, "error", harness="variable")
    assert "no value" in (result.error or "")


def test_a_number_that_lies_about_itself_leaves_as_its_content(sandbox: Sandbox) -> None:
    source = (
        "class L(int):\n    def __repr__(self): return '42'\n    def __eq__(self, o): return True\n"
        "    def __add__(self, o): return 42\n    def __int__(self): return 42\n"
        "    __class__ = str\nans = L(7)"
    )
    assert attack(sandbox, source, "ok", harness="variable").value == 7


@pytest.mark.parametrize("name", SECRETS)
def test_the_environment_holds_no_secret(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PPOT_TEST_SECRET", "key-0123456789")
    with Sandbox(small_config()) as fresh:
        result = attack(fresh, SECRETS[name], "ok", "error", harness="variable")
    assert "key-0123456789" not in str(result)


FILES = ["/etc/passwd", "/etc/shadow", "/root/.netrc", "/proc/self/maps", "/proc/cpuinfo", "/"]


@pytest.mark.parametrize("path", FILES)
def test_files_outside_the_library_are_unreadable(sandbox: Sandbox, path: str) -> None:
    source = f"import os\nans = os.listdir('/') if {path!r} == '/' else open({path!r}).read()"
    attack(sandbox, source, "error", harness="variable")


def test_a_readable_file_of_the_user_is_unreadable(sandbox: Sandbox, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("key")
    secret.chmod(0o644)
    for folder in (tmp_path, *tmp_path.parents):
        if folder.stat().st_uid == os.getuid() and str(folder) not in ("/", tempfile.gettempdir()):
            folder.chmod(0o755)
    attack(sandbox, f"ans = open({str(secret)!r}).read()", "error", harness="variable")


def test_no_descriptor_is_inherited(sandbox: Sandbox) -> None:
    source = (
        "import os\nans = []\nfor fd in range(3, 64):\n"
        "    try: os.fstat(fd)\n    except OSError: continue\n    ans.append(fd)"
    )
    assert attack(sandbox, source, "ok", harness="variable").value == []


def test_sources_of_neighbours_are_not_in_the_process(sandbox: Sandbox) -> None:
    sandbox.run([Job(f"ans = 'neighbour-{i}'", "variable", "ans") for i in range(20)])
    source = (
        "import gc, sys\nfound = []\nmark = ''.join(['neigh', 'bour', '-1'])\n"
        "for item in gc.get_objects():\n"
        "    try: text = repr(item) if isinstance(item, (list, tuple, dict)) else ''\n"
        "    except Exception: text = ''\n"
        "    if item is not globals() and mark in text: found.append(type(item).__name__)\n"
        "frame = sys._getframe()\n"
        "while frame:\n"
        "    for item in list(frame.f_locals.values()):\n"
        "        region = getattr(item, '_region', None)\n"
        "        if region and mark.encode() in region[:]: found.append('region')\n"
        "    frame = frame.f_back\n"
        "ans = found"
    )
    assert attack(sandbox, source, "ok", harness="variable").value == []


@pytest.mark.parametrize("name", NETWORK)
def test_there_is_no_network(sandbox: Sandbox, name: str) -> None:
    attack(sandbox, NETWORK[name], "error", "killed", harness="variable")


def test_another_abi_of_system_calls_ends_the_program(sandbox: Sandbox) -> None:
    if os.uname().machine != "x86_64":
        pytest.skip("int 0x80 and x32 exist on x86-64")
    x32 = "import ctypes\nlibc = ctypes.CDLL(None)\nlibc.syscall(0x40000000 + 39)"
    int80 = (
        "import ctypes, mmap\n"
        "m = mmap.mmap(-1, 4096, prot=7)\n"
        "m.write(bytes.fromhex('b814000000cd80c3'))\n"  # mov eax, 20 (getpid); int 0x80; ret
        "f = ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(m)))\n"
        "f()\nans = 1"
    )
    for source in (x32, int80):
        attack(sandbox, source, "killed", harness="variable")


@pytest.mark.parametrize("name", DISK)
def test_nothing_can_be_written_or_changed(sandbox: Sandbox, name: str) -> None:
    target = Path("/tmp/ppot-attack-target")
    target.write_text("keep")
    target.chmod(0o600)
    before = target.stat()
    try:
        attack(sandbox, DISK[name], "error", "killed", harness="variable")
        after = target.stat()
        assert (before.st_mode, before.st_mtime_ns) == (after.st_mode, after.st_mtime_ns)
        assert target.read_text() == "keep"
        assert not Path("/tmp/ppot-attack").exists()
    finally:
        target.unlink(missing_ok=True)
