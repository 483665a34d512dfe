"""Mixtures of experts on one device: T tokens, E experts, k choices a token, C slots of an expert.

Matrices throughout: buffers (E C, D) with the slots of an expert one after another, weights (E D, F), biases (E, F).
"""

import math

import numpy as np

from fastcore._core.jit import kernel
from fastcore.sharding.kernels.matmul import product, product_nt, product_tn


@kernel
def fill(matrix, value):
    """``matrix[:] = value``; that, or assigning a row at once, takes 2.5 s to compile."""
    for i in range(matrix.shape[0]):
        row = matrix[i]
        for j in range(row.size):
            row[j] = value


@kernel
def choose(logits, chosen):
    """chosen (k,): experts of the k largest logits (E,), largest first, of equal ones the first."""
    for j in range(chosen.size):
        best = -1
        for e in range(logits.size):
            taken = False
            for other in range(j):
                taken = taken or chosen[other] == e
            if not taken and (best < 0 or logits[e] > logits[best]):
                best = e
        chosen[j] = best


@kernel
def softmax_at(logits, chosen, normalize, weights):
    """weights (k,): softmax of the logits at `chosen`; over these alone if `normalize`, else over all."""
    largest = logits[chosen[0]]
    total = largest - largest
    if normalize:
        for e in chosen:
            total += math.exp(logits[e] - largest)
    else:
        for logit in logits:
            total += math.exp(logit - largest)
    for j in range(chosen.size):
        weights[j] = math.exp(logits[chosen[j]] - largest) / total


@kernel
def route(logits, index, length, rows, inner, capacity, normalize, experts, weights, slots, dropped):
    """Choices of each token, and its slot with each expert: −1 where the expert is full.

    First choices of all tokens come before second ones, and earlier tokens before later ones (Lepikhin et al. 2020,
    algorithm 1). Tokens beyond the array's `length` rows of `inner` tokens, of which this device has block `index` of
    `rows`, are padding: weight 0, no slot, not counted as dropped.
    """
    tokens = min(max(length - index * rows, 0), rows) * inner
    fill(experts, 0)
    fill(weights, 0)
    fill(slots, -1)
    fill(dropped, 0)
    for i in range(tokens):
        choose(logits[i], experts[i])
        softmax_at(logits[i], experts[i], normalize, weights[i])
    used = np.zeros(logits.shape[1], np.int64)
    for j in range(experts.shape[1]):
        for i in range(tokens):
            e = experts[i, j]
            if used[e] < capacity:
                slots[i, j] = used[e]
                used[e] += 1
            else:
                dropped[0, 0] += 1


@kernel
def route_backward(logits, experts, weights, grad_weights, normalize, grad_logits):
    """Gradients of the softmax; those of padding are zero as their weights and grad_weights are."""
    fill(grad_logits, 0)
    for i in range(logits.shape[0]):
        row, grad, chosen = logits[i], grad_logits[i], experts[i]
        mean = weights[i, 0] - weights[i, 0]
        for j in range(chosen.size):
            mean += weights[i, j] * grad_weights[i, j]
        if not normalize and mean != 0:
            largest = row[chosen[0]]
            total = mean - mean
            for logit in row:
                total += math.exp(logit - largest)
            for e in range(row.size):
                grad[e] = -mean * math.exp(row[e] - largest) / total
        for j in range(chosen.size):
            grad[chosen[j]] += weights[i, j] * (grad_weights[i, j] - mean if normalize else grad_weights[i, j])


@kernel
def dispatch(x, experts, slots, capacity, buffer):
    """Tokens into the slots of their experts; free slots are zero."""
    fill(buffer, 0)
    for i in range(experts.shape[0]):
        for j in range(experts.shape[1]):
            if slots[i, j] >= 0:
                token, slot = x[i], buffer[experts[i, j] * capacity + slots[i, j]]
                for d in range(token.size):
                    slot[d] = token[d]


@kernel
def dispatch_backward(grad_buffer, experts, slots, capacity, grad_x):
    """Adds to grad_x."""
    for i in range(experts.shape[0]):
        grad = grad_x[i]
        for j in range(experts.shape[1]):
            if slots[i, j] >= 0:
                row = grad_buffer[experts[i, j] * capacity + slots[i, j]]
                for d in range(grad.size):
                    grad[d] += row[d]


@kernel
def combine(buffer, experts, weights, slots, capacity, y):
    """Each token's weighted sum of what its experts answered; zero where all of them were full."""
    fill(y, 0)
    for i in range(experts.shape[0]):
        out = y[i]
        for j in range(experts.shape[1]):
            if slots[i, j] >= 0:
                weight, row = weights[i, j], buffer[experts[i, j] * capacity + slots[i, j]]
                for d in range(out.size):
                    out[d] += weight * row[d]


@kernel
def combine_backward(grad_y, buffer, experts, weights, slots, capacity, grad_buffer, grad_weights):
    """Of free slots and of choices that were dropped: zero."""
    fill(grad_buffer, 0)
    fill(grad_weights, 0)
    for i in range(experts.shape[0]):
        grad = grad_y[i]
        for j in range(experts.shape[1]):
            if slots[i, j] >= 0:
                slot = experts[i, j] * capacity + slots[i, j]
                weight, row, target = weights[i, j], buffer[slot], grad_buffer[slot]
                along = weight - weight
                for d in range(grad.size):
                    along += row[d] * grad[d]
                    target[d] = weight * grad[d]
                grad_weights[i, j] = along


@kernel
def expert_linear(x, weight, bias, out, part, parts):
    """out = x @ weight + bias, each expert its own."""
    experts = bias.shape[0]
    rows, depth = x.shape[0] // experts, x.shape[1]
    for e in range(part, experts, parts):
        result, addend = out[e * rows : (e + 1) * rows], bias[e]
        product(x[e * rows : (e + 1) * rows], weight[e * depth : (e + 1) * depth], result)
        for i in range(rows):
            row = result[i]
            for j in range(row.size):
                row[j] += addend[j]


# Without fastmath: a column is added up in one order.
@kernel(fastmath=False)
def expert_linear_backward(x, weight, grad, grad_x, grad_weight, grad_bias, part, parts):
    """Gradients by all three, each expert its own; free slots have gradients of zero."""
    experts = grad_bias.shape[0]
    rows, depth = x.shape[0] // experts, x.shape[1]
    for e in range(part, experts, parts):
        first, end, top, bottom = e * rows, (e + 1) * rows, e * depth, (e + 1) * depth
        product_tn(x[first:end], grad[first:end], grad_weight[top:bottom])
        product_nt(grad[first:end], weight[top:bottom], grad_x[first:end])
        sums = grad_bias[e]
        for j in range(sums.size):
            sums[j] = 0
        for i in range(first, end):
            row = grad[i]
            for j in range(sums.size):
                sums[j] += row[j]
