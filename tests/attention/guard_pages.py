"""Attention on arrays that end, or begin, right at a page nobody may touch: an access out of bounds kills the process.

Run by test_processes.py; prints the number of cases that were right. With `touch` as its argument it reads one element
too far instead, to show that the pages are guarded.
"""

import ctypes
import itertools
import mmap
import sys

import ml_dtypes
import numpy as np

from fastcore import merge_attention_states, reference, scaled_dot_product_attention

PAGE = mmap.PAGESIZE
PROT_NONE = 0
libc = ctypes.CDLL(None, use_errno=True)
libc.mprotect.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
maps = []  # alive as long as the process: the views must never outlive them


def guarded(array, at_end, order):
    """A copy in memory whose last (or first) byte lies next to a forbidden page, with its axes in this order there."""
    array = np.asarray(array)
    pages = -(-array.nbytes // PAGE)
    memory = mmap.mmap(-1, (pages + 2) * PAGE)
    maps.append(memory)
    address = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    for page in (0, pages + 1):
        if libc.mprotect(address + page * PAGE, PAGE, PROT_NONE):
            raise OSError(ctypes.get_errno(), "mprotect")
    offset = (pages + 1) * PAGE - array.nbytes if at_end else PAGE
    shape = [array.shape[axis] for axis in order]
    view = np.frombuffer(memory, array.dtype, array.size, offset).reshape(shape).transpose(np.argsort(order))
    view[...] = array
    return view


# What is computed, and how far it may be off: half precision is rounded, and so are weights and inputs as bfloat16.
KINDS = [
    (np.float32, "highest", 1e-4),
    (np.float64, "highest", 1e-4),
    (np.float16, "highest", 2e-3),
    (ml_dtypes.bfloat16, "highest", 2e-2),
    (np.float32, "bf16", 5e-2),
]


def run(rng, kind, shape, at_end, order):
    dtype, precision, tolerance = kind
    b, h, g, m, n, d, dv = shape

    def place(x):
        return guarded(x, at_end, order)

    query, key, value = (
        place(rng.normal(size=size).astype(dtype)) for size in ((b, h, m, d), (b, g, n, d), (b, g, n, dv))
    )
    masks = (None, place(rng.random((b, h, m, n)) < 0.7), place(rng.normal(size=(b, h, m, n)).astype(dtype)))
    out = place(np.zeros((b, h, m, dv), dtype))
    blocks = place(rng.random((b, h, -(-m // 64), -(-n // 64))) < 0.6)
    changes = {"alibi_slopes": rng.random((b, h)), "sinks": rng.normal(size=h), "block_mask": blocks}
    others = ({}, {"is_causal": True}, {"softcap": 2.0, "key_lengths": [n - 1] * b}, changes)
    for mask, more in itertools.product(masks, others):
        scaled_dot_product_attention(query, key, value, mask, **more, out=out, precision=precision)
        exact = [x if x is None or x.dtype == np.bool_ else x.astype(float) for x in (query, key, value, mask)]
        want = reference.scaled_dot_product_attention(*exact, **more)
        np.testing.assert_allclose(
            out.astype(float), want, rtol=tolerance, atol=tolerance / 10 if tolerance == 1e-4 else tolerance
        )
    if tolerance > 1e-4:
        return 12
    lse = place(rng.normal(size=(b, h, m, 1)).astype(dtype))[..., 0]
    merged, _ = merge_attention_states(out, lse, out, lse)
    np.testing.assert_allclose(merged, out, rtol=1e-5, atol=1e-6)
    return 13


SHAPES = [
    (1, 1, 1, 1, 1, 1, 1),
    (1, 2, 1, 3, 5, 7, 9),
    (2, 2, 2, 17, 33, 20, 35),
    (1, 3, 1, 65, 67, 64, 64),
    (1, 1, 1, 1, 130, 31, 16),
]


def main():
    if sys.argv[1:] == ["touch"]:
        array = guarded(np.zeros(5), True, (0,))
        print(np.lib.stride_tricks.as_strided(array, (6,))[5])
        return
    rng = np.random.default_rng(0)
    cases = itertools.product(KINDS, SHAPES, (True, False), ((0, 1, 2, 3), (0, 2, 1, 3)))
    print(sum(run(rng, *case) for case in cases))


if __name__ == "__main__":
    main()
