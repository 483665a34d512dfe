"""Settings every test runs under: an own kernel cache, seeded random numbers, deterministic hypothesis."""

import os
import platform
import subprocess
import sys
from pathlib import Path

# Before anything imports fastcore, and inherited by the subprocesses of tests: the user's cache is neither read nor
# written, and kernels compile once for all runs (entries are addressed by content, so stale ones are never found).
os.environ.setdefault("FASTCORE_CACHE_DIR", str(Path(__file__).parents[1] / ".cache" / "tests"))

import hypothesis
import numpy as np
import pytest

# No deadline: the first example of a test may compile a kernel for seconds.
hypothesis.settings.register_profile("fastcore", deadline=None, derandomize=True, max_examples=40)
hypothesis.settings.load_profile("fastcore")


@pytest.fixture
def rng() -> np.random.Generator:
    """Random numbers, the same in each run of a test."""
    return np.random.default_rng(20_170_612)


TESTS = Path(__file__).parent
# Parameters of tests that compile everything they touch anew, for a CPU that is not this one: a fifth of all the time.
OTHER_CPUS = {"AVX2", "AVX-512", "plain x86-64", "x86-64", "haswell"}


def pytest_collection_modifyitems(items):
    """Tests for other CPUs have a target of their own: `make test-cpus`."""
    for item in items:
        parameters = item.callspec.params.values() if hasattr(item, "callspec") else ()
        if any(isinstance(each, str) and each in OTHER_CPUS for each in parameters):
            item.add_marker("other_cpu")


def pytest_runtest_setup(item):
    """PyTorch with gradients, as it is imported: benchmarks switch them off, once for their process."""
    if item.get_closest_marker("peer") and "torch" in sys.modules:
        sys.modules["torch"].set_grad_enabled(True)


# Other vector widths and register counts than the host's, so other tails; and bodies as plain Python.
CPU_SETTINGS = {
    "host": {},
    "AVX2": {"NUMBA_CPU_NAME": "haswell", "NUMBA_CPU_FEATURES": "+avx,+avx2,+fma,+f16c,+sse4.2,+bmi,+bmi2"},
    "plain x86-64": {"NUMBA_CPU_NAME": "x86-64", "NUMBA_CPU_FEATURES": "+sse2"},
    "no compiler": {"NUMBA_DISABLE_JIT": "1"},
}


@pytest.fixture(params=CPU_SETTINGS)
def run_guarded(request):
    """run(script, *arguments): what a script prints, in a process of its own, compiled for each CPU in turn.

    Name the settings by ``@pytest.mark.parametrize("run_guarded", [...], indirect=True)`` where not all are wanted.
    """
    setting = CPU_SETTINGS[request.param]
    if sys.platform == "win32":
        pytest.skip("mprotect is POSIX")
    if "NUMBA_CPU_NAME" in setting and platform.machine().lower() not in ("x86_64", "amd64"):
        pytest.skip("needs an x86-64 machine")
    path = os.pathsep.join([str(TESTS.parent), str(TESTS / "attention")])  # guard_pages.py is there

    def run(script: Path, *arguments: str) -> str:
        done = subprocess.run(
            [sys.executable, script, *arguments],
            env=os.environ | {"PYTHONPATH": path} | setting,
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    return run
