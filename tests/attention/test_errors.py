"""Every promised error of attention: one line each, with what its message has to say."""

import ml_dtypes
import numpy as np
import pytest

from fastcore import scaled_dot_product_attention


def zeros(*shape, dtype=np.float32):
    return np.zeros(shape, dtype)


QUERY, KEY, VALUE = zeros(2, 8, 10, 64), zeros(2, 4, 12, 64), zeros(2, 4, 12, 32)


class Torch:
    """Stands in for a tensor that NumPy cannot read."""

    def __init__(self, requires_grad=False, dtype="torch.float32", device="cpu"):
        self.requires_grad, self.dtype, self.device = requires_grad, dtype, device

    def __array__(self, dtype=None, copy=None):
        raise RuntimeError("no")


read_only = zeros(2, 8, 10, 32)
read_only.flags.writeable = False

# (query, key, value), keywords, error, parts of the message
INPUTS = [
    ((QUERY, zeros(2, 6, 12, 64), zeros(2, 6, 12, 64)), ValueError,
     r"key has 6 heads; the 8 heads of query must be a multiple of it. Got query \(2, 8, 10, 64\), key \(2, 6"),
    ((QUERY, zeros(2, 0, 12, 64), zeros(2, 0, 12, 64)), ValueError, "key has 0 heads"),
    ((QUERY, KEY, zeros(2, 2, 12, 32)), ValueError, "key has 4 heads and value 2; they must be equal"),
    ((QUERY, KEY, zeros(2, 4, 11, 32)), ValueError, "key has 12 positions and value 11"),
    ((QUERY, zeros(2, 4, 12, 63), VALUE), ValueError, "query has head size 64 and key 63"),
    ((QUERY, zeros(3, 4, 12, 64), VALUE), ValueError, "same batch axes, or 1 there"),
    ((zeros(4, 10, 8), zeros(2, 12, 8), zeros(2, 12, 8)), ValueError, "enable_gqa=True"),
    ((QUERY, KEY[0], VALUE), ValueError, "same number of axes, at least 2"),
    ((zeros(8), zeros(8), zeros(8)), ValueError, "at least 2"),
    ((zeros(), zeros(), zeros()), ValueError, "at least 2"),
    ((zeros(3, 0), zeros(4, 0), zeros(4, 5)), ValueError, "last axes must not be empty"),
    ((zeros(3, 5), zeros(4, 5), zeros(4, 0)), ValueError, "last axes must not be empty"),
    ((QUERY, KEY.astype(float), VALUE), TypeError, "one dtype. Got query float32, key float64, value float32"),
    ((QUERY, KEY, VALUE.astype(np.float16)), TypeError, "value float16"),
    ((QUERY.astype(int), KEY, VALUE), TypeError, "query must be float32, float64, float16 or bfloat16. Got int64"),
    ((QUERY, KEY.astype(complex), VALUE), TypeError, "key must be float32.*Got complex128"),
    ((QUERY, KEY, VALUE.astype(bool)), TypeError, "value must be float32.*Got bool"),
    ((QUERY.astype(object), KEY, VALUE), TypeError, "query must hold numbers. Got dtype object"),
    ((QUERY.astype(ml_dtypes.float8_e4m3fn), KEY, VALUE), TypeError, "float8_e4m3fn"),
    ((np.array([["a"]]), KEY, VALUE), TypeError, "query must be float32"),
    ((np.ma.masked_array(QUERY), KEY, VALUE), TypeError, r"query must be a plain array.*\.filled"),
    ((None, KEY, VALUE), TypeError, "query must be an array. Got None"),
    ((QUERY, object(), VALUE), TypeError, "key must hold numbers"),
    (([[1.0, 2.0], [3.0]], KEY, VALUE), TypeError, "query cannot be read as a NumPy array"),
    ((Torch(requires_grad=True), KEY, VALUE), TypeError, r"query cannot be read.*Torch: no. Pass it with \.detach\(\)"),
    ((QUERY, Torch(dtype="torch.bfloat16"), VALUE), TypeError, r"key cannot be read.*\.float\(\)"),
    ((QUERY, KEY, Torch(device="cuda:0")), TypeError, r"value cannot be read.*\.cpu\(\)"),
]  # fmt: skip

OPTIONS = [
    ({"attn_mask": np.ones((10, 13), bool)}, ValueError, r"must broadcast to \(2, 8, 10, 12\).*Got shape \(10, 13\)"),
    ({"attn_mask": np.ones((1, 1, 1, 10, 12), bool)}, ValueError, "attn_mask must broadcast"),
    ({"attn_mask": np.ones((10, 12), np.uint8)}, TypeError, r"attn_mask must be bool or float.*uint8.*astype"),
    ({"attn_mask": np.ones((10, 12), complex)}, TypeError, "attn_mask must be bool or float"),
    ({"attn_mask": np.full((10, 12), "a")}, TypeError, r"attn_mask must be bool or float \(.*\)\. Got <U1\.$"),
    ({"attn_mask": np.ones((10, 12), np.longdouble)}, TypeError, r"Got (longdouble|float\d+)\. Pass.*np\.float32"),
    ({"attn_mask": np.ma.masked_array(np.ones((10, 12), bool))}, TypeError, "attn_mask must be a plain array"),
    ({"attn_mask": [[None] * 12]}, TypeError, "attn_mask must hold numbers"),
    ({"dropout_p": -0.1}, ValueError, r"dropout_p must lie in \[0, 1\]. Got -0.1"),
    ({"dropout_p": 1.5}, ValueError, "dropout_p must lie in"),
    ({"dropout_p": float("nan")}, ValueError, "dropout_p must be finite"),
    ({"dropout_p": True}, TypeError, "dropout_p must be a real number. Got True"),
    ({"dropout_p": "0.1"}, TypeError, "dropout_p must be a real number"),
    ({"dropout_p": None}, TypeError, "dropout_p must be a real number. Got NoneType"),
    ({"is_causal": 1}, TypeError, "is_causal must be True or False. Got 1"),
    ({"is_causal": None}, TypeError, "is_causal must be True or False"),
    ({"scale": float("inf")}, ValueError, "scale must be finite. Got inf"),
    ({"scale": 1e39}, ValueError, r"scale must lie within ±1e\+30: .* float32's range. Got 1e\+39"),
    ({"softcap": 1e-39}, ValueError, r"softcap must lie in 1e-30 \.\. 1e\+30: .* Got 1e-39"),
    ({"scale": 10**400}, ValueError, "scale must be finite. Got int beyond"),
    ({"dropout_p": -(10**400)}, ValueError, "dropout_p must be finite. Got int beyond"),
    ({"softcap": 10**400}, ValueError, "softcap must be finite. Got int beyond"),
    ({"scale": "big"}, TypeError, "scale must be a real number"),
    ({"scale": np.ones(2)}, TypeError, "scale must be a real number"),
    ({"enable_gqa": 1}, TypeError, "enable_gqa must be True or False"),
    ({"window": 5}, TypeError, r"window must be a pair \(left, right\).*Got 5"),
    ({"window": (1, 2, 3)}, TypeError, "window must be a pair"),
    ({"window": (-1, 2)}, ValueError, r"window\[0\] must not be negative.*Got -1"),
    ({"window": (1, -2)}, ValueError, r"window\[1\] must not be negative"),
    ({"window": (1.0, 2)}, TypeError, r"window\[0\] must be an integer. Got 1.0"),
    ({"window": (True, 2)}, TypeError, r"window\[0\] must be an integer. Got True"),
    ({"softcap": 0.0}, ValueError, "softcap must be positive, or None"),
    ({"softcap": -3}, ValueError, "softcap must be positive"),
    ({"softcap": float("nan")}, ValueError, "softcap must be finite"),
    ({"query_offset": 1.5}, TypeError, "query_offset must hold integers. Got float64"),
    ({"query_offset": True}, TypeError, "query_offset must hold integers. Got bool"),
    ({"query_offset": None}, TypeError, "query_offset must be an array. Got None"),
    ({"query_offset": [1, 2, 3]}, ValueError, r"one integer or one for each of 2.*Got shape \(3,\)"),
    ({"query_offset": [[1, 2]]}, ValueError, r"query_offset must be one integer.*Got shape \(1, 2\)"),
    ({"query_offset": [0, 1 << 39]}, ValueError, r"query_offset must lie within ±2\*\*39.*for sequence 1"),
    ({"query_offset": -(1 << 39)}, ValueError, "query_offset must lie within"),
    ({"query_offset": np.array([1 << 63, 0], np.uint64)}, ValueError, "query_offset must fit into int64"),
    ({"query_offset": 2**64}, ValueError, "query_offset must fit into int64. Got an integer of 65 bits"),
    ({"key_lengths": [None]}, TypeError, "key_lengths must hold integers. Got NoneType. Pass an int"),
    ({"key_lengths": [3.0, 4.0]}, TypeError, "key_lengths must hold integers. Got float64"),
    ({"key_lengths": [float("nan"), 1]}, TypeError, "key_lengths must hold integers"),
    ({"key_lengths": [3]*3}, ValueError, "key_lengths must be one integer or one for each of 2 sequences"),
    ({"key_lengths": [3, -1]}, ValueError, "key_lengths must not be negative. Got -1 for sequence 1"),
    ({"return_lse": 1}, TypeError, "return_lse must be True or False"),
    ({"seed": -1}, ValueError, r"seed must lie in \[0, 2\*\*64\). Got -1"),
    ({"seed": 1 << 64}, ValueError, "seed must lie in"),
    ({"seed": 1.0}, TypeError, "seed must be an integer"),
    ({"seed": None}, TypeError, "seed must be an integer"),
    ({"out": [1.0]}, TypeError, r"out must be a numpy.ndarray. Got list. Pass np.empty\(\(2, 8, 10"),
    ({"out": np.ma.masked_array(zeros(2, 8, 10, 32))}, TypeError, "out must be a numpy.ndarray"),
    ({"out": zeros(2, 8, 10, 64)}, ValueError, r"out must have the shape of the result, \(2, 8, 10, 32\). Got"),
    ({"out": zeros(2, 8, 10, 32, dtype=float)}, TypeError, "dtype of the result, float32. Got float64"),
    ({"out": zeros(2, 8, 10, 32, dtype=">f4")}, TypeError, "out must have the dtype of the result, float32. Got >f4"),
    ({"out": read_only}, ValueError, "out must be writable"),
]  # fmt: skip


@pytest.mark.parametrize("inputs, error, message", INPUTS)
@pytest.mark.parametrize("more", [{}, {"is_causal": True}, {"return_lse": True}], ids=["plain", "causal", "lse"])
def test_attention_wrong_inputs_raise(kernel_calls, inputs, error, message, more):
    with pytest.raises(error, match=message):
        scaled_dot_product_attention(*inputs, **more)
    assert not kernel_calls


@pytest.mark.parametrize("keywords, error, message", OPTIONS)
def test_attention_wrong_options_raise(kernel_calls, keywords, error, message):
    with pytest.raises(error, match=message):
        scaled_dot_product_attention(QUERY, KEY, VALUE, **keywords)
    assert not kernel_calls


def test_attention_options_of_kindred_types_are_taken(kernel_calls):
    kinds = [
        {"dropout_p": np.float32(0.5), "seed": np.int64(3)},
        {"is_causal": np.True_, "return_lse": np.False_},
        {"scale": np.float64(0.5), "softcap": 30},
        {"window": [np.int32(3), None]},
        {"query_offset": np.int16(4), "key_lengths": np.array([3, 4], np.uint8)},
        {"query_offset": [4], "key_lengths": 7},
        {"enable_gqa": True},
        {"enable_gqa": False},
    ]
    for keywords in kinds:
        scaled_dot_product_attention(QUERY, KEY, VALUE, **keywords)
    assert len(kernel_calls) == len(kinds)
