"""One step of an optimiser on one device's part of a parameter: a single pass over rows of one length and dtype."""

import math

from fastcore.sharding.device import device_kernel


def _flops_of_adam(parameter, *others):
    return 14.0 * parameter.block_shape[0]


def _flops_of_momentum(parameter, *others):
    return 8.0 * parameter.block_shape[0]


def _flops_of_descent(parameter, *others):
    return 4.0 * parameter.block_shape[0]


@device_kernel(flops=_flops_of_adam)
def adam(parameter, gradient, mean, square, scale, l2, shrink, beta1, new1, beta2, new2, rate, root, epsilon):
    """new1 = 1 − beta1, new2 = 1 − beta2; rate = lr / (1 − beta1**t), root = 1 / sqrt(1 − beta2**t)."""
    for i in range(parameter.size):
        g = gradient[i] * scale + l2 * parameter[i]
        m = beta1 * mean[i] + new1 * g
        v = beta2 * square[i] + new2 * (g * g)
        mean[i] = m
        square[i] = v
        parameter[i] = parameter[i] * shrink - rate * m / (math.sqrt(v) * root + epsilon)


@device_kernel(flops=_flops_of_momentum)
def momentum_descent(parameter, gradient, buffer, scale, l2, momentum, new, rate_of_buffer, rate_of_gradient):
    """With Nesterov's momentum the rates are lr momentum and lr, without lr and 0."""
    for i in range(parameter.size):
        g = gradient[i] * scale + l2 * parameter[i]
        b = momentum * buffer[i] + new * g
        buffer[i] = b
        parameter[i] -= rate_of_buffer * b + rate_of_gradient * g


@device_kernel(flops=_flops_of_descent)
def descent(parameter, gradient, scale, l2, rate):
    """Without momentum there is no state."""
    for i in range(parameter.size):
        parameter[i] -= rate * (gradient[i] * scale + l2 * parameter[i])
