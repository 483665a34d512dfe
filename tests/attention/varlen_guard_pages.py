"""Attention over packed sequences in arrays next to a forbidden page.

Run by test_varlen_processes.py, also without the compiler, then with fewer cases; prints how many were right.
"""

import itertools

import numpy as np
from numba import config

from fastcore import reference, scaled_dot_product_attention_varlen
from tests.attention.guard_pages import guarded

# Lengths of queries and keys; heads, groups, sizes.
CASES = [
    ([1], [1], 1, 1, 1, 1),
    ([3, 0, 20], [5, 2, 0], 2, 2, 7, 9),
    ([1, 1], [13, 31], 4, 1, 32, 16),
    ([65, 2, 33], [67, 0, 130], 3, 1, 64, 64),
]
OPTIONS = [
    {},
    {"is_causal": True},
    {"dropout_p": 0.3, "softcap": 2.0, "window": (9, None)},
    {"alibi_slopes": 0.5, "sinks": 1.0},
]


def run(rng, dtype, case, at_end, order):
    rows, keys, h, g, d, dv = case

    def place(x):
        return guarded(x, at_end, order)

    starts = [guarded(np.cumsum([0, *lengths]), at_end, (0,)) for lengths in (rows, keys)]
    query, key, value = (
        place(rng.normal(size=size).astype(dtype))
        for size in ((sum(rows), h, d), (sum(keys), g, d), (sum(keys), g, dv))
    )
    out = place(np.zeros((sum(rows), h, dv), dtype))
    for each in OPTIONS:
        more = {name: np.full(h, x) if name in ("alibi_slopes", "sinks") else x for name, x in each.items()}
        scaled_dot_product_attention_varlen(query, key, value, *starts, **more, out=out)
        want = reference.scaled_dot_product_attention_varlen(query, key, value, *starts, **more)
        np.testing.assert_allclose(out, want, rtol=1e-4, atol=1e-5)
    return len(OPTIONS)


def main():
    rng = np.random.default_rng(0)
    orders = ((0, 1, 2),) if config.DISABLE_JIT else ((0, 1, 2), (1, 0, 2))
    cases = itertools.product((np.float32, np.float64), CASES[: 3 if config.DISABLE_JIT else 4], (True, False), orders)
    print(sum(run(rng, *case) for case in cases))


if __name__ == "__main__":
    main()
