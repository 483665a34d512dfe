"""Arguments of dropout, penalties and proximal operators."""

from typing import Any

from fastcore._core import validate

# Words of dropout are counted in int64.
LARGEST_POSITION = 1 << 63


def dropout_offset(x: Any, size: int) -> int:
    """Position of the first of ``size`` elements in the sequence of random words."""
    value = validate.index(x, "offset")
    if not 0 <= value <= LARGEST_POSITION - size:
        raise ValueError(f"offset must lie in [0, 2**63 - size]. Got {validate.integer(value)}, size {size}.")
    return value
