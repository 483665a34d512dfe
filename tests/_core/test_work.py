"""Lists of work: every item is done exactly once, whatever the number of workers."""

import numpy as np
import pytest
from numba import prange, types

from fastcore._core import threads
from fastcore._core.work import SharedWork, call_by_address, next_item


def count_visits(visits, step, counter):
    item = next_item(counter, -1)
    while item < visits.size:
        visits[item] += step
        item = next_item(counter, item)


def count_visits_in_parallel(body, workers, visits, step, counter):
    for _ in prange(workers):
        call_by_address(body, (visits, step, counter))


visit = SharedWork(count_visits, count_visits_in_parallel, [types.Array(types.int64, 1, "A"), types.int64])


def test_shared_work_serial_and_parallel_do_each_item_once():
    for work_ns in (0.0, 1e9):
        visits = np.zeros(10_007, np.int64)
        visit(work_ns, visits, 3)
        np.testing.assert_array_equal(visits, 3)


def test_shared_work_converts_layouts_to_the_declared_one():
    visits = np.zeros((2000, 3), np.int64)
    visit(1e9, visits[:, 1], 2)
    np.testing.assert_array_equal(visits, np.tile([0, 2, 0], (2000, 1)))


def allocate(done, size, counter):
    room = np.empty(size, np.float64)
    item = next_item(counter, -1)
    while item < done.size:
        done[item] = room.size
        item = next_item(counter, item)


def allocate_in_parallel(body, workers, done, size, counter):
    for _ in prange(workers):
        call_by_address(body, (done, size, counter))


allocating = SharedWork(allocate, allocate_in_parallel, [types.Array(types.int64, 1, "A"), types.int64])


@pytest.mark.parametrize("work_ns", [0.0, 1e9])
def test_shared_work_out_of_memory_raises(work_ns):
    done = np.zeros(10, np.int64)
    allocating(work_ns, done, 8)
    np.testing.assert_array_equal(done, 8)
    with pytest.raises(MemoryError):
        allocating(work_ns, done, 1 << 58)
    allocating(work_ns, done, 9)
    np.testing.assert_array_equal(done, 9)


def test_shared_work_without_items_returns():
    visit(0.0, np.zeros(0, np.int64), 1)


def test_shared_work_gives_back_the_launch():
    visit(1e9, np.zeros(100, np.int64), 1)
    width = threads.begin(1e9)
    if width > 1:
        threads.end()
    assert width == threads.get_num_threads()
