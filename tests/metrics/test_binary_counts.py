import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import fastcore
from fastcore.metrics.kernels.binary_counts import BINARY, ITEM, OTHER_ARRAYS, OTHER_LABELS, count
from fastcore.reference.metrics_labels import binary_counts as reference

DTYPES = ["?", "i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "f4", "f8"]
STEPS = [1, -1, 3]


def strided(x, step):
    """The same numbers ``step`` apart."""
    memory = np.full(abs(step) * len(x), x.dtype.type(1))
    memory[::step] = x
    return memory[::step]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("length", [0, 1, 63, 64, 65, 20_011, 3 * ITEM + 17])
def test_count_of_each_dtype_and_stride_matches_numpy(rng, dtype, length):
    y_true, y_pred = (rng.integers(0, 2, length).astype(dtype) for _ in range(2))
    for step in STEPS:
        got = count(strided(y_true, step), strided(y_pred, -step))
        assert got == (BINARY, *reference(y_true, y_pred), length)
        assert all(type(number) is int for number in got)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("length", [1, 20_011, 2 * ITEM + 5])
def test_count_weighted_of_each_dtype_and_stride_matches_numpy(rng, dtype, length):
    y_true, y_pred = (rng.integers(0, 2, length).astype(dtype) for _ in range(2))
    weights = rng.normal(size=length)
    for step in STEPS:
        code, *sums = count(strided(y_true, step), strided(y_pred, -step), strided(weights, step))
        assert code == BINARY
        np.testing.assert_allclose(sums, [*reference(y_true, y_pred, weights), weights.sum()], rtol=1e-12, atol=1e-10)


@given(
    st.sampled_from([dtype for dtype in DTYPES if dtype != "?"]).flatmap(
        lambda dtype: hnp.arrays(dtype, st.tuples(st.just(2), st.integers(1, 300)), fill=st.sampled_from([0, 1]))
    ),
    st.booleans(),
)
def test_count_says_whether_all_labels_are_binary(labels, weighted):
    weights = np.ones(labels.shape[1]) if weighted else None
    code = count(*labels, weights)[0]
    is_binary = ((labels == 0) | (labels == 1)).all()
    if (np.signbit(labels) & (labels == 0)).any():
        assert code == OTHER_LABELS  # -0.0, which the general way takes
    else:
        assert (code == BINARY) == is_binary


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("length", [1, 100, 5 * ITEM])
@pytest.mark.parametrize(
    "dtype, other", [("i8", 2**40), ("i8", -1), ("i1", -127), ("u4", 3), ("f8", np.nan), ("f4", 2)]
)
def test_count_finds_one_other_label_anywhere(rng, dtype, other, length, weighted):
    weights = np.ones(length) if weighted else None
    for position in {0, length // 2, length - 1}:
        for which in range(2):
            labels = rng.integers(0, 2, (2, length)).astype(dtype)
            labels[which, position] = other
            assert count(*labels, weights)[0] == OTHER_LABELS


@pytest.mark.parametrize(
    "y_true, y_pred, weights",
    [
        (np.zeros(3, int), np.zeros(4, int), None),
        (np.zeros(100_000, int), np.zeros(200_000, int), None),
        (np.zeros(3, int), np.zeros(3, np.int32), None),
        (np.zeros(3, ">i8"), np.zeros(3, ">i8"), None),
        (np.zeros(3, np.float16), np.zeros(3, np.float16), None),
        (np.zeros(3, object), np.zeros(3, object), None),
        (np.zeros(3, int), np.zeros(3, int), np.ones(4)),
        (np.zeros(3, int), np.zeros(3, int), np.ones(3, np.float32)),
    ],
)
def test_count_leaves_other_arrays_alone(y_true, y_pred, weights):
    assert count(y_true, y_pred, weights)[0] == OTHER_ARRAYS


def test_count_of_unaligned_and_readonly_labels(rng):
    labels = rng.integers(0, 2, 1000)
    unaligned = np.frombuffer(b"\0" + labels.tobytes(), np.int64, 1000, 1)
    field = np.zeros(1000, [("flag", "i1"), ("label", "i8")])
    field["label"] = labels
    for y in (unaligned, field["label"], np.broadcast_to(labels[:1], 1000)):
        assert count(y, labels) == (BINARY, *reference(y, labels), 1000)


def test_count_beyond_2_to_the_31_labels_does_not_overflow():
    length = 2**31 + 12_345
    ones = np.broadcast_to(np.ones(1, np.int8), length)
    assert count(ones, ones) == (BINARY, length, length, length, length)


@pytest.mark.parametrize("weighted", [False, True])
def test_count_one_thread_equals_many(rng, weighted):
    y_true, y_pred = rng.integers(0, 2, (2, 40 * ITEM + 3))
    weights = rng.random(len(y_true)) if weighted else None
    with fastcore.num_threads(1):
        serial = count(y_true, y_pred, weights)
    assert count(y_true, y_pred, weights) == serial
