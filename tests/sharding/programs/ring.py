"""Attention around rings and by exchanged heads, forward and backward, on devices of one rank and of several."""

import numpy as np

from fastcore.sharding import (
    P,
    ring_attention,
    ring_attention_backward,
    ulysses_attention,
    ulysses_attention_backward,
    zigzag,
)

# Meshes with the split of (batch, heads, tokens): rings within a rank, across ranks, and strided over them.
MESHES = [
    ({"sp": 8}, P(None, None, "sp")),
    ({"sp": 3}, P(None, None, "sp")),
    ({"dp": 2, "sp": 2, "tp": 2}, P("dp", "tp", "sp")),
    ({"a": 2, "tp": 2, "b": 2}, P(None, "tp", ("a", "b"))),
]


def cases():
    found = {}
    for axes, spec in MESHES:
        text = " ".join(f"{name}{size}" for name, size in axes.items())
        found[f"ring {text}"] = lambda make_mesh, axes=axes, spec=spec: ring(make_mesh(axes), spec, np.float64)
        found[f"ulysses {text}"] = lambda make_mesh, axes=axes, spec=spec: ulysses(make_mesh(axes), spec)
    found["ring float16"] = lambda make_mesh: ring(make_mesh({"sp": 4}), P(None, None, "sp"), np.float16)
    found["mistakes"] = lambda make_mesh: mistakes(make_mesh({"dp": 2, "sp": 4}))
    found["ring of a stage"] = lambda make_mesh: ring(
        make_mesh({"pp": 2, "sp": 2}).at(pp=1), P(None, None, "sp"), np.float32
    )
    return found


def inputs(dtype, tokens, groups=2):
    generator = np.random.default_rng(3)
    shapes = ((2, 4, tokens, 8), (2, groups, tokens, 8), (2, groups, tokens, 4), (2, 4, tokens, 4))
    return [generator.normal(size=shape).astype(dtype) for shape in shapes]


def ring(mesh, spec, dtype):
    axis = spec[2]
    n = mesh.axis_size(axis)
    found = []
    for layout, tokens in (("contiguous", 37), ("zigzag", 45)):
        arrays = inputs(dtype, tokens)
        if layout == "zigzag":
            arrays = [zigzag(x, n) for x in arrays]
        *given, grad_out = (mesh.put(x, spec, pad=True) for x in arrays)
        out, saved = ring_attention(*given, axis=axis, is_causal=True, layout=layout, return_saved=True)
        found += [out, saved.lse, *ring_attention_backward(saved, grad_out)]
    return [x.gather() for x in found]


def ulysses(mesh, spec):
    *given, grad_out = (mesh.put(x, spec, pad=True) for x in inputs(np.float32, 37))
    out, saved = ulysses_attention(*given, axis=spec[2], return_saved=True)
    return [x.gather() for x in (out, *ulysses_attention_backward(saved, grad_out))]


def mistakes(mesh):
    """The same error on every rank, before anything is sent."""
    x, few = (mesh.zeros((2, 4, length, 8), np.float32, P(None, None, "sp")) for length in (20, 16))
    calls = [
        lambda: ring_attention(x, x, x, axis="tp"),
        lambda: ring_attention(x, x, x, axis="dp"),
        lambda: ring_attention(x, few, x),
        lambda: ring_attention(x, x, x, layout="zigzag"),
        lambda: ulysses_attention(x, few, few, axis="other"),
        lambda: ring_attention_backward(ring_attention(x, x, x, return_saved=True)[1], few),
    ]
    found = []
    for call in calls:
        try:
            call()
        except ValueError as error:
            found.append(np.array(str(error)))
    assert len(found) == len(calls)
    return found
