"""The same SIMD tests for AVX2, for plain x86-64 and with the JIT disabled, and the instructions that come out."""

import os
import platform
import re
import subprocess
import sys
from pathlib import Path

import numba
import numpy as np
import pytest

from fastcore._core import simd
from fastcore._core.jit import SAFE_FASTMATH

NAMES = ("test_simd.py", "test_simd_math.py", "test_simd_pairs.py", "test_simd_bfloat.py")
FILES = [str(Path(__file__).with_name(name)) for name in NAMES]
on_x86 = pytest.mark.skipif(platform.machine().lower() not in ("x86_64", "amd64"), reason="names of x86 CPUs")


def run_tests(*arguments, **environment):
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *FILES, *arguments]
    guarded = {"FASTCORE_TEST_GUARD_PAGE": "1"} if sys.platform == "linux" else {}
    done = subprocess.run(
        command, env={**os.environ, **guarded, **environment}, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]


@on_x86
@pytest.mark.parametrize("cpu", ["haswell", "x86-64"])
def test_other_cpus_pass_the_same_tests(cpu):
    if cpu == "haswell" and simd.VECTOR_BITS < 256:
        pytest.skip("this CPU has no AVX2")
    run_tests(NUMBA_CPU_NAME=cpu, NUMBA_CPU_FEATURES="")


def test_disabled_jit_passes_the_same_tests():
    run_tests(NUMBA_DISABLE_JIT="1")


@pytest.mark.skipif(sys.platform != "linux", reason="uses mprotect")
def test_this_cpu_does_not_reach_the_next_page():
    run_tests("-k", "next_page")


@on_x86
@pytest.mark.parametrize("cpu, expected", [("skylake-avx512", "512 32 16 8 True"), ("sandybridge", "128 16 4 2 False")])
def test_width_follows_the_cpu_name(cpu, expected):
    code = "from fastcore._core.simd.host import *; print(VECTOR_BITS, NUM_REGISTERS, F32_LANES, F64_LANES, HAS_FMA)"
    environment = {**os.environ, "NUMBA_CPU_NAME": cpu, "NUMBA_CPU_FEATURES": ""}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == expected


def vector_instructions(function):
    """Return the mnemonics, without moves, of a kernel that applies a vector function once."""
    lanes = int(simd.F32_LANES)

    def body(x, out):
        vector = simd.load(simd.pointer(x), lanes)
        simd.store(simd.pointer(out), function(vector))

    x = np.ones(lanes, np.float32)
    compiled = numba.njit(body, error_model="numpy", fastmath=set(SAFE_FASTMATH))
    compiled(x, x.copy())
    native, _, _ = next(iter(compiled.inspect_asm().values())).partition(".Lfunc_end0")  # the rest unboxes arguments
    names = [line.split()[0] for line in native.splitlines() if re.search(r"%[xyz]mm|%k\d", line)]
    return [name for name in names if not name.startswith(("vmov", "vbroadcast"))]


@numba.njit
def clipped(x):
    return simd.minimum(simd.maximum(x, np.float32(-1)), np.float32(1))


@numba.njit
def squared_plus(x):
    return simd.fma(x, x, x)


@numba.njit
def softmax_exponential(x):
    return simd.softmax_exp2(x)


@pytest.mark.skipif(numba.config.DISABLE_JIT or not simd.HAS_AVX512, reason="counts AVX-512 instructions")
def test_functions_compile_to_the_instructions_they_name():
    assert vector_instructions(clipped) == ["vmaxps", "vminps"]
    (fused,) = vector_instructions(squared_plus)
    assert fused.startswith("vfmadd")
    operations = vector_instructions(softmax_exponential)
    assert sorted(name[:5] for name in operations) == ["vfmad"] * 5 + ["vredu", "vscal", "vsubp"]
