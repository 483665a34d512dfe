"""Collectives on the blocks of one group, stacked: (n, *block) in, (n, *block) out. Row i is what device i has."""

import numpy as np


def _one_each(total: np.ndarray, n: int) -> np.ndarray:
    return np.stack([total] * n)


def psum(x: np.ndarray) -> np.ndarray:
    """((x[0] + x[1]) + x[2]) + ... on each device; 16-bit floats in float32, booleans as int32."""
    x = np.asarray(x)
    if x.dtype == bool:
        x = x.astype(np.int32)
    is_half = x.dtype.itemsize == 2 and x.dtype.kind not in "iu"
    total = x[:1].astype(np.float32) if is_half else x[:1]
    for i in range(1, len(x)):
        total = total + x[i : i + 1].astype(total.dtype)
    return np.repeat(total.astype(x.dtype), len(x), axis=0)


def pmean(x: np.ndarray) -> np.ndarray:
    """The sum over the number of devices; float64 for booleans and integers."""
    x = np.asarray(x)
    if x.dtype.kind in "biu":
        return psum(x) / float(len(x))
    is_half = x.dtype.itemsize == 2
    return (psum(x.astype(np.float32) if is_half else x) / len(x)).astype(x.dtype)


def pmax(x: np.ndarray) -> np.ndarray:
    """The largest on each device; NaN where there is one."""
    return _one_each(np.max(x, axis=0), len(x))


def pmin(x: np.ndarray) -> np.ndarray:
    """The smallest on each device; NaN where there is one."""
    return _one_each(np.min(x, axis=0), len(x))


def all_gather(x: np.ndarray, *, axis: int = 0, tiled: bool = False) -> np.ndarray:
    """All blocks stacked along a new axis, or with `tiled` joined along an old one, on each device."""
    return _one_each(np.concatenate(list(x), axis=axis) if tiled else np.stack(list(x), axis=axis), len(x))


def psum_scatter(x: np.ndarray, *, scatter_dimension: int = 0, tiled: bool = False) -> np.ndarray:
    """Device i has part i of the sum along `scatter_dimension`."""
    parts = np.split(psum(x)[0], len(x), axis=scatter_dimension)
    return np.stack(parts if tiled else [part.squeeze(scatter_dimension) for part in parts])


def all_to_all(x: np.ndarray, split_axis: int, concat_axis: int, *, tiled: bool = False) -> np.ndarray:
    """Device j has part j of every block along `split_axis`, in order along `concat_axis`."""
    parts = [np.split(block, len(x), axis=split_axis) for block in x]
    results = []
    for j in range(len(x)):
        mine = [blocks[j] for blocks in parts]
        if tiled:
            results.append(np.concatenate(mine, axis=concat_axis))
        else:
            results.append(np.stack([part.squeeze(split_axis) for part in mine], axis=concat_axis))
    return np.stack(results)


def ppermute(x: np.ndarray, perm: list[tuple[int, int]]) -> np.ndarray:
    """Device `destination` has the block of device `source` for each pair of `perm`, all others zeros."""
    result = np.zeros_like(x)
    for source, destination in perm:
        result[destination] = x[source]
    return result
