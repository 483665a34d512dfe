"""Labels that end, or begin, right at a page nobody may touch. Run by test_labels_processes.py; prints the cases."""

import itertools

import numpy as np
from guard_pages import guarded

from fastcore.metrics.kernels.binary_counts import BINARY, count
from fastcore.metrics.kernels.pair_histogram import pair_histogram
from fastcore.metrics.labels import encode
from fastcore.reference import metrics_labels as reference

NUMBERS = ["?", "i1", "i2", "u4", "i8", "f4", "f8"]
STRINGS = ["U1", "U3", "U10", "S1", "S3", "S5", "S8", "S9", "S17"]
LENGTHS = [1, 7, 65]


def assert_same(got, want):
    for left, right in zip(got, want, strict=True):
        np.testing.assert_array_equal(left, right)


def check_numbers(a, b, weights):
    assert_same(encode(a), reference.encode(a))
    assert_same(pair_histogram(a, b), reference.pair_histogram(a, b))
    assert_same(pair_histogram(a, b, weights), reference.pair_histogram(a, b, weights))
    assert count(a, b) == (BINARY, *reference.binary_counts(a, b), len(a))
    assert count(a, b, weights) == (BINARY, *reference.binary_counts(a, b, weights), weights.sum())
    if a.dtype.itemsize == 8:
        # Far apart, so that they are hashed.
        far = guarded((a * 2.0**62).astype(a.dtype), a.ctypes.data % 4096 > 0, range(1))
        assert_same(encode(far), reference.encode(far))


def main():
    rng = np.random.default_rng(0)
    cases = list(itertools.product(NUMBERS + STRINGS, LENGTHS, (True, False)))
    for dtype, length, at_end in cases:
        ones = rng.integers(0, 2, (2, length))
        a, b = (guarded(labels.astype(dtype), at_end, range(1)) for labels in ones)
        if dtype in NUMBERS:
            check_numbers(a, b, guarded(rng.integers(0, 9, length) / 4, at_end, range(1)))
        else:
            assert_same(encode(a), reference.encode(a))
            assert_same(pair_histogram(a, b), reference.pair_histogram(a, b))
    print(len(cases))


if __name__ == "__main__":
    with np.errstate(over="ignore"):  # hashes wrap, which NumPy says of them where there is no compiler
        main()
