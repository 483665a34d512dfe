"""(x - centre) * factor + shift of consecutive elements: what normalisation ends with.

Its gradient, given one of the result: ((x - centre) * factor + (grad * slope + shift)) * scale. The sum of grad and
shift comes first: they may cancel, where grad is nearly the same everywhere.
"""

from typing import Any, NamedTuple

from fastcore._core import simd
from fastcore._core.jit import kernel
from fastcore._core.streaming import elements_to_alignment, write_vector
from fastcore._core.tile import lanes_of


class Affine(NamedTuple):
    """Coefficients, as vectors."""

    centre: Any
    factor: Any
    shift: Any
    slope: Any
    scale: Any


@kernel
def affine(x, grad, by, use_grad):
    """The formulas; ``grad`` is not looked at without ``use_grad``."""
    value = by.shift
    if use_grad:
        value = simd.fma(grad, by.slope, by.shift)
    value = simd.fma(x - by.centre, by.factor, value)
    if use_grad:
        value = value * by.scale
    return value


@kernel
def affine_part(x, grad, by, out, count, use_grad):
    """``count`` elements, at most a vector."""
    lanes = lanes_of(x)
    slope = by.slope
    if use_grad:
        slope = simd.load_first(grad, lanes, count)
    simd.store_first(out, affine(simd.load_first(x, lanes, count), slope, by, use_grad), count)


@kernel
def affine_vector(x, grad, by, out, use_grad, is_streamed):
    """A vector of elements."""
    lanes = lanes_of(x)
    slope = by.slope
    if use_grad:
        slope = simd.load(grad, lanes)
    value = affine(simd.load(x, lanes), slope, by, use_grad)
    write_vector(out, value, is_streamed)


@kernel
def affine_span(x, grad, by, out, size, itemsize, use_grad, is_streamed):
    """``size`` elements of ``itemsize`` bytes, all with the same coefficients; ``out`` may be ``x`` or ``grad``."""
    lanes = lanes_of(x)
    head = 0
    if is_streamed:
        head = min(size, elements_to_alignment(out, lanes, itemsize))
        affine_part(x, grad, by, out, head, use_grad)
    whole = size - (size - head) % lanes
    for i in range(head, whole, lanes):
        row, slopes, target = simd.advance(x, i), simd.advance(grad, i), simd.advance(out, i)
        affine_vector(row, slopes, by, target, use_grad, is_streamed)
    if whole < size:
        row, slopes, target = simd.advance(x, whole), simd.advance(grad, whole), simd.advance(out, whole)
        affine_part(row, slopes, by, target, size - whole, use_grad)


@kernel
def by_column(coefficients, stride, count, use_grad):
    """The coefficients of ``count`` columns, at most a vector."""
    lanes = lanes_of(coefficients)
    centre = simd.load_first(coefficients, lanes, count)
    factor = simd.load_first(simd.advance(coefficients, stride), lanes, count)
    shift = simd.load_first(simd.advance(coefficients, 2 * stride), lanes, count)
    slope, scale = shift, shift
    if use_grad:
        slope = simd.load_first(simd.advance(coefficients, 3 * stride), lanes, count)
        scale = simd.load_first(simd.advance(coefficients, 4 * stride), lanes, count)
    return Affine(centre, factor, shift, slope, scale)


@kernel
def affine_row(x, grad, coefficients, stride, out, size, itemsize, use_grad, is_streamed):
    """As `affine_span`, each element with its own column of ``coefficients``, whose rows are ``stride`` apart."""
    lanes = lanes_of(x)
    head = 0
    if is_streamed:
        head = min(size, elements_to_alignment(out, lanes, itemsize))
        affine_part(x, grad, by_column(coefficients, stride, head, use_grad), out, head, use_grad)
    whole = size - (size - head) % lanes
    for i in range(head, whole, lanes):
        by = by_column(simd.advance(coefficients, i), stride, lanes, use_grad)
        row, slopes, target = simd.advance(x, i), simd.advance(grad, i), simd.advance(out, i)
        affine_vector(row, slopes, by, target, use_grad, is_streamed)
    if whole < size:
        by = by_column(simd.advance(coefficients, whole), stride, size - whole, use_grad)
        row, slopes, target = simd.advance(x, whole), simd.advance(grad, whole), simd.advance(out, whole)
        affine_part(row, slopes, by, target, size - whole, use_grad)
