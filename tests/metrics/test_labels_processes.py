"""Labels in a process of its own: guard pages, other vector widths, bodies without the compiler."""

import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
SETTINGS = {
    "host": {},
    "plain x86-64": {"NUMBA_CPU_NAME": "x86-64", "NUMBA_CPU_FEATURES": "+sse2"},
    "no compiler": {"NUMBA_DISABLE_JIT": "1"},
}


@pytest.mark.skipif(sys.platform == "win32", reason="mprotect is POSIX")
@pytest.mark.parametrize("setting", SETTINGS)
def test_labels_are_right_and_nothing_is_read_out_of_bounds(setting):
    if "NUMBA_CPU_NAME" in SETTINGS[setting] and platform.machine().lower() not in ("x86_64", "amd64"):
        pytest.skip("needs an x86-64 machine")
    path = os.pathsep.join([str(TESTS.parent), str(TESTS / "attention")])
    done = subprocess.run(
        [sys.executable, Path(__file__).with_name("guarded_labels.py")],
        env=os.environ | {"PYTHONPATH": path} | SETTINGS[setting],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "96"
