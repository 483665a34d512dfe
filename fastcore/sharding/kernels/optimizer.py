"""One step of an optimiser on one device's part of a parameter: a single pass over rows of one length and dtype.

By the formulas of `fastcore.nn`, in vectors, the last one masked: an element has the same bits wherever it lies.
"""

from fastcore._core import simd
from fastcore._core.jit import kernel
from fastcore.nn.kernels.optimizer import AdamNumbers, DescentNumbers, adam_span, descent_span
from fastcore.sharding.device import device_kernel

ELEMENTS_PER_PART = 32768  # some 60 us of one core


def _parts(parameter, *others):
    return parameter.block_shape[0] // ELEMENTS_PER_PART


@kernel
def _at(row, first):
    return simd.advance(simd.pointer(row), first)


def _flops_of_adam(parameter, *others):
    return 14.0 * parameter.block_shape[0]


def _flops_of_momentum(parameter, *others):
    return 8.0 * parameter.block_shape[0]


def _flops_of_descent(parameter, *others):
    return 4.0 * parameter.block_shape[0]


@device_kernel(flops=_flops_of_adam, parts=_parts)
@kernel
def adam(
    parameter, gradient, mean, square, scale, l2, shrink, beta1, new1, beta2, new2, rate, root, epsilon, part, parts
):
    """The numbers are those of `AdamNumbers`."""
    by = AdamNumbers(scale, l2, shrink, beta1, new1, beta2, new2, rate, root, epsilon)
    first, end = parameter.size * part // parts, parameter.size * (part + 1) // parts
    adam_span(
        *(_at(parameter, first), _at(gradient, first), _at(mean, first), _at(square, first), _at(square, first)),
        *(False, end - first, by),
    )


@device_kernel(flops=_flops_of_momentum, parts=_parts)
@kernel
def momentum_descent(parameter, gradient, buffer, is_first, nesterov, scale, l2, momentum, new, rate, part, parts):
    """The numbers are those of `DescentNumbers`."""
    by = DescentNumbers(scale, l2, momentum, new, rate)
    first, end = parameter.size * part // parts, parameter.size * (part + 1) // parts
    pointers = _at(parameter, first), _at(gradient, first), _at(buffer, first)
    descent_span(*pointers, True, is_first, nesterov, end - first, by)


@device_kernel(flops=_flops_of_descent, parts=_parts)
@kernel
def descent(parameter, gradient, scale, l2, rate, part, parts):
    """Without momentum there is no state."""
    by = DescentNumbers(scale, l2, scale, scale, rate)
    first, end = parameter.size * part // parts, parameter.size * (part + 1) // parts
    pointers = _at(parameter, first), _at(gradient, first), _at(parameter, first)
    descent_span(*pointers, False, False, False, end - first, by)
