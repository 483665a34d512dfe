"""Packed sequences in processes of their own: arrays that end at a forbidden page, and the bodies as plain Python."""

import sys

import pytest

from tests.attention.test_processes import run

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="mprotect is POSIX")


def test_varlen_accesses_nothing_out_of_bounds():
    assert run("varlen_guard_pages.py") == "128"


def test_varlen_works_without_jit():
    assert run("varlen_guard_pages.py", NUMBA_DISABLE_JIT="1") == "48"
