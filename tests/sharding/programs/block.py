"""Transformer blocks, losses and training steps on tp, dp x tp and dp x tp x pp devices."""

from functools import partial

import numpy as np

from fastcore import reference
from fastcore.sharding import P, TransformerBlock, cross_entropy, data_parallel, mean_squared_error, pipeline, psum
from tests.sharding.language_model import (
    EMBED,
    HEADS,
    HIDDEN,
    KV_HEADS,
    TOKENS,
    batch,
    stages_of_model,
    weights_of_model,
)

LAYERS = 2


def cases():
    found = {}
    for axes in ({"tp": 8}, {"dp": 2, "tp": 4}, {"tp": 2, "dp": 4}, {"tp": 3}):
        found[f"block on {axes}"] = partial(block, axes=axes)
    found["block around a ring"] = around
    found["step, dp 4 x tp 2"] = partial(step, axes={"dp": 4, "tp": 2})
    found["pipelined step, dp 2 x tp 2 x pp 2"] = pipelined
    return found


def block(make_mesh, axes):
    """Forward and backward of a block, and a squared error; five rows, that fill no mesh evenly."""
    mesh = make_mesh(axes)
    split = "dp" if "dp" in axes else None
    found = []
    for dtype in (np.float64, np.float32):
        weights = reference.block_weights(EMBED, HIDDEN, HEADS, KV_HEADS, dtype=dtype)
        layer = TransformerBlock(mesh, weights, num_heads=HEADS, num_kv_heads=KV_HEADS)
        x, wanted = np.random.default_rng(3).standard_normal((2, 5, TOKENS, EMBED)).astype(dtype)
        y, saved = layer.forward(mesh.put(x, split, pad=True))
        _, grad_y = mean_squared_error(y, mesh.put(wanted, split, pad=True))
        grad_x, grads = layer.backward(saved, grad_y)
        found += [y.gather(), grad_x.gather(), *(each.gather(check=False) for each in grads.values())]
    return found


def around(make_mesh):
    """A block whose tokens are split, too, unevenly."""
    mesh, spec = make_mesh({"dp": 2, "sp": 2, "tp": 2}), P("dp", "sp")
    weights = reference.block_weights(EMBED, HIDDEN, HEADS, KV_HEADS)
    layer = TransformerBlock(mesh, weights, num_heads=HEADS, num_kv_heads=KV_HEADS, sequence_axis="sp")
    x, grad_y = (mesh.put(each, spec, pad=True) for each in np.random.default_rng(3).standard_normal((2, 5, 7, EMBED)))
    y, saved = layer.forward(x)
    grad_x, grads = layer.backward(saved, grad_y)
    return [y.gather(), grad_x.gather(), *(psum(each, ("dp", "sp")).gather() for each in grads.values())]


def step(make_mesh, axes):
    mesh = make_mesh(axes)
    (model,), _ = stages_of_model([mesh], weights_of_model(LAYERS, np.float32), LAYERS)

    def loss_and_grads(tokens, targets):
        logits, saved = model.forward(tokens)
        loss, grad_logits = cross_entropy(logits, targets)
        return loss, model.backward(saved, grad_logits)[1]

    loss, grads = data_parallel(loss_and_grads)(*(mesh.put(each, "dp", pad=True) for each in batch(6)))
    return [loss.gather(), *(each.gather() for each in grads.values())]


def pipelined(make_mesh):
    mesh = make_mesh({"dp": 2, "tp": 2, "pp": 2})
    meshes = [mesh.at(pp=k) for k in range(2)]
    stages, _ = stages_of_model(meshes, weights_of_model(LAYERS), LAYERS)
    inputs, targets = (
        [meshes[end].put(each[i : i + 2], "dp", pad=True) for i in (0, 2, 4)] for end, each in zip((0, -1), batch(5))
    )

    def loss_and_grads(inputs, targets):
        loss = partial(cross_entropy, count=5 * TOKENS)
        result = pipeline(stages, inputs, "1f1b", loss=loss, targets=targets)
        return result.loss, result.grads

    loss, grads = data_parallel(loss_and_grads, reduction="sum")(inputs, targets)
    return [loss.gather(), *(each.gather() for stage in grads for each in stage.values())]
