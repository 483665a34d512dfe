"""Products of matrices on one device."""

import numpy as np
import pytest

from fastcore.sharding.kernels import matmul

SHAPES = [(1, 1, 1), (5, 7, 9), (3, 300, 130), (70, 513, 67), (0, 3, 4), (4, 0, 5), (3, 4, 0)]
VARIANTS = {
    "product": (matmul.product, lambda x: x, lambda w: w, 0.0),
    "product_add": (matmul.product_add, lambda x: x, lambda w: w, 1.0),
    "product_nt": (matmul.product_nt, lambda x: x, np.transpose, 0.0),
    "product_nt_add": (matmul.product_nt_add, lambda x: x, np.transpose, 1.0),
    "product_tn": (matmul.product_tn, np.transpose, lambda w: w, 0.0),
    "product_tn_add": (matmul.product_tn_add, np.transpose, lambda w: w, 1.0),
}


def operands(rng, m, k, n, dtype):
    return rng.standard_normal((m, k)).astype(dtype), rng.standard_normal((k, n)).astype(dtype)


# One instance is compiled for each: float64 in one variant only.
@pytest.mark.parametrize(
    "variant, dtype, bound", [*((name, np.float32, 1e-6) for name in VARIANTS), ("product", np.float64, 1e-14)]
)
def test_product_any_shape_matches_numpy(rng, variant, dtype, bound):
    function, of_x, of_w, kept = VARIANTS[variant]
    for m, k, n in SHAPES:
        x, w = operands(rng, m, k, n, dtype)
        out = np.full((m, n), 2, dtype)
        function(np.ascontiguousarray(of_x(x)), np.ascontiguousarray(of_w(w)), out)
        expected = x.astype(float) @ w.astype(float) + 2 * kept
        np.testing.assert_allclose(out, expected, rtol=0, atol=bound * (k + 1))


def test_product_parts_have_the_bits_of_the_whole(rng):
    x, w = operands(rng, 37, 600, 150, np.float32)
    whole = np.empty((37, 150), np.float32)
    matmul.product(x, w, whole)
    for rows, columns in ((slice(0, 1), slice(0, 150)), (slice(5, 37), slice(70, 91)), (slice(3, 10), slice(149, 150))):
        part = np.empty_like(whole[rows, columns])
        matmul.product(x[rows], np.ascontiguousarray(w[:, columns]), part)
        np.testing.assert_array_equal(part, whole[rows, columns])
        sliced = np.zeros_like(whole)
        matmul.product(x[rows], w[:, columns], sliced[rows, columns])
        np.testing.assert_array_equal(sliced[rows, columns], part)


def test_product_strides_do_not_matter(rng):
    x, w = operands(rng, 9, 40, 50, np.float64)
    expected, out = np.empty((9, 50)), np.zeros((50, 18)).T[::2]
    matmul.product(x, w, expected)
    spread = np.zeros((80, 100))
    spread[::2, ::2] = w
    matmul.product(np.asfortranarray(x), spread[::2, ::2], out)
    np.testing.assert_array_equal(out, expected)


def test_product_infinity_and_nan_stay_where_they_belong(rng):
    x, w = operands(rng, 6, 20, 70, np.float32)
    x[2, 3], w[4, 69] = np.inf, np.nan
    out = np.empty((6, 70), np.float32)
    matmul.product(x, w, out)
    expected = np.zeros((6, 70), bool)
    expected[:, 69] = True
    np.testing.assert_array_equal(np.isnan(out), expected)
    assert np.isinf(out[2, :69]).all()
