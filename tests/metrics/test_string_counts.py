"""Counts of two strings by comparing them, at any width, stride and length, in any number of threads."""

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st

import fastcore
from fastcore.metrics.kernels import string_counts
from fastcore.metrics.kernels.binary_counts import BINARY, OTHER_LABELS
from fastcore.reference.metrics_labels import binary_counts

TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=18)


@hypothesis.given(
    names=st.lists(TEXTS, min_size=2, max_size=3, unique=True), size=st.integers(1, 50), seed=st.integers(0, 99)
)
def test_two_labels_are_counted_and_others_found(names, size, seed):
    rng = np.random.default_rng(seed)
    a, b = rng.integers(0, len(names), (2, size))
    y_true, y_pred = np.array([names[i] for i in a]), np.array([names[i] for i in b])
    code, *counts = string_counts.count(y_true, y_pred, names[1])
    short = max(y_true.itemsize, y_pred.itemsize, 4 * len(names[1])) <= 4 * string_counts.MOST
    if len({*a, *b} | {1}) > 2 or not short or not min(y_true.itemsize, y_pred.itemsize):
        assert code == OTHER_LABELS
    else:
        assert code == BINARY
        assert counts == [*binary_counts(a == 1, b == 1), size]


@pytest.mark.parametrize("size", [1, 1000, string_counts.ITEM, 5 * string_counts.ITEM + 3, 300_000])
def test_large_columns_in_any_number_of_threads(rng, size):
    a, b = rng.integers(0, 2, (2, size))
    y_true, y_pred = np.array(["negative", "yes"])[a], np.array(["negative", "yes"])[b]
    expected = BINARY, *binary_counts(a, b), size
    assert string_counts.count(y_true, y_pred, "yes") == expected
    with fastcore.num_threads(1):
        assert string_counts.count(y_true, y_pred, "yes") == expected
    wide = np.array(["", "yes"], "<U16")[b]
    assert string_counts.count(np.repeat(y_true, 2)[::2], y_pred[::-1][::-1], "yes") == expected
    assert string_counts.count(wide, wide, "yes") == (BINARY, b.sum(), b.sum(), b.sum(), size)
    y_pred[-1] = "maybe"
    assert string_counts.count(y_true, y_pred, "yes")[0] == (OTHER_LABELS if "negative" in y_true else BINARY)


def test_what_is_not_read_is_left_to_others():
    y = np.array(["a", "b"])
    for wrong in (y.astype(">U1"), y.astype("<U40"), y.astype(object), y.astype("S1"), np.array([1, 2]), y[:1]):
        assert string_counts.count(y, wrong, "a")[0] == OTHER_LABELS
    assert string_counts.count(y, y, "a\0")[0] == string_counts.count(y, y, "a" * 17)[0] == OTHER_LABELS
