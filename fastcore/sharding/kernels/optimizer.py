"""One step of an optimiser on one device's part of a parameter: a single pass over rows of one length and dtype.

Without fastmath: an element has the same bits wherever it lies in a part, in a vector or after the last one. The loops
vectorise all the same, and memory is what they wait for.
"""

import math

from fastcore._core.jit import kernel
from fastcore.sharding.device import device_kernel

ELEMENTS_PER_PART = 32768  # some 60 us of one core


def _parts(parameter, *others):
    return parameter.block_shape[0] // ELEMENTS_PER_PART


def _flops_of_adam(parameter, *others):
    return 14.0 * parameter.block_shape[0]


def _flops_of_momentum(parameter, *others):
    return 8.0 * parameter.block_shape[0]


def _flops_of_descent(parameter, *others):
    return 4.0 * parameter.block_shape[0]


@device_kernel(flops=_flops_of_adam, parts=_parts)
@kernel(fastmath=False)
def adam(
    parameter, gradient, mean, square, scale, l2, shrink, beta1, new1, beta2, new2, rate, root, epsilon, part, parts
):
    """new1 = 1 − beta1, new2 = 1 − beta2; rate = lr / (1 − beta1**t), root = 1 / sqrt(1 − beta2**t)."""
    first, end = parameter.size * part // parts, parameter.size * (part + 1) // parts
    parameter, gradient, mean, square = parameter[first:end], gradient[first:end], mean[first:end], square[first:end]
    for i in range(parameter.size):
        g = gradient[i] * scale + l2 * parameter[i]
        m = beta1 * mean[i] + new1 * g
        v = beta2 * square[i] + new2 * (g * g)
        mean[i] = m
        square[i] = v
        parameter[i] = parameter[i] * shrink - rate * m / (math.sqrt(v) * root + epsilon)


@device_kernel(flops=_flops_of_momentum, parts=_parts)
@kernel(fastmath=False)
def momentum_descent(
    parameter, gradient, buffer, scale, l2, momentum, new, rate_of_buffer, rate_of_gradient, part, parts
):
    """With Nesterov's momentum the rates are lr momentum and lr, without lr and 0."""
    first, end = parameter.size * part // parts, parameter.size * (part + 1) // parts
    parameter, gradient, buffer = parameter[first:end], gradient[first:end], buffer[first:end]
    for i in range(parameter.size):
        g = gradient[i] * scale + l2 * parameter[i]
        b = momentum * buffer[i] + new * g
        buffer[i] = b
        parameter[i] -= rate_of_buffer * b + rate_of_gradient * g


@device_kernel(flops=_flops_of_descent, parts=_parts)
@kernel(fastmath=False)
def descent(parameter, gradient, scale, l2, rate, part, parts):
    """Without momentum there is no state."""
    first, end = parameter.size * part // parts, parameter.size * (part + 1) // parts
    parameter, gradient = parameter[first:end], gradient[first:end]
    for i in range(parameter.size):
        parameter[i] -= rate * (gradient[i] * scale + l2 * parameter[i])
