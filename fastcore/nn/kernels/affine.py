"""(x - centre) * factor + shift + grad * slope of consecutive elements: what normalisation ends with."""

from typing import Any, NamedTuple

from fastcore._core import simd
from fastcore._core.jit import kernel
from fastcore._core.streaming import elements_to_alignment
from fastcore._core.tile import lanes_of


class Affine(NamedTuple):
    """Coefficients, as vectors."""

    centre: Any
    factor: Any
    shift: Any
    slope: Any


@kernel
def affine(x, grad, by, use_grad):
    """The formula."""
    value = simd.fma(x - by.centre, by.factor, by.shift)
    if use_grad:
        value = simd.fma(grad, by.slope, value)
    return value


@kernel
def affine_part(x, grad, by, out, first, count, use_grad):
    """``count`` elements from ``first`` on, at most a vector."""
    lanes = lanes_of(x)
    slope = by.slope
    if use_grad:
        slope = simd.load_first(simd.advance(grad, first), lanes, count)
    value = affine(simd.load_first(simd.advance(x, first), lanes, count), slope, by, use_grad)
    simd.store_first(simd.advance(out, first), value, count)


@kernel
def affine_span(x, grad, by, out, size, itemsize, use_grad, is_streamed):
    """``size`` elements of ``itemsize`` bytes, all with the same coefficients; ``out`` may be ``x`` or ``grad``."""
    lanes = lanes_of(x)
    head = 0
    if is_streamed:
        head = min(size, elements_to_alignment(out, lanes, itemsize))
        affine_part(x, grad, by, out, 0, head, use_grad)
    whole = size - (size - head) % lanes
    for first in range(head, whole, lanes):
        slope = by.slope
        if use_grad:
            slope = simd.load(simd.advance(grad, first), lanes)
        value = affine(simd.load(simd.advance(x, first), lanes), slope, by, use_grad)
        if is_streamed:
            simd.stream(simd.advance(out, first), value)
        else:
            simd.store(simd.advance(out, first), value)
    if whole < size:
        affine_part(x, grad, by, out, whole, size - whole, use_grad)


@kernel
def by_column(coefficients, stride, first, count):
    """The coefficients of ``count`` columns from ``first`` on, at most a vector."""
    lanes = lanes_of(coefficients)
    at = simd.advance(coefficients, first)
    return Affine(
        simd.load_first(at, lanes, count),
        simd.load_first(simd.advance(at, stride), lanes, count),
        simd.load_first(simd.advance(at, 2 * stride), lanes, count),
        simd.load_first(simd.advance(at, 3 * stride), lanes, count),
    )


@kernel
def affine_row(x, grad, coefficients, stride, out, size, itemsize, use_grad, is_streamed):
    """As `affine_span`, each element with its own column of ``coefficients``, whose rows are ``stride`` apart."""
    lanes = lanes_of(x)
    head = 0
    if is_streamed:
        head = min(size, elements_to_alignment(out, lanes, itemsize))
        affine_part(x, grad, by_column(coefficients, stride, 0, head), out, 0, head, use_grad)
    whole = size - (size - head) % lanes
    for first in range(head, whole, lanes):
        by = by_column(coefficients, stride, first, lanes)
        slope = by.slope
        if use_grad:
            slope = simd.load(simd.advance(grad, first), lanes)
        value = affine(simd.load(simd.advance(x, first), lanes), slope, by, use_grad)
        if is_streamed:
            simd.stream(simd.advance(out, first), value)
        else:
            simd.store(simd.advance(out, first), value)
    if whole < size:
        by = by_column(coefficients, stride, whole, size - whole)
        affine_part(x, grad, by, out, whole, size - whole, use_grad)
