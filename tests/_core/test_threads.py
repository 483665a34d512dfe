"""Launching is safe on every threading layer: no abort, no hang, right results; counts belong to Python threads."""

import importlib.metadata
import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import numba
import numpy as np
import pytest
from numba.core.errors import TypingError

from fastcore._core import atomic, threads
from fastcore._core.jit import kernel

PROBE = Path(__file__).with_name("threads_probe.py")
ROOT = PROBE.parents[2]
POOL = 8

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")


def has_layer(name: str) -> bool:
    module = {"tbb": "tbbpool", "omp": "omppool"}.get(name, name)
    try:
        return bool(
            importlib.util.find_spec(f"numba.np.ufunc.{module}")
            and (name != "tbb" or importlib.metadata.version("tbb"))
        )
    except importlib.metadata.PackageNotFoundError:
        return False


LAYERS = [
    pytest.param(name, marks=pytest.mark.skipif(not has_layer(name), reason=f"no {name} here"))
    for name in ("tbb", "omp", "workqueue")
]
every_layer = pytest.mark.parametrize("layer", LAYERS)


def run_probe(scenario: str, layer: str | None, **variables: str) -> dict:
    """What a scenario saw, in a process with this layer; a crash or a hang fails the test."""
    environment = os.environ | {"NUMBA_NUM_THREADS": str(POOL), "PYTHONPATH": str(ROOT)}
    for name in ("NUMBA_THREADING_LAYER", "NUMBA_THREADING_LAYER_PRIORITY", "NUMBA_DISABLE_JIT"):
        environment.pop(name, None)
    if layer is not None:
        environment["NUMBA_THREADING_LAYER"] = layer
    done = subprocess.run(
        [sys.executable, str(PROBE), scenario],
        env=environment | variables,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, f"{scenario} on {layer}: exit status {done.returncode}\n{done.stdout}\n{done.stderr}"
    # Not simply the last line: Numba's fork handler prints too.
    seen = json.loads(next(line for line in done.stdout.splitlines() if line.startswith("{")))
    assert layer in (None, seen["layer"])
    return seen


@every_layer
def test_calls_from_16_python_threads_are_right(layer):
    seen = run_probe("concurrent", layer)
    assert seen["calls"] == 16 * 200
    # On workqueue a thread with a count of 3 may never find the lock free.
    assert seen["widest"] in (2, 3)


@needs_fork
@every_layer
def test_fork_after_use_child_and_grandchild_call(layer):
    width = 1 if layer == "omp" else POOL
    assert run_probe("fork", layer) == {
        "layer": layer,
        "before": POOL,
        "child": width,
        "thread of child": width,
        "grandchild": width,
        "after": POOL,
    }


@needs_fork
@pytest.mark.parametrize("layer", LAYERS[1:2])
def test_fork_before_use_child_launches_even_on_omp(layer):
    assert run_probe("fork_before_use", layer) == {"layer": layer, "child": POOL, "after": POOL}


@needs_fork
@every_layer
def test_fork_pool_after_use_is_right(layer):
    seen = run_probe("fork_pool", layer)
    assert seen == {"layer": layer, "widest": 1 if layer == "omp" else POOL, "after": POOL}


@needs_fork
@every_layer
def test_fork_while_other_threads_launch_child_calls(layer):
    seen = run_probe("fork_while_launching", layer)
    # workqueue may launch where the fork met no launch.
    assert set(seen["children"]) <= ({1, POOL} if layer == "workqueue" else {1})
    assert seen["after"] == POOL


@needs_fork
@every_layer
def test_fork_during_launch_child_is_serial(layer):
    assert run_probe("fork_inside_launch", layer) == {"layer": layer, "children": [1, 1], "after": POOL}


@needs_fork
@pytest.mark.parametrize("layer", LAYERS[:1])
def test_fork_from_other_thread_than_the_starter_child_is_serial_on_tbb(layer):
    assert run_probe("fork_from_thread", layer) == {"layer": layer, "child": 1, "after": POOL}


LATE_IMPORT = """
import multiprocessing, sys, warnings, numba
warnings.simplefilter("ignore", DeprecationWarning)

def begin(_):
    from fastcore._core import threads
    return threads.begin(1e9)

numba.get_num_threads()
with multiprocessing.get_context("fork").Pool(1) as pool:
    print(numba.threading_layer(), pool.map(begin, [0]), "fastcore" in sys.modules)
"""


@needs_fork
@pytest.mark.skipif(not has_layer("omp"), reason="no omp here")
def test_fork_pool_fastcore_imported_in_child_is_serial_on_omp():
    environment = os.environ | {"NUMBA_THREADING_LAYER": "omp", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", LATE_IMPORT], env=environment, capture_output=True, text=True, timeout=60
    )
    assert done.stdout.strip() == "omp [1] False", done.stderr


@every_layer
def test_nested_calls_are_right(layer):
    seen = run_probe("nested", layer)
    assert seen["own"] == [1]
    assert len(seen["executors"]) == 20
    assert len(seen["workers"]) == 2
    if layer == "workqueue":
        assert set(seen["executors"] + seen["workers"]) == {1}
    else:
        # Launches beside one that is in flight, in the six threads it left.
        assert max(seen["executors"]) == POOL - 2


@every_layer
def test_thread_counts_belong_to_python_threads_and_come_back(layer):
    seen = run_probe("counts", layer)
    assert seen["start"] == POOL
    assert [each[:2] for each in seen["two threads"]] == [[2, 2], [3, 3]]
    assert seen["in context"] == [3, 3, 3]
    assert seen["after error"] == POOL
    assert seen["set by numba"] == 5
    assert seen["inside"] == 2
    assert seen["after launch"] == [5, 0]


def test_layer_user_made_no_choice_is_tbb_and_starts_late():
    seen = run_probe("lazy", None)
    assert seen["before"] is None
    assert seen["widest"] == POOL
    if has_layer("tbb"):
        assert seen["layer"] == "tbb"


def test_layer_user_chose_by_priority_is_kept():
    seen = run_probe("lazy", None, NUMBA_THREADING_LAYER_PRIORITY="workqueue omp tbb")
    assert seen["layer"] == "workqueue"


def test_jit_disabled_calls_are_right():
    assert run_probe("concurrent", None, NUMBA_DISABLE_JIT="1")["calls"] == 16 * 200


def test_begin_little_work_is_serial():
    assert threads.begin(0.99 * threads.SMALLEST_WORK_NS) == 1
    assert threads.begin(0.0) == 1


def claimed(work_ns):
    """Workers of a launch that is given back at once."""
    width = threads.begin(work_ns)
    if width > 1:
        threads.end()
    return width


def test_begin_width_grows_with_work_up_to_count():
    grain = threads.WORK_NS_PER_WORKER[threads.start()]
    count = threads.get_num_threads()
    widths = [claimed(workers * 1.01 * grain) for workers in range(1, count + 3)]
    assert widths == [min(workers, count) for workers in range(1, count + 3)]
    assert claimed(float("inf")) == count
    with threads.num_threads(1):
        assert threads.begin(1e12) == 1


def test_end_without_begin_does_nothing():
    threads.end()
    assert threads.get_num_threads() == numba.get_num_threads()


@pytest.mark.parametrize("n", [0, -1, numba.config.NUMBA_NUM_THREADS + 1])
def test_set_num_threads_out_of_bounds_raises(n):
    before = threads.get_num_threads()
    with pytest.raises(ValueError, match=rf"n must be between 1 and {numba.config.NUMBA_NUM_THREADS}.* Got {n}\."):
        threads.set_num_threads(n)
    with pytest.raises(ValueError, match="n must be between"), threads.num_threads(n):
        pytest.fail("the block must not run")
    assert threads.get_num_threads() == before


@pytest.mark.parametrize("n", [1.0, "1", None, True])
def test_set_num_threads_not_an_integer_raises(n):
    with pytest.raises(TypeError, match="n must be an integer"):
        threads.set_num_threads(n)


def test_num_threads_numpy_integer_is_accepted():
    with threads.num_threads(np.int32(1)):
        assert threads.get_num_threads() == numba.get_num_threads() == 1


@kernel
def add_all(counter, index, values, before):
    for i in range(values.size):
        before[i] = threads_atomic_add(counter, index, values[i])


threads_atomic_add = threads.atomic_add


@pytest.mark.parametrize("add", [threads.atomic_add, atomic._fetch_add_python])
def test_atomic_add_answers_what_was_there(add, rng):
    values = rng.integers(-(2**40), 2**40, 50)
    counter, before = np.array([0, 7, 0]), np.zeros(50, np.int64)
    if add is threads.atomic_add:
        add_all(counter, 1, values, before)
    else:
        before[:] = [add(counter, 1, value) for value in values]
    assert np.array_equal(before, 7 + np.cumsum(values) - values)
    assert counter.tolist() == [0, 7 + values.sum(), 0]


@pytest.mark.skipif(numba.config.DISABLE_JIT, reason="types are only checked by the compiler")
@pytest.mark.parametrize("counter", [np.zeros(1), np.zeros((1, 1), np.int64), np.zeros(1, np.int32)])
def test_atomic_add_other_array_raises(counter):
    with pytest.raises(TypingError, match="writable 1-D int64"):
        add_all(counter, 0, np.zeros(1, np.int64), np.zeros(1, np.int64))
