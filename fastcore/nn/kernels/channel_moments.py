"""From the sums of chunks to moments and gradients of channels, and from those to the coefficients of the result."""

from fastcore._core import simd
from fastcore._core.jit import kernel
from fastcore.nn.kernels.channel_sums import (
    BIAS,
    CENTRE,
    DEVIATION,
    MEAN,
    PRODUCT,
    PRODUCTS,
    SLOPE,
    SLOPES,
    SQUARES,
    VARIANCE,
    WEIGHT,
    chunk_of,
)


@kernel
def wide(ptr, count):
    """The first ``count`` elements as a vector of float64, 0 behind them."""
    return simd.convert(simd.load_first(ptr, simd.F64_LANES, count), simd.f64)


@kernel
def mean_of_chunks(sums, planes, size, limit, count):
    """Mean of each of ``count`` channels; ``sums`` (chunks, 5, channels) begins at the first of them."""
    total = simd.broadcast(0.0, simd.F64_LANES, simd.f64)
    for k in range(sums.shape[0]):
        chunk = chunk_of(k, planes, size, limit)
        centre, deviation = wide(sum_at(sums, k, CENTRE), count), wide(sum_at(sums, k, DEVIATION), count)
        total = total + simd.fma(centre, float(chunk.planes * chunk.length), deviation)
    return total / float(planes * size)


@kernel
def sum_at(sums, k, which):
    """Pointer to one of the five sums of chunk ``k``, of the first channel."""
    offset = k * sums.strides[0] + which * sums.strides[1]
    return simd.advance(simd.pointer(sums), offset // sums.itemsize)


@kernel
def combine_chunks(sums, planes, size, limit, table, first, count, is_given):
    """Fill the moments and gradients in columns [first, first + count) of ``table``, at most F64_LANES of them.

    sums (chunks, 5, count), the last axis contiguous; table (6, C). With ``is_given`` mean and variance are there
    already, the products are around that mean, and both are left. Source: Chan, Golub and LeVeque 1983, eq. 2.1, for
    many parts at once: the squares around the common mean are those around each part's own plus n * distance**2.
    """
    zero = simd.broadcast(0.0, simd.F64_LANES, simd.f64)
    squares, slopes, products = zero, zero, zero
    mean = zero
    if is_given:
        mean = wide(place(table, MEAN, first), count)
    else:
        mean = mean_of_chunks(sums, planes, size, limit, count)
    for k in range(sums.shape[0]):
        chunk = chunk_of(k, planes, size, limit)
        elements = float(chunk.planes * chunk.length)
        centre, deviation = wide(sum_at(sums, k, CENTRE), count), wide(sum_at(sums, k, DEVIATION), count)
        correction = deviation / elements
        around = wide(sum_at(sums, k, SQUARES), count) - deviation * correction
        distance = centre + correction - mean
        # Below 0 only by rounding, where all elements are equal. NaN stays: it is the second argument.
        squares = squares + simd.fma(distance * elements, distance, simd.maximum(zero, around))
        slope = wide(sum_at(sums, k, SLOPE), count)
        slopes = slopes + slope
        products = products + simd.fma(slope, centre - mean, wide(sum_at(sums, k, PRODUCT), count))
    if not is_given:
        simd.store_first(place(table, MEAN, first), mean, count)
        simd.store_first(place(table, VARIANCE, first), squares / float(planes * size), count)
    simd.store_first(place(table, SLOPES, first), slopes, count)
    simd.store_first(place(table, PRODUCTS, first), products, count)


@kernel
def place(array, row, column):
    """Pointer to an element of a C-contiguous array of two axes."""
    return simd.advance(simd.pointer(array), row * array.shape[1] + column)


@kernel
def finish_channels(table, elements, epsilon, coefficients, first, count, use_grad):
    """Fill ``coefficients`` (4, C), columns [first, first + count): centre, factor, shift, slope.

    With i = 1 / sqrt(variance + epsilon) the result is (x - mean) * i * weight + bias or, with ``use_grad``, the
    gradient of x: weight * i * (grad - mean(grad) - (x - mean) * i**2 * mean(grad * (x - mean))). The centre is the
    mean, rounded; what was rounded off is in the shift. Source: Ioffe and Szegedy 2015, "Batch Normalization",
    algorithm 1 and section 3.
    """
    mean, variance = wide(place(table, MEAN, first), count), wide(place(table, VARIANCE, first), count)
    weight = wide(place(table, WEIGHT, first), count)
    inverse = 1.0 / simd.sqrt(variance + epsilon)
    slope = weight * inverse
    centre = simd.convert(mean, coefficients.dtype)
    rounded_off = simd.convert(centre, simd.f64) - mean
    factor = slope
    shift = simd.fma(rounded_off, slope, wide(place(table, BIAS, first), count))
    if use_grad:
        factor = slope * inverse * inverse * wide(place(table, PRODUCTS, first), count) / -float(elements)
        mean_slope = wide(place(table, SLOPES, first), count) / float(elements)
        shift = rounded_off * factor - slope * mean_slope
    simd.store_first(place(coefficients, 0, first), centre, count)
    simd.store_first(place(coefficients, 1, first), simd.convert(factor, coefficients.dtype), count)
    simd.store_first(place(coefficients, 2, first), simd.convert(shift, coefficients.dtype), count)
    simd.store_first(place(coefficients, 3, first), simd.convert(slope, coefficients.dtype), count)
