"""The bodies of the attention kernels as plain Python. Run by test_processes.py with NUMBA_DISABLE_JIT=1."""

import itertools

import numpy as np

from fastcore import merge_attention_states, reference, scaled_dot_product_attention

OPTIONS = [
    {},
    {"is_causal": True, "query_offset": 2},
    {"window": (2, 1), "softcap": 1.5},
    {"attn_mask": np.random.default_rng(1).random((3, 9)) < 0.6},
    {"attn_mask": np.random.default_rng(2).normal(size=(3, 9))},
    {"key_lengths": [4], "scale": 0.3},
    {"dropout_p": 0.4, "seed": 5},
    {"alibi_slopes": [0.3, -0.1], "sinks": [0.5, -np.inf], "query_offset": 2},
    {"block_mask": [[True]], "sinks": [1.0, 2.0]},
    {"score_mod": lambda score, b, h, i, j: score - 0.1 * h * abs(i - j) + 0.2 * b},
]


def main():
    rng = np.random.default_rng(0)
    for dtype, options in itertools.product((np.float32, np.float64), OPTIONS):
        query, key, value = (
            rng.normal(size=(1, h, n, d)).astype(dtype) for h, n, d in ((2, 3, 5), (1, 9, 5), (1, 9, 4))
        )
        got = scaled_dot_product_attention(query, key, value, **options, return_lse=True)
        want = reference.scaled_dot_product_attention(query, key, value, **options, return_lse=True)
        for result, expected in zip(got, want, strict=True):
            np.testing.assert_allclose(result, expected, rtol=2e-5, atol=1e-6)
        if dtype == np.float32:
            bfloat = scaled_dot_product_attention(query, key, value, **options, precision="bf16")
            np.testing.assert_allclose(bfloat, want[0], rtol=0, atol=0.05)
            halves = [x.astype(np.float16) for x in (query, key, value)]
            half = scaled_dot_product_attention(*halves, **options)
            np.testing.assert_allclose(half, want[0], rtol=0, atol=0.01)
        merged = merge_attention_states(*got, *got)
        np.testing.assert_allclose(merged[0], got[0], rtol=1e-5, atol=1e-6)
    print("right")


if __name__ == "__main__":
    main()
