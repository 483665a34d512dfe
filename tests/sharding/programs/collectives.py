"""Every collective on groups that lie in one rank and across ranks: what each device holds afterwards, bit for bit."""

import ml_dtypes
import numpy as np

from fastcore import sharding
from fastcore.sharding import P, all_gather

AXES = [{"dp": 2, "tp": 4}, {"a": 2, "b": 2, "c": 2}, {"x": 8}, {"x": 3}, {"x": 1}]
DTYPES = ["float32", "float64", "float16", "bfloat16", "complex64", "int8", "uint64", "bool"]
# Blocks that the members of a group can cut evenly, that they cannot, and of which some members get nothing.
BLOCKS = [(24, 2), (5, 7), (3,), (), (0, 4)]
REDUCTIONS = ["psum", "pmean", "pmax", "pmin"]


def cases():
    found = {}
    for axes in AXES:
        text = ",".join(f"{name}{size}" for name, size in axes.items())
        for dtype in DTYPES if axes is AXES[0] else DTYPES[:1]:  # each start of 8 ranks on 2 cores costs
            found[f"reductions of {dtype} on {text}"] = lambda make_mesh, axes=axes, dtype=dtype: reductions(
                make_mesh(axes), dtype
            )
        found[f"parts of sums on {text}"] = lambda make_mesh, axes=axes: scattered(make_mesh(axes))
        found[f"padding on {text}"] = lambda make_mesh, axes=axes: padded(make_mesh(axes))
    found["special numbers"] = special
    found["large blocks"] = large
    found["a part of the mesh"] = stage
    return found


def as_blocks(mesh, blocks):
    """Any block on each device."""
    return mesh.from_blocks(blocks[mesh.positions], P(), blocks.shape[1:], blocks.dtype)


def seen(x):
    """The blocks of all devices."""
    return all_gather(x, tuple(x.mesh.axes)).gather() if x.mesh.axes else x.gather()


def numbers(shape, dtype="float64"):
    rng = np.random.default_rng(7)
    if dtype == "bool":
        return rng.integers(0, 2, shape).astype(bool)
    if dtype in ("int8", "uint64"):
        return rng.integers(0, 1 << 63, shape, np.uint64).astype(dtype)
    x = rng.normal(size=shape)
    if dtype == "complex64":
        return (x + 1j * rng.normal(size=shape)).astype(dtype)
    return x.astype(ml_dtypes.bfloat16 if dtype == "bfloat16" else dtype)


def groups_of(mesh):
    names = tuple(mesh.axes)
    return [*names, *([names[::-1]] if len(names) > 1 else [])]


def reductions(mesh, dtype):
    names = REDUCTIONS[:2] if dtype == "complex64" else REDUCTIONS
    found = []
    for block in BLOCKS:
        x = as_blocks(mesh, numbers((mesh.size, *block), dtype))
        found += [seen(getattr(sharding, name)(x, axis)) for name in names for axis in groups_of(mesh)]
    return found


def scattered(mesh):
    found = []
    for axis in groups_of(mesh):
        n = mesh.axis_size(axis)
        x = as_blocks(mesh, numbers((mesh.size, n, 3 * n)))
        found.append(seen(sharding.psum_scatter(x, axis)))
        found.append(seen(sharding.psum_scatter(x, axis, scatter_dimension=1, tiled=True)))
        found.append(seen(sharding.all_to_all(x, axis, 0, 1)))
        found.append(seen(sharding.all_to_all(x, axis, 1, 0, tiled=True)))
        found.append(seen(sharding.all_gather(x, axis, axis=1)))
    return found


def padded(mesh):
    found = []
    for axis in groups_of(mesh):
        n = mesh.axis_size(axis)
        x = mesh.put(numbers((2 * n + 1, 3 * n)), P(axis), pad=True)
        for result in (
            sharding.psum(x, axis),
            sharding.all_gather(x, axis, tiled=True),
            sharding.all_to_all(x, axis, 1, 0, tiled=True),
            sharding.ppermute(x, axis, [(i, (i + 1) % n) for i in range(n)]),
        ):
            found += [np.array(result.shape), seen(result)]
    return found


def special(make_mesh):
    mesh = make_mesh({"x": 8})
    values = np.array([np.nan, -np.nan, np.inf, -np.inf, -0.0, 0.0, 1e308, 5e-324])
    x = as_blocks(mesh, np.stack([np.roll(values, i)[:5] for i in range(8)]))
    pairs = as_blocks(mesh, np.stack([np.resize(values, 9) * (-1) ** i for i in range(8)]))
    return [seen(getattr(sharding, name)(each, "x")) for name in REDUCTIONS for each in (x, pairs)]


def large(make_mesh):
    """Parallel where a group lies in one rank, serial across ranks."""
    mesh = make_mesh({"dp": 2, "tp": 4})
    x = as_blocks(mesh, numbers((8, 101, 997), "float32"))
    return [sharding.psum(x, axis).gather(check=False) for axis in ("dp", "tp", ("dp", "tp"))]


def stage(make_mesh):
    """Ranks without any of its devices take part with no blocks."""
    mesh = make_mesh({"pp": 4, "tp": 2})
    part = mesh.at(pp=2)
    x = as_blocks(part, numbers((2, 5, 4)))
    results = [sharding.psum(x, "tp"), sharding.psum_scatter(x, "tp", scatter_dimension=1, tiled=True)]
    moved = sharding.transfer(results[0], mesh.at(pp=3))
    return [*map(seen, results), moved.gather()]
