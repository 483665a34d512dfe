"""The largest lane of each query in a vector that carries several, again and again: lane % queries."""

from fastcore._core import simd
from fastcore._core.jit import kernel
from fastcore.attention.kernels.emit_rows import LANES


@kernel
def peaks_of(vector, queries):
    """The largest of each query's lanes, in all of them; NaN is passed over as in `simd.maximum`."""
    if LANES > 8 and queries <= 8:
        vector = simd.maximum(vector, simd.rotate(vector, 8))
    if LANES > 4 and queries <= 4:
        vector = simd.maximum(vector, simd.rotate(vector, 4))
    if queries <= 2:
        vector = simd.maximum(vector, simd.rotate(vector, 2))
    if queries == 1:
        vector = simd.maximum(vector, simd.rotate(vector, 1))
    return vector
