"""Arrays of any shape as the (N, D) rows that the kernels take, in place where strides allow."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from fastcore._core import validate

_FLOAT32 = np.dtype(np.float32)
_ndarray = np.ndarray


def are_few(limit: int, first: Any, *others: Any) -> bool:
    """Whether these are plain float32 arrays of one shape, in C order, of less than ``limit`` elements, but not empty.

    They may take the short way to a kernel: 0.3 us for the first array and 0.2 us for each further one, where checks
    and conversions take 10 to 25 us.
    """
    if type(first) is not _ndarray or first.dtype is not _FLOAT32 or not 0 < first.size < limit:
        return False
    if not (flags := first.flags).c_contiguous or not flags.aligned:
        return False
    shape = first.shape
    for x in others:
        if type(x) is not _ndarray or x.dtype is not _FLOAT32 or x.shape != shape:
            return False
        if not (flags := x.flags).c_contiguous or not flags.aligned:
            return False
    return True


def as_rows(x: np.ndarray, size: int, dtype: np.dtype) -> np.ndarray:
    """`x` as (N, size) of `dtype`, last axis contiguous; a copy only where dtype or strides ask for one."""
    return validate.readable_in_place(x.astype(dtype, copy=False).reshape(-1, size))


def target_rows(out: np.ndarray, inputs: Sequence[np.ndarray], others: Sequence[np.ndarray]) -> np.ndarray:
    """Rows for a kernel to write: those of `out`, or new ones for `put_rows` to copy.

    `inputs` are the rows it reads: `out` may be one of them. Any other overlap, with them or with `others`, is written
    elsewhere.
    """
    rows = out.reshape(inputs[0].shape)
    usable = out.dtype == inputs[0].dtype and np.may_share_memory(rows, out) and validate.is_readable_in_place(rows)
    # First by the ends of the arrays alone, 0.2 us each.
    if usable and any(np.may_share_memory(rows, x) for x in (*inputs, *others)):
        others = [*others, *(x for x in inputs if not is_same_memory(rows, x))]
        usable = not validate.shares_memory(rows, others)
    return rows if usable else np.empty(rows.shape, inputs[0].dtype)


def is_same_memory(a: np.ndarray, b: np.ndarray) -> bool:
    """Whether equal indices are equal places."""
    same_place = a.__array_interface__["data"][0] == b.__array_interface__["data"][0]
    return same_place and a.strides == b.strides and a.shape == b.shape


def put_rows(rows: np.ndarray, out: np.ndarray) -> np.ndarray:
    """`out`, filled from what the kernel wrote unless that was `out` itself."""
    if not np.may_share_memory(rows, out):
        with np.errstate(over="ignore"):  # float16 ends at 65504
            out[...] = rows.reshape(out.shape)
    return out
