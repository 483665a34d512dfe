"""All that an inverse keeps of its polynomial: scaled coefficients, sections and rows."""

from typing import NamedTuple

import numpy as np
from numba import types

from fastcore._core.jit import kernel
from fastcore._core.work import Direct
from fastcore.polynomial.kernels.derivative_chain import root_bound
from fastcore.polynomial.kernels.inverse import (
    ENOUGH,
    FLOOR_BOUND,
    HIGH,
    LOW,
    NARROW,
    ROUNDING,
    SETTINGS,
    X_BACK,
    X_SCALE,
    Y_BACK,
    Y_SCALE,
    YTOL,
)
from fastcore.polynomial.kernels.inverse_rows import FIELDS
from fastcore.polynomial.kernels.inverse_sections import (
    AT,
    CUT,
    VALUE,
    exact_value,
    lay_sections,
    set_end,
    split_section,
    turning_points,
)
from fastcore.polynomial.kernels.inverse_solver import CRITICAL, SOLVER
from fastcore.polynomial.kernels.inverse_table import OCTAVES, fill_table
from fastcore.polynomial.kernels.monotone import LARGEST
from fastcore.polynomial.kernels.scaling import exponent, scaled

FEWEST_BITS, MOST_BITS = 4, 7  # of the mantissa that a bin's distances have in common
SPARE = 8  # exponents, so that sums of terms as large as the largest y do not overflow
OPEN_SHIFT = 60  # exponents of the scale of x in an open domain, at most: float64 keeps all of its reach
OPEN_SIZE = 100  # exponents of scaled coefficients there: small y keep their digits
ENOUGH_RANGE = 2.0**-44  # an error bound so small is one of rounding: of numbers below 2
POOR = 0.01  # the part of the values that may be without usable rows before bins are made narrower
REACH = 1000  # exponents of scaled coefficients and of scales, so that neither overflow


_LARGEST_SINGLE = float(np.finfo(np.float32).max)


class Table(NamedTuple):
    """c (n,) scaled so that P(x) = 2**y_shift * sum c_k (x / 2**x_shift)**k; rows aligned to 64 bytes.

    points: where the monotone pieces end, in x; range: the lowest and highest y that have an answer.
    """

    c: np.ndarray
    sections: np.ndarray
    offsets: np.ndarray
    rows: np.ndarray
    bits: int
    poor: float
    x_shift: int
    y_shift: int
    points: np.ndarray


@kernel
def moved(x, shift):
    """x * 2**shift of any shift; not finite x as they are."""
    if not abs(x) < np.inf or x == 0.0:
        return x
    if shift + exponent(x) < -1080:
        return 0.0 * x
    # in two steps: the shift alone may be larger than what `scaled` takes
    return scaled(scaled(x, shift - shift // 2), shift // 2)


@kernel
def scaled_polynomial(c, low, high):
    """(scaled c without leading zeros, x_shift, y_shift): in a finite domain, abs(x) < 1 and terms are below 2.

    In an open one scales are moderate, or 1: x and y of all sizes must keep their digits.
    """
    size = c.size
    while size > 1 and c[size - 1] == 0.0:
        size -= 1
    largest = max(abs(low), abs(high))
    x_shift = exponent(root_bound(c, 0, size - 1)) if largest == np.inf else exponent(largest) + 1
    if largest == 0.0 or size == 1:
        x_shift = 0
    limit = REACH
    for k in range(1, size):
        if c[k] != 0.0:
            limit = min(limit, (REACH - exponent(c[k])) // k)
    is_open = largest == np.inf or x_shift > limit
    if is_open:
        for k in range(1, size):
            if c[k] != 0.0:
                limit = min(limit, (OPEN_SIZE - exponent(c[k])) // k)
        x_shift = min(x_shift, limit) if abs(min(x_shift, limit)) <= OPEN_SHIFT else 0
    x_shift = max(x_shift, -REACH)
    y_shift = -REACH
    for k in range(size):
        if c[k] != 0.0:
            y_shift = max(y_shift, exponent(c[k]) + k * x_shift)
    y_shift = min(max(y_shift, -REACH), REACH)
    if is_open:
        y_shift = max(min(y_shift, OPEN_SIZE), y_shift - REACH + OPEN_SIZE, SPARE)
        for k in range(size):  # none may vanish: far out it may be the largest
            if c[k] != 0.0 and exponent(c[k]) + k * x_shift < -REACH:
                y_shift = 0
    result = np.zeros(size)
    for k in range(size):
        result[k] = moved(c[k], k * x_shift - y_shift)
    while size > 1 and result[size - 1] == 0.0:
        size -= 1
    return result[:size].copy(), x_shift, y_shift


def scale_and_cut(c, low, high):
    """(c, x_shift, y_shift): `scaled_polynomial`"""
    return scaled_polynomial(c, low, high)


def ends_of_pieces(c, low, high, found, count):
    """`turning_points`"""
    return turning_points(c, low, high, found, count)


def sections_of(c, points, which, solver):
    """`lay_sections`"""
    return lay_sections(c, points, which, solver)


def split(c, section, cuts, result):
    """`split_section`"""
    return split_section(c, section, cuts, result)


def end_at(section, end, c, x):
    """`set_end` of a point that is no turn"""
    value, tail = exact_value(c, x)
    set_end(section, end, c, x, value, tail, False)


def rows_of(c, sections, bits, rows, offsets, solver):
    """`fill_table`"""
    return fill_table(c, sections, bits, rows, offsets, solver)


_F64, _I64 = types.float64, types.int64
_READ = types.Array(_F64, 1, "C", readonly=True)
_VECTOR, _MATRIX, _INDICES = types.Array(_F64, 1, "C"), types.Array(_F64, 2, "C"), types.Array(_I64, 2, "C")
_SCALE = Direct(scale_and_cut, types.Tuple((_VECTOR, _I64, _I64))(_READ, _F64, _F64))
_PIECES = Direct(ends_of_pieces, _VECTOR(_VECTOR, _F64, _F64, _VECTOR, _I64))
_SECTIONS = Direct(sections_of, _MATRIX(_VECTOR, _VECTOR, _I64, _I64))
_SPLIT = Direct(split, _I64(_VECTOR, _VECTOR, _VECTOR, _MATRIX))
_END = Direct(end_at, types.void(_VECTOR, _I64, _VECTOR, _F64))
_ROWS = Direct(rows_of, types.Tuple((_I64, _F64))(_VECTOR, _MATRIX, _I64, _MATRIX, _INDICES, _I64))


def scale(c: np.ndarray, low: float, high: float) -> tuple[np.ndarray, int, int, np.ndarray]:
    """(c, x_shift, y_shift, points) of c (n,) float64, contiguous and finite: scaled, and where pieces end.

    c comes back of size 1 where it is constant, to rounding, with no points.
    """
    result, x_shift, y_shift = _SCALE.call(c, low, high)
    if result.size == 1:
        return result, x_shift, y_shift, np.zeros(0)
    with np.errstate(over="ignore"):
        low, high = np.ldexp([low, high], -x_shift)
    found = np.empty(result.size)
    count = CRITICAL.call(result, low, high, found)
    return result, x_shift, y_shift, _PIECES.call(result, low, high, found, count)


def build(scaled_c: np.ndarray, x_shift: int, y_shift: int, points: np.ndarray, which: int) -> Table:
    """The table of the pieces that `which` names (`lay_sections`), of what `scale` returned, n > 1."""
    sections = _SECTIONS.call(scaled_c, points, which, SOLVER.address)
    if len(sections) == 1 and np.isinf(sections[0, [VALUE, VALUE + 1]]).all():
        sections = _split(scaled_c, sections, points)  # distances need an end
    best = _filled(scaled_c, sections.copy(), FEWEST_BITS, x_shift, y_shift, points)
    if best.poor <= POOR:
        return best
    more = _split(scaled_c, sections, points)
    attempts = [(sections, bits) for bits in range(FEWEST_BITS + 1, MOST_BITS)]
    if len(more) > len(sections):
        attempts += [(more, bits) for bits in range(FEWEST_BITS, MOST_BITS)]
    for cut, bits in attempts:
        table = _filled(scaled_c, cut.copy(), bits, x_shift, y_shift, points)
        if table.poor < 0.5 * best.poor:
            best = table
        if best.poor <= POOR:
            break
    return best


def _split(c: np.ndarray, sections: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Sections cut where the slope is least; one without ends at the mean of all roots, if nowhere else."""
    cuts = np.zeros(0)
    if c.size > 3:
        found = np.empty(c.size)
        slope = c[1:] * np.arange(1.0, c.size)
        cuts = found[: CRITICAL.call(slope, points[0], points[-1], found)]
    parts = []
    for section in sections:
        part = np.empty((c.size + 1, len(section)))
        forwards = cuts if section[AT] < section[AT + 1] else np.ascontiguousarray(cuts[::-1])
        parts.append(part[: _SPLIT.call(c, section, forwards, part)])
    if len(parts) == len(parts[0]) == 1 and np.isinf(sections[0, [VALUE, VALUE + 1]]).all():
        return _cut_anywhere(c, sections[0])
    return np.concatenate(parts)


def _cut_anywhere(c: np.ndarray, section: np.ndarray) -> np.ndarray:
    """The halves of a section without ends, at the mean of all roots."""
    parts = np.stack([section, section])
    x = -c[-2] / ((c.size - 1) * c[-1])
    _END.call(parts[0], 1, c, x)
    _END.call(parts[1], 0, c, x)
    parts[1, CUT] = parts[1, VALUE]
    return parts


def _filled(c: np.ndarray, sections: np.ndarray, bits: int, x_shift: int, y_shift: int, points: np.ndarray) -> Table:
    offsets = np.zeros((len(sections), 2), np.int64)
    rows = _aligned(1 + 2 * len(sections) * ((OCTAVES + 1) << bits))
    count, poor = _ROWS.call(c, sections, bits, rows, offsets, SOLVER.address)
    kept = _aligned(count)
    kept[...] = rows[:count]
    return Table(c, sections, offsets, kept, bits, poor, x_shift, y_shift, points)


def _aligned(count: int) -> np.ndarray:
    """(count, FIELDS) that begin with a cache line, which a row then fills."""
    block = np.empty(count * FIELDS + FIELDS - 1)
    first = -(block.ctypes.data // 8) % FIELDS
    return block[first : first + count * FIELDS].reshape(count, FIELDS)


def settings_of(table: Table, low: float, high: float, ytol: float, dtype: np.dtype) -> np.ndarray:
    """What `inverse_values` takes as settings. Answers are in [low, high], where the dtype has numbers there."""
    settings = np.zeros(SETTINGS)
    settings[[X_SCALE, X_BACK, Y_SCALE, Y_BACK]] = np.ldexp(
        1.0, [-table.x_shift, table.x_shift, -table.y_shift, table.y_shift]
    )
    low, high = ends(low, high, dtype)
    with np.errstate(over="ignore"):
        settings[[LOW, HIGH]] = np.ldexp([low, high], -table.x_shift)
        settings[YTOL] = np.ldexp(ytol, -table.y_shift)
    values = table.sections[:, [VALUE, VALUE + 1]]
    # Rows of open ends are as wide as they reach: there only bounds like that of y itself tell enough.
    size = 1.0 if np.isfinite(values).all() else abs(table.c[0])
    settings[ENOUGH] = min(settings[YTOL], ENOUGH_RANGE * size)
    if dtype == np.float64:
        settings[[ROUNDING, NARROW]] = 2.0**-53 * 3, 1.0
    else:
        # a whole unit, since the end of the domain need not be a float32
        settings[[ROUNDING, NARROW]] = 2.0**-23 * 1.25, 2.0**29 + 1.0
    settings[FLOOR_BOUND] = 2.0**-72 * np.abs(values[np.isfinite(values)]).max(initial=0.0)
    return settings


def ends(low: float, high: float, dtype: np.dtype) -> tuple[float, float]:
    """The finite numbers of the dtype at the ends of [low, high], inside."""
    if dtype == np.float64:
        return max(low, -LARGEST), min(high, LARGEST)
    return _inwards(max(low, -_LARGEST_SINGLE), np.inf), _inwards(min(high, _LARGEST_SINGLE), -np.inf)


def _inwards(bound: float, direction: float) -> float:
    with np.errstate(over="ignore"):
        near = np.float32(bound)
    if near == bound or (near > bound) == (direction > bound):
        return float(near) if np.isfinite(near) or np.isinf(bound) else float(np.nextafter(near, np.float32(0)))
    return float(np.nextafter(near, np.float32(direction)))
