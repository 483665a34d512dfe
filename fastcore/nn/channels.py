"""Arrays (N, C, ...) as the kernels of batch normalisation take them, in place where strides allow."""

import math

import numpy as np

from fastcore._core import validate


class ChannelLayout:
    """Where the elements of a channel lie, and with it views of arrays of one shape.

    Planes, (N, C, M), where those after C lie side by side, and (1, N * M, C), columns, where the C do: arrays of two
    axes, or of PyTorch's memory format channels_last. What is neither is copied to planes.
    """

    def __init__(self, x: np.ndarray) -> None:
        samples, channels = x.shape[:2]
        size = math.prod(x.shape[2:])
        self._order = (0, *range(2, x.ndim), 1)
        self.is_columns = channels > 1 and (size == 1 or self._are_columns(x))
        self._shape = (1, samples * size, channels) if self.is_columns else (samples, channels, size)

    def axes(self, x: np.ndarray) -> np.ndarray:
        """`x` with its axes in the order of the view."""
        return x.transpose(self._order) if self.is_columns and x.ndim > 2 else x

    def view(self, x: np.ndarray, dtype: np.dtype) -> np.ndarray:
        """`x` for a kernel to read; a copy only where dtype or strides ask for one."""
        return validate.readable_in_place(self.axes(x.astype(dtype, copy=False)).reshape(self._shape))

    def _are_columns(self, x: np.ndarray) -> bool:
        """Whether the channels lie side by side, and all else at one distance."""
        rows = x.transpose(self._order)[..., 0]
        return x.strides[1] == x.itemsize and np.may_share_memory(rows.reshape(-1), x)


def put_vector(values: np.ndarray, out: np.ndarray | None) -> np.ndarray | None:
    """`out`, if there is one, with these values."""
    if out is not None:
        with np.errstate(over="ignore", invalid="ignore"):  # float16 ends at 65504
            out[...] = values
    return out
