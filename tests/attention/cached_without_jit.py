"""The bodies of attention over stored rows as plain Python; test_cached_processes.py sets NUMBA_DISABLE_JIT=1."""

import numpy as np

from tests.attention.cached_case import FORMATS, Sequences, normal


def main():
    rng = np.random.default_rng(0)
    for dtype in FORMATS:
        case = Sequences(rng, dtype, [5, 66], 1, 7, 17, 3)
        for new, group, options in ((1, 3, {}), (3, 1, {"softcap": 2.0}), (5, 1, {"is_causal": False})):
            case.check_all(normal(rng, 2, group, new, 7), **options)
        Sequences(rng, dtype, [20], 1, 5, 4, 3).check_all(normal(rng, 1, 1, 17, 5))
        Sequences(rng, dtype, [300], 1, 16, 4, 16).check_all(normal(rng, 1, 1, 1, 16))  # two shares
        ring = Sequences(rng, dtype, [30], 1, 7, 4, 3, 8, 2, 4)
        ring.check_all(normal(rng, 1, 2, 3, 7))
        values = [normal(rng, 1, 20, 4)]
        values[0][0, -1] = np.nan
        spoiled = Sequences(rng, dtype, [20], 1, 5, 4, values=values)
        for new in (3, 17):
            query = normal(rng, 1, 1, new, 5)
            plain = spoiled.expected(0, query[0], np.float32)
            got = spoiled.attend(query)[0]
            np.testing.assert_array_equal(np.isnan(got), np.isnan(plain))
            np.testing.assert_allclose(got, plain, rtol=1e-4, atol=1e-6)
    print("right")


if __name__ == "__main__":
    main()
