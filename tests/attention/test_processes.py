"""What only a process of its own can show: guard pages, peak memory, bodies without the compiler."""

import os
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


@pytest.mark.skipif(sys.platform == "win32", reason="mprotect is POSIX")
def test_attention_and_merge_touch_nothing_out_of_bounds():
    assert run("guard_pages.py") == "400"


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_attention_of_65536_tokens_takes_less_than_200_mib():
    # The result alone is 16 MiB; the L x S matrix would be 16 GiB.
    assert int(run("peak_memory.py")) < 200 * 2**20


def test_attention_and_merge_bodies_run_without_the_compiler():
    assert run("without_jit.py", NUMBA_DISABLE_JIT="1") == "right"
