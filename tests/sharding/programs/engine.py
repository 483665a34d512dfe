"""What meshes and the three primitives of an engine do, on groups that lie in one rank and across ranks."""

import numpy as np

from fastcore.sharding import P, all_gather, all_to_all, ppermute, psum, transfer
from fastcore.sharding.engines import mpi

AXES = [{"dp": 2, "tp": 4}, {"a": 2, "b": 2, "c": 2}, {"x": 8}, {"x": 16}, {"x": 3}, {"x": 6}, {"x": 1}, {}]
DTYPES = ["float64", "float32", "int64", "int8", "complex128", "bool"]


def cases():
    found = {}
    for axes in AXES:
        text = ",".join(f"{name}{size}" for name, size in axes.items())
        found[f"collectives on {text}"] = lambda make_mesh, axes=axes: collectives(make_mesh(axes))
        found[f"parts of {text}"] = lambda make_mesh, axes=axes: parts(make_mesh(axes))
    for dtype in DTYPES:
        found[f"moves {dtype}"] = lambda make_mesh, dtype=dtype: moves(make_mesh({"dp": 2, "tp": 4}), dtype)
    found["empty blocks"] = empty
    found["axis index"] = axis_index
    found["padded"] = padded
    found["strided and big-endian input"] = layouts
    found["a part that one rank holds"] = lone_devices
    found["messages in pieces"] = pieces
    found["numbers"] = scalars
    return found


def numbers(*shape):
    return np.random.default_rng(7).normal(size=shape)


def orders(axes):
    """Axes one by one, and all of them in both orders."""
    names = tuple(axes)
    return [*names, *([names, names[::-1]] if len(names) > 1 else [])]


def collectives(mesh):
    x = mesh.put(numbers(mesh.size * 3, mesh.size * 2), P(tuple(mesh.axes)) if mesh.axes else P())
    found = [x.gather()]
    for axis in orders(mesh.axes):
        n = mesh.axis_size(axis)
        whole = all_gather(x, axis, tiled=True)
        found += [psum(x, axis).gather(check=False), all_gather(x, axis).gather(check=False)]
        found += [all_to_all(whole, axis, 0, 1, tiled=True).gather(check=False)]
        found += [ppermute(x, axis, [(i, (i + 1) % n) for i in range(n)]).gather(check=False)]
        found += [ppermute(x, axis, [(i, i + 1) for i in range(n - 1)]).gather(check=False)]
        found += [ppermute(x, axis, []).gather(check=False)]
    return found


def parts(mesh):
    """Stages of every axis, and what they hand on, which crosses ranks or not."""
    found = []
    for name, size in mesh.axes.items():
        stages = [mesh.at(**{name: index}) for index in range(size)]
        split = P(tuple(stages[0].axes)) if stages[0].axes else P()
        x = stages[0].put(numbers(stages[0].size, 5), split)
        for stage in stages[1:]:
            x = transfer(x, stage)
            found.append(x.gather())
            found += [psum(x, axis).gather(check=False) for axis in stage.axes]
    return found


def lone_devices(make_mesh):
    """Each device as a mesh of its own: all other ranks hold nothing."""
    mesh = make_mesh({"dp": 2, "tp": 4})
    found = []
    for d in range(2):
        for t in range(4):
            part = mesh.at(dp=d).at(tp=t)
            x = part.put(numbers(3) + d + t)
            found += [x.gather(), transfer(x, mesh.at(dp=1 - d, tp=3 - t)).gather()]
    return found


def moves(mesh, dtype):
    x = mesh.put((100 * numbers(16, 12)).astype(dtype), P("tp", "dp"))
    found = [all_gather(x, ("dp", "tp")).gather(), all_to_all(x, "tp", 0, 1, tiled=True).gather()]
    return [*found, ppermute(x, "tp", [(0, 3), (3, 1)]).gather(), transfer(x, mesh).gather()]


def empty(make_mesh):
    mesh = make_mesh({"dp": 2, "tp": 4})
    x = mesh.zeros((8, 0), np.float32, P(("dp", "tp")))
    part = mesh.at(dp=1).zeros((0, 4), np.float64, P("tp"))
    found = [
        x.gather(),
        all_gather(x, "tp").gather(),
        all_to_all(all_gather(x, "tp", tiled=True), "tp", 0, 1, tiled=True).gather(),
    ]
    return [*found, psum(x, ("tp", "dp")).gather(), transfer(part, mesh.at(dp=0)).gather()]


def pieces(make_mesh):
    """Messages that are too long for one, of a length that does not divide."""
    before, mpi.LARGEST_MESSAGE_BYTES = mpi.LARGEST_MESSAGE_BYTES, 100
    try:
        return collectives(make_mesh({"dp": 2, "tp": 4}))
    finally:
        mpi.LARGEST_MESSAGE_BYTES = before


def scalars(make_mesh):
    mesh = make_mesh({"dp": 2, "tp": 4})
    x = mesh.put(2.5)
    return [
        x.gather(),
        psum(x, "tp").gather(),
        all_gather(x, "dp").gather(),
        transfer(mesh.at(dp=0).put(3), mesh.at(dp=1)).gather(),
    ]


def axis_index(make_mesh):
    mesh = make_mesh({"a": 2, "b": 2, "c": 2})
    found = [mesh.axis_index(axis) for axis in ("a", "b", "c", ("a", "c"), ("c", "a"), ("b", "c", "a"))]
    found.append(mesh.at(b=1).axis_index("c"))
    return [all_gather(index, tuple(index.mesh.axes)).gather() for index in found]


def padded(make_mesh):
    mesh = make_mesh({"dp": 2, "tp": 4})
    return [
        mesh.put(numbers(*shape), P("dp", ("tp",)), pad=True).gather()
        for shape in [(1, 1), (3, 5), (2, 3), (5, 9), (0, 3), (2, 4)]
    ]


def layouts(make_mesh):
    mesh = make_mesh({"x": 8})
    whole = numbers(16, 6)
    found = [mesh.put(whole.T.copy().T, P("x")), mesh.put(whole[::-1], P("x")), mesh.put(whole.astype(">f8"), P("x"))]
    return [all_gather(x, "x").gather() for x in found]
