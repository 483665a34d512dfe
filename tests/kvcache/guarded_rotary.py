"""Rotary embedding on arrays that end, or begin, right at a page nobody may touch. Run by test_rotary_inputs.py."""

import itertools

import numpy as np
from guard_pages import guarded

from fastcore import reference
from fastcore.kvcache.rotary import rotary_embedding

SIZES = [
    ((1, 1, 1, 2), None),
    ((2, 2, 3, 34), None),
    ((1, 3, 5, 64), None),
    ((1, 2, 3, 21), 6),
    ((1, 2, 3, 50), 38),
    ((4, 6), 4),
]


def main():
    rng = np.random.default_rng(0)
    cases = list(itertools.product((np.float32, np.float64), SIZES, (True, False), (True, False)))
    for dtype, (shape, rotary_dim), interleaved, at_end in cases:
        order = range(len(shape))
        x, out = (guarded(rng.normal(size=shape).astype(dtype), at_end, order) for _ in range(2))
        positions = guarded(np.arange(shape[-2]) + 5, at_end, (0,))
        options = {"interleaved": interleaved, "rotary_dim": rotary_dim}
        want = reference.rotary_embedding(x, positions, **options)
        for given in (positions, positions.tolist()):
            rotary_embedding(x, given, **options, out=out)
            np.testing.assert_allclose(out, want, rtol=0, atol=1e-5)
        rotary_embedding(x, positions, **options, out=x)
        np.testing.assert_array_equal(x, out)
    print(len(cases))


if __name__ == "__main__":
    main()
