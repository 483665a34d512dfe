"""PagePool: counts of owners and the stack of free pages."""

import numpy as np
import pytest

from fastcore.kvcache.errors import CacheFullError, require_pages
from fastcore.kvcache.pages import PagePool


def free_pages(pool):
    return sorted(pool._stack[: pool.free].tolist())


def test_page_pool_take_gives_every_page_once_and_the_first_first():
    pool = PagePool(7)
    np.testing.assert_array_equal(pool.take(3), [0, 1, 2])
    np.testing.assert_array_equal(pool.take(0), np.zeros(0, int))
    np.testing.assert_array_equal(pool.take(4), [3, 4, 5, 6])
    assert pool.free == 0
    np.testing.assert_array_equal(pool.owners, np.ones(7))


def test_page_pool_take_is_a_copy():
    pool = PagePool(4)
    pages = pool.take(2)
    pages[:] = 99
    pool.release(np.array([0, 1]))
    assert free_pages(pool) == [0, 1, 2, 3]


def test_page_pool_released_pages_are_taken_again_when_nobody_owns_them():
    pool = PagePool(5)
    pages = pool.take(4)
    pool.share(pages[1:3])
    pool.release(pages)
    np.testing.assert_array_equal(pool.owners, [0, 1, 1, 0, 0])
    assert free_pages(pool) == [0, 3, 4]
    pool.release(pages[1:3])
    assert free_pages(pool) == [0, 1, 2, 3, 4]


def test_page_pool_released_pages_come_back_in_their_order():
    pool = PagePool(6)
    pages = pool.take(4)
    pool.release(pages)
    np.testing.assert_array_equal(pool.take(6), [0, 1, 2, 3, 4, 5])


def test_page_pool_recount_makes_counts_and_stack_from_the_tables():
    pool = PagePool(6)
    pool.owners[:] = 77
    pool.free = 5
    pool.recount(iter([np.array([4, 1]), np.array([], int), np.array([1, 2])]))
    np.testing.assert_array_equal(pool.owners, [0, 2, 1, 0, 1, 0])
    assert free_pages(pool) == [0, 3, 5]
    assert pool.take(1) == [0]


def test_page_pool_random_operations_keep_counts_exact(rng):
    pool, tables = PagePool(40), []
    for _ in range(500):
        kind = rng.integers(3)
        if kind == 0 and pool.free:
            tables.append(pool.take(int(rng.integers(pool.free + 1))))
        elif kind == 1 and tables:
            tables.append(tables[rng.integers(len(tables))][: rng.integers(9)].copy())
            pool.share(tables[-1])
        elif tables:
            pool.release(tables.pop(rng.integers(len(tables))))
        owners = np.bincount(np.concatenate([[], *tables]).astype(int), minlength=40)
        np.testing.assert_array_equal(pool.owners, owners)
        assert free_pages(pool) == np.flatnonzero(owners == 0).tolist()


def test_require_pages_says_what_was_needed_and_free():
    require_pages(3, 3, 8, 16)
    with pytest.raises(CacheFullError, match=r"Needed 4 of 16 tokens, free 3 of 8; nothing was changed\. Free or"):
        require_pages(4, 3, 8, 16)
