"""Gradients of attention of arrays that end, or begin, right at a page nobody may touch; see `guard_pages`.

Run by test_backward_kernel.py; prints the number of cases that were right.
"""

import itertools

import numpy as np
from guard_pages import guarded

from fastcore import reference, scaled_dot_product_attention, scaled_dot_product_attention_backward
from fastcore.attention.kernels.backward import attention_backward

SIZES = [(1, 2, 1, 1, 1, 3, 5), (2, 2, 1, 70, 67, 20, 33), (1, 1, 1, 17, 130, 64, 16)]


def run(rng, sizes, at_end):
    b, h, g, m, n, d, dv = sizes
    shapes = ((b, h, m, d), (b, g, n, d), (b, g, n, dv), (b, h, m, dv))
    query, key, value, grad_out = (rng.normal(size=shape).astype(np.float32) for shape in shapes)
    out, lse = scaled_dot_product_attention(query, key, value, is_causal=True, return_lse=True)
    order = range(4)
    given = [guarded(x, at_end, order) for x in (query, key, value, out, lse[..., None], grad_out)]
    given[4] = given[4][..., 0]
    results = [guarded(np.zeros_like(x), at_end, order) for x in (query, key, value)]
    attention_backward(*given, *results, is_causal=True, scale=d**-0.5)
    expected = reference.scaled_dot_product_attention_backward(grad_out, query, key, value, out, lse, is_causal=True)
    for result, right in zip(results, expected, strict=True):
        np.testing.assert_allclose(result, right, rtol=1e-4, atol=1e-5)
    # Once a size: without the compiler a case takes seconds.
    return 1 + (run_options(rng, given[:3], given[5]) if at_end else 0)


def run_options(rng, given, grad_out):
    """Masks and what else is read beside the arrays."""
    (b, h, m, _), n = given[0].shape, given[1].shape[2]
    blocks = guarded(np.ones((b, h, -(-m // 64), -(-n // 64)), bool), True, range(4))
    masks = [rng.random((b, h, m, n)) < 0.7, rng.normal(size=(b, h, m, n)).astype(np.float32)]
    for mask, more in itertools.product(masks, ({"softcap": 2.0, "dropout_p": 0.3}, {"block_mask": blocks})):
        options = {"attn_mask": guarded(mask, True, range(4)), **more}
        with_mask = {"return_grad_mask": mask.dtype != bool}
        out, lse = scaled_dot_product_attention(*given, **options, return_lse=True)
        got = scaled_dot_product_attention_backward(grad_out, *given, out, lse, **options, **with_mask)
        want = reference.scaled_dot_product_attention_backward(grad_out, *given, out, lse, **options, **with_mask)
        for result, right in zip(got, want, strict=True):
            np.testing.assert_allclose(result, right, rtol=1e-4, atol=1e-4)
    return 1


generator = np.random.default_rng(0)
print(sum(run(generator, *case) for case in itertools.product(SIZES, (True, False))))
