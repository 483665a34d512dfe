"""Embedding, logits and cross-entropy of one device that holds a part of the vocabulary: serial, on rows."""

import math

import numpy as np

from fastcore._core import simd
from fastcore._core.jit import kernel
from fastcore._core.tile import filled, lanes_of
from fastcore.nn.kernels.layer_norm import row_of


@kernel
def own_part(index, size, length):
    """How many of the `size` elements of block `index` are elements of an axis of `length`, not padding."""
    return min(max(length - index * size, 0), size)


@kernel
def embed_tokens(tokens, weight, index, vocabulary, out):
    """out (N, E) = the weight rows of tokens (N, 1) that lie here, else zeros; NaN for a token of no vocabulary."""
    first = index * weight.shape[0]
    count = own_part(index, weight.shape[0], vocabulary)
    for i in range(out.shape[0]):
        token = np.int64(tokens[i, 0])
        row = out[i]
        if 0 <= token < vocabulary:
            row[:] = 0
            if first <= token < first + count:
                row[:] = weight[token - first]
        else:
            row[:] = np.nan


@kernel
def embed_tokens_backward(tokens, grad_y, index, vocabulary, grad_weight):
    """grad_weight = rows of grad_y (N, E) added up by token, in order."""
    first = index * grad_weight.shape[0]
    count = own_part(index, grad_weight.shape[0], vocabulary)
    grad_weight[:] = 0
    for i in range(grad_y.shape[0]):
        token = np.int64(tokens[i, 0])
        if first <= token < first + count:
            target, row = grad_weight[token - first], grad_y[i]
            for j in range(row.size):
                target[j] += row[j]


@kernel
def add_positions(x, positions, tokens):
    """x (B L, E) += positions (at least L, E): row i is token i % L."""
    for i in range(x.shape[0]):
        target, row = x[i], positions[i % tokens]
        for j in range(row.size):
            target[j] += row[j]


@kernel
def add_positions_backward(grad_y, tokens, grad_positions):
    grad_positions[:] = 0
    for i in range(grad_y.shape[0]):
        target, row = grad_positions[i % tokens], grad_y[i]
        for j in range(row.size):
            target[j] += row[j]


@kernel
def logit_peaks(logits, index, vocabulary, peaks):
    """peaks (N, 1) = the largest logit of each row, -inf of none."""
    count = own_part(index, logits.shape[1], vocabulary)
    for i in range(logits.shape[0]):
        row = logits[i]
        peak = row.dtype.type(-math.inf)
        for j in range(count):
            if not row[j] <= peak:  # takes a NaN, which then stays
                peak = row[j]
        peaks[i, 0] = peak


@kernel
def exponential_sums(logits, targets, peaks, index, vocabulary, sums):
    """sums (N, 2) = the sum of exp(logit - peak), and logit - peak of the target where it lies here, else 0."""
    first = index * logits.shape[1]
    count = own_part(index, logits.shape[1], vocabulary)
    for i in range(logits.shape[0]):
        peak = peaks[i, 0]
        row = row_of(logits, i)
        lanes = lanes_of(row)
        total = filled(row, 0.0)
        whole = count // lanes * lanes
        for j in range(0, whole, lanes):
            total = total + simd.exp(simd.load(simd.advance(row, j), lanes) - peak)
        rest = simd.reduce_add(total)
        for j in range(whole, count):
            rest += np.exp(logits[i, j] - peak)
        token = np.int64(targets[i, 0])
        sums[i, 0] = rest
        sums[i, 1] = logits[i, token - first] - peak if first <= token < first + count else 0.0
        if not 0 <= token < vocabulary:
            sums[i, 1] = np.nan


@kernel
def cross_entropy_rows(logits, targets, peaks, sums, index, vocabulary, rows, count_all, ignoring, ignored, grad, loss):
    """loss (1, 1) = the sum of log(sum) - target's logit over the first `rows` rows, divided; and its gradient.

    Divided by `count_all`, or where that is 0 by the rows. Rows behind are padding: gradients of zeros, as those of
    columns that are padding; if `ignoring`, rows whose target is `ignored` count as little. A target of no vocabulary
    makes loss and gradients NaN.
    """
    taken = 0
    for i in range(min(rows, grad.shape[0])):
        if not (ignoring and np.int64(targets[i, 0]) == ignored):
            taken += 1
    divisor = count_all if count_all > 0 else float(max(taken, 1))
    own = grad.dtype.type(1.0 / divisor)  # rounded once: certain tokens have gradients of exact zeros
    first = index * logits.shape[1]
    count = own_part(index, logits.shape[1], vocabulary)
    total = 0.0
    for i in range(logits.shape[0]):
        target = grad[i]
        token = np.int64(targets[i, 0])
        if i >= rows or (ignoring and token == ignored):
            target[:] = 0
            continue
        peak, inverse = peaks[i, 0], own / sums[i, 0]
        if not 0 <= token < vocabulary:
            inverse = grad.dtype.type(math.nan)
        total += math.log(sums[i, 0]) - sums[i, 1]
        row, slope = row_of(logits, i), row_of(grad, i)
        lanes = lanes_of(row)
        for j in range(0, count, lanes):
            left = min(count - j, lanes)
            share = simd.exp(simd.load_first(simd.advance(row, j), lanes, left) - peak) * inverse
            simd.store_first(simd.advance(slope, j), share, left)
        target[count:] = 0
        if first <= token < first + count:
            target[token - first] -= own
    loss[0, 0] = total / divisor


@kernel
def squared_error_rows(y, targets, rows, count_all, grad, loss):
    """loss (1, 1) = the sum of squared differences of the first `rows` rows, divided; and its gradient.

    Divided by `count_all`, or where that is 0 by the elements of these rows.
    """
    divisor = count_all if count_all > 0 else float(max(rows * y.shape[1], 1))
    total = 0.0
    for i in range(y.shape[0]):
        target, row, wanted = grad[i], y[i], targets[i]
        if i >= rows:
            target[:] = 0
            continue
        for j in range(row.size):
            difference = row[j] - wanted[j]
            total += difference * difference
            target[j] = 2.0 * difference / divisor
    loss[0, 0] = total / divisor


@kernel
def weigh(x, index, size, length):
    """x *= the share of this device's rows in all, block `index` of `size` of an axis of `length`."""
    share = own_part(index, size, length) / max(length, 1)
    for i in range(x.shape[0]):
        row = x[i]
        for j in range(row.size):
            row[j] *= share
