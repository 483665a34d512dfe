"""Arguments of dropout, penalties and proximal operators."""

from typing import Any

import numpy as np

from fastcore._core import validate

# Words of dropout are counted in int64.
LARGEST_POSITION = 1 << 63


def dropout_offset(x: Any, size: int) -> int:
    """Position of the first of ``size`` elements in the sequence of random words."""
    value = validate.index(x, "offset")
    if not 0 <= value <= LARGEST_POSITION - size:
        raise ValueError(f"offset must lie in [0, 2**63 - size]. Got {validate.integer(value)}, size {size}.")
    return value


def axis_of(axis: Any, x: np.ndarray) -> int:
    """An axis of x, counted from the first."""
    value = validate.index(axis, "axis")
    if not -x.ndim <= value < x.ndim:
        raise ValueError(f"axis must be one of the axes of x. Got {validate.integer(value)}, x {x.shape}.")
    return value % x.ndim


def group_labels(groups: Any, size: int) -> np.ndarray:
    """One integer label for each of ``size`` elements."""
    labels = validate.as_native_array(groups, "groups")
    if labels.dtype.kind not in "iu":
        raise TypeError(f"groups must hold integer labels. Got {labels.dtype}.")
    if labels.shape != (size,):
        raise ValueError(f"groups must have one label for each of {size} elements along axis. Got {labels.shape}.")
    return labels
