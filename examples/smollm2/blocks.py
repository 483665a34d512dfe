"""Matrices in the 4 and 8 bit blocks of GGUF files, multiplied as they are."""

from typing import Any

import numpy as np

from examples.smollm2.kernels import BLOCK, LANES, Q4_1, Q8_0, multiply

KINDS = {"Q4_1": Q4_1, "Q8_0": Q8_0}
# The numbers of a block fill 16 or 32 bytes; what is before them are its scales.
NUMBER_BYTES = 16


class BlockMatrix:
    """A matrix (features in, features out) on the right of `@`.

    A token reads all weights once, so its time is that of their bytes: 94 MB against 538 MB as float32. The weights are
    exactly those of the file, and products and sums are in float32.

    Parameters
    ----------
    data : (features out, bytes of a row) uint8, as in the file
    kind : "Q4_1" or "Q8_0"
    """

    __array_ufunc__ = None  # x @ matrix comes here, to __rmatmul__

    def __init__(self, data: np.ndarray, kind: str) -> None:
        self._block_bytes = KINDS[kind]
        self.shape = data.shape[1] // self._block_bytes * BLOCK, len(data)
        self._panels = pack(data, self._block_bytes)

    @property
    def nbytes(self) -> int:
        return self._panels.nbytes

    def __rmatmul__(self, x: np.ndarray) -> np.ndarray:
        """(N, features in) @ self, float32."""
        x = np.ascontiguousarray(x, np.float32)
        if x.ndim != 2 or x.shape[1] != self.shape[0]:
            raise ValueError(f"x must be (N, {self.shape[0]}) to be multiplied with {self.shape}; got {x.shape}.")
        panels, blocks, _ = self._panels.shape
        out = np.empty((len(x), panels * LANES), np.float32)
        if len(x):
            multiply(self._panels, self._block_bytes, x, np.empty((len(x), blocks), np.float32), out)
        return out[:, : self.shape[1]]

    def astype(self, dtype: Any, copy: bool = True) -> np.ndarray:
        """The weights one by one, (features in, features out); always a copy."""
        return unpack(self._panels, self._block_bytes)[:, : self.shape[1]].astype(dtype, copy=False)


def pack(data: np.ndarray, block_bytes: int) -> np.ndarray:
    """Rows of blocks, as in the file -> panels as the kernels want them, (panels, blocks of a row, bytes of a block).

    Missing rows of the last panel are zeros.
    """
    missing = -len(data) % LANES
    rows = np.concatenate([data, np.zeros((missing, data.shape[1]), np.uint8)]) if missing else data
    blocks = rows.reshape(len(rows) // LANES, LANES, -1, block_bytes)
    scales = block_bytes % NUMBER_BYTES
    halves = np.ascontiguousarray(blocks[..., :scales]).view(np.uint16).transpose(0, 2, 3, 1)
    numbers = blocks[..., scales:].transpose(0, 2, 3, 1)
    parts = [np.ascontiguousarray(halves).view(np.uint8), numbers]
    return np.concatenate([part.reshape(*part.shape[:2], -1) for part in parts], axis=2)


def unpack(panels: np.ndarray, block_bytes: int) -> np.ndarray:
    """Panels -> weights (features in, features out) in float32."""
    scales = block_bytes % NUMBER_BYTES
    shape = (*panels.shape[:2], -1, LANES)
    halves = np.ascontiguousarray(panels[..., : scales * LANES]).view(np.float16).astype(np.float32).reshape(shape)
    numbers = panels[..., scales * LANES :].reshape(shape)
    if block_bytes == Q4_1:
        weights = np.concatenate([numbers & 15, numbers >> 4], axis=2) * halves[:, :, :1] + halves[:, :, 1:]
    else:
        weights = numbers.view(np.int8) * halves
    return weights.transpose(1, 2, 0, 3).reshape(-1, len(panels) * LANES)
