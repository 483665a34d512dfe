"""Vector functions against higher precision: float32 against float64, float64 against mpmath.

test_simd_targets.py runs this file again for AVX2, for plain x86-64 and with the JIT disabled.
"""

import mpmath
import numba
import numpy as np
import pytest
from scipy import special

from fastcore._core import simd
from tests._core.simd_arrays import native, over_array

# The bounds of the table in fastcore/_core/simd/__init__.py, in units in the last place: float32, float64.
BOUNDS = {
    "exp2": (0.85, 0.8),
    "softmax_exp2": (2.0, 0.8),
    "exp": (0.9, 0.9),
    "log": (0.9, 0.9),
    "tanh": (2.6, 2.6),
    "erf": (1.0, 1.0),
    "sigmoid": (2.4, 2.4),
    "sin": (0.9, 0.9),
    "cos": (0.9, 0.9),
    "log2": (1.1, 1.1),
    "log10": (1.0, 1.0),
    "log1p": (1.0, 1.0),
    "expm1": (1.4, 1.4),
    "tan": (2.4, 2.4),
    "sinh": (2.6, 2.6),
    "cosh": (1.5, 1.5),
    "arcsin": (2.5, 2.5),
    "arccos": (1.3, 1.3),
    "arctan": (2.0, 2.0),
    "arcsinh": (2.0, 2.0),
    "arccosh": (2.6, 2.6),
    "arctanh": (2.2, 2.2),
    "cbrt": (0.6, 0.6),
}
WITHOUT_FMA = {"log2": 0.8, "log10": 0.8}  # more than these; others 0.4
IN_DOUBLE = {
    "exp2": np.exp2,
    "softmax_exp2": np.exp2,
    "exp": np.exp,
    "log": np.log,
    "tanh": np.tanh,
    "erf": special.erf,
    "sigmoid": special.expit,
    "sin": np.sin,
    "cos": np.cos,
    "log2": np.log2,
    "log10": np.log10,
    "log1p": np.log1p,
    "expm1": np.expm1,
    "tan": np.tan,
    "sinh": np.sinh,
    "cosh": np.cosh,
    "arcsin": np.arcsin,
    "arccos": np.arccos,
    "arctan": np.arctan,
    "arcsinh": np.arcsinh,
    "arccosh": np.arccosh,
    "arctanh": np.arctanh,
    "cbrt": np.cbrt,
}
IN_MPMATH = {
    "exp2": lambda x: mpmath.mpf(2) ** x,
    "softmax_exp2": lambda x: mpmath.mpf(2) ** x,
    "exp": mpmath.exp,
    "log": mpmath.log,
    "tanh": mpmath.tanh,
    "erf": mpmath.erf,
    "sigmoid": lambda x: 1 / (1 + mpmath.exp(-x)),
    "sin": mpmath.sin,
    "cos": mpmath.cos,
    "log2": lambda x: mpmath.log(x) / mpmath.ln2,
    "log10": mpmath.log10,
    "log1p": mpmath.log1p,
    "expm1": mpmath.expm1,
    "tan": mpmath.tan,
    "sinh": mpmath.sinh,
    "cosh": mpmath.cosh,
    "arcsin": mpmath.asin,
    "arccos": mpmath.acos,
    "arctan": mpmath.atan,
    "arcsinh": mpmath.asinh,
    "arccosh": mpmath.acosh,
    "arctanh": mpmath.atanh,
    "cbrt": lambda x: mpmath.sign(x) * mpmath.cbrt(abs(x)),
}


@numba.njit
def sine_of_both(x):
    return simd.sincos(x)[0]


@numba.njit
def cosine_of_both(x):
    return simd.sincos(x)[1]


def bound(name, dtype):
    return BOUNDS[name][dtype == np.float64] + (0.0 if simd.HAS_FMA else WITHOUT_FMA.get(name, 0.4))


def domain(name, x):
    """Return where the bound of a function holds."""
    if name in ("log", "log2", "log10"):
        return x > 0
    if name == "log1p":
        return x > -1
    if name in ("arcsin", "arccos", "arctanh"):
        return np.abs(x) < 1
    if name == "arccosh":
        return x >= 1
    if name == "softmax_exp2":
        return (x <= 127) & (x >= -126) if x.dtype == np.float32 else (x <= 1023) & (x >= -1022)
    return np.ones(x.shape, bool)


def float32_inputs():
    """Bit patterns over the whole range, and dense samples where the functions are neither 0, 1 nor infinite."""
    # The fallback takes 100 times as long; NumPy's own functions need no sweep.
    stride = 65_537 if numba.config.DISABLE_JIT else 4_099
    patterns = np.arange(0, 2**32, stride, dtype=np.uint64).astype(np.uint32).view(np.float32)
    rng = np.random.default_rng(7)
    count = 2**32 // stride // 8
    dense = [rng.uniform(-size, size, count).astype(np.float32) for size in (1e-3, 1, 2, 5, 20, 160)]
    near_one = 1 + rng.uniform(-0.01, 0.01, count).astype(np.float32)
    return np.concatenate([patterns, *dense, near_one, near_quarter_turns(np.float32, count)])


def near_quarter_turns(dtype, count):
    """Floats next to multiples of pi/2, where sine or cosine keep none of the digits of x."""
    top = 15 if dtype == np.float32 else 28
    turns = np.rint(np.exp2(np.random.default_rng(9).uniform(0, top + 2, count)))
    return (turns * (np.pi / 2)).astype(dtype)


@pytest.mark.parametrize("name", BOUNDS)
def test_float32_is_within_its_bound_over_the_whole_range(name):
    x = float32_inputs()
    result = native(name, np.float32)(x)
    with np.errstate(all="ignore"):
        exact = IN_DOUBLE[name](x.astype(np.float64))
        rounded = exact.astype(np.float32)
    valid = domain(name, x)
    np.testing.assert_array_equal(np.isnan(result[valid]), np.isnan(rounded[valid]))
    np.testing.assert_array_equal(np.isinf(result[valid]), np.isinf(rounded[valid]))
    valid &= np.isfinite(rounded)
    error = np.abs(result[valid] - exact[valid]) / np.spacing(np.abs(rounded[valid])).astype(np.float64)
    assert error.max() <= bound(name, np.float32), (x[valid][error.argmax()], result[valid][error.argmax()])


def float64_inputs():
    rng = np.random.default_rng(8)
    patterns = rng.integers(0, 2**64, 400, dtype=np.uint64).view(np.float64)
    dense = [rng.uniform(-size, size, 250) for size in (1e-3, 1, 2, 8, 40, 745, 1100)]
    dense += [1 + rng.uniform(-0.3, 0.4, 250), rng.uniform(-1075, -1020, 100), near_quarter_turns(np.float64, 500)]
    x = np.concatenate([patterns, *dense])
    return x[np.isfinite(x)]


@pytest.mark.parametrize("name", BOUNDS)
def test_float64_is_within_its_bound(name):
    x = float64_inputs()
    x = x[domain(name, x)]
    result = native(name, np.float64)(x)
    with mpmath.workprec(120):
        exact = [IN_MPMATH[name](mpmath.mpf(value)) for value in x.tolist()]
        rounded = np.array([float(value) for value in exact])
        finite = np.flatnonzero(np.isfinite(rounded))
        error = [float(abs(result[i] - exact[i])) / np.spacing(abs(rounded[i])) for i in finite]
    np.testing.assert_array_equal(np.isinf(result), np.isinf(rounded))
    assert max(error) <= bound(name, np.float64), x[finite[int(np.argmax(error))]]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_sincos_gives_the_bits_of_sin_and_cos_also_beside_large_lanes(dtype):
    lanes = int(simd.F32_LANES if dtype == np.float32 else simd.F64_LANES)
    x = np.linspace(-50, 50, 40 * lanes).astype(dtype)
    x[:: 3 * lanes] = 1e30
    sine, cosine = over_array(simd.sin, lanes)(x), over_array(simd.cos, lanes)(x)
    np.testing.assert_array_equal(over_array(sine_of_both, lanes)(x), sine)
    np.testing.assert_array_equal(over_array(cosine_of_both, lanes)(x), cosine)
    alone = np.linspace(-50, 50, 40 * lanes).astype(dtype)
    keep = x == alone
    np.testing.assert_array_equal(over_array(simd.sin, lanes)(alone)[keep], sine[keep])


INF, NAN = np.inf, np.nan
SPECIAL = {
    "exp2": [(INF, INF), (-INF, 0), (0, 1), (-0.0, 1), (1, 2), (-1, 0.5), (2000, INF), (-2000, 0)],
    "softmax_exp2": [(-INF, 0), (0, 1), (-0.0, 1), (1, 2), (8, 256), (-2000, 0), (-1e30, 0)],
    "exp": [(INF, INF), (-INF, 0), (0, 1), (-0.0, 1), (2000, INF), (-2000, 0), (1e30, INF), (-1e30, 0)],
    "log": [(INF, INF), (-INF, NAN), (0, -INF), (-0.0, -INF), (1, 0), (-1, NAN), (-1e-40, NAN)],
    "tanh": [(INF, 1), (-INF, -1), (0, 0), (-0.0, -0.0), (1e30, 1), (-1e30, -1), (1e-40, 1e-40)],
    "erf": [(INF, 1), (-INF, -1), (0, 0), (-0.0, -0.0), (1e30, 1), (-1e30, -1)],
    "sigmoid": [(INF, 1), (-INF, 0), (0, 0.5), (-0.0, 0.5), (2000, 1), (-2000, 0)],
    "sin": [(INF, NAN), (-INF, NAN), (0, 0), (-0.0, -0.0), (1e-40, 1e-40), (-1e-40, -1e-40)],
    "cos": [(INF, NAN), (-INF, NAN), (0, 1), (-0.0, 1), (1e-40, 1)],
    "log2": [(INF, INF), (-INF, NAN), (0, -INF), (-0.0, -INF), (1, 0), (8, 3), (0.25, -2), (-1, NAN)],
    "log10": [(INF, INF), (-INF, NAN), (0, -INF), (-0.0, -INF), (1, 0), (10, 1), (1000, 3), (-1, NAN)],
    "log1p": [(INF, INF), (-INF, NAN), (0, 0), (-0.0, -0.0), (-1, -INF), (-1.5, NAN), (1e-40, 1e-40), (-1e-40, -1e-40)],
    "expm1": [(INF, INF), (-INF, -1), (0, 0), (-0.0, -0.0), (2000, INF), (-2000, -1), (1e-40, 1e-40)],
    "tan": [(INF, NAN), (-INF, NAN), (0, 0), (-0.0, -0.0), (1e-40, 1e-40)],
    "sinh": [(INF, INF), (-INF, -INF), (0, 0), (-0.0, -0.0), (2000, INF), (-2000, -INF), (1e-40, 1e-40)],
    "cosh": [(INF, INF), (-INF, INF), (0, 1), (-0.0, 1), (2000, INF), (-2000, INF)],
    "arcsin": [
        (INF, NAN),
        (-INF, NAN),
        (0, 0),
        (-0.0, -0.0),
        (1, np.pi / 2),
        (-1, -np.pi / 2),
        (1.5, NAN),
        (-1.5, NAN),
    ],
    "arccos": [
        (INF, NAN),
        (-INF, NAN),
        (1, 0),
        (-1, np.pi),
        (0, np.pi / 2),
        (-0.0, np.pi / 2),
        (1.5, NAN),
        (-1.5, NAN),
    ],
    "arctan": [(INF, np.pi / 2), (-INF, -np.pi / 2), (0, 0), (-0.0, -0.0), (1, np.pi / 4), (1e-40, 1e-40)],
    "arcsinh": [(INF, INF), (-INF, -INF), (0, 0), (-0.0, -0.0), (1e-40, 1e-40)],
    "arccosh": [(INF, INF), (-INF, NAN), (1, 0), (0.5, NAN), (-5, NAN)],
    "arctanh": [
        (INF, NAN),
        (-INF, NAN),
        (0, 0),
        (-0.0, -0.0),
        (1, INF),
        (-1, -INF),
        (1.5, NAN),
        (-1.5, NAN),
        (1e-40, 1e-40),
    ],
    "cbrt": [(INF, INF), (-INF, -INF), (0, 0), (-0.0, -0.0), (27, 3), (-8, -2)],
}


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", SPECIAL)
def test_special_values_are_exact(name, dtype):
    x, expected = np.array([*SPECIAL[name], (NAN, NAN), (-NAN, NAN)]).T.astype(dtype)
    result = native(name, dtype)(x)
    np.testing.assert_array_equal(result, expected)
    number = ~np.isnan(expected)
    np.testing.assert_array_equal(np.signbit(result[number]), np.signbit(expected[number]))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_exp2_of_integers_is_exact_down_to_the_smallest_denormal(dtype):
    info = np.finfo(dtype)
    x = np.arange(info.minexp - info.nmant - 3, info.maxexp + 3, dtype=dtype)
    with np.errstate(over="ignore", under="ignore"):
        np.testing.assert_array_equal(native("exp2", dtype)(x), np.ldexp(dtype(1), x.astype(np.int64)))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_softmax_exp2_below_the_normal_range_is_between_zero_and_the_smallest_normal(dtype):
    tiny = np.finfo(dtype).tiny
    x = np.linspace(np.log2(tiny) - 60, np.log2(tiny), 10_000).astype(dtype)
    result = native("softmax_exp2", dtype)(x)
    assert result.min() == 0
    assert result.max() <= tiny
    assert (np.diff(result) >= -tiny * 2**-20).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("lanes", [2, 32])
def test_vectors_narrower_and_wider_than_a_register_give_the_same(lanes, dtype):
    x = np.linspace(-160, 130, 500).astype(dtype)
    for name in ("exp2", "tanh"):
        np.testing.assert_array_equal(over_array(getattr(simd, name), lanes)(x), native(name, dtype)(x))


def test_half_to_float_is_exact_for_every_half():
    bits = np.arange(2**16, dtype=np.uint16)
    result = native("half_to_float", np.float32)(bits, np.float32)
    np.testing.assert_array_equal(result, bits.view(np.float16).astype(np.float32))
    np.testing.assert_array_equal(np.signbit(result), bits >= 0x8000)


def test_float_to_half_rounds_to_nearest_even():
    halves = np.arange(0x7C00, dtype=np.uint16).view(np.float16).astype(np.float32)
    ties = (halves[:-1] + halves[1:]) / 2
    top = np.array([65504, 65519.996, 65520, 65536, 1e38, INF, NAN], np.float32)
    x = np.concatenate([halves, ties, np.nextafter(ties, 0), np.nextafter(ties, 1e9), top, float32_inputs()[::8]])
    x = np.concatenate([x, -x])
    result = native("float_to_half", np.float32)(x, np.uint16).view(np.float16)
    with np.errstate(all="ignore"):
        np.testing.assert_array_equal(result, x.astype(np.float16))
    np.testing.assert_array_equal(np.signbit(result), np.signbit(x))


def test_bfloat_to_float_is_exact_for_every_bfloat():
    bits = np.arange(2**16, dtype=np.uint16)
    result = native("bfloat_to_float", np.float32)(bits, np.float32)
    np.testing.assert_array_equal(result.view(np.uint32), bits.astype(np.uint32) << 16)


def test_float_to_bfloat_rounds_to_nearest_even():
    bfloats = (np.arange(0x7F80, dtype=np.uint32) << 16).view(np.float32)
    ties = bfloats.view(np.uint32) + 0x8000
    parts = [bfloats.view(np.uint32), ties, ties - 1, ties + 1]
    expected = np.arange(0x7F80, dtype=np.uint16)
    expected = [expected, expected + (expected & 1), expected, expected + 1]
    for bits, upper in zip(parts, expected, strict=True):
        result = native("float_to_bfloat", np.float32)(bits.view(np.float32), np.uint16)
        np.testing.assert_array_equal(result, upper)
        result = native("float_to_bfloat", np.float32)(-bits.view(np.float32), np.uint16)
        np.testing.assert_array_equal(result, upper | 0x8000)
    nan = np.array([0x7F800001, 0x7FFFFFFF, 0xFF800001, 0xFFFFFFFF], np.uint32).view(np.float32)
    result = native("float_to_bfloat", np.float32)(nan, np.uint16)
    assert np.isnan((result.astype(np.uint32) << 16).view(np.float32)).all()
