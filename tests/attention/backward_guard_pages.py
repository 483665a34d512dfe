"""Gradients of attention of arrays that end, or begin, right at a page nobody may touch; see `guard_pages`.

Run by test_backward_kernel.py; prints the number of cases that were right.
"""

import itertools

import numpy as np
from guard_pages import guarded

from fastcore import reference, scaled_dot_product_attention
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
    return 1


generator = np.random.default_rng(0)
print(sum(run(generator, *case) for case in itertools.product(SIZES, (True, False))))
