"""Real roots of polynomials that end, or begin, right at a page nobody may touch; run by test_real_roots.py."""

import numpy as np
from guard_pages import guarded

from fastcore.polynomial import real_roots
from fastcore.reference.polynomial_real import real_roots as reference

rng = np.random.default_rng(3)
for degree in (1, 2, 4, 9):
    for count in (1, 7, 9):
        c = rng.standard_normal((count, degree + 1))
        c[0] = np.poly(np.linspace(-0.9, 0.7, degree))
        if count > 4:
            c[2], c[3, 0], c[4, -1] = 0, 0, np.nan
        for at_end in (False, True):
            solution = real_roots(guarded(c, at_end, (0, 1)))
            x, counts = reference(c)
            np.testing.assert_array_equal(solution.count, counts)
            np.testing.assert_allclose(solution.x, x, rtol=1e-8, atol=1e-12)
print("ok")
