"""From a lane back to a row of answers: conjugate pairs and real roots, radii of clusters, units, order, statuses."""

import math

import numpy as np

from fastcore._core.jit import kernel
from fastcore.polynomial.kernels import status
from fastcore.polynomial.kernels.aberth_sweeps import (
    ALONE,
    BACKWARD,
    BEYOND,
    LAST,
    NEWTON,
    RADIUS,
    REVERSED,
    ROOT_I,
    ROOT_R,
    SWEEPS,
    VALUE,
    WEIERSTRASS,
)
from fastcore.polynomial.kernels.error_free import UNIT
from fastcore.polynomial.kernels.scaling import power_of, shifted

UNPAIRED, PAIRED = 0, 1
SMALLEST_NORMAL, STEP = 2.0**-1022, 2.0**-1073


@kernel(fastmath=False)
def pair_conjugates(degree, lanes, lane, taken):
    """Roots of a real polynomial as exact pairs and real ones.

    Those above the axis take the nearest conjugate of one below it, unless the axis is nearer. What is left over is
    real: roots lie symmetrically, so that one whose disc holds no conjugate of another lies on the axis.
    """
    for i in range(degree):
        taken[i] = UNPAIRED
    for i in range(degree):
        re, im = lanes[ROOT_R, i, lane], lanes[ROOT_I, i, lane]
        if im <= 0.0:
            continue
        best, nearest = -1, im
        for j in range(degree):
            if taken[j] == UNPAIRED and lanes[ROOT_I, j, lane] < 0.0:
                gap = max(abs(lanes[ROOT_R, j, lane] - re), abs(lanes[ROOT_I, j, lane] + im))
                if gap <= nearest:
                    best, nearest = j, gap
        if best >= 0:
            taken[i] = taken[best] = PAIRED
            lanes[ROOT_R, best, lane], lanes[ROOT_I, best, lane] = re, -im
    for i in range(degree):
        if taken[i] == UNPAIRED:
            lanes[ROOT_I, i, lane] = 0.0


@kernel(fastmath=False)
def cluster_radius(degree, lanes, lane, i, taken):
    """Radius around root i that holds the component of Smith's discs it belongs to, and so a root."""
    re, im = lanes[ROOT_R, i, lane], lanes[ROOT_I, i, lane]
    reach = lanes[WEIERSTRASS, i, lane]
    for j in range(degree):
        taken[j] = 0
    taken[i] = 1
    grows = True
    while grows and reach < np.inf:
        grows = False
        for j in range(degree):
            if taken[j] == 0:
                gap = math.hypot(lanes[ROOT_R, j, lane] - re, lanes[ROOT_I, j, lane] - im)
                own = lanes[WEIERSTRASS, j, lane]
                if not gap > reach + own:
                    taken[j] = 1
                    reach = max(reach, gap + own)
                    grows = True
    return reach


@kernel(fastmath=False)
def nth_root_radius(degree, lanes, lane, i):
    """(|P(z)| / |c_n|)**(1 / n): the product of the distances to all roots, so one is not farther."""
    radius = math.exp2(math.log2(lanes[LAST, i, lane] / lanes[REVERSED + 2, 0, lane]) / degree) * 1.0000001
    if lanes[BEYOND, i, lane] > 0.0:
        radius *= math.hypot(lanes[ROOT_R, i, lane], lanes[ROOT_I, i, lane])
    return radius


@kernel(fastmath=False)
def radius_of(degree, lanes, lane, i, taken):
    """Radius of a disc around root i that holds a root, only one if the root is alone."""
    if lanes[ALONE, i, lane] > 0.0:
        return lanes[RADIUS, i, lane]
    radius = min(lanes[NEWTON, i, lane], cluster_radius(degree, lanes, lane, i, taken))
    other = nth_root_radius(degree, lanes, lane, i)
    return min(radius, other) if other >= 0.0 else radius


@kernel(fastmath=False)
def original_value(degree, lanes, lane, i, size, zeros, shift):
    """|P| of the row at root i, whose modulus there is `size`."""
    value = lanes[VALUE, i, lane]
    if value == 0.0 or not value < np.inf:
        return value
    total = -shift
    if lanes[BEYOND, i, lane] > 0.0:
        m, e = power_of(math.hypot(lanes[ROOT_R, i, lane], lanes[ROOT_I, i, lane]), degree)
        value, total = value * m, total + e
    if zeros > 0 and 0.0 < size < np.inf:
        m, e = power_of(size, zeros)
        value, total = value * m, total + e
    return shifted(value, total)


@kernel(fastmath=False)
def sort_order(x, count, order):
    """order[:count]: by the real, then the imaginary part, as np.sort of complex numbers. Shell's, gaps of Ciura."""
    for i in range(count):
        order[i] = i
    for gap in (701, 301, 132, 57, 23, 10, 4, 1):
        for i in range(gap, count):
            k = order[i]
            re, im = x[k, 0], x[k, 1]
            j = i
            while j >= gap:
                other = order[j - gap]
                if x[other, 0] < re or (x[other, 0] == re and x[other, 1] <= im):
                    break
                order[j] = other
                j -= gap
            order[j] = k


@kernel(fastmath=False)
def write_lane(degree, zeros, slope, shift, lanes, lane, spare, order, taken, answers):
    """Roots of one lane and the zeros that were taken off, sorted, into a row of answers."""
    x, residual, bound, sweeps, state, converged = answers
    for i in range(degree):
        spare[i, 0] = shifted(lanes[ROOT_R, i, lane], slope)
        spare[i, 1] = shifted(lanes[ROOT_I, i, lane], slope) + 0.0
        if max(abs(spare[i, 0]), abs(spare[i, 1])) == np.inf:
            spare[i, 0], spare[i, 1] = np.inf, 0.0  # beyond float64: as roots of leading zeros
    for i in range(degree, degree + zeros):
        spare[i, 0] = spare[i, 1] = 0.0
    count = degree + zeros
    sort_order(spare, count, order)
    for place in range(count):
        i = order[place]
        x[place, 0], x[place, 1] = spare[i, 0], spare[i, 1]
        if i >= degree:
            residual[place], bound[place], sweeps[place] = 0.0, 0.0, 0
            state[place], converged[place] = status.CONVERGED, True
            continue
        if spare[i, 0] == np.inf:
            residual[place], bound[place], sweeps[place] = np.nan, np.nan, int(lanes[SWEEPS, i, lane])
            state[place], converged[place] = status.DEGENERATE, False
            continue
        size = math.hypot(spare[i, 0], spare[i, 1])
        residual[place] = original_value(degree, lanes, lane, i, size, zeros, shift)
        bound[place] = shifted(radius_of(degree, lanes, lane, i, taken), slope)
        if slope != 0 and size < SMALLEST_NORMAL * 4.0:
            bound[place] += STEP  # the root lost bits when its unit was put back
        sweeps[place] = int(lanes[SWEEPS, i, lane])
        fine = lanes[BACKWARD, i, lane] <= 4.0 * degree * UNIT and size < np.inf
        state[place] = status.CONVERGED if fine else status.MAX_ITERATIONS
        converged[place] = fine


@kernel(fastmath=False)
def write_nothing(start, state_of_all, value, answers):
    """From one place on: no root there, or one at infinity."""
    x, residual, bound, sweeps, state, converged = answers
    for place in range(start, state.size):
        x[place, 0] = value
        x[place, 1] = 0.0 if value == np.inf else np.nan
        residual[place] = bound[place] = np.nan
        sweeps[place] = 0
        state[place], converged[place] = state_of_all, False
