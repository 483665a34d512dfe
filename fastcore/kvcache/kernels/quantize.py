"""Rows of float32 into their storage format; `fastcore.reference.quantization` has the formulas.

Vectors of 16 numbers whatever the CPU: that is what rows are padded to, so each is stored whole, with zeros at its end.
"""

from fastcore._core import simd
from fastcore._core.jit import kernel
from fastcore.attention.kernels.storage_formats import BF16, F16, F32, GROUP, INT4, INT8, VECTOR

# 1.5 * 2^23: added and subtracted, it rounds to the nearest integer, ties to even, what is below 2^22.
ROUNDER = 12582912.0
INFINITY_BITS = 0x7F800000
NAN_BITS = 0x7FC00000
ABSOLUTE = 0x7FFFFFFF
HALF_INFINITY = 0x7C00
HALF_NAN = 0x7E00


@kernel
def load_padded(row, first, size):
    """The 16 numbers from ``first`` on, zeros past the end of the row."""
    if size - first >= VECTOR:
        return simd.load(simd.advance(row, first), VECTOR)
    return simd.load_first(simd.advance(row, first), VECTOR, max(size - first, 0))


@kernel
def absolute_bits(numbers):
    """Bits of abs(x) as int32, which are in the order of the numbers: inf above all of them, NaN above inf."""
    return simd.bitcast(numbers, simd.i32) & ABSOLUTE


@kernel
def codes_of(numbers, scale, lowest, highest):
    """numbers / scale, rounded to nearest even and clipped, as int32."""
    quotients = (numbers / scale + ROUNDER) - ROUNDER
    return simd.convert(simd.minimum(simd.maximum(quotients, lowest), highest), simd.i32)


@kernel
def store_int8_row(row, size, out, scales):
    """A row as int8 and its scale, abs(largest) / 127."""
    peak = simd.broadcast(0, VECTOR, simd.i32)
    for j in range(0, size, VECTOR):
        peak = simd.maximum(peak, absolute_bits(load_padded(row, j, size)))
    largest = simd.reduce_max(peak)
    if largest >= INFINITY_BITS:
        largest = NAN_BITS  # one NaN for all rows that have one or an inf
    # By a vector of one lane: a scalar quotient would be multiplied by the rounded 1 / 127.
    single = simd.bitcast(simd.broadcast(largest, 1, simd.i32), simd.f32) / 127.0
    simd.store(scales, single)
    scale = simd.reduce_max(single)
    for j in range(0, size, VECTOR):
        codes = simd.broadcast(0, VECTOR, simd.i32)
        if scale > 0.0:
            codes = codes_of(load_padded(row, j, size), scale, -127.0, 127.0)
        simd.store(simd.advance(out, j), simd.convert(codes, simd.i8))


@kernel
def store_int4_group(row, count, out, scales):
    """A group of ``count`` numbers as packed int4 with scale and minimum in float16."""
    lane = simd.iota_i32(VECTOR)
    low, high = load_padded(row, 0, count), load_padded(row, VECTOR, count)
    if count < GROUP:  # what is past the end is to change neither minimum nor maximum
        first = simd.load_scalar(row)
        low, high = simd.select(lane < count, low, first), simd.select(lane < count - VECTOR, high, first)
    peak = simd.reduce_max(simd.maximum(absolute_bits(low), absolute_bits(high)))
    # + 0.0 makes one of -0.0 and 0.0.
    lowest = simd.broadcast(simd.reduce_min(simd.minimum(low, high)), 1) + 0.0
    highest = simd.broadcast(simd.reduce_max(simd.maximum(low, high)), 1) + 0.0
    scale_bits, minimum_bits = simd.float_to_half((highest - lowest) / 15.0), simd.float_to_half(lowest)
    infinite = simd.maximum(scale_bits & HALF_INFINITY, minimum_bits & HALF_INFINITY) == HALF_INFINITY
    if peak >= INFINITY_BITS or simd.any_lane(infinite):
        scale_bits, minimum_bits = simd.broadcast(HALF_NAN, 1, simd.u16), simd.broadcast(0, 1, simd.u16)
    simd.store(scales, scale_bits)
    simd.store(simd.advance(scales, 1), minimum_bits)
    scale = simd.reduce_max(simd.half_to_float(scale_bits))
    minimum = simd.reduce_max(simd.half_to_float(minimum_bits))
    packed = simd.broadcast(0, VECTOR, simd.i32)
    if scale > 0.0:
        low_codes, high_codes = codes_of(low - minimum, scale, 0.0, 15.0), codes_of(high - minimum, scale, 0.0, 15.0)
        if count < GROUP:
            low_codes = simd.select(lane < count, low_codes, 0)
            high_codes = simd.select(lane < count - VECTOR, high_codes, 0)
        packed = low_codes | (high_codes << 4)
    simd.store(out, simd.convert(packed, simd.u8))


@kernel
def store_int4_row(row, size, out, scales):
    """A row as int4, group by group."""
    for j in range(0, size, GROUP):
        group = j // GROUP
        at, to = simd.advance(row, j), simd.advance(out, group * VECTOR)
        store_int4_group(at, min(size - j, GROUP), to, simd.advance(scales, group * 2))


@kernel
def stored_row_bytes(size, storage_format):
    """Bytes of a stored row, and of its scales."""
    padded = (size + VECTOR - 1) // VECTOR * VECTOR
    groups = (size + GROUP - 1) // GROUP
    if storage_format == INT8:
        return padded, 4
    if storage_format == INT4:
        return groups * GROUP // 2, groups * 4
    return (4 if storage_format == F32 else 2) * padded, 0


@kernel
def store_rows(source, stride, count, size, rows_address, scales_address, storage_format):
    """Store ``count`` rows of ``size`` numbers, ``stride`` apart, one after the other from an address on."""
    row_bytes, scale_bytes = stored_row_bytes(size, storage_format)
    if storage_format == F32:
        for i in range(count):
            row, out = simd.advance(source, i * stride), simd.pointer_at(rows_address + i * row_bytes, simd.f32)
            for j in range(0, size, VECTOR):
                simd.store(simd.advance(out, j), load_padded(row, j, size))
    elif storage_format == F16:
        for i in range(count):
            row, out = simd.advance(source, i * stride), simd.pointer_at(rows_address + i * row_bytes, simd.u16)
            for j in range(0, size, VECTOR):
                simd.store(simd.advance(out, j), simd.float_to_half(load_padded(row, j, size)))
    elif storage_format == BF16:
        for i in range(count):
            row, out = simd.advance(source, i * stride), simd.pointer_at(rows_address + i * row_bytes, simd.u16)
            for j in range(0, size, VECTOR):
                simd.store(simd.advance(out, j), simd.float_to_bfloat(load_padded(row, j, size)))
    elif storage_format == INT8:
        for i in range(count):
            row, out = simd.advance(source, i * stride), simd.pointer_at(rows_address + i * row_bytes, simd.i8)
            store_int8_row(row, size, out, simd.pointer_at(scales_address + i * scale_bytes, simd.f32))
    else:
        for i in range(count):
            row, out = simd.advance(source, i * stride), simd.pointer_at(rows_address + i * row_bytes, simd.u8)
            store_int4_row(row, size, out, simd.pointer_at(scales_address + i * scale_bytes, simd.u16))
