"""What goes into the key of a cache entry."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np

import fastcore
from fastcore._core import cache_key, simd
from fastcore._core.jit import kernel


def add(left, right):
    return left + right


def total(array):
    return array.sum()


def test_key_changes_with_frozen_arrays_tuples_types_of_lanes_and_callees():
    def key(value):
        return cache_key.function_key(lambda: value)

    values = [1, 1.0, "1", (1, 2), (1, 2.0), np.zeros(2), np.zeros(2, "f4"), np.ones(2), kernel(add), kernel(total)]
    values += [simd.u8, simd.u16, simd.f64]
    assert len({key(value) for value in values}) == len(values)
    assert key(np.ones(2)) == key(np.ones(2))


def test_key_of_any_file_covers_the_whole_package():
    """A folder without __init__.py would be a package of its own, and edits elsewhere unseen by its kernels."""
    files = tuple(sorted(Path(fastcore.__file__).parent.rglob("*.py")))
    assert {cache_key._sources(file) for file in files} == {files}


def test_key_does_not_depend_on_the_order_of_a_set():
    """A frozenset of strings among the constants is printed in another order under another hash seed."""
    code = (
        "from fastcore._core.cache_key import function_key\n"
        "def f(x): return x in {'alpha', 'beta', 'gamma', 'delta'}\nprint(function_key(f))"
    )
    keys = set()
    for seed in "12345":
        environment = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(Path(__file__).parents[2])}
        keys.add(subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, check=True).stdout)
    assert len(keys) == 1
