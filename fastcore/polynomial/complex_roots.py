"""All complex roots of a polynomial."""

from typing import Any

import numpy as np

from fastcore._core import validate
from fastcore._core import validate_polynomial as check
from fastcore.polynomial.kernels.aberth import aberth
from fastcore.polynomial.kernels.status import CONVERGED
from fastcore.polynomial.record import Solution, solution_of_arrays

__all__ = ["roots"]


def roots(c: Any, *, polish: bool = True) -> Solution:
    """All roots of P(x) = c[..., 0] + c[..., 1] x + ... + c[..., n-1] x**(n-1), each in a disc that holds one.

    Parameters
    ----------
    c : (..., n) real or complex, n >= 1; ascending as in `numpy.polynomial`. Pass c[..., ::-1] for the other order.
    polish : refine the roots by residuals in twice the precision: simple roots of condition up to 1e12 are then within
        about 2**-52 |x|. Without it they are as accurate as their condition allows: backward stable.

    Returns
    -------
    Solution, all fields (..., n - 1), count None
        x : complex128, sorted as np.sort does: by the real, then the imaginary part. Roots of real coefficients are
            real (imaginary part 0) or exact conjugate pairs.
        error_bound : a disc of this radius around x holds a root; where it meets no other's disc, exactly one. A real
            disc of its own thus proves a real root.
        iterations : sweeps
        status : CONVERGED where |P(x)| <= 4 d u sum |c_k| |x|**k, d the degree, u = 2**-53, verified afterwards in
            twice the precision; else MAX_ITERATIONS

    Raises
    ------
    ValueError : c has no axis or its last is empty
    TypeError : c is not of numbers, polish is not a bool

    Notes
    -----
    Leading coefficients of 0 are roots at infinity: x = inf + 0j, status DEGENERATE, at the end; residual and bound are
    NaN. So are roots beyond the largest float64. Coefficients of 0 at the low end are exact zeros. A coefficient that
    is NaN or infinite: x is NaN, NOT_FINITE. All coefficients 0: x is NaN, ZERO_POLYNOMIAL.

    Source: Bini 1996, "Numerical computation of polynomial zeros by means of Aberth's method": Ehrlich and Aberth's
    iteration from the Newton polygon, with the reversed polynomial where |x| is large; here one polynomial a SIMD lane.
    Time grows with n**2, memory with n.
    """
    c = check.coefficients(c, allow_complex=True)
    polish = validate.flag(polish, "polish")
    count = int(np.prod(c.shape[:-1]))
    shape = (*c.shape[:-1], c.shape[-1] - 1)
    rows = (count, shape[-1])
    x = np.empty(rows, np.complex128)
    residual, bound = np.empty(rows), np.empty(rows)
    sweeps = np.empty(rows, np.int32)
    state, converged = np.full(rows, CONVERGED, np.int8), np.ones(rows, np.bool_)
    if x.size:
        parts = 2 if c.dtype.kind == "c" else 1
        values = c.view(np.float64).reshape(count, c.shape[-1], parts)
        aberth(values, polish, x.view(np.float64).reshape(*rows, 2), residual, bound, sweeps, state, converged)
    return solution_of_arrays((x, residual, bound, sweeps, state, converged), shape)
