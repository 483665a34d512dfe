"""nn on arrays that end, or begin, right at a page nobody may touch.

Run by the tests of each family, which is the argument, so that no process compiles everything. Prints the cases.
"""

import itertools
import os
import sys

import numpy as np
from guard_pages import guarded

from fastcore import nn, reference

# Below, at and above a vector, the unrolled loop and an item. A body without the compiler takes milliseconds a row.
IS_COMPILED = os.environ.get("NUMBA_DISABLE_JIT") != "1"
SIZES = [(1, 1), (3, 5), (2, 16), (4, 67), (2, 131), *[(3, 4100)] * IS_COMPILED]


def vectors(rng, dtype, at_end, *shapes):
    return [guarded(rng.normal(size=shape).astype(dtype), at_end, range(len(shape))) for shape in shapes]


def activations(rng, dtype, shape, at_end):
    x, grad, bias, out = vectors(rng, dtype, at_end, shape, shape, shape[1:], shape)
    for approximate in ("none", "tanh"):
        nn.gelu(x, approximate, bias=bias, out=out)
        np.testing.assert_allclose(out, reference.gelu(x, approximate, bias=bias), rtol=1e-5, atol=1e-6)
        nn.gelu_backward(grad, x, approximate, bias=bias, out=out)
        want = reference.gelu_backward(grad, x, approximate, bias=bias)
        np.testing.assert_allclose(out, want, rtol=1e-5, atol=1e-5)
    nn.silu_backward(grad, x, out=out)
    np.testing.assert_allclose(out, reference.silu_backward(grad, x), rtol=1e-5, atol=1e-5)
    want = reference.swiglu(x, grad)
    np.testing.assert_allclose(nn.swiglu(x, grad), want, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(nn.swiglu(x, grad, out=out), want, rtol=1e-5, atol=1e-6)
    nn.swiglu_backward(grad, x, x, out=(out, None))
    np.testing.assert_allclose(out, reference.swiglu_backward(grad, x, x)[0], rtol=1e-5, atol=1e-5)


def normalize_rows(rng, dtype, shape, at_end):
    """Layer and root mean square norm and their gradients."""
    x, residual, weight, bias, out = vectors(rng, dtype, at_end, shape, shape, shape[1:], shape[1:], shape)
    nn.add_layer_norm(x, residual, shape[1], weight, bias, out=out)
    want = reference.add_layer_norm(x, residual, shape[1], weight, bias)
    np.testing.assert_allclose(out, want, rtol=1e-4, atol=1e-4)
    got = nn.add_layer_norm_backward(out, x, residual, shape[1], weight, bias)
    for a, b in zip(got, reference.add_layer_norm_backward(out, x, residual, shape[1], weight, bias), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=2e-3)
    for name, arrays in (("rms_norm_backward", (weight,)), ("layer_norm_backward", (weight, bias))):
        backward = getattr(nn, name)
        grad_x, *sums = backward(residual, x, shape[1], *arrays)
        backward(residual, x, shape[1], *arrays, out=(out, *(None for _ in sums)))
        np.testing.assert_array_equal(out, grad_x)
        want = getattr(reference, name)(residual, x, shape[1], *arrays)
        for a, b in zip((grad_x, *sums), want, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-3)
    np.testing.assert_array_equal(
        nn.layer_norm(x, shape[1], weight, bias, out=out), nn.layer_norm(x, shape[1], weight, bias)
    )
    want = reference.rms_norm(x, shape[1], weight)
    np.testing.assert_allclose(nn.rms_norm(x, shape[1], weight, out=out), want, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(nn.rms_norm(x, shape[1], weight), want, rtol=1e-5, atol=1e-6)


# (N, C, ...): planes of less and more than a vector and a chunk; and with the channels last in memory.
CHANNELS = [(5, 2), (3, 70), (2, 4, 1, 5), (3, 2, 67), *[(2, 3, 4100)] * IS_COMPILED]


def normalize_channels(rng, dtype, shape, at_end):
    """Batch and group norm and their gradients, in both orders of the axes."""
    c = shape[1]
    weight, bias, mean, variance = (guarded(rng.uniform(0.5, 2, c).astype(dtype), at_end, (0,)) for _ in range(4))
    for order in (range(len(shape)), (0, *range(2, len(shape)), 1)):
        x, grad, out = (guarded(rng.normal(size=shape).astype(dtype), at_end, order) for _ in range(3))
        for training in (False, True):
            want = reference.batch_norm(x, mean.copy(), variance.copy(), weight, bias, training)
            nn.batch_norm(x, mean, variance, weight, bias, training, 0.0, out=out)
            np.testing.assert_allclose(out, want, rtol=1e-4, atol=1e-4)
            want = reference.batch_norm_backward(grad, x, mean, variance, weight, bias, training)[0]
            nn.batch_norm_backward(grad, x, mean, variance, weight, bias, training, out=(out, None, None))
            np.testing.assert_allclose(out, want, rtol=1e-4, atol=1e-4)
        nn.group_norm(x, 2 - c % 2, weight, bias, out=out)
        np.testing.assert_allclose(out, reference.group_norm(x, 2 - c % 2, weight, bias), rtol=1e-4, atol=1e-4)
        want = reference.group_norm_backward(grad, x, 2 - c % 2, weight, bias)[0]
        nn.group_norm_backward(grad, x, 2 - c % 2, weight, bias, out=(out, None, None))
        np.testing.assert_allclose(out, want, rtol=1e-4, atol=1e-4)


def probabilities(rng, dtype, shape, at_end):
    x, grad, out = vectors(rng, dtype, at_end, shape, shape, shape)
    for name, axis in itertools.product(("softmax", "log_softmax"), (0, 1)):
        function, backward = getattr(nn, name), getattr(nn, f"{name}_backward")
        want = getattr(reference, name)(x, axis)
        np.testing.assert_allclose(function(x, axis), want, rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(function(x, axis, out=out), want, rtol=1e-5, atol=1e-5)
        backward(grad, want, axis, out=out)
        np.testing.assert_allclose(out, getattr(reference, f"{name}_backward")(grad, want, axis), rtol=1e-4, atol=1e-4)


def regularizers(rng, dtype, shape, at_end):
    """Dropout, penalties and proximal operators."""
    x, out = vectors(rng, dtype, at_end, shape, shape)
    nn.dropout(x, 0.4, seed=3, offset=1, out=out)
    np.testing.assert_array_equal(out, reference.dropout(x, 0.4, seed=3, offset=1))
    labels = rng.integers(0, 3, x.shape[1])
    for function, options in (
        (nn.soft_threshold, {}),
        (nn.prox_elastic_net, {}),
        (nn.prox_group_lasso, {}),
        (nn.prox_group_lasso, {"groups": labels}),
        (nn.prox_group_lasso, {"axis": 0}),
    ):
        want = getattr(reference, function.__name__)(x, 0.6, **options)
        np.testing.assert_allclose(function(x, 0.6, out=out, **options), want, rtol=1e-5, atol=1e-6)
    value, gradient = nn.elastic_net_penalty(x, 0.6, out=out)
    want_value, want = reference.elastic_net_penalty(x, 0.6)
    np.testing.assert_allclose(value, want_value, rtol=1e-12)
    np.testing.assert_allclose(gradient, want, rtol=1e-5, atol=1e-6)


def optimizers(rng, dtype, shape, at_end):
    """Each optimiser's second step, in place."""
    for name, states in (("sgd_step", 1), ("adam_step", 3), ("adamw_step", 2)):
        start = np.abs(rng.normal(size=(2 + states, *shape))).astype(dtype)
        options = {"max_exp_avg_sq": start[4]} if states == 3 else {"momentum": 0.9} if states == 1 else {}
        want = getattr(reference, name)(*start.copy()[:4], step=2, **options)
        arrays = [guarded(x, at_end, range(x.ndim)) for x in start]
        options |= {"max_exp_avg_sq": arrays[4]} if states == 3 else {}
        got = getattr(nn, name)(*arrays[:4], step=2, **options)
        np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-6)


FAMILIES = {
    "activations": (activations, SIZES),
    "normalize_rows": (normalize_rows, SIZES),
    "normalize_channels": (normalize_channels, CHANNELS),
    "probabilities": (probabilities, SIZES),
    "regularizers": (regularizers, SIZES),
    "optimizers": (optimizers, SIZES),
}


def main():
    rng = np.random.default_rng(0)
    check, shapes = FAMILIES[sys.argv[1]]
    cases = list(itertools.product((np.float32, np.float64), shapes, (True, False)))
    for case in cases:
        check(rng, *case)
    print(f"{len(cases)} cases")


if __name__ == "__main__":
    main()
