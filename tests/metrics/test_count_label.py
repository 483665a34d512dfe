import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import fastcore
from fastcore.metrics.kernels.binary_counts import BINARY, OTHER_ARRAYS, OTHER_LABELS
from fastcore.metrics.labels import count_label
from fastcore.reference.metrics_labels import binary_counts as reference

WIDTHS = [1, 2, 3, 4, 5, 7, 8, 9, 16, 17, 40]


def pair_of(width, kind, place):
    """Two strings of ``width`` characters that differ in one place."""
    first = "a" * width
    second = first[:place] + "b" + first[place + 1 :]
    return np.array([first, second], f"{kind}{width}")


@pytest.mark.parametrize("kind", ["U", ">U", "S"])
@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("length", [1, 10, 1025, 40_000])
def test_count_label_of_each_width_matches_numpy(rng, kind, width, length):
    names = pair_of(width, kind, int(rng.integers(width)))
    ones = rng.integers(0, 2, (2, 3 * length))
    ones[1, 0] = 1  # the label occurs
    label = names[1].item()
    for step in (1, 3):
        true, pred = ones[:, : length * step : step]
        got = count_label(names[ones[0]][: length * step : step], names[ones[1]][: length * step : step], label)
        assert got == (BINARY, *reference(true, pred), length)


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("length", [10, 40_000])
def test_count_label_finds_a_third_label_anywhere(rng, width, length):
    for position in (0, length // 2, length - 1):
        labels = pair_of(width, "U", width - 1)[rng.integers(0, 2, (2, length))]
        labels[rng.integers(2), position] = "c" * width
        assert count_label(*labels, "a" * width)[0] == OTHER_LABELS


@given(
    st.lists(st.tuples(st.sampled_from(["", "a", "ab"]), st.sampled_from(["", "a", "ab", "abc"])), min_size=1),
    st.sampled_from(["", "a", "ab", "abcdef"]),
    st.sampled_from(["U4", "O"]),
)
def test_count_label_is_binary_where_there_are_two_labels(pairs, label, dtype):
    y_true, y_pred = (np.array(side, dtype) for side in zip(*pairs, strict=True))
    code, *counts = count_label(y_true, y_pred, label)
    labels = {*y_true.tolist(), *y_pred.tolist()}
    assert (code == BINARY) == (label in labels and len(labels) <= 2)
    if code == BINARY:
        assert counts == [*reference(y_true == label, y_pred == label), len(pairs)]


@pytest.mark.parametrize(
    "y_true, y_pred, label",
    [
        (np.array(["a"]), np.array(["a", "b"]), "a"),
        (np.array(["a"]), np.array(["ab"]), "a"),
        (np.array(["a"]), np.array(["a"]), 1),
        (np.array(["a"]), np.array(["a"]), b"a"),
        (np.array(["a"]), np.array(["a"], object), "a"),
        (np.array([1, 2], object), np.array([1, 2], object), 1),
        (np.array(["a", None], object), np.array(["a", "a"], object), "a"),
        (np.array([["a"], "b"], object), np.array(["a", "b"], object), "a"),
        (np.array([], "U1"), np.array([], "U1"), "a"),
        (np.array([], object), np.array([], object), "a"),
        (np.array([1]), np.array([1]), "a"),
        (np.full(100_000, "a", object), np.full(100_000, "a", object), "a"),
    ],
)
def test_count_label_leaves_other_arrays_alone(y_true, y_pred, label):
    assert count_label(y_true, y_pred, label)[0] == OTHER_ARRAYS


def test_count_label_one_thread_equals_many(rng):
    labels = np.array(["no", "yes"])[rng.integers(0, 2, (2, 300_000))]
    with fastcore.num_threads(1):
        serial = count_label(*labels, "yes")
    assert count_label(*labels, "yes") == serial
