"""What a transformer block does on one device between its products: serial, on rows of matrices."""

import numpy as np

from fastcore._core.jit import kernel
from fastcore.nn.kernels.gelu import slope_span
from fastcore.nn.kernels.layer_norm import row_of


@kernel
def add_to(total, x):
    """total += x, both (N, D)."""
    for i in range(total.shape[0]):
        row, other = total[i], x[i]
        for j in range(row.size):
            row[j] += other[j]


@kernel
def gelu_backward(x, grad):
    """grad (N, D) *= the derivative of x Phi(x), which is Phi(x) + x phi(x) with the normal density phi."""
    for i in range(x.shape[0]):
        row, slope = row_of(x, i), row_of(grad, i)
        slope_span(slope, row, row, False, slope, x.shape[1], False, False)


@kernel
def layer_norm_backward(x, weight, grad_y, eps, grad_x, grad_weight, grad_bias):
    """Gradients of layer norm over rows (N, D); weight, grad_weight and grad_bias (1, D).

    Mean and deviation are computed again from x. With n = (x - mean) / deviation and g = grad_y * weight:
    grad_x = (g - mean(g) - n mean(g n)) / deviation.
    """
    rows, size = x.shape
    scale, total_weight, total_bias = weight[0], grad_weight[0], grad_bias[0]
    total_weight[:] = 0
    total_bias[:] = 0
    zero = scale.dtype.type(0)
    one = scale.dtype.type(1)
    for i in range(rows):
        row, slope, target = x[i], grad_y[i], grad_x[i]
        mean = zero
        for j in range(size):
            mean += row[j]
        mean /= size
        variance = zero
        for j in range(size):
            variance += (row[j] - mean) * (row[j] - mean)
        inverse = one / np.sqrt(variance / size + scale.dtype.type(eps))
        mean_g, mean_gn = zero, zero
        for j in range(size):
            g = slope[j] * scale[j]
            mean_g += g
            mean_gn += g * ((row[j] - mean) * inverse)
        mean_g /= size
        mean_gn /= size
        for j in range(size):
            normal = (row[j] - mean) * inverse
            target[j] = (slope[j] * scale[j] - mean_g - normal * mean_gn) * inverse
            total_weight[j] += slope[j] * normal
            total_bias[j] += slope[j]
