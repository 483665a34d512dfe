"""Launches on the threads of an OpenMP library: each item once, the bits of Numba's own threads."""

import importlib.util
import os
from pathlib import Path

import numpy as np
import pytest

import fastcore
from fastcore._core import team, threads
from fastcore.attention.kernels.attend import attend_single_queries
from fastcore.attention.kernels.forward import flash_forward_plain
from tests._core.test_work import allocating, visit


def openmp() -> Path:
    """GNU's OpenMP as scikit-learn's wheel brings it along."""
    found = importlib.util.find_spec("sklearn")
    folder = Path(found.origin).parents[1] / "scikit_learn.libs" if found else Path()
    return next(iter(folder.glob("libgomp*")), Path("absent"))


@pytest.fixture
def two():
    found = team.find_team(openmp(), lambda: 2)
    if found is None:
        pytest.skip("no OpenMP library that is known here, or no compiler")
    return found


def test_library_without_openmp_has_no_team(tmp_path):
    assert team.find_team(tmp_path / "absent.so", os.cpu_count) is None


def test_items_are_done_once_by_a_team(two):
    visits = np.zeros(10_007, np.int64)
    with two:
        visit(1e9, visits, 3)
        assert team.current_team() is two
    np.testing.assert_array_equal(visits, 3)
    assert team.current_team() is None


def test_team_out_of_memory_raises(two):
    done = np.zeros(10, np.int64)
    with two, pytest.raises(MemoryError):
        allocating(1e9, done, 1 << 58)
    assert not done.any()


def test_a_team_is_one_thread_inside_a_launch_and_where_others_have_the_cores(two):
    assert threads.begin(1e9, two) == 2
    try:
        assert threads.begin(1e9, two) == 1
    finally:
        threads.end()
    assert threads.begin(1e9, team.Team(two.launch, lambda: 1)) == 1
    assert threads.begin(1e9, two) == 2
    threads.end()


@pytest.mark.parametrize("is_causal", [False, True])
def test_attention_in_a_team_has_the_bits_of_attention(two, rng, is_causal):
    query, key, value = (rng.normal(size=(2, 4, 150, 32)).astype(np.float32) for _ in range(3))
    expected = fastcore.scaled_dot_product_attention(query, key, value, is_causal=is_causal)
    with two:
        out = np.empty_like(query)
        assert flash_forward_plain(query, key, value, out, is_causal)
        np.testing.assert_array_equal(out, expected)
        np.testing.assert_array_equal(
            fastcore.scaled_dot_product_attention(query, key, value, is_causal=is_causal), expected
        )


def test_decoding_in_a_team_has_the_bits_of_decoding(two, rng):
    query = rng.normal(size=(2, 8, 1, 64)).astype(np.float32)
    key, value = (rng.normal(size=(2, 2, 5000, 64)).astype(np.float32) for _ in range(2))
    out = np.empty_like(query)
    assert not attend_single_queries(query, key, value, out)
    with two:
        assert attend_single_queries(query, key, value, out)
    np.testing.assert_array_equal(out, fastcore.scaled_dot_product_attention(query, key, value, enable_gqa=True))
