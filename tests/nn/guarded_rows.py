"""nn on arrays that end, or begin, right at a page nobody may touch. Run by test_processes.py; prints the cases."""

import itertools

import numpy as np
from guard_pages import guarded

from fastcore import nn, reference

SIZES = [(1, 1), (3, 5), (2, 16), (4, 67), (2, 131), (3, 4100)]


def activations_backward(x, grad, bias, out):
    for approximate in ("none", "tanh"):
        nn.gelu_backward(grad, x, approximate, bias=bias, out=out)
        want = reference.gelu_backward(grad, x, approximate, bias=bias)
        np.testing.assert_allclose(out, want, rtol=1e-5, atol=1e-5)
    nn.silu_backward(grad, x, out=out)
    np.testing.assert_allclose(out, reference.silu_backward(grad, x), rtol=1e-5, atol=1e-5)
    nn.swiglu_backward(grad, x, x, out=(out, None))
    np.testing.assert_allclose(out, reference.swiglu_backward(grad, x, x)[0], rtol=1e-5, atol=1e-5)


def main():
    rng = np.random.default_rng(0)
    cases = list(itertools.product((np.float32, np.float64), SIZES, (True, False)))
    for dtype, shape, at_end in cases:
        x, residual, weight, bias, out = (
            guarded(rng.normal(size=size).astype(dtype), at_end, range(len(size)))
            for size in (shape, shape, shape[1:], shape[1:], shape)
        )
        nn.add_layer_norm(x, residual, shape[1], weight, bias, out=out)
        want = reference.add_layer_norm(x, residual, shape[1], weight, bias)
        np.testing.assert_allclose(out, want, rtol=1e-4, atol=1e-4)
        for approximate in ("none", "tanh"):
            nn.gelu(x, approximate, bias=bias, out=out)
            want = reference.gelu(x, approximate, bias=bias)
            np.testing.assert_allclose(out, want, rtol=1e-5, atol=1e-6)
        nn.rms_norm(x, shape[1], weight, out=out)
        want = reference.rms_norm(x, shape[1], weight)
        np.testing.assert_allclose(out, want, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(nn.rms_norm(x, shape[1], weight), want, rtol=1e-5, atol=1e-6)
        nn.swiglu(x, residual, out=out)
        want = reference.swiglu(x, residual)
        np.testing.assert_allclose(out, want, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(nn.swiglu(x, residual), want, rtol=1e-5, atol=1e-6)
        nn.dropout(x, 0.4, seed=3, offset=1, out=out)
        np.testing.assert_array_equal(out, reference.dropout(x, 0.4, seed=3, offset=1))
        steps(rng, dtype, shape, at_end)
        activations_backward(x, residual, bias, out)
    print(len(cases))


def steps(rng, dtype, shape, at_end):
    """Each optimiser's second step, in place."""
    for name, states in (("sgd_step", 1), ("adam_step", 3), ("adamw_step", 2)):
        start = np.abs(rng.normal(size=(2 + states, *shape))).astype(dtype)
        options = {"max_exp_avg_sq": start[4]} if states == 3 else {"momentum": 0.9} if states == 1 else {}
        want = getattr(reference, name)(*start.copy()[:4], step=2, **options)
        arrays = [guarded(x, at_end, range(x.ndim)) for x in start]
        options |= {"max_exp_avg_sq": arrays[4]} if states == 3 else {}
        got = getattr(nn, name)(*arrays[:4], step=2, **options)
        np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-6)


if __name__ == "__main__":
    main()
