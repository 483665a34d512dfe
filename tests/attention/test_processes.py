"""What only a process of its own can show: guard pages, peak memory, bodies without the compiler."""

import os
import platform
import signal
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent


def start(script, *arguments, **environment):
    return subprocess.run(
        [sys.executable, HERE / script, *arguments],
        cwd=HERE.parents[1],
        env=os.environ | {"PYTHONPATH": str(HERE.parents[1])} | environment,
        capture_output=True,
        text=True,
        timeout=300,
    )


def run(script, **environment):
    """Last line a script of this folder printed."""
    done = start(script, **environment)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()[-1]


@pytest.mark.skipif(sys.platform == "win32", reason="mprotect is POSIX")
def test_guard_pages_catch_a_read_one_element_too_far():
    assert start("guard_pages.py", "touch").returncode in (-signal.SIGSEGV, -signal.SIGBUS)


# Other vector widths and register counts than the host's: other tiles, other tails.
CPUS = {
    "host": {},
    "AVX2": {"NUMBA_CPU_NAME": "haswell", "NUMBA_CPU_FEATURES": "+avx,+avx2,+fma,+f16c,+sse4.2,+bmi,+bmi2"},
    "plain x86-64": {"NUMBA_CPU_NAME": "x86-64", "NUMBA_CPU_FEATURES": "+sse2"},
}


@pytest.mark.skipif(sys.platform == "win32", reason="mprotect is POSIX")
@pytest.mark.parametrize("cpu", CPUS)
def test_attention_and_merge_are_right_and_touch_nothing_out_of_bounds(cpu):
    if cpu != "host" and platform.machine().lower() not in ("x86_64", "amd64"):
        pytest.skip("needs an x86-64 machine")
    assert run("guard_pages.py", **CPUS[cpu]) == "1240"


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_attention_of_65536_tokens_takes_less_than_200_mib():
    # The result alone is 16 MiB; the L x S matrix would be 16 GiB.
    assert int(run("peak_memory.py")) < 200 * 2**20


def test_attention_and_merge_bodies_run_without_the_compiler():
    assert run("without_jit.py", NUMBA_DISABLE_JIT="1") == "right"
