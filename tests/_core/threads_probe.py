"""Scenarios for test_threads.py, each run in a process of its own: `python threads_probe.py <scenario>`.

A scenario calls a small kernel the way public functions do, checks its numbers, and prints one JSON object of what it
saw. A crash shows as the exit status, a hang as the exit of the watchdog.
"""

import faulthandler
import json
import multiprocessing
import os
import signal
import sys
import threading
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numba
import numpy as np

from fastcore._core import threads
from fastcore._core.jit import kernel
from fastcore._core.threads import atomic_add

# From Python 3.12 on every fork beside other threads warns, of what these scenarios are about.
warnings.filterwarnings("ignore", category=DeprecationWarning, message=".*fork")

HANG_SECONDS = 40
ITEMS = 64
LARGE_NS = 1e9
EXPECTED = np.arange(ITEMS) * 3.0


@kernel
def fill(out, counter):
    while True:
        i = atomic_add(counter, 0, 1)
        if i >= out.size:
            return
        out[i] += 3.0 * i


@kernel(parallel=True)
def fill_in_parallel(out, counter, width):
    for _worker in numba.prange(width):
        fill(out, counter)


def call(work_ns: float = LARGE_NS, inside: Callable[[], object] | None = None) -> int:
    """One call of a public function, so to speak; returns the width it ran with. `inside` runs while it launches."""
    out, counter = np.zeros(ITEMS), np.zeros(1, np.int64)
    width = threads.begin(work_ns)
    if width == 1:
        fill(out, counter)
    else:
        try:
            fill_in_parallel(out, counter, width)
            if inside is not None:
                inside()
        finally:
            threads.end()
    # A lost or repeated item, or a worker that never ran, would show.
    if not np.array_equal(out, EXPECTED):
        raise AssertionError(f"wrong result at width {width}: {out}")
    return width


def in_child(work: Callable[[], object]) -> object:
    """What `work` returns in a forked child, or how the child died."""
    receiver, sender = os.pipe()
    child = os.fork()
    if child == 0:
        signal.alarm(HANG_SECONDS // 4)
        status = 1
        try:
            os.write(sender, json.dumps(work()).encode())
            status = 0
        finally:
            os._exit(status)
    os.close(sender)
    _, status = os.waitpid(child, 0)
    with os.fdopen(receiver) as answer:
        return json.loads(answer.read()) if status == 0 else f"died: wait status {status}"


def widest(repeats: int) -> int:
    return max([call() for _ in range(repeats)])


def widest_in_new_thread() -> int:
    with ThreadPoolExecutor(1) as executor:
        return executor.submit(widest, 20).result()


def concurrent() -> dict:
    """16 Python threads, 200 calls each; small teams, so that several launches are in flight at a time."""

    def work(number: int) -> list[int]:
        threads.set_num_threads(2 + number % 2)
        return [call() for _ in range(200)]

    with ThreadPoolExecutor(16) as executor:
        widths = [width for each in executor.map(work, range(16)) for width in each]
    return {"calls": len(widths), "widest": max(widths)}


def fork() -> dict:
    """Use, fork, use in the child, in a new thread of the child and in a grandchild; then the parent goes on."""
    return {
        "before": widest(20),
        "child": in_child(lambda: widest(50)),
        "thread of child": in_child(widest_in_new_thread),
        "grandchild": in_child(lambda: in_child(lambda: widest(50))),
        "after": widest(20),
    }


def fork_before_use() -> dict:
    """The parent has never launched, so the child is as free as any process."""
    return {"child": in_child(lambda: widest(20)), "after": widest(20)}


def fork_pool() -> dict:
    call()
    with multiprocessing.get_context("fork").Pool(3) as pool:
        widths = pool.map(widest, [10] * 12)
    return {"widest": max(widths), "after": widest(20)}


def fork_while_launching() -> dict:
    """Fork 10 times while four threads launch. Children that launch would hang on tbb, about one in 10."""
    launched, stop = threading.Event(), threading.Event()

    def work() -> None:
        while not stop.is_set():
            if call() > 1:
                launched.set()

    call()
    with ThreadPoolExecutor(4) as executor:
        running = [executor.submit(work) for _ in range(4)]
        launched.wait()
        children = [in_child(lambda: widest(20)) for _ in range(10)]
        stop.set()
        for each in running:
            each.result()
    return {"children": children, "after": widest(20)}


def fork_inside_launch() -> dict:
    """Fork while a launch is known to be in flight, of another thread and of the same."""
    call()
    children: list[object] = []
    entered, leave = threading.Event(), threading.Event()

    def hold() -> None:
        entered.set()
        leave.wait()

    with ThreadPoolExecutor(1) as executor:
        holder = executor.submit(call, inside=hold)
        entered.wait()
        children.append(in_child(lambda: widest(20)))
        leave.set()
        holder.result()
    call(inside=lambda: children.append(in_child(lambda: widest(20))))
    return {"children": children, "after": widest(20)}


def fork_from_thread() -> dict:
    """The thread that forks is not the one that started the layer."""
    call()
    with ThreadPoolExecutor(1) as executor:
        child = executor.submit(in_child, lambda: widest(20)).result()
    return {"child": child, "after": widest(20)}


def nested() -> dict:
    """Calls inside a launch: of its own thread, of an executor it waits for, and of the kernel's workers."""
    own: list[int] = []
    executors: list[int] = []
    workers: list[int] = []

    def work(_number: int) -> None:
        # Two threads of the pool leave six, so that only the rule for nesting can answer 1.
        with threads.num_threads(2):
            call(inside=lambda: own.append(call()))

    def in_executor() -> None:
        with ThreadPoolExecutor(4) as executor:
            executors.extend(executor.map(lambda _: call(), range(20)))

    def record() -> None:
        workers.append(call())

    @numba.njit(nogil=True, parallel=True)
    def call_back(width):
        for _worker in numba.prange(width):
            with numba.objmode():
                record()

    with ThreadPoolExecutor(2) as executor:
        list(executor.map(work, range(40)))
    with threads.num_threads(2):
        call(inside=in_executor)
        width = threads.begin(LARGE_NS)
        try:
            call_back(width)
        finally:
            threads.end()
    return {"own": sorted(set(own)), "executors": executors, "workers": workers}


def counts() -> dict:
    """Counts belong to a Python thread and come back after a launch, an error and a context."""
    seen: dict = {"start": threads.get_num_threads()}
    both = threading.Barrier(2)

    def work(number: int) -> list[int]:
        threads.set_num_threads(number)
        both.wait()
        return [threads.get_num_threads(), numba.get_num_threads(), widest(20)]

    with ThreadPoolExecutor(2) as executor:
        seen["two threads"] = list(executor.map(work, [2, 3]))
    try:
        with threads.num_threads(3):
            seen["in context"] = [threads.get_num_threads(), numba.get_num_threads(), call()]
            raise KeyError
    except KeyError:
        seen["after error"] = threads.get_num_threads()
    numba.set_num_threads(5)
    seen["set by numba"] = threads.get_num_threads()
    little = 2.5 * threads.WORK_NS_PER_WORKER[threads.start()]
    call(little, inside=lambda: seen.update({"inside": numba.get_num_threads()}))
    seen["after launch"] = [numba.get_num_threads(), len(threads._state.launches)]
    return seen


def lazy() -> dict:
    """Neither importing nor little work starts a layer."""
    call(work_ns=1000.0)
    before = threads.threading_layer()
    return {"before": before, "widest": widest(2)}


def main() -> None:
    scenario = sys.argv[1]
    faulthandler.dump_traceback_later(HANG_SECONDS, exit=True)
    seen = globals()[scenario]()
    print(json.dumps({"layer": threads.threading_layer(), **seen}))


if __name__ == "__main__":
    main()
