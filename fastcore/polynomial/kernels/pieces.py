"""The monotone pieces of one polynomial, for many y."""

import numpy as np

from fastcore._core.jit import kernel
from fastcore.polynomial.kernels.derivative_chain import sign_at_infinity
from fastcore.polynomial.kernels.error_free import UNIT
from fastcore.polynomial.kernels.monotone import TOP, compensated, taylor

# y nearer to a critical value than this times sum |c_k| |x|**k is looked at closely.
MARGIN = 32.0 * UNIT


@kernel
def put_piece(heads, tails, degree, x, is_critical, number, table):
    """Append one finite end."""
    value, _, scale = compensated(heads, tails, TOP, degree, x)
    _, _, curvature, _ = taylor(heads, TOP, degree, x)
    table[0, number], table[1, number], table[2, number] = x, value, MARGIN * scale
    table[3, number] = curvature if is_critical else 0.0
    return number + 1


@kernel
def fill_pieces(heads, tails, degree, low, high, points, count, x0, table):
    """Ends of the pieces, the critical points and x0 among them, with the polynomial's values there.

    Parameters
    ----------
    heads, tails, degree, low, high : those of the chain for y = 0
    points, count : `critical_points`
    x0 : float64, low <= x0 <= high
    table : (4 or more, count + 3) float64, written: the ends, values there, how near to them a y must be looked at
        closely, and half the second derivatives, 0 of what is no critical point

    Returns
    -------
    number : of ends; 0 where a value overflows
    place : of x0, or of the first end above it
    """
    number, place = 0, 0
    placed = False
    for i in range(-1, count + 1):
        is_end = i < 0 or i == count
        x = low if i < 0 else high if i == count else points[i]
        if not placed and x0 <= x:
            placed = True
            place = number
            if x0 < x:
                number = put_piece(heads, tails, degree, x0, False, number, table)
        if abs(x) == np.inf:
            table[0, number], table[2, number], table[3, number] = x, 0.0, 0.0
            table[1, number] = sign_at_infinity(heads[degree], degree, np.int64(-1 if i < 0 else 1))
            number += 1
        else:
            number = put_piece(heads, tails, degree, x, not is_end, number, table)
            if not abs(table[1, number - 1]) < np.inf:
                return 0, 0
    return number, place
