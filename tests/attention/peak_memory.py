"""Peak memory of attention over 65,536 x 65,536 pairs, one head, D = 64. Run by test_processes.py; prints bytes."""

from pathlib import Path

import numpy as np

from fastcore import reference, scaled_dot_product_attention

LENGTH, SIZE = 65_536, 64


def memory(field):
    """Bytes of a field of /proc/self/status. (ru_maxrss would start at what the parent process used.)"""
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith(field))


def main():
    # Compiled, and its threads started, before memory counts: kernels may come from the cache or from the compiler.
    small = np.ones((1, 4, 256, SIZE), np.float32)
    scaled_dot_product_attention(small, small, small)
    rng = np.random.default_rng(0)
    query, key, value = (rng.standard_normal((1, 1, LENGTH, SIZE), np.float32) for _ in range(3))
    before = memory("VmRSS")
    out = scaled_dot_product_attention(query, key, value)
    used = memory("VmHWM") - before
    rows = [0, 12_345, LENGTH - 1]
    want = reference.scaled_dot_product_attention(query[:, :, rows], key, value)
    np.testing.assert_allclose(out[:, :, rows], want, rtol=1e-4, atol=1e-6)
    print(used)


if __name__ == "__main__":
    main()
