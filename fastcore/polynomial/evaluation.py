"""Values and derivatives of polynomials."""

from collections.abc import Callable
from typing import Any

import numpy as np

from fastcore._core import validate
from fastcore._core import validate_polynomial_evaluation as check
from fastcore.polynomial.kernels import horner, horner_bounds, horner_complex
from fastcore.polynomial.kernels.derivative import exact_derivative, falling_factorials
from fastcore.polynomial.kernels.horner import evaluate_one, evaluate_small
from fastcore.polynomial.layout import arrange, distinct, repeats

__all__ = ["polyder", "polyval", "polyval_and_derivative"]

_FLOAT64, _COMPLEX128 = np.dtype(np.float64), np.dtype(np.complex128)
_ndarray, _float64 = np.ndarray, np.float64

# Points times coefficients of the short way, which runs serially: 1 ms.
SMALL_WORK = 25_000_000
_ZERO = 0  # the object itself: compared by `is`, so that nothing but an int passes
_WEAK = (bool, int, float, complex)  # Python's numbers, which take the precision of c


def polyval(x: Any, c: Any, *, derivative: int = 0, compensated: bool = False, error_bound: bool = False) -> Any:
    """Evaluate polynomials, or their derivatives, at points.

    Parameters
    ----------
    x : points of any shape, numbers; read in place where C-contiguous, what is broadcast (stride 0) once
        Subclasses of ndarray come back as they came, masked arrays with their mask.
    c : (..., n) coefficients, ascending along the last axis: c[..., k] belongs to x**k. For the other order pass
        c[..., ::-1]. c.shape[:-1] broadcasts with the shape of x: c (B, n) and x (B,) give each polynomial its own
        point, c (B, 1, n) and x (M,) evaluate all polynomials at all points.
    derivative : int >= 0; evaluate this derivative instead
    compensated : compute as if in twice the precision, then round: off by about u |P(x)| + (2 n u)**2 sum |c_k x**k|
    error_bound : return a bound on the error as well

    Returns
    -------
    values : shape of x broadcast with c.shape[:-1]; a NumPy scalar where that is ()
        float32 where x and c are float32 or float16 (a Python number as x takes the precision of c), else float64;
        complex where one of them is.
    bounds : the same shape, real, only with error_bound; at least |value - P(x)| for the numbers in x and c.
        Infinite where the computation overflows, and for points or coefficients that are not finite.

    Raises
    ------
    ValueError : c without coefficients, shapes do not broadcast, derivative negative
    TypeError : x or c not of numbers, derivative not an integer, options not bool

    Notes
    -----
    Horner's rule with one rounding a step (two on CPUs without FMA), the same for every point whatever the shape and
    the number of threads. Bounds: a running one (Higham 2002, "Accuracy and Stability of Numerical Algorithms", section
    5.1), and for compensated Horner that of Graillat, Langlois, Louvet 2009, "Algorithms for accurate, validated and
    fast polynomial evaluation", section 4. Coefficients of derivatives are formed in twice the precision for both.
    Single precision is then computed in double, from which the bound is found.
    """
    # The short way: 1 us for ten points.
    if type(c) is _ndarray and c.ndim == 1 and c.dtype is _FLOAT64 and c.size and derivative is _ZERO:
        if type(x) is _ndarray:
            if (
                x.dtype is _FLOAT64
                and x.ndim == 1
                and 0 < x.size * c.size <= SMALL_WORK
                and x.strides[0] == 8
                and compensated is error_bound is False
            ):
                out = np.empty(x.size)
                evaluate_small(c if c.strides[0] == 8 else c.copy(), x, out)
                return out
        elif (type(x) is float or type(x) is _float64) and compensated is error_bound is False:
            return _float64(evaluate_one(c if c.strides[0] == 8 else c.copy(), x))
    times = check.order(derivative, "derivative")
    compensated = validate.flag(compensated, "compensated")
    error_bound = validate.flag(error_bound, "error_bound")
    if isinstance(x, _ndarray) and repeats(x):
        options = {"derivative": times, "compensated": compensated, "error_bound": error_bound}
        results = _of_distinct(polyval, x, c, **options)
        return tuple(_wrapped(each, x) for each in results) if error_bound else _wrapped(results[0], x)
    points, coefficients, dtype = _arguments(x, c)
    if not (compensated or error_bound):
        return _wrapped(_values(points, _derived(coefficients, times), dtype), x)
    values, bounds = _bounded(points, coefficients, times, dtype, compensated, error_bound)
    return (_wrapped(values, x), _wrapped(bounds, x)) if error_bound else _wrapped(values, x)


def polyval_and_derivative(x: Any, c: Any) -> tuple[Any, Any]:
    """Evaluate polynomials and their first derivatives at the same points, in one pass.

    Parameters
    ----------
    x : points of any shape
    c : (..., n) coefficients, ascending along the last axis; c.shape[:-1] broadcasts with the shape of x

    Returns
    -------
    values, derivatives : shape of x broadcast with c.shape[:-1]; the values are those of `polyval`

    Raises
    ------
    ValueError : c without coefficients, shapes do not broadcast
    TypeError : x or c not of numbers

    Notes
    -----
    The derivative by Horner's rule on the intermediate values (Knuth, TAOCP vol. 2, section 4.6.4), which rounds
    otherwise than `polyval` with derivative=1 does. Dtypes, subclasses and masks as `polyval`.
    """
    if isinstance(x, _ndarray) and repeats(x):
        both = _of_distinct(polyval_and_derivative, x, c)
        return _wrapped(both[0], x), _wrapped(both[1], x)
    points, coefficients, dtype = _arguments(x, c)
    if dtype.char != "d":
        values, slopes = (_values(points, each, dtype) for each in (coefficients, _derived(coefficients, 1)))
        return _wrapped(values, x), _wrapped(slopes, x)
    coefficients = np.ascontiguousarray(coefficients, dtype)
    shape = check.broadcast_shape(points, coefficients)
    work = arrange(points.astype(dtype, copy=False), coefficients.shape[:-1], shape)
    values, slopes = _two(work.shape, dtype)
    if values.size:
        flat = values.reshape(-1), slopes.reshape(-1)
        horner.evaluate_pair(coefficients.reshape(-1), work.x, *flat, work.polynomials)
    return _wrapped(work.in_order(values), x), _wrapped(work.in_order(slopes), x)


def polyder(c: Any, m: int = 1, scl: Any = 1, axis: int = -1) -> np.ndarray:
    """Differentiate polynomials.

    Parameters
    ----------
    c : coefficients, ascending along ``axis``
    m : int >= 0, how often
    scl : number; each differentiation multiplies by it (a linear change of variable)
    axis : int; where NumPy's function takes the first axis, this takes the last one

    Returns
    -------
    c with m coefficients less along the axis, but at least one: zero where all are gone. float32 and complex64 stay,
    other dtypes become float64 or complex128. A copy, also for m = 0.

    Raises
    ------
    ValueError : c without coefficients, m negative, no such axis
    TypeError : c not of numbers, m or axis not an integer

    Notes
    -----
    Each coefficient is multiplied once, by the falling factorial, and so rounded once where that is below 2**53.
    """
    coefficients = check.coefficients_along(c, axis)
    times = check.order(m, "m")
    if not times:
        return coefficients.copy()
    is_last = axis in (-1, coefficients.ndim - 1)
    factor = check.scale(scl)
    result = _derived(coefficients if is_last else np.moveaxis(coefficients, axis, -1), times)
    for _ in range(times if factor != 1 else 0):  # as NumPy does: its power may overflow where the product does not
        result = result * factor
    return result if is_last else np.moveaxis(result, -1, axis)


def _arguments(x: Any, c: Any) -> tuple[np.ndarray, np.ndarray, np.dtype]:
    """Points, coefficients (..., n), and the dtype of the results."""
    points, coefficients = check.points(x), check.coefficient_array(c)
    if type(x) in _WEAK and coefficients.dtype.char in "fF":
        points = points.astype(np.complex64 if points.dtype.kind == "c" else np.float32)
    dtype = points.dtype
    return points, coefficients, dtype if coefficients.dtype is dtype else np.promote_types(dtype, coefficients.dtype)


def _of_distinct(function: Callable[..., Any], x: np.ndarray, c: Any, **options: Any) -> tuple[np.ndarray, ...]:
    """Results of a function at broadcast points, which it is called with once: 1e9 of them may be one number."""
    coefficients = check.coefficient_array(c)
    shape = check.broadcast_shape(x, coefficients)
    results = function(distinct(np.asarray(x)), coefficients, **options)
    results = results if isinstance(results, tuple) else (results,)
    return tuple(np.broadcast_to(each, shape).copy() for each in results)


def _derived(c: np.ndarray, times: int) -> np.ndarray:
    """Coefficients of a derivative, rounded, in the dtype of c."""
    if not times:
        return c
    if times >= c.shape[-1]:
        return c[..., :1] * 0
    factors = falling_factorials(c.shape[-1], times)[0]
    wide = np.complex128 if c.dtype.kind == "c" else np.float64
    with np.errstate(over="ignore", invalid="ignore"):  # infinite, as the derivative's values then are
        kept = c[..., times:].astype(wide, copy=False)
        product = kept * factors
        if factors[-1] == np.inf:
            product[kept == 0] = 0
        return product.astype(c.dtype, copy=False)


def _flat(array: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """All elements, contiguous; the parts of complex ones side by side."""
    flat = np.ascontiguousarray(array, dtype).reshape(-1)
    return flat.view(np.float64) if dtype.kind == "c" else flat


def _two(shape: tuple[int, ...], dtype: np.dtype) -> tuple[np.ndarray, np.ndarray]:
    """Two arrays of one allocation, also of shape (), which unpacking would turn into numbers."""
    both = np.empty((2, *shape), dtype)
    return both[0, ...], both[1, ...]


def _values(points: np.ndarray, c: np.ndarray, dtype: np.dtype) -> np.ndarray:
    if c.ndim == 1 and dtype.char == "d" and 0 < points.size * c.size <= SMALL_WORK:
        points = np.ascontiguousarray(points, dtype).reshape(points.shape)
        values = np.empty(points.shape)
        evaluate_small(np.ascontiguousarray(c, dtype), points.reshape(-1), values.reshape(-1))
        return values
    work = arrange(points, c.shape[:-1], check.broadcast_shape(points, c))
    computing = _COMPLEX128 if dtype.kind == "c" else dtype
    values = np.empty(work.shape, computing)
    if values.size:
        evaluate = horner_complex.evaluate if dtype.kind == "c" else horner.evaluate
        evaluate(_flat(c, computing), _flat(work.x, computing), _flat(values, computing), work.polynomials)
    return work.in_order(values).astype(dtype, copy=False)


def _bounded(
    points: np.ndarray, c: np.ndarray, times: int, dtype: np.dtype, compensated: bool, error_bound: bool
) -> tuple[np.ndarray, Any]:
    """Values, and bounds on their errors or None.

    Plain complex values are judged by compensated ones, single precision by double: their errors are far smaller.
    """
    single = dtype.char in "fF"
    if dtype.char == "d" or (compensated and not single):
        return _in_double(points, c, times, compensated, error_bound)
    better, bounds = _in_double(points, c, times, dtype.kind == "c", True)
    with np.errstate(over="ignore", invalid="ignore"):  # infinite beyond float32, as plain values are
        values = better.astype(dtype) if compensated else _values(points, _derived(c, times), dtype)
        bounds = (bounds + np.abs(better - values)) * (1 + 1e-15)
        if single:
            bounds = np.nextafter(bounds.astype(np.float32), np.float32(np.inf))
    return values, np.where(np.isnan(bounds), bounds.dtype.type(np.inf), bounds)


def _in_double(
    points: np.ndarray, c: np.ndarray, times: int, compensated: bool, error_bound: bool
) -> tuple[np.ndarray, Any]:
    """Values with bounds or None, in float64 or complex128; complex ones must be compensated."""
    is_complex = points.dtype.kind == "c" or c.dtype.kind == "c"
    dtype = _COMPLEX128 if is_complex else _FLOAT64
    high, low, slack = exact_derivative(np.ascontiguousarray(c, dtype), times, compensated)
    work = arrange(points, c.shape[:-1], check.broadcast_shape(points, c))
    bounds = None
    if is_complex:
        values, bounds = np.empty(work.shape, dtype), np.empty(work.shape)
    elif error_bound:
        values, bounds = _two(work.shape, dtype)
    else:
        values = np.empty(work.shape)
    if values.size:
        x, out, polynomials = _flat(work.x, dtype), _flat(values, dtype), work.polynomials
        of_values = None if bounds is None else bounds.reshape(-1)
        if not compensated:
            horner_bounds.evaluate_bounded(high, slack, x, out, of_values, polynomials)
        else:
            module = horner_complex if is_complex else horner_bounds
            module.evaluate_compensated(high, low, slack, x, out, of_values, polynomials)
    return work.in_order(values), None if bounds is None else work.in_order(bounds)


def _wrapped(result: np.ndarray, x: Any) -> Any:
    """The result as what x is: a scalar, an array, a subclass, or masked."""
    if type(x) is _ndarray or not isinstance(x, _ndarray):
        return result if result.ndim else result[()]
    if isinstance(x, np.ma.MaskedArray):
        masked = result.view(type(x))
        if x.mask is not np.ma.nomask:
            masked.mask = np.broadcast_to(x.mask, result.shape)
        return masked
    return x.__array_wrap__(result)
