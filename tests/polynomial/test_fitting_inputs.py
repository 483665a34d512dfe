"""fit: the kinds of input it takes, and what it says of those it does not."""

import warnings

import numpy as np
import pytest
from numpy.exceptions import RankWarning

from fastcore.polynomial import fit


@pytest.mark.parametrize("dtype", [">f8", "f4", "f2", ">i4", "u1", "?", "g"])
def test_fit_of_other_dtypes_is_that_of_their_values(rng, dtype):
    x, y, w = (rng.uniform(0, 100, 300).astype(dtype) for _ in range(3))
    before = x.copy(), y.copy(), w.copy()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RankWarning)
        found, expected = fit(x, y, 3, weights=w), fit(x.astype(float), y.astype(float), 3, weights=w.astype(float))
    np.testing.assert_array_equal(found.polynomial.coef, expected.polynomial.coef)
    for array, copy in zip((x, y, w), before, strict=True):
        np.testing.assert_array_equal(array, copy)


@pytest.mark.parametrize("how", ["strided", "reversed", "readonly", "list", "unaligned", "torch"])
def test_fit_of_other_containers_is_that_of_arrays(rng, how):
    x, y = rng.uniform(0, 1, 1100), rng.standard_normal(1100)
    if how == "torch":
        torch = pytest.importorskip("torch")

    def other(array):
        if how == "strided":
            return np.repeat(array, 3)[::3]
        if how == "reversed":
            return array[::-1].copy()[::-1]
        if how == "readonly":
            array = array.copy()
            array.flags.writeable = False
            return array
        if how == "unaligned":
            memory = np.empty(array.nbytes + 1, np.uint8)[1:].view(np.float64)
            memory[...] = array
            return memory
        return array.tolist() if how == "list" else torch.from_numpy(array)

    found, expected = fit(other(x), other(y), 4), fit(x, y, 4)
    np.testing.assert_array_equal(found.polynomial.coef, expected.polynomial.coef)
    assert found[1:] == expected[1:]


@pytest.mark.parametrize("order", ["C", "F", "reversed", "part"])
def test_fit_reads_columns_of_any_strides(rng, order):
    x, y = rng.uniform(0, 1, 9001), rng.standard_normal((9001, 3))
    expected = fit(x, np.asfortranarray(y), 5)
    other = {
        "C": y,
        "F": np.asfortranarray(y),
        "reversed": y[::-1].copy()[::-1],
        "part": np.repeat(y, 2, axis=1)[:, ::2],
    }
    found = fit(x, other[order], 5)
    for a, b in zip(found.polynomial, expected.polynomial, strict=True):
        np.testing.assert_array_equal(a.coef, b.coef)
    np.testing.assert_array_equal(found.residual, expected.residual)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("where", [0, 17, 9999])
@pytest.mark.parametrize("name", ["x", "y", "weights"])
def test_fit_not_finite_raises_with_name_and_place(rng, name, where, value):
    arrays = {each: rng.uniform(1, 2, 10_000) for each in ("x", "y", "weights")}
    arrays[name][where] = value
    with pytest.raises(ValueError, match=rf"{name} must be finite\. Got -?(nan|inf) at {where}:"):
        fit(arrays["x"], arrays["y"], 3, weights=arrays["weights"])
    with pytest.raises(ValueError, match=f"{name} must be finite"):
        fit(arrays["x"], arrays["y"], [1, 3], weights=arrays["weights"])


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_fit_nothing_finite_raises(value):
    with pytest.raises(ValueError, match="x must be finite"):
        fit(np.full(5, value), np.ones(5), 1)
    with pytest.raises(ValueError, match=r"y must be finite\. Got nan at \(2, 1\)"):
        fit(np.arange(3.0), [[1, 1], [1, 1], [1, np.nan]], 1)
    with pytest.raises(ValueError, match="y must be finite"):
        fit(np.arange(3.0), np.full(3, value), 5)


@pytest.mark.parametrize("degree", [0, 1, 4])
@pytest.mark.parametrize("domain", [None, (0.0, 2.0)])
def test_fit_of_nan_in_x_raises_at_any_degree(degree, domain):
    x = np.linspace(0.0, 1.0, 100)
    x[50] = np.nan
    with pytest.raises(ValueError, match=r"x must be finite\. Got nan at 50"):
        fit(x, np.ones(100), degree, domain=domain)


@pytest.mark.parametrize(
    "arguments, options, error, words",
    [
        (([1], [1], -1), {}, ValueError, "expected deg >= 0"),
        (([1], [1], [2, -1, 6]), {}, ValueError, "expected deg >= 0"),
        (([1], [1], 1.0), {}, TypeError, "deg must be an int"),
        (([1], [1], True), {}, TypeError, "deg must be an int"),
        (([1], [1], None), {}, TypeError, "deg must be an int"),
        (([1], [1], "2"), {}, TypeError, "deg must be an int"),
        (([1], [1], []), {}, TypeError, "non-empty 1-D array of int"),
        (([[1]], [1], 0), {}, TypeError, "expected 1D vector for x"),
        (([], [], 0), {}, TypeError, "expected non-empty vector for x"),
        ((np.zeros(0), np.zeros(0), 0), {}, TypeError, "expected non-empty vector for x"),
        (([1], [[[1]]], 0), {}, TypeError, "expected 1D or 2D array for y"),
        (([1], 1, 0), {}, TypeError, "expected 1D or 2D array for y"),
        (([1, 2], [1], 0), {}, TypeError, "expected x and y to have same length"),
        (([1], [1], 0), {"weights": [[1]]}, TypeError, "expected 1D vector for weights"),
        (([1], [1], 0), {"weights": [1, 1]}, TypeError, "expected x and weights to have same length"),
        (([1], [1], 0), {"weights": [1j]}, TypeError, "weights must be real"),
        (([1], ["a"], 0), {}, TypeError, "y must be an array of numbers"),
        (([None], [1], 0), {}, TypeError, "x must hold numbers"),
        ((np.ma.array([1.0]), [1], 0), {}, TypeError, "x must be a plain array"),
        (([1], [1], 0), {"domain": (1, 1)}, ValueError, "domain must be two finite numbers"),
        (([1], [1], 0), {"domain": (2, 1)}, ValueError, "domain must be two numbers"),
        (([1], [1], 0), {"domain": (-np.inf, 1)}, ValueError, "domain must be two finite numbers"),
        (([1j], [1], 0), {"domain": (1j, 1j)}, ValueError, "domain must be two finite numbers"),
        (([-1e308, 1e308], [1, 1], 0), {}, ValueError, "must span an interval"),
        (([0.0, 5e-324], [1, 1], 0), {}, ValueError, "must span an interval"),
        (([0.0, 1e300], [1, 1], 3), {"domain": (0, 1e-3)}, ValueError, "so far outside domain"),
    ],
)
def test_fit_wrong_argument_raises(arguments, options, error, words):
    with pytest.raises(error, match=words):
        fit(*arguments, **options)
