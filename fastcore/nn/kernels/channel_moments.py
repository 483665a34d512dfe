"""From the sums of chunks to moments and gradients of channels, and from those to the coefficients of the result."""

from typing import Any, NamedTuple

from fastcore._core import simd
from fastcore._core.jit import kernel
from fastcore.nn.kernels.channel_sums import (
    BIAS,
    CENTRE,
    DEVIATION,
    GIVEN,
    MEAN,
    PRODUCT,
    PRODUCTS,
    SLOPE,
    SLOPES,
    SQUARES,
    VARIANCE,
    WEIGHT,
    WITH_GRAD,
    chunk_of,
)


@kernel
def wide(ptr, count):
    """The first ``count`` elements as a vector of float64, 0 behind them."""
    return simd.convert(simd.load_first(ptr, simd.F64_LANES, count), simd.f64)


class Sums(NamedTuple):
    """Where the sums of some channels are: of chunk k the five, each of a number for every channel."""

    first: Any
    chunks: Any
    chunk_stride: Any
    stride: Any


@kernel
def mean_of_chunks(sums, planes, size, limit, count):
    """Mean of each of ``count`` channels."""
    total = simd.broadcast(0.0, simd.F64_LANES, simd.f64)
    for k in range(sums.chunks):
        chunk = chunk_of(k, planes, size, limit)
        at = simd.advance(sums.first, k * sums.chunk_stride)
        centre = wide(simd.advance(at, CENTRE * sums.stride), count)
        deviation = wide(simd.advance(at, DEVIATION * sums.stride), count)
        total = total + simd.fma(centre, float(chunk.planes * chunk.length), deviation)
    return total / float(planes * size)


@kernel
def combine_chunks(sums, planes, size, limit, table, first, count, what):
    """Fill the moments and the gradients in columns [first, first + count) of ``table`` (6, C), at most F64_LANES.

    Moments that are GIVEN stay, and the products are around that mean. ``sums`` begins at column ``first``. Source:
    Chan, Golub and LeVeque 1983, eq. 2.1, for many parts at once: the squares around the common mean are those around
    each part's own plus n * distance**2.
    """
    zero = simd.broadcast(0.0, simd.F64_LANES, simd.f64)
    squares, slopes, products = zero, zero, zero
    width = table.shape[1]
    known = simd.advance(simd.pointer(table), first)
    mean = wide(simd.advance(known, MEAN * width), count)
    if what & GIVEN == 0:
        mean = mean_of_chunks(sums, planes, size, limit, count)
    for k in range(sums.chunks):
        chunk = chunk_of(k, planes, size, limit)
        elements = float(chunk.planes * chunk.length)
        at = simd.advance(sums.first, k * sums.chunk_stride)
        centre = wide(simd.advance(at, CENTRE * sums.stride), count)
        if what & GIVEN == 0:
            deviation = wide(simd.advance(at, DEVIATION * sums.stride), count)
            correction = deviation / elements
            around = wide(simd.advance(at, SQUARES * sums.stride), count) - deviation * correction
            distance = centre + correction - mean
            # Below 0 only by rounding, where all elements are equal. NaN stays: it is the second argument.
            squares = squares + simd.fma(distance * elements, distance, simd.maximum(zero, around))
        if what & WITH_GRAD != 0:
            slope = wide(simd.advance(at, SLOPE * sums.stride), count)
            slopes = slopes + slope
            product = wide(simd.advance(at, PRODUCT * sums.stride), count)
            products = products + simd.fma(slope, centre - mean, product)
    if what & GIVEN == 0:
        simd.store_first(simd.advance(known, MEAN * width), mean, count)
        simd.store_first(simd.advance(known, VARIANCE * width), squares / float(planes * size), count)
    simd.store_first(simd.advance(known, SLOPES * width), slopes, count)
    simd.store_first(simd.advance(known, PRODUCTS * width), products, count)


@kernel
def finish_channels(table, elements, epsilon, coefficients, first, count, what):
    """Fill ``coefficients`` (5, C), columns [first, first + count), as `affine.Affine` has them.

    With i = 1 / sqrt(variance + epsilon) the result is (x - mean) * i * weight + bias or, WITH_GRAD, the gradient of x:
    weight * i * (grad - mean(grad) - (x - mean) * i**2 * mean(grad * (x - mean))). The centre is the mean, rounded;
    what was rounded off is in the shift. Source: Ioffe and Szegedy 2015, "Batch Normalization", algorithm 1 and
    section 3.
    """
    width, dtype = table.shape[1], coefficients.dtype
    at = simd.advance(simd.pointer(table), first)
    mean = wide(simd.advance(at, MEAN * width), count)
    inverse = 1.0 / simd.sqrt(wide(simd.advance(at, VARIANCE * width), count) + epsilon)
    scale = wide(simd.advance(at, WEIGHT * width), count) * inverse
    centre = simd.convert(mean, dtype)
    rounded_off = simd.convert(centre, simd.f64) - mean
    factor, shift = scale, wide(simd.advance(at, BIAS * width), count)
    if what & WITH_GRAD != 0:
        factor = inverse * inverse * wide(simd.advance(at, PRODUCTS * width), count) / -float(elements)
        shift = wide(simd.advance(at, SLOPES * width), count) / -float(elements)
    shift = simd.fma(rounded_off, factor, shift)
    to = simd.advance(simd.pointer(coefficients), first)
    simd.store_first(to, centre, count)
    simd.store_first(simd.advance(to, width), simd.convert(factor, dtype), count)
    simd.store_first(simd.advance(to, 2 * width), simd.convert(shift, dtype), count)
    simd.store_first(simd.advance(to, 3 * width), simd.broadcast(1.0, simd.F64_LANES, dtype), count)
    simd.store_first(simd.advance(to, 4 * width), simd.convert(scale, dtype), count)
