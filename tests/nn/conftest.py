"""What the tests of nn share: the bound every result is held to, and inputs in unusual memory."""

import ml_dtypes
import numpy as np
import pytest

HALF = [np.float16, ml_dtypes.bfloat16]


@pytest.fixture(scope="session")
def assert_exact():
    """compare(got, function, *arrays, **options): against the twin in float64.

    float32 may be off by twice what the plain float32 implementation is off by on the same input, float64 by 1e-14 of
    the largest value.
    """

    def compare(got, function, *arrays, **options):
        def call(dtype):
            cast = {name: x.astype(dtype) if isinstance(x, np.ndarray) else x for name, x in options.items()}
            with np.errstate(all="ignore"):
                return function(*(x.astype(dtype) if isinstance(x, np.ndarray) else x for x in arrays), **cast)

        want = call(np.float64)
        assert got.shape == want.shape
        if got.size == 0:
            return
        largest = np.abs(want).max()
        allowed = 1e-14 * largest
        if got.dtype == np.float32:
            allowed = 2 * np.abs(call(np.float32) - want).max() + 1e-7 * largest
        assert np.abs(got - want).max() <= allowed

    return compare


def strided(x):
    """The same numbers in wider rows."""
    memory = np.zeros((*x.shape[:-1], x.shape[-1] + 3), x.dtype)
    memory[..., : x.shape[-1]] = x
    return memory[..., : x.shape[-1]]


def readonly(x):
    x = x.copy()
    x.flags.writeable = False
    return x


MEMORY = {
    "contiguous": np.ascontiguousarray,
    "fortran": np.asfortranarray,
    "wide rows": strided,
    "every second": lambda x: np.repeat(x, 2, axis=-1)[..., ::2],
    "backwards": lambda x: np.ascontiguousarray(x[::-1, ..., ::-1])[::-1, ..., ::-1],
    "readonly": readonly,
    "big-endian": lambda x: x.astype(x.dtype.newbyteorder(">")),
    "unaligned": lambda x: np.frombuffer(b"\0" + x.tobytes(), x.dtype, x.size, 1).reshape(x.shape),
}


@pytest.fixture(params=MEMORY)
def in_memory(request):
    """A function that lays an array of two axes or more out in memory in one of many ways."""
    return MEMORY[request.param]
