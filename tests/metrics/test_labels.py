import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import fastcore
from fastcore.metrics.labels import encode
from fastcore.reference.metrics_labels import encode as reference

NUMBERS = ["?", "i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "f2", "f4", "f8", ">i2", ">i8", ">f4", ">f8"]
STRINGS = ["U1", "U2", "U3", "U7", ">U2", "S1", "S2", "S3", "S4", "S7", "S8", "S9", "S15", "S16", "S17", "S40"]
TEXTS = st.text(max_size=12)
ENOUGH_FOR_CHUNKS = 100_000


def assert_encoded(labels):
    got, want = encode(labels), reference(labels)
    np.testing.assert_array_equal(got[0], want[0])
    np.testing.assert_array_equal(got[1], want[1])
    assert got[0].dtype == want[0].dtype


def own_objects(strings):
    """An object array in which each string is an object of its own, as from a reader of CSV."""
    array = np.empty(len(strings), object)
    array[:] = ["".join(list(text)) for text in strings]
    return array


@pytest.mark.parametrize("dtype", NUMBERS)
@pytest.mark.parametrize("length", [0, 1, 17, 3000, ENOUGH_FOR_CHUNKS])
def test_encode_few_numbers_matches_numpy(rng, dtype, length):
    labels = rng.integers(0, 90, 2 * length).astype(dtype)
    for each in (labels[:length], labels[::-2]):
        assert_encoded(each)


@pytest.mark.parametrize("dtype", ["i4", "u4", "i8", "u8", "f4", "f8", ">i8", ">f8"])
@pytest.mark.parametrize("num_labels", [5, 2000, 80_000])
def test_encode_numbers_far_apart_matches_numpy(rng, dtype, num_labels):
    info = np.finfo(dtype) if "f" in dtype else np.iinfo(dtype)
    wide = rng.uniform(float(info.min) / 4, float(info.max) / 4, num_labels) if "f" in dtype else None
    native = np.dtype(dtype).newbyteorder("=")
    labels = (rng.integers(info.min, info.max, num_labels, native) if wide is None else wide).astype(dtype)
    assert_encoded(labels[rng.integers(0, num_labels, ENOUGH_FOR_CHUNKS)])


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", ">f8"])
@pytest.mark.parametrize("length", [5, ENOUGH_FOR_CHUNKS])
def test_encode_nan_is_one_label_and_zeros_are_one(rng, dtype, length):
    labels = rng.choice(np.array([np.nan, -np.nan, 0.0, -0.0, 0.5, -np.inf, np.inf]), length).astype(dtype)
    labels[:3] = -0.0, 0.0, np.nan
    assert_encoded(labels)


@pytest.mark.parametrize("first", [2**53, 2**53 + 1, 2**63 - 1, -(2**63)])
def test_encode_integers_beyond_float64_stay_apart(first):
    labels = np.array([first, first - 1, first, first - 2] if first > 0 else [first, first + 1, first])
    assert_encoded(labels)
    assert_encoded(np.append(labels, 0))


def test_encode_unsigned_beyond_int64_is_sorted():
    assert_encoded(np.array([2**64 - 1, 0, 2**63, 2**63 - 1, 2**64 - 1], np.uint64))
    assert_encoded(np.array([0, 2**64 - 1, 1], np.uint64))


@pytest.mark.parametrize("dtype", STRINGS)
@pytest.mark.parametrize("length", [1, 11, 3000, ENOUGH_FOR_CHUNKS])
def test_encode_strings_matches_numpy(rng, dtype, length):
    for num_labels in (2, 30, 5000):
        labels = rng.integers(0, num_labels, 2 * length).astype("U9").astype(dtype)
        assert_encoded(labels[:length])
        assert_encoded(labels[::-2])


@given(st.lists(TEXTS, min_size=1, max_size=40))
def test_encode_any_text_matches_numpy(texts):
    assert_encoded(np.array(texts))
    assert_encoded(own_objects([text.replace("\0", "") for text in texts]))


def test_encode_long_strings_that_differ_in_one_place(rng):
    for place in (0, 7, 8, 15, 16, 39, 40, 49):
        labels = np.full(200, "x" * 50)
        labels[rng.random(200) < 0.5] = "x" * place + "y" + "x" * (49 - place)
        assert_encoded(labels)
        assert_encoded(labels.astype("S50"))
        assert_encoded(labels.astype(object))


def test_encode_strings_without_characters():
    assert_encoded(np.zeros(4, "U0"))
    assert_encoded(np.array(["", "a", ""]))


@pytest.mark.parametrize("length", [1, 12, 5000, ENOUGH_FOR_CHUNKS])
@pytest.mark.parametrize("num_labels", [1, 3, 20_000])
def test_encode_object_strings_matches_numpy(rng, length, num_labels):
    names = np.array([f"label {number}" for number in range(num_labels)], object)
    labels = names[rng.integers(0, num_labels, length)]
    assert_encoded(labels)
    assert_encoded(labels[::-1])
    assert_encoded(own_objects(labels))


@pytest.mark.parametrize("length", [30, ENOUGH_FOR_CHUNKS])
def test_encode_object_strings_of_all_scripts_and_lengths(rng, length):
    names = ["", "a", "é", "ж" * 9, "中文", "\U0001f600", "a" * 300, "\ud800", "a\0b", "a\0", "tail \t"]
    for most in (len(names), 7, 8, 9):  # without and with strings that hold zeros
        assert_encoded(own_objects([names[number] for number in rng.integers(0, most, length)]))


@pytest.mark.parametrize("length", [10, ENOUGH_FOR_CHUNKS])
@pytest.mark.parametrize(
    "values", [[1, 2, 10**30], [1, 0, -5], [True, False], [1.5, 2.5], [b"a", b"b"], [1, 1.0, True], [(1,), (0, 2)]]
)
def test_encode_objects_of_other_types_matches_numpy(rng, values, length):
    labels = np.empty(length, object)
    labels[:] = [values[number] for number in rng.integers(0, len(values), length)]
    assert_encoded(labels)


def test_encode_many_equal_integers_of_their_own_objects(rng):
    assert_encoded(rng.integers(10_000, 10_100, ENOUGH_FOR_CHUNKS).astype(object))


@pytest.mark.parametrize("values", [["a", None], ["a", 1], [None, 2.0]])
@pytest.mark.parametrize("length", [4, ENOUGH_FOR_CHUNKS])
def test_encode_objects_that_do_not_compare_raises_as_numpy_does(values, length):
    labels = np.empty(length, object)
    labels[::2], labels[1::2] = values
    with pytest.raises(TypeError) as theirs:
        np.unique(labels)
    with pytest.raises(TypeError) as ours:
        encode(labels)
    assert str(ours.value) == str(theirs.value)


def test_encode_dates_matches_numpy():
    assert_encoded(np.array(["2020-01-02", "NaT", "2019-01-01", "2020-01-02"], "M8[D]"))
    assert_encoded(np.array([1 + 2j, 0, 1 + 2j]))
    assert_encoded(np.array([1, 2, 1], np.longdouble))


@given(
    hnp.arrays(st.sampled_from([np.int8, np.uint16, np.int64, np.uint64, np.float32, np.float64]), st.integers(0, 60))
)
def test_encode_any_numbers_matches_numpy(labels):
    assert_encoded(labels)


def test_encode_one_thread_equals_many(rng):
    labels = rng.integers(-(2**62), 2**62, 300)[rng.integers(0, 300, 3 * ENOUGH_FOR_CHUNKS)]
    with fastcore.num_threads(1):
        serial = encode(labels)
    for left, right in zip(encode(labels), serial, strict=True):
        np.testing.assert_array_equal(left, right)


def test_encode_does_not_change_its_input(rng):
    labels = rng.integers(0, 5, 1000).astype("U3")
    before = labels.copy()
    labels.flags.writeable = False
    encode(labels)
    np.testing.assert_array_equal(labels, before)


def test_encode_unaligned_labels(rng):
    table = np.zeros(1000, [("flag", "i1"), ("number", "i8"), ("text", "U3")])
    table["number"] = rng.integers(0, 2**40, 1000)
    table["text"] = rng.integers(0, 50, 1000).astype("U3")
    assert_encoded(table["number"])
    assert_encoded(table["text"])
