"""The table of an inverse: bins of y logarithmic in the distance from either end of a section, and a row for each.

Where the curve turns, x is a series in the square root of the distance from the value there: steps uniform in y would
never be small enough, steps of a constant ratio always are, and they need no root. A bin is the distances whose bits
begin alike: all of the exponent and the first few of the mantissa.
"""

import numpy as np

from fastcore._core.jit import kernel
from fastcore.polynomial.kernels.either import float_bits, float_of_bits
from fastcore.polynomial.kernels.error_free import UNIT
from fastcore.polynomial.kernels.inverse_rows import both
from fastcore.polynomial.kernels.inverse_sections import (
    AT,
    BAND,
    CRITICAL,
    FLOOR,
    LEAST,
    TOP,
    VALUE,
    exact_value,
)
from fastcore.polynomial.kernels.inverse_solver import solution

__all__ = ["CERTAIN", "fill_table"]

OCTAVES = 60  # of distances that have rows, at most
# A row is used where its slope dx/dy is this good at both ends of its bin, and its x as good, relative to the bin.
CERTAIN = 2.0**-24
OPEN_RANGE = 2.0**40  # distances that open sections have rows for, relative to the largest coefficient and end


@kernel(fastmath=False)
def expand(c, x, row):
    """Fields 0 ... 5, b_5 and the tail; b_k by reversion of the series of P (Abramowitz and Stegun 1972, 3.6.25)."""
    a1 = a2 = a3 = a4 = a5 = 0.0
    value = 0.0
    for k in range(c.size - 1, -1, -1):
        a5 = a5 * x + a4
        a4 = a4 * x + a3
        a3 = a3 * x + a2
        a2 = a2 * x + a1
        a1 = a1 * x + value
        value = value * x + c[k]
    b1 = 1.0 / a1
    # in the variable b1 t, in which no power of a small slope overflows
    a2, a3, a4, a5 = a2 * b1, a3 * b1, a4 * b1, a5 * b1
    b2 = -a2
    b3 = 2.0 * a2 * a2 - a3
    b4 = 5.0 * a2 * (a3 - a2 * a2) - a4
    b5 = 6.0 * a2 * a4 + 3.0 * a3 * a3 + 14.0 * a2 * a2 * a2 * a2 - a5 - 21.0 * a2 * a2 * a3
    row[0] = x
    row[1], tail = exact_value(c, x)
    row[2] = b1
    row[3] = b2 * b1 * b1
    row[4] = b3 * b1 * b1 * b1
    row[5] = b4 * b1 * b1 * b1 * b1
    return b5 * b1 * b1 * b1 * b1 * b1, tail


@kernel(fastmath=False)
def series(row, b5, t):
    """(x - x_0, dx/dy) at t."""
    value = b5 * t + row[5]
    slope = b5 * t + value
    value = value * t + row[4]
    slope = slope * t + value
    value = value * t + row[3]
    slope = slope * t + value
    value = value * t + row[2]
    return value * t, slope * t + value


@kernel(fastmath=False)
def rest_and_slope(c, x0, h, t):
    """(P(x_0 + h) - P(x_0) - t, P'(x_0 + h)); the former by the divided difference, which errs relative to h."""
    x = x0 + h
    s = difference = inner = c[c.size - 1]
    slope = s
    if c.size == 2:
        return difference * h - t, slope
    for k in range(c.size - 2, 0, -1):
        s = s * x0 + c[k]
        difference = difference * x + s
        inner = inner * x + c[k]
        slope = slope * x + inner
    return difference * h - t, slope


@kernel(fastmath=False)
def complete(c, row, b5, tail, value, near, far):
    """Fields 6 and 7 of the row of the bin of y from value + near to value + far, and whether it may be used."""
    reach = 0.0
    fine = True
    t_near, t_far = (value - row[1]) + near - tail, (value - row[1]) + far - tail
    h_near, g_near = series(row, b5, t_near)
    h_far, g_far = series(row, b5, t_far)
    width = abs(h_far - h_near)
    for end in range(2):
        h, g, t = (h_near, g_near, t_near) if end == 0 else (h_far, g_far, t_far)
        rest, slope = rest_and_slope(c, row[0], h, t)
        fine &= abs(rest * g) <= CERTAIN * width and abs(g * slope - 1.0) <= CERTAIN
        reach = max(reach, abs(h))
    reach *= 1.0 + 2.0**-10
    x = abs(row[0]) + reach
    kappa = 0.0
    for k in range(c.size - 1, 0, -1):
        kappa = kappa * x + abs(c[k]) * k
    kappa *= (4.0 * c.size + 4.0) * UNIT
    row[6] = both(b5, reach if fine else -1.0)
    row[7] = both(tail, kappa * (1.0 + 2.0**-18))
    return fine


@kernel
def lowest_of_bin(place, shift):
    """The smallest distance whose bits begin with those of the bin."""
    return float_of_bits(np.int64(place) << shift)


@kernel(fastmath=False)
def fill_end(c, section, end, x, distance, bits, rows, count, solver):
    """Rows for distances up to `distance`, where x is, from one end of a section; in descending order.

    Parameters
    ----------
    bits : of the mantissa that bins have in common
    rows, count : (R, FIELDS), of which there are `count` so far

    Returns
    -------
    count, offset : the row of a bin is offset - bin
    poor : the part that rows cover that may not be used, of all distances; of open sections, of all rows
    """
    shift = 52 - bits
    value = section[VALUE + end]
    outwards = 1.0 if end == 0 else -1.0
    top = float_bits(distance) >> shift
    lowest = max(top - (OCTAVES << bits), 2 << bits)
    # Distances are multiples of the last bit of the value; closer than its rounding error to a turn nothing is told.
    resolved = section[BAND + end] if section[CRITICAL + end] != 0.0 else abs(value) * 2.0**-54
    a, b = min(section[AT], section[AT + 1]), max(section[AT], section[AT + 1])
    rises = section[AT] < section[AT + 1]
    offset = count + top
    section[LEAST + end] = np.inf
    poor = missed = last_b5 = 0.0
    first = count
    place = top
    merging = False
    while place >= lowest and count < rows.shape[0] and not merging:
        near, far = lowest_of_bin(place, shift), lowest_of_bin(place + 1, shift)
        merging = place & ((1 << bits) - 1) == (1 << bits) - 1 and place != top and section[CRITICAL + end] == 0.0
        row = rows[count]
        if merging:  # at the top of an octave: perhaps one row does for all the distances below
            y = value + outwards * 0.5 * far
            expand_at = solution(solver, c, y, a, b, rises, x)
            b5, rest = expand(c, expand_at, row)
            merging = complete(c, row, b5, rest, value, 0.0, outwards * far)
        if not merging:
            y = value + outwards * (0.5 * near + 0.5 * far)
            if place != top:
                h, _ = series(rows[count - 1], last_b5, y - rows[count - 1, 1])
                x = rows[count - 1, 0] + h
            b5, rest = expand(c, x, row)
            if not abs(row[1] - y) <= 0.25 * (far - near) or not a <= x <= b:
                x = solution(solver, c, y, a, b, rises, x)
                b5, rest = expand(c, x, row)
            if not complete(c, row, b5, rest, value, outwards * near, outwards * far):
                poor += far - near
                missed += 1.0
        last_b5 = b5
        count += 1
        section[FLOOR + end] = near
        section[LEAST + end] = -0.0 if merging else max(near, resolved)
        if near <= resolved:
            break
        place -= 1
    is_open = abs(section[VALUE + 1] - section[VALUE]) == np.inf
    return count, offset, missed / max(count - first, 1) if is_open else poor / distance


@kernel(fastmath=False)
def fill_table(c, sections, bits, rows, offsets, solver):
    """All rows, from number 1 on.

    Parameters
    ----------
    c (n,), n > 1; sections : `lay_sections`, whose FLOOR, LEAST and TOP are set
    bits : of the mantissa that bins have in common
    rows : (R, FIELDS), written; as many as fit
    offsets : (S, 2) int64, written: the row of a bin is offset - bin

    Returns
    -------
    count : of rows
    poor : the largest part of the y of a section that has no usable row
    """
    rows[0] = np.nan
    count = 1
    poor = 0.0
    largest = 0.0
    for k in range(c.size):
        largest = max(largest, abs(c[k]))
    for i in range(sections.shape[0]):
        section = sections[i]
        low, high = section[VALUE], section[VALUE + 1]
        section[TOP] = np.inf
        for end in range(2):
            section[LEAST + end], section[FLOOR + end] = np.inf, 1.0
            offsets[i, end] = 0
        width = high - low
        if not width > 0.0:
            continue
        is_open = not width < np.inf
        distance = 0.5 * width
        if is_open:
            distance = OPEN_RANGE * max(largest, abs(high) if low == -np.inf else abs(low))
            distance = min(distance, 2.0**1000)
            section[TOP] = distance
        part = 0.0
        for end in range(2):
            if is_open and abs(section[VALUE + end]) == np.inf:
                continue
            outwards = 1.0 if end == 0 else -1.0
            a, b = min(section[AT], section[AT + 1]), max(section[AT], section[AT + 1])
            rises = section[AT] < section[AT + 1]
            y = section[VALUE + end] + outwards * distance
            x = solution(solver, c, y, a, b, rises, 0.5 * a + 0.5 * b)
            count, offsets[i, end], lost = fill_end(c, section, end, x, distance, bits, rows, count, solver)
            part += lost
        poor = max(poor, part)
    return count, poor
