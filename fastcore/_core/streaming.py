"""When results are written past the caches, and where such writes may begin.

Both cores, float32, read one array and write another (AVX-512, 32 MiB of last cache): past the caches 47, 45, 40 and 42
GB/s at 4, 16, 64 and 256 MiB each, through them 58, 44, 30 and 27.
"""

from fastcore._core import simd
from fastcore._core.jit import kernel

# Bytes of a result from which on it is written past the caches.
STREAMED_BYTES = 16 << 20


@kernel
def elements_to_alignment(ptr, lanes, itemsize):
    """Elements from ``ptr`` to the next place `simd.stream` may write to; ``ptr`` is a multiple of ``itemsize``."""
    return -simd.address_of(ptr) % (lanes * itemsize) // itemsize


@kernel
def write_vector(ptr, vector, streamed):
    """Write all lanes, past the caches if ``streamed``; then ``ptr`` must be aligned, as `simd.stream` asks."""
    if streamed:
        simd.stream(ptr, vector)
    else:
        simd.store(ptr, vector)
