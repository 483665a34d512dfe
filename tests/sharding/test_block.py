"""Transformer blocks whose heads and columns lie on devices equal the unsharded block, forward and backward."""

import numpy as np
import pytest

import fastcore
from fastcore import reference
from fastcore.reference.sharding_block import layer_norm_backward
from fastcore.sharding import (
    LayerNorm,
    Mesh,
    P,
    ParallelAttention,
    ParallelMLP,
    Recomputed,
    Sequential,
    TransformerBlock,
    psum,
)

DEVICES = [1, 2, 3, 4, 8]
# Heads, key/value heads, features, hidden columns: that divide and do not, grouped heads, fewer heads than devices.
SHAPES = [(8, 8, 32, 64), (6, 3, 24, 41), (8, 2, 32, 50), (5, 5, 20, 7)]


def error(result, expected):
    """Largest difference over the largest number."""
    return np.abs(result - expected).max(initial=0) / max(np.abs(expected).max(initial=0), 1e-300)


def worst(grads, expected):
    """Largest error of gradients; those of a key's bias are 0 but for rounding, and are measured by the query's."""
    scale = {name: np.abs(expected[name.replace("key_bias", "query_bias")]).max(initial=0) for name in expected}
    assert set(grads) == set(expected)
    return max(
        np.abs(grads[name].gather().reshape(expected[name].shape) - expected[name]).max(initial=0) / scale[name]
        for name in expected
    )


def check_layer(layer, x, grad_y, expected, bound=1e-12, spec=None):
    """Forward and backward against (y, grad_x, grads)."""
    y, saved = layer.forward(layer.mesh.put(x, spec, pad=True))
    grad_x, grads = layer.backward(saved, layer.mesh.put(grad_y, spec, pad=True))
    assert error(y.gather(), expected[0]) <= bound
    assert error(grad_x.gather(), expected[1]) <= bound
    assert worst(grads, expected[2]) <= bound
    for name, grad in grads.items():
        parameter = layer.params[name]
        assert (grad.shape, grad.block_shape, grad.dtype) == (parameter.shape, parameter.block_shape, parameter.dtype)
        assert grad.spec.used() == parameter.spec.used()


@pytest.fixture
def arrays(rng):
    """x and the gradient of a result, (B, L, E)."""

    def make(*shape, dtype=np.float64):
        return rng.standard_normal(shape).astype(dtype), rng.standard_normal(shape).astype(dtype)

    return make


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("devices", DEVICES)
def test_block_equals_unsharded_forward_and_backward(arrays, devices, shape, threads):
    heads, groups, embed, hidden = shape
    weights = reference.block_weights(embed, hidden, heads, groups)
    x, grad_y = arrays(2, 9, embed)
    expected = reference.transformer_block(x, weights, grad_y, num_heads=heads, num_kv_heads=groups)
    block = TransformerBlock(Mesh({"tp": devices}), weights, num_heads=heads, num_kv_heads=groups)
    with fastcore.num_threads(threads):
        check_layer(block, x, grad_y, expected)


@pytest.mark.parametrize("is_causal", [False, True])
@pytest.mark.parametrize("biases", [False, True])
@pytest.mark.parametrize("devices", [1, 3, 4])
def test_attention_alone_equals_unsharded(arrays, devices, biases, is_causal):
    weights = part(reference.block_weights(24, 1, 6, 3), "attention", biases)
    x, grad_y = arrays(2, 5, 24)
    options = {"num_heads": 6, "num_kv_heads": 3, "is_causal": is_causal}
    expected = reference.parallel_attention(x, weights, grad_y, **options)
    check_layer(ParallelAttention(Mesh({"tp": devices}), weights, **options), x, grad_y, expected)


@pytest.mark.parametrize("biases", [False, True])
@pytest.mark.parametrize("devices", DEVICES)
def test_mlp_alone_equals_unsharded(arrays, devices, biases):
    weights = part(reference.block_weights(8, 13, 1), "mlp", biases)
    x, grad_y = arrays(2, 5, 8)
    check_layer(ParallelMLP(Mesh({"tp": devices}), weights), x, grad_y, reference.parallel_mlp(x, weights, grad_y))


def part(weights, name, biases=True):
    """The weights of one part of a block, with or without biases."""
    found = {key.partition(".")[2]: value for key, value in weights.items() if key.startswith(name)}
    return {key: value for key, value in found.items() if biases or "bias" not in key}


@pytest.mark.parametrize("size", [1, 2, 7, 32, 33, 300])
def test_layer_norm_equals_unsharded(arrays, size):
    weights = {"weight": arrays(size)[0], "bias": arrays(size)[1]}
    x, grad_y = arrays(3, 5, size)
    x *= 100 if size > 1 else 1
    layer = LayerNorm(Mesh({"dp": 2}), weights)
    y, saved = layer.forward(layer.mesh.put(x, "dp", pad=True))
    grad_x, grads = layer.backward(saved, layer.mesh.put(grad_y, "dp", pad=True))
    expected = layer_norm_backward(x, weights["weight"], grad_y)
    assert error(y.gather(), reference.layer_norm(x, size, weights["weight"], weights["bias"])) <= 1e-12
    assert np.abs(grad_x.gather() - expected[0]).max() <= 1e-12
    for name, total in zip(
        ("weight", "bias"), expected[1:]
    ):  # each device has its own rows': a sum over "dp" is missing
        assert error(psum(grads[name], "dp").gather(), total) <= 1e-12


def test_block_float32_is_as_exact_as_numpy(arrays):
    weights = reference.block_weights(64, 96, 4, 2, dtype=np.float32)
    x, grad_y = arrays(2, 33, 64, dtype=np.float32)
    exact = reference.transformer_block(
        x.astype(float),
        {k: w.astype(float) for k, w in weights.items()},
        grad_y.astype(float),
        num_heads=4,
        num_kv_heads=2,
    )
    plain = reference.transformer_block(x, weights, grad_y, num_heads=4, num_kv_heads=2)
    block = TransformerBlock(Mesh({"tp": 4}), weights, num_heads=4, num_kv_heads=2)
    y, saved = block.forward(block.mesh.put(x))
    grad_x, grads = block.backward(saved, block.mesh.put(grad_y))
    for ours, naive, right in ((y, plain[0], exact[0]), (grad_x, plain[1], exact[1])):
        assert ours.dtype == np.float32
        assert error(ours.gather(), right) <= 2 * error(naive, right) + 1e-6
    assert worst(grads, exact[2]) <= 1e-5


@pytest.mark.parametrize("axes", [{"dp": 2, "tp": 4}, {"tp": 2, "dp": 3}, {"a": 2, "tp": 2, "dp": 2}], ids=str)
def test_block_on_any_axes_equals_unsharded(arrays, axes):
    weights = reference.block_weights(24, 40, 6, 3)
    x, grad_y = arrays(5, 4, 24)  # five sequences do not divide by two
    y, grad_x, grads = reference.transformer_block(x, weights, grad_y, num_heads=6, num_kv_heads=3)
    mesh = Mesh(axes)
    block = TransformerBlock(mesh, weights, num_heads=6, num_kv_heads=3)
    ours, saved = block.forward(mesh.put(x, "dp", pad=True))
    grad_ours, parts = block.backward(saved, mesh.put(grad_y, "dp", pad=True))
    assert error(ours.gather(), y) <= 1e-12
    assert error(grad_ours.gather(), grad_x) <= 1e-12
    assert worst({name: psum(grad, "dp") for name, grad in parts.items()}, grads) <= 1e-12


def test_block_heads_over_two_axes_and_over_none_give_the_same_bits(arrays):
    weights = reference.block_weights(32, 40, 8)
    x, grad_y = arrays(2, 4, 32)

    def run(mesh, axis):
        block = TransformerBlock(mesh, weights, num_heads=8, axis=axis)
        y, saved = block.forward(mesh.put(x))
        grad_x, grads = block.backward(saved, mesh.put(grad_y))
        return [y.gather(), grad_x.gather(), *(grads[name].gather() for name in sorted(grads))]

    one = run(Mesh({"tp": 4}), "tp")
    for mesh, axis in ((Mesh({"a": 2, "b": 2}), ("a", "b")), (Mesh({"tp": 4, "x": 2}), "tp")):
        for ours, expected in zip(run(mesh, axis), one, strict=True):
            np.testing.assert_array_equal(ours, expected)
    alone = run(Mesh({"x": 2}), ())
    assert all(error(ours, expected) <= 1e-11 for ours, expected in zip(alone[:2], one[:2], strict=True))


def test_block_recomputed_and_sequential_same_bits_less_memory(arrays):
    x, grad_y = arrays(2, 16, 32)

    def run(wrap):
        mesh = Mesh({"tp": 2})
        blocks = [TransformerBlock(mesh, reference.block_weights(32, 64, 4, seed=i), num_heads=4) for i in range(3)]
        stage = Sequential(*(wrap(block) for block in blocks))
        y, saved = stage.forward(mesh.put(x))
        held = mesh.ledger.held_bytes(mesh)
        grad_x, grads = stage.backward(saved, mesh.put(grad_y))
        assert saved == []
        return [y.gather(), grad_x.gather(), *(grads[name].gather() for name in stage.params)], held

    kept, more = run(lambda block: block)
    again, less = run(Recomputed)
    assert less < more
    for ours, expected in zip(again, kept, strict=True):
        np.testing.assert_array_equal(ours, expected)


def test_block_leaves_no_array_behind(arrays):
    x, grad_y = arrays(2, 5, 32)
    mesh = Mesh({"tp": 4})
    block = TransformerBlock(mesh, reference.block_weights(32, 40, 8), num_heads=8)
    inputs = mesh.put(x), mesh.put(grad_y)
    before = mesh.ledger.held_bytes(mesh)
    y, saved = block.forward(inputs[0])
    result = block.backward(saved, inputs[1])
    del y, saved, result
    assert mesh.ledger.held_bytes(mesh) == before
    np.testing.assert_array_equal(inputs[0].gather(), x)
    np.testing.assert_array_equal(inputs[1].gather(), grad_y)


def test_block_params_read_and_write_through():
    mesh = Mesh({"tp": 2})
    stage = Sequential(*(TransformerBlock.create(mesh, embed_dim=8, num_heads=2, hidden_dim=16) for _ in range(2)))
    name = "1.attention.query_weight"
    assert len(stage.params) == len(list(stage.params)) == 32
    assert stage.params[name] is stage.layers[1].attention.params["query_weight"]
    new = mesh.zeros(stage.params[name].shape, np.float32, stage.params[name].spec)
    stage.params[name] = new
    assert stage.layers[1].attention.params["query_weight"] is new
    for wrong in ("query_weight", "2.norm1.weight", "0.norm1", "0.norm1.other"):
        assert wrong not in stage.params
        with pytest.raises(KeyError):
            stage.params[wrong] = new


@pytest.mark.parametrize("rows, tokens", [(0, 3), (2, 0), (1, 1)])
def test_block_takes_few_rows_and_tokens(arrays, rows, tokens):
    weights = reference.block_weights(8, 12, 4)
    x, grad_y = arrays(rows, tokens, 8)
    mesh = Mesh({"tp": 3, "dp": 2})
    block = TransformerBlock(mesh, weights, num_heads=4)
    y, saved = block.forward(mesh.put(x, "dp", pad=True))
    grad_x, grads = block.backward(saved, mesh.put(grad_y, "dp", pad=True))
    assert y.gather().shape == grad_x.gather().shape == x.shape
    total = psum(grads["mlp.up_weight"], "dp").gather()
    assert np.isfinite(total).all()
    assert rows * tokens > 0 or not total.any()


def test_block_dry_costs_what_simulated_costs():
    entries = []
    for engine in ("simulated", "dry"):
        mesh = Mesh({"dp": 2, "tp": 3}, engine=engine)
        block = TransformerBlock.create(mesh, embed_dim=32, num_heads=4, hidden_dim=50)
        x = mesh.zeros((3, 5, 32), np.float32, "dp", pad=True)
        y, saved = block.forward(x)
        block.backward(saved, y)
        entries.append([entry._replace(mesh=None) for entry in mesh.ledger.entries])
    assert entries[0] == entries[1]
    assert sum(entry.kind == "psum" for entry in entries[0]) == 4


def test_block_initial_weights_are_the_same_on_any_mesh():
    whole = [
        {name: each.gather() for name, each in TransformerBlock.create(mesh, **SMALL, seed=3).params.items()}
        for mesh in (Mesh({"tp": 1}), Mesh({"dp": 2, "tp": 3}))
    ]
    for name, each in whole[0].items():
        np.testing.assert_array_equal(whole[1][name], each)
    assert abs(whole[0]["mlp.up_weight"].std() - 0.02) < 2e-3
    assert (whole[0]["norm2.weight"] == 1).all()
    assert not whole[0]["attention.key_bias"].any()


SMALL = {"embed_dim": 32, "num_heads": 4, "hidden_dim": 48}


@pytest.mark.parametrize(
    "change, error, text",
    [
        ({"drop": "mlp.up_weight"}, ValueError, "weights must hold 'up_weight'"),
        ({"add": "mlp.gate"}, ValueError, "'gate' is not a weight of this layer"),
        ({"add": "weight"}, ValueError, "Names of weights must begin with norm1., attention., norm2., mlp."),
        ({"shape": "attention.key_weight"}, ValueError, r"key_weight must have the shape \(32, 32\)"),
        ({"shape": "norm1.bias"}, ValueError, r"bias must have the shape \(32,\)"),
        ({"num_heads": 5}, ValueError, "must be a multiple of num_heads"),
        ({"num_kv_heads": 3}, ValueError, "num_heads must be a multiple of num_kv_heads"),
        ({"dtype": np.float16}, TypeError, "weights must be float32 or float64"),
        ({"axis": "pp"}, ValueError, "'pp' is not an axis of the mesh"),
        ({"eps": -1.0}, ValueError, "eps must"),
        ({"is_causal": 2}, TypeError, "is_causal"),
    ],
    ids=str,
)
def test_block_wrong_weights_raise(change, error, text):
    weights = reference.block_weights(32, 48, 4, dtype=change.get("dtype", float))
    if "drop" in change:
        del weights[change["drop"]]
    if "add" in change:
        weights[change["add"]] = np.zeros(3)
    if "shape" in change:
        weights[change["shape"]] = np.zeros((3,) * weights[change["shape"]].ndim)
    options = {"num_heads": 4} | {
        k: v for k, v in change.items() if k in ("num_heads", "num_kv_heads", "axis", "eps", "is_causal")
    }
    with pytest.raises(error, match=text):
        TransformerBlock(Mesh({"tp": 2}), weights, **options)


@pytest.mark.parametrize(
    "make, error, text",
    [
        (lambda mesh: np.zeros((2, 3, 32)), TypeError, "x must be a ShardedArray"),
        (lambda mesh: mesh.zeros((2, 3, 31), np.float32), ValueError, r"x must have the shape \(B, L, 32\)"),
        (lambda mesh: mesh.zeros((2, 32), np.float32), ValueError, r"x must have the shape \(B, L, 32\)"),
        (lambda mesh: mesh.zeros((2, 3, 32), np.float64), TypeError, "x must be float32"),
        (lambda mesh: mesh.zeros((2, 3, 32), np.float32, "tp"), ValueError, "copied over"),
        (lambda mesh: mesh.zeros((2, 3, 32), np.float32, P(None, None, "dp")), ValueError, "whole along its last axis"),
        (
            lambda mesh: mesh.zeros((2, 4, 32), np.float32, P(None, "dp")),
            ValueError,
            "x must be whole along its second",
        ),
        (lambda mesh: Mesh({"dp": 2, "tp": 2}).zeros((2, 3, 32), np.float32), ValueError, "x must be on the mesh"),
    ],
)
def test_block_wrong_input_raises(make, error, text):
    mesh = Mesh({"dp": 2, "tp": 2})
    block = TransformerBlock.create(mesh, **SMALL)
    with pytest.raises(error, match=text):
        block.forward(make(mesh))


def test_block_wrong_gradient_raises():
    mesh = Mesh({"dp": 2, "tp": 2})
    block = TransformerBlock.create(mesh, **SMALL)
    x = mesh.zeros((2, 3, 32), np.float32, "dp")
    with pytest.raises(ValueError, match="grad_y must have the shape of the result"):
        block.backward(block.forward(x)[1], mesh.zeros((2, 4, 32), np.float32, "dp"))
    with pytest.raises(ValueError, match="grad_y must be split as the result"):
        block.backward(block.forward(x)[1], mesh.zeros((2, 3, 32), np.float32))


def test_sequential_wrong_layers_raise():
    layers = [TransformerBlock.create(Mesh({"tp": 2}), **SMALL) for _ in range(2)]
    with pytest.raises(ValueError, match="All layers must be on one mesh"):
        Sequential(*layers)
    with pytest.raises(ValueError, match="at least one layer"):
        Sequential()
    with pytest.raises(TypeError, match="Layer 1 must be a Layer"):
        Sequential(layers[0], None)
