"""What only processes of their own can show of attention over stored rows: guard pages, other CPUs, plain Python."""

import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

from fastcore._core import simd
from tests.attention.cached_case import FORMATS

HERE = Path(__file__).parent
# What makes other code on other CPUs: vectors of 8 and of 4 numbers, and AVX-512 without products of bytes.
CPUS = {
    "host": ({}, FORMATS),
    "AVX2": ({"NUMBA_CPU_NAME": "haswell", "NUMBA_CPU_FEATURES": ""}, ["float32", "float16", "int8", "int4"]),
    "AVX-512": ({"NUMBA_CPU_NAME": "skylake-avx512", "NUMBA_CPU_FEATURES": ""}, ["int8"]),
    "x86-64": ({"NUMBA_CPU_NAME": "x86-64", "NUMBA_CPU_FEATURES": ""}, ["float32", "int4"]),
}
BITS = {"AVX2": 256, "AVX-512": 512}


def run(script, *arguments, **environment):
    """Last line a script of this folder printed."""
    done = subprocess.run(
        [sys.executable, HERE / script, *arguments],
        cwd=HERE.parents[1],
        env=os.environ | {"PYTHONPATH": str(HERE.parents[1])} | environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()[-1]


@pytest.mark.skipif(sys.platform == "win32", reason="mprotect is POSIX")
@pytest.mark.parametrize("cpu", CPUS)
def test_cached_attention_is_right_and_touches_nothing_out_of_bounds(cpu):
    if cpu != "host" and platform.machine().lower() not in ("x86_64", "amd64"):
        pytest.skip("needs an x86-64 machine")
    if BITS.get(cpu, 0) > simd.VECTOR_BITS:
        pytest.skip(f"this CPU has no {cpu}")
    environment, formats = CPUS[cpu]
    assert int(run("cached_guard_pages.py", *formats, **environment)) == 122 * len(formats)


def test_cached_attention_bodies_run_without_the_compiler():
    assert run("cached_without_jit.py", NUMBA_DISABLE_JIT="1") == "right"
