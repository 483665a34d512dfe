"""The argument checks: what passes untouched, what is converted, and what each refusal says."""

from fractions import Fraction

import ml_dtypes
import numpy as np
import pytest

from fastcore._core import validate


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, ml_dtypes.bfloat16])
def test_float_array_native_arrays_pass_untouched(dtype):
    x = np.ones((2, 3), dtype)
    assert validate.float_array(x, "x") is x


@pytest.mark.parametrize("dtype", [int, bool, complex, np.longdouble, "U1", ml_dtypes.float8_e4m3fn])
def test_float_array_other_dtypes_raise(dtype):
    with pytest.raises(TypeError, match="x must be float32, float64, float16 or bfloat16"):
        validate.float_array(np.zeros(2, dtype), "x")


@pytest.mark.parametrize(
    "dtype, advised", [(int, True), (bool, True), (np.longdouble, True), ("U1", False), ("c8", False)]
)
def test_float_array_advises_a_cast_of_real_numbers_only(dtype, advised):
    with pytest.raises(TypeError) as caught:
        validate.float_array(np.zeros(2, dtype), "x")
    assert (".astype(np.float32)" in str(caught.value)) == advised


def test_as_native_array_swaps_bytes_only_where_needed():
    x = np.arange(6.0).reshape(2, 3)
    assert validate.as_native_array(x, "x") is x
    swapped = validate.as_native_array(x.astype(">f8"), "x")
    assert swapped.dtype.isnative
    np.testing.assert_array_equal(swapped, x)


def test_as_native_array_views_keep_sharing_memory():
    x = np.arange(6.0)
    for kind in (x.view(np.recarray), memoryview(x), np.broadcast_to(x, (2, 6))):
        assert np.shares_memory(validate.as_native_array(kind, "x"), x)
    assert type(validate.as_native_array(x.view(np.recarray), "x")) is np.ndarray


@pytest.mark.parametrize(
    "x, message",
    [
        (None, "x must be an array. Got None"),
        (np.ma.masked_array([1.0]), r"x must be a plain array.*numpy\.ma\.MaskedArray"),
        (np.array([None]), "x must hold numbers. Got dtype object"),
        ({1, 2}, "x must hold numbers"),
        (np.zeros(2, [("a", object)]), "x must hold numbers"),
        ([[1], [2, 3]], "x cannot be read as a NumPy array. Got list"),
    ],
)
def test_as_native_array_refusals(x, message):
    with pytest.raises(TypeError, match=message):
        validate.as_native_array(x, "x")


def test_is_readable_in_place_needs_alignment_and_a_contiguous_last_axis():
    x = np.zeros((4, 6))
    unaligned = np.zeros(17, np.uint8)[1:].view(float)
    for good in (x, x[:, ::-1][:, ::-1], x[::-2], x[:, 2:4], np.broadcast_to(x[:1], (3, 6)), x.T[:, :1], x[:, :0]):
        assert validate.is_readable_in_place(good)
        assert validate.readable_in_place(good) is good
    for bad in (x.T, x[:, ::2], x[:, ::-1], unaligned, np.broadcast_to(x[:, :1], (4, 6))):
        assert not validate.is_readable_in_place(bad)
        copy = validate.readable_in_place(bad)
        assert validate.is_readable_in_place(copy)
        np.testing.assert_array_equal(copy, bad)


def test_same_dtype_names_all_arrays():
    arrays = {"a": np.zeros(1), "b": np.zeros(2), "c": np.zeros(1, np.float32)}
    with pytest.raises(TypeError, match=r"a, b, c must have one dtype\. Got a float64, b float64, c float32"):
        validate.same_dtype(arrays)
    del arrays["c"]
    assert validate.same_dtype(arrays) == np.float64


def test_computing_dtype_is_float64_for_float64_alone():
    assert validate.computing_dtype(np.dtype(float)) == np.float64
    for dtype in (np.float16, np.float32, ml_dtypes.bfloat16):
        assert validate.computing_dtype(np.dtype(dtype)) == np.float32


def test_shares_memory_tells_interleaved_from_overlapping():
    x = np.zeros((4, 6))
    assert validate.shares_memory(x, [None, x[1:2]])
    assert not validate.shares_memory(x[:, :3], [x[:, 3:], None])
    assert not validate.shares_memory(x, [x.copy()])


@pytest.mark.parametrize("x, value", [(None, None), (0, None), (np.int64(0), [0, 0]), ([1, -2], [1, -2]), (3, [3, 3])])
def test_query_offsets(x, value):
    if x is None:
        with pytest.raises(TypeError):
            validate.query_offsets(x, 2)
        return
    offsets = validate.query_offsets(x, 2)
    if value is None:
        assert offsets is None
    else:
        assert offsets.dtype == np.int64
        assert offsets.flags.c_contiguous
        np.testing.assert_array_equal(offsets, value)


def test_lengths_of_keys_are_clipped_to_the_keys():
    assert validate.lengths_of_keys(None, 2, 7) is None
    np.testing.assert_array_equal(validate.lengths_of_keys(np.array([3, 99], np.uint64), 2, 7), [3, 7])
    with pytest.raises(ValueError, match=r"key_lengths must not be negative\. Got -3 for sequence 1"):
        validate.lengths_of_keys([0, -3], 2, 7)


@pytest.mark.parametrize("check", [validate.query_offsets, lambda x, batch: validate.lengths_of_keys(x, batch, 7)])
def test_integers_per_sequence_are_aligned(check):
    unaligned = np.frombuffer(b"\0" + np.array([1, 2]).tobytes(), np.int64, 2, 1)
    assert not unaligned.flags.aligned
    kept = check(unaligned, 2)
    assert kept.flags.aligned
    np.testing.assert_array_equal(kept, [1, 2])


@pytest.mark.parametrize(
    "x, error, message",
    [
        (2**64, ValueError, "x must fit into int64. Got an integer of 65 bits"),
        ([1 << 15000], ValueError, "x must fit into int64. Got an integer of 15001 bits"),  # too long to print
        ([1, -(2**63) - 1], ValueError, "x must fit into int64. Got an integer of 64 bits"),
        (2**63, ValueError, "x must fit into int64. Got 9223372036854775808"),
        ([None], TypeError, "x must hold integers. Got NoneType. Pass an int or an array of int64"),
        ([2**64, 1.5], TypeError, "x must hold integers. Got float"),
        (np.array([True, 2], object), TypeError, "x must hold integers. Got bool"),
        (np.array([1, 2], object), TypeError, r"x must hold integers. Got dtype object. Pass it with \.astype"),
        (np.array([], object), TypeError, "x must hold integers. Got dtype object"),
        (np.zeros(2, [("a", object)]), TypeError, "x must hold integers"),
    ],
)
def test_integers_per_sequence_refusals(x, error, message):
    with pytest.raises(error, match=message):
        validate.integers_per_sequence(x, "x", 2)


def test_integers_per_sequence_leave_the_caller_out():
    given = np.array([1, 2])
    kept = validate.lengths_of_keys(given, 2, 7)
    assert not np.shares_memory(kept, given)


@pytest.mark.parametrize(
    "window, causal, bounds",
    [
        (None, False, (validate.NO_BOUND, validate.NO_BOUND)),
        (None, True, (validate.NO_BOUND, 0)),
        ((3, None), False, (3, validate.NO_BOUND)),
        ((None, 2), True, (validate.NO_BOUND, 0)),
        ([np.int8(0), 0], False, (0, 0)),
        ((1 << 50, 1 << 90), False, (validate.NO_BOUND, validate.NO_BOUND)),
    ],
)
def test_window_bounds(window, causal, bounds):
    assert validate.window_bounds(window, causal) == bounds


def test_no_bound_is_the_kernels():
    from fastcore.attention.kernels import forward

    assert forward.NO_BOUND == validate.NO_BOUND


def test_scalars_become_plain_python_ones():
    assert type(validate.finite_float(np.float32(0.5), "x")) is float
    assert type(validate.index(np.uint8(3), "x")) is int
    assert validate.flag(np.True_, "x") is True
    assert validate.positive_index(1, "x") == 1
    assert validate.random_seed((1 << 64) - 1) == (1 << 64) - 1
    assert validate.probability(1, "x") == 1.0


@pytest.mark.parametrize(
    "check, x, error, message",
    [
        (validate.flag, 0, TypeError, "x must be True or False. Got 0"),
        (validate.index, True, TypeError, "x must be an integer. Got True"),
        (validate.index, 2.0, TypeError, "x must be an integer. Got 2.0"),
        (validate.index, [0] * 100, TypeError, "x must be an integer. Got list[.]$"),
        (validate.index, "0" * 100, TypeError, "x must be an integer. Got str[.]$"),
        (validate.flag, np.ones(100), TypeError, "x must be True or False. Got numpy.ndarray[.]$"),
        (validate.positive_index, -(1 << 100), ValueError, "x must be positive. Got an integer of 101 bits"),
        (validate.positive_index, 0, ValueError, "x must be positive. Got 0"),
        (validate.finite_float, "1", TypeError, "x must be a real number. Got '1'"),
        (validate.finite_float, 1j, TypeError, "x must be a real number. Got complex"),
        (validate.finite_float, float("nan"), ValueError, "x must be finite. Got nan"),
        pytest.param(validate.finite_float, 10**400, ValueError, "x must be finite. Got int beyond", id="10**400"),
        pytest.param(validate.finite_float, -(1 << 15000), ValueError, "x must be finite. Got int", id="unprintable"),
        (validate.finite_float, Fraction(10**400), ValueError, "x must be finite. Got fractions.Fraction beyond"),
        (validate.not_negative_float, -0.5, ValueError, "x must not be negative. Got -0.5"),
        (validate.positive_float, 0, ValueError, "x must be positive, or None for none. Got 0.0"),
        (validate.probability, 1.1, ValueError, r"x must lie in \[0, 1\]. Got 1.1"),
        (validate.random_seed, -1, ValueError, r"x must lie in \[0, 2\*\*64\). Got -1"),
    ],
)
def test_scalars_refusals(check, x, error, message):
    with pytest.raises(error, match=message):
        check(x, "x")


def test_choice_takes_one_of_the_strings():
    assert validate.choice("a", "x", ("a", "b")) == "a"
    with pytest.raises(ValueError, match=r"x must be 'a' or 'b'\. Got 'c'"):
        validate.choice("c", "x", ("a", "b"))
    for other in (None, 1, ["a"], np.array(["a", "b"])):
        with pytest.raises(TypeError, match=r"x must be 'a' or 'b'\. Got "):
            validate.choice(other, "x", ("a", "b"))


def test_output_array_takes_any_strides():
    out = np.zeros((3, 4)).T
    assert validate.output_array(out, (4, 3), np.dtype(float)) is out
    with pytest.raises(ValueError, match=r"result must have the shape of the result, \(3, 4\). Got \(4, 3\)"):
        validate.output_array(out, (3, 4), np.dtype(float), "result")


@pytest.mark.parametrize(
    "view",
    [
        np.lib.stride_tricks.as_strided(np.zeros(3), (4, 3), (0, 8)),
        np.lib.stride_tricks.as_strided(np.zeros(6), (4, 3), (8, 8)),
    ],
    ids=["broadcast", "windows"],
)
def test_output_array_has_a_place_for_each_element(view):
    with pytest.raises(ValueError, match=r"out must not be a view that holds a place twice.*shape \(4, 3\)"):
        validate.output_array(view, (4, 3), np.dtype(float))
