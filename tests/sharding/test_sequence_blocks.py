"""Blocks whose tokens are split over devices, besides batch and heads, equal the unsharded block."""

import numpy as np
import pytest

import fastcore
from fastcore import reference
from fastcore.sharding import Mesh, P, ParallelAttention, TransformerBlock, cross_entropy, data_parallel, psum

HEADS, GROUPS, EMBED, HIDDEN = 6, 3, 24, 41


def error(result, expected):
    return np.abs(result - expected).max() / np.abs(expected).max()


def split_of(mesh):
    """Axes that split a batch, and the spec of its tokens."""
    return tuple(name for name in ("dp", "sp") if name in mesh.axes), P("dp" if "dp" in mesh.axes else None, "sp")


def check_block(mesh, x, grad_y, expected, weights, **options):
    axes, spec = split_of(mesh)
    axis = "tp" if "tp" in mesh.axes else ()
    kind = TransformerBlock if "mlp.up_weight" in weights else ParallelAttention
    block = kind(mesh, weights, num_heads=HEADS, num_kv_heads=GROUPS, axis=axis, sequence_axis="sp", **options)
    y, saved = block.forward(mesh.put(x, spec, pad=True))
    grad_x, grads = block.backward(saved, mesh.put(grad_y, spec, pad=True))
    assert error(y.gather(), expected[0]) <= 1e-12
    assert error(grad_x.gather(), expected[1]) <= 1e-12
    for name, gradient in grads.items():
        assert (gradient.shape, gradient.block_shape) == (block.params[name].shape, block.params[name].block_shape)
        twin = expected[2][name]
        scale = np.abs(expected[2][name.replace("key_bias", "query_bias")]).max()
        assert np.abs(psum(gradient, axes).gather().reshape(twin.shape) - twin).max() <= 1e-12 * scale, name


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("tokens", [8, 9, 3])
@pytest.mark.parametrize(
    "axes",
    [{"sp": 1}, {"sp": 2}, {"sp": 3, "tp": 2}, {"dp": 2, "sp": 2, "tp": 2}, {"tp": 4, "sp": 2}, {"sp": 8}],
    ids=str,
)
def test_block_of_split_tokens_equals_unsharded(rng, axes, tokens, threads):
    weights = reference.block_weights(EMBED, HIDDEN, HEADS, GROUPS)
    x, grad_y = rng.standard_normal((2, 3, tokens, EMBED))
    expected = reference.transformer_block(x, weights, grad_y, num_heads=HEADS, num_kv_heads=GROUPS)
    with fastcore.num_threads(threads):
        check_block(Mesh(axes), x, grad_y, expected, weights)


@pytest.mark.parametrize("is_causal", [False, True])
def test_attention_of_split_tokens_without_biases_equals_unsharded(rng, is_causal):
    weights = {
        name.removeprefix("attention."): each
        for name, each in reference.block_weights(EMBED, HIDDEN, HEADS, GROUPS).items()
        if name.startswith("attention.") and "bias" not in name
    }
    x, grad_y = rng.standard_normal((2, 1, 7, EMBED))
    options = {"num_heads": HEADS, "num_kv_heads": GROUPS, "is_causal": is_causal}
    expected = reference.parallel_attention(x, weights, grad_y, **options)
    check_block(Mesh({"sp": 3, "tp": 2}), x, grad_y, expected, weights, is_causal=is_causal)


def test_step_on_batches_tokens_and_columns_sums_over_both(rng):
    """`data_parallel` over both axes is the sum over all tokens."""

    def step_on(mesh, **options):
        block = TransformerBlock.create(
            mesh, embed_dim=8, num_heads=2, hidden_dim=8, dtype=np.float64, seed=1, **options
        )

        def step(x, targets):
            y, saved = block.forward(x)
            loss, slope = cross_entropy(y, targets, axis=(), count=16)
            return loss, block.backward(saved, slope)[1]

        return step

    x, targets = rng.standard_normal((2, 8, 8)), rng.integers(0, 8, (2, 8))
    whole = Mesh({"tp": 1})
    value, expected = step_on(whole)(whole.put(x), whole.put(targets))
    mesh = Mesh({"dp": 2, "sp": 2, "tp": 2})
    step = data_parallel(step_on(mesh, sequence_axis="sp"), axis=("dp", "sp"), reduction="sum")
    loss, grads = step(mesh.put(x, P("dp", "sp")), mesh.put(targets, P("dp", "sp")))
    assert abs(loss.gather() - value.gather()) <= 1e-12 * value.gather()
    for name, gradient in grads.items():
        scale = np.abs(expected[name.replace("key_bias", "query_bias")].gather()).max()
        assert np.abs(gradient.gather() - expected[name].gather()).max() <= 1e-12 * scale, name


def test_block_of_split_tokens_dry_counts_what_simulated_does():
    reports = []
    for engine in ("simulated", "dry"):
        mesh = Mesh({"dp": 2, "sp": 2, "tp": 2}, engine=engine)
        block = TransformerBlock.create(mesh, embed_dim=8, num_heads=2, hidden_dim=8, sequence_axis="sp")
        x = mesh.zeros((2, 6, 8), np.float32, P("dp", "sp"))
        y, saved = block.forward(x)
        block.backward(saved, y)
        reports.append(mesh.report()._replace(engine=""))
    assert reports[0] == reports[1]
    assert "ppermute" in {row.kind for row in reports[0].collectives}


def test_block_of_split_tokens_wrong_axes_raise():
    mesh = Mesh({"sp": 2, "tp": 2})
    sizes = {"embed_dim": 8, "num_heads": 2, "hidden_dim": 8}
    with pytest.raises(ValueError, match="'pp' is not an axis of the mesh"):
        TransformerBlock.create(mesh, **sizes, sequence_axis="pp")
    with pytest.raises(ValueError, match="axis must name each mesh axis once"):
        TransformerBlock.create(mesh, **sizes, sequence_axis="tp")
    block = TransformerBlock.create(mesh, **sizes, sequence_axis="sp")
    with pytest.raises(ValueError, match=r"x must be split over \('sp',\) along its second axis"):
        block.forward(mesh.zeros((2, 4, 8), np.float32))
    whole = TransformerBlock.create(mesh, **sizes)
    with pytest.raises(ValueError, match=r"x must be whole along its second axis, .* sequence_axis="):
        whole.forward(mesh.zeros((2, 4, 8), np.float32, P(None, "sp")))
