"""Which tokens of a sequence lie on which device: one after another, or in a zigzag that balances causal attention."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from fastcore._core import validate_sharding_ring as check

__all__ = ["Part", "joined_parts", "seen_pairs", "token_parts", "unzigzag", "zigzag"]


def zigzag(array: Any, devices: int, *, axis: int = -2) -> np.ndarray:
    """Put tokens in the order of layout="zigzag": the sequence is cut into 2n chunks, device i gets i and 2n - 1 - i.

    Under a causal mask early queries see few keys and late ones many; a device with one chunk of each has, at every
    step around the ring, as much to do as any other.

    Parameters
    ----------
    array : array_like, tokens along `axis`; (B, H, L, D) by default
    devices : n, along the axis of the mesh that splits the tokens

    Returns
    -------
    the same with 2n * ceil(L / 2n) tokens, the last ones zeros, for ``mesh.put(…, P(None, None, "sp"))``

    Raises
    ------
    ValueError : devices is below 1, axis is none of the array's
    TypeError : dtype object, devices or axis no integer
    """
    values, n, place = check.chunks(array, devices, axis)
    size = -(-values.shape[place] // (2 * n))
    missing = 2 * n * size - values.shape[place]
    filled = np.zeros((*values.shape[:place], missing, *values.shape[place + 1 :]), values.dtype)
    pieces = np.split(np.concatenate([values, filled], axis=place), 2 * n, axis=place)
    return np.concatenate([pieces[chunk] for chunk in _chunk_order(n)], axis=place)


def unzigzag(array: Any, devices: int, length: int | None = None, *, axis: int = -2) -> np.ndarray:
    """Undo `zigzag`.

    Parameters
    ----------
    array : array_like, 2n chunks of tokens along `axis`, as ``out.gather()`` gives them
    devices : n
    length : tokens that are no padding, all by default; the others are dropped

    Raises
    ------
    ValueError : tokens are no 2n chunks, length is negative or more than there are
    """
    values, n, place = check.chunks(array, devices, axis)
    count = check.whole_chunks(values.shape[place], 2 * n, length)
    pieces = np.split(values, 2 * n, axis=place)
    joined = np.concatenate([pieces[where] for where in np.argsort(_chunk_order(n))], axis=place)
    return np.take(joined, np.arange(count), axis=place)


def _chunk_order(n: int) -> list[int]:
    """Chunks in the order of devices: 0, 2n - 1, 1, 2n - 2, …"""
    return [chunk for i in range(n) for chunk in (i, 2 * n - 1 - i)]


class Part(NamedTuple):
    """A run of tokens that follow each other in the block of each device.

    rows : where they are in a block. starts, counts : (n,) position of the first and how many are no padding, on the
    device with each index along the axis.
    """

    rows: slice
    starts: np.ndarray
    counts: np.ndarray


def token_parts(layout: str, n: int, block: int, length: int) -> list[Part]:
    """The parts of blocks of `block` tokens on n devices, of a sequence of `length` tokens and padding behind them."""
    index = np.arange(n)
    if layout == "contiguous":
        return [_part(slice(0, block), index * block, length)]
    chunk = block // 2
    early, late = index * chunk, (2 * n - 1 - index) * chunk
    return [_part(slice(0, chunk), early, length), _part(slice(chunk, block), late, length)]


def joined_parts(parts: list[Part]) -> Part:
    """All tokens of a block as one part, which those that are no padding begin: late chunks fill up last."""
    counts = sum((part.counts for part in parts[1:]), start=parts[0].counts)
    return Part(slice(0, parts[-1].rows.stop), parts[0].starts, counts)


def _part(rows: slice, starts: np.ndarray, length: int) -> Part:
    return Part(rows, starts, np.clip(length - starts, 0, rows.stop - rows.start))


def seen_pairs(offset: np.ndarray, queries: np.ndarray, keys: np.ndarray) -> np.ndarray:
    """Number of pairs i < queries, j < keys with j <= offset + i."""
    return _pairs_below(offset + queries, keys) - _pairs_below(offset, keys)


def _pairs_below(end: np.ndarray, keys: np.ndarray) -> np.ndarray:
    """Sum of min(y, keys) over 0 < y <= end."""
    rising = np.clip(end, 0, keys)
    return rising * (rising + 1) // 2 + keys * np.maximum(end - keys, 0)
