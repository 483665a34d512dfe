"""Copies between the block of a parameter and its row, in NumPy: any dtype, at the speed of memory, no compilation."""

import math
from typing import Any

import numpy as np

from fastcore.sharding.device import device_function


def moved(*arguments: Any) -> float:
    """No operations: values are moved."""
    return 0.0


@device_function(flops=moved)
def block_to_row(block, row):
    """The block's elements in order, then zeros."""
    row[: block.size] = np.reshape(block, -1)
    row[block.size :] = 0


@device_function(flops=moved)
def row_to_block(row, block):
    """The other way; what the row has beyond the block is left out."""
    block[...] = row[: block.size].reshape(block.shape)


@device_function(flops=moved)
def block_to_part(block, index, part):
    """Part `index` of the block's row."""
    values = np.reshape(block, -1)[index * part.size : (index + 1) * part.size]
    part[: values.size] = values
    part[values.size :] = 0


@device_function(flops=moved)
def cast(x, out):
    """The same values in the dtype of `out`."""
    out[...] = x


@device_function(flops=lambda x, y, out: float(math.prod(out.block_shape)))
def add(x, y, out):
    """Two rows or blocks of one shape."""
    np.add(x, y, out=out, casting="same_kind")
