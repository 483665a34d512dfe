"""Treatment effects of arrays that end, or begin, right at a page nobody may touch; prints the cases.

Run by test_treatment_effect.py, also for other vector widths and without the compiler.
"""

import itertools
import os

import numpy as np
from guard_pages import guarded

from fastcore.metrics import average_treatment_effect
from fastcore.reference import metrics_uplift as reference

SIZES = (4, 7, 8, 15, 16, 17, 63, 250)
MANY = (959, 960, 961, 3841, 70_001)  # more than a block, more than a chunk


def main():
    rng = np.random.default_rng(0)
    sizes = SIZES if os.environ.get("NUMBA_DISABLE_JIT") == "1" else SIZES + MANY
    cases = list(itertools.product(("f8", "f4", "i8", "u1"), ("i8", "?"), sizes, (True, False)))
    for dtype, treatment_dtype, size, at_end in cases:
        y, t = (rng.random(size) * 9 + 1).astype(dtype), (np.arange(size) % 4 > 0).astype(treatment_dtype)
        t[-1] = False  # two rows of control at least
        y, t = guarded(y, at_end, [0]), guarded(t, at_end, [0])
        expected = reference.average_treatment_effect(y, t)
        np.testing.assert_allclose(average_treatment_effect(y, t)[:2], expected, rtol=1e-11, atol=1e-13)
    print(f"{len(cases)} cases")


if __name__ == "__main__":
    main()
