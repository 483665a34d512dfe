import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from fastcore.metrics.kernels.pair_histogram import (
    code_histogram,
    dense_limit,
    pair_histogram,
    per_label_counts,
)
from fastcore.reference import metrics_labels as reference

DTYPES = ["?", "i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "f2", "f4", "f8", ">i4", ">f8", "<U2", ">U2", "S3", "O"]


def labels_of(rng, dtype, length, num_labels=7):
    return rng.integers(0, num_labels, length).astype(dtype)


def assert_same(got, want):
    for left, right in zip(got, want, strict=True):
        np.testing.assert_array_equal(left, right)
        assert left.dtype == right.dtype


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("length", [1, 9, 5000, 150_000])
def test_pair_histogram_of_each_dtype_matches_numpy(rng, dtype, length):
    a, b = labels_of(rng, dtype, length), labels_of(rng, dtype, 2 * length, 5)[::-2]
    assert_same(pair_histogram(a, b), reference.pair_histogram(a, b))


@given(
    st.integers(0, 40).flatmap(
        lambda n: st.tuples(
            hnp.arrays(np.int64, n, elements=st.one_of(st.integers(-3, 3), st.integers(-(2**63), 2**63 - 1))),
            hnp.arrays(np.float64, n, elements=st.one_of(st.integers(-3, 3).map(float), st.floats())),
        )
    )
)
def test_pair_histogram_of_any_numbers_matches_numpy(pair):
    assert_same(pair_histogram(*pair), reference.pair_histogram(*pair))


@pytest.mark.parametrize("num_labels", [3, 200])
def test_pair_histogram_weighted_matches_numpy(rng, num_labels):
    a, b, weights = labels_of(rng, "i4", 70_000, num_labels), labels_of(rng, "U4", 70_000), rng.normal(size=70_000)
    got, want = pair_histogram(a, b, weights), reference.pair_histogram(a, b, weights)
    assert_same(got[:2], want[:2])
    np.testing.assert_allclose(got[2], want[2], rtol=1e-12, atol=1e-10)


def test_pair_histogram_with_a_rare_label_anywhere_counts_it(rng):
    for position in (0, 77_777, 99_999):
        a, b = labels_of(rng, "i8", 100_000), labels_of(rng, "i2", 100_000)
        a[position] = 40_000
        b[-position - 1] = -30_000
        assert_same(pair_histogram(a, b), reference.pair_histogram(a, b))


def test_pair_histogram_beyond_the_dense_limit_is_none(rng):
    a = np.arange(20_000)
    assert pair_histogram(a, a) is None
    assert dense_limit(len(a)) < len(a) ** 2


def test_code_histogram_keeps_codes_that_do_not_occur():
    codes = np.array([0, 2, 2], np.int32)
    np.testing.assert_array_equal(code_histogram(codes, 4, codes, 4), np.diag([1, 0, 2, 0]))


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("num_labels, length", [(1, 0), (3, 10), (500, 100_000)])
def test_per_label_counts_match_numpy(rng, num_labels, length, weighted):
    a, b = (rng.integers(0, num_labels, length, dtype=np.int32) for _ in range(2))
    weights = rng.random(length) if weighted else None
    for got, want in zip(
        per_label_counts(a, b, num_labels, weights), reference.per_label_counts(a, b, num_labels, weights), strict=True
    ):
        np.testing.assert_allclose(got, want, rtol=1e-12)
