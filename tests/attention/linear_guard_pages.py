"""Linear attention on arrays that end, or begin, right at a page nobody may touch; prints how many cases were right."""

import itertools

import numpy as np
from guard_pages import guarded

from fastcore import linear_attention, linear_attention_backward, reference

SHAPES = [(1, 2, 1, 1, 3, 5), (1, 2, 2, 19, 17, 9), (2, 1, 1, 70, 8, 16)]  # B, H, G, L, D, Dv


def run(rng, dtype, shape, at_end, is_causal):
    b, h, g, n, d, dv = shape
    query, key, value, grad_out, out = (
        guarded(rng.normal(size=size).astype(dtype), at_end, (0, 2, 1, 3))
        for size in ((b, h, n, d), (b, g, n, d), (b, g, n, dv), (b, h, n, dv), (b, h, n, dv))
    )
    linear_attention(query, key, value, is_causal, out=out)
    want = reference.linear_attention(query, key, value, is_causal)
    tolerance = 2e-2 if dtype == np.float16 else 1e-4
    np.testing.assert_allclose(out, want, rtol=tolerance, atol=tolerance)
    got = linear_attention_backward(grad_out, query, key, value, is_causal)
    wanted = reference.linear_attention_backward(grad_out, query, key, value, is_causal)
    for result, expected in zip(got, wanted, strict=True):
        np.testing.assert_allclose(result, expected, rtol=tolerance, atol=tolerance)
    return 1


def main():
    rng = np.random.default_rng(0)
    kinds = [(np.float32, (True, False)), (np.float64, (True,)), (np.float16, (False,))]
    cases = [(dtype, end) for dtype, ends in kinds for end in ends]
    print(sum(run(rng, t, s, e, c) for (t, e), s, c in itertools.product(cases, SHAPES, (True, False))), "cases")


if __name__ == "__main__":
    main()
