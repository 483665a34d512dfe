"""The formats a cache stores keys and values in: names, and bytes of a row.

A row is one token's key (or value) of one head. It is padded with zeros to whole vectors of 16 elements (int4: to whole
groups of 32), so that kernels have no tails.

======== ===================== ========================================= ==================================
format   row of D numbers      scales                                    error of a number x
======== ===================== ========================================= ==================================
float32  4 pad16(D) bytes      none                                      0
float16  2 pad16(D) bytes      none                                      2^-11 abs(x); inf from 65520 on
bfloat16 2 pad16(D) bytes      none                                      2^-8 abs(x)
int8     pad16(D) bytes        float32 a row: largest abs(x) / 127       half a step: largest / 254
int4     pad32(D) / 2 bytes    float16 scale, minimum a group of 32      half a step: (max - min) / 30, or where
                               numbers: x ~ q * scale + minimum          that is more 2^-11 (abs(min) + max - min)
======== ===================== ========================================= ==================================

The bounds are held, with what float32 and denormals add, by tests/kvcache/test_quantization.py. A row of int8 (a group
of int4) with a NaN or an inf in it reads back as NaN as a whole, as does a group whose scale or minimum is beyond
float16's 65504.

Errors, root mean square over that of what is exact, of keys and values that are normally distributed and of
heavy-tailed ones (Student's t with 5 degrees of freedom): of an element, and of the result of attention over 1000
tokens whose scores have a standard deviation of 1 (tests/kvcache/test_formats.py).

======== ========= ========= ========= =========
format   normal    result    heavy     result
======== ========= ========= ========= =========
float16  0.021 %   0.03 %    0.021 %   0.033 %
bfloat16 0.17 %    0.25 %    0.17 %    0.26 %
int8     0.65 %    0.96 %    0.95 %    1.6 %
int4     7.8 %     11 %      9 %       14 %
======== ========= ========= ========= =========
"""

import math
from typing import NamedTuple

import numpy as np

from fastcore.attention.kernels.storage_formats import BF16, F16, F32, GROUP, INT4, INT8, VECTOR

FORMATS = ("float32", "float16", "bfloat16", "int8", "int4")


class Format(NamedTuple):
    """How rows of a storage format lie in memory."""

    number: int  # in kernels: fastcore.attention.kernels.storage_formats
    dtype: np.dtype  # of the stored elements
    padding: int  # elements a row is padded to a multiple of
    per_element: int  # elements in one stored element

    def row(self, size: int) -> int:
        """Stored elements of a row of `size` numbers."""
        return -(-size // self.padding) * self.padding // self.per_element

    def scales(self, size: int) -> tuple[tuple[int, ...], np.dtype] | None:
        """Shape and dtype of the scales of a row of `size` numbers; None where there are none."""
        if self.number == INT8:
            return (), np.dtype(np.float32)
        if self.number == INT4:
            return (-(-size // GROUP), 2), np.dtype(np.uint16)
        return None


FORMAT = {
    "float32": Format(F32, np.dtype(np.float32), VECTOR, 1),
    "float16": Format(F16, np.dtype(np.uint16), VECTOR, 1),
    "bfloat16": Format(BF16, np.dtype(np.uint16), VECTOR, 1),
    "int8": Format(INT8, np.dtype(np.int8), VECTOR, 1),
    "int4": Format(INT4, np.dtype(np.uint8), GROUP, 2),
}


def bytes_per_token(dtype: str, head_dim: int, value_dim: int) -> int:
    """Stored bytes of one token's key and value of one head, scales included."""
    layout = FORMAT[dtype]
    total = 0
    for size in (head_dim, value_dim):
        scales = layout.scales(size)
        total += layout.row(size) * layout.dtype.itemsize
        total += 0 if scales is None else math.prod(scales[0]) * scales[1].itemsize
    return total
