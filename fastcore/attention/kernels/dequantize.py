"""Rows of a cache, from their storage format to float32: the inverse of `fastcore.kvcache.kernels.quantize`."""

from fastcore._core import simd
from fastcore._core.jit import kernel
from fastcore.attention.kernels.storage_formats import BF16, F16, F32, GROUP, INT8, VECTOR


@kernel
def halves_at(pointer):
    """One float16, given as bits, in each lane."""
    return simd.half_to_float(simd.broadcast(simd.load_scalar(pointer), VECTOR))


@kernel
def load_int8_row(row, scale, out, columns):
    """out = row * scale."""
    for j in range(0, columns, VECTOR):
        codes = simd.convert(simd.load(simd.advance(row, j), VECTOR), simd.f32)
        simd.store(simd.advance(out, j), codes * scale)


@kernel
def load_int4_row(row, scales, out, columns):
    """out = row * scale + minimum, by groups; the product of 4 and 11 bits is exact, so fused or not is the same."""
    for j in range(0, columns, GROUP):
        pair = simd.advance(scales, j // GROUP * 2)
        scale, minimum = halves_at(pair), halves_at(simd.advance(pair, 1))
        codes = simd.load(simd.advance(row, j // 2), VECTOR)
        simd.store(simd.advance(out, j), simd.fma(simd.convert(codes & 15, simd.f32), scale, minimum))
        if columns - j > VECTOR:
            high = simd.fma(simd.convert(codes >> 4, simd.f32), scale, minimum)
            simd.store(simd.advance(out, j + VECTOR), high)


@kernel
def load_rows(out, base_address, rows, first, count, row_bytes, scales_address, columns, storage_format):
    """out[i] = stored row rows[first + i] in float32, for i < count.

    Parameters
    ----------
    out : pointer to float32, `columns` a row
    base_address, scales_address : addresses of stored row 0 and of its scales (any number where the format has none)
    rows : pointer to int64, numbers of rows
    row_bytes : bytes of a stored row
    columns : a multiple of 16, no more than a stored row has numbers
    storage_format : one of `storage_formats`
    """
    groups = (columns + GROUP - 1) // GROUP
    if storage_format == F32:
        for i in range(count):
            row = simd.pointer_at(base_address + simd.load_scalar(simd.advance(rows, first + i)) * row_bytes, simd.f32)
            for j in range(0, columns, VECTOR):
                simd.store(simd.advance(out, i * columns + j), simd.load(simd.advance(row, j), VECTOR))
    elif storage_format == F16:
        for i in range(count):
            row = simd.pointer_at(base_address + simd.load_scalar(simd.advance(rows, first + i)) * row_bytes, simd.u16)
            for j in range(0, columns, VECTOR):
                numbers = simd.half_to_float(simd.load(simd.advance(row, j), VECTOR))
                simd.store(simd.advance(out, i * columns + j), numbers)
    elif storage_format == BF16:
        for i in range(count):
            row = simd.pointer_at(base_address + simd.load_scalar(simd.advance(rows, first + i)) * row_bytes, simd.u16)
            for j in range(0, columns, VECTOR):
                numbers = simd.bfloat_to_float(simd.load(simd.advance(row, j), VECTOR))
                simd.store(simd.advance(out, i * columns + j), numbers)
    elif storage_format == INT8:
        scales = simd.pointer_at(scales_address, simd.f32)
        for i in range(count):
            number = simd.load_scalar(simd.advance(rows, first + i))
            row = simd.pointer_at(base_address + number * row_bytes, simd.i8)
            scale = simd.load_scalar(simd.advance(scales, number))
            load_int8_row(row, scale, simd.advance(out, i * columns), columns)
    else:
        scales = simd.pointer_at(scales_address, simd.u16)
        for i in range(count):
            number = simd.load_scalar(simd.advance(rows, first + i))
            row = simd.pointer_at(base_address + number * row_bytes, simd.u8)
            pairs = simd.advance(scales, number * groups * 2)
            load_int4_row(row, pairs, simd.advance(out, i * columns), columns)
