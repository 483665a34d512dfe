"""Arguments of a wrong kind: the error names argument and rule, and is none of Python's or NumPy's own."""

import numpy as np
import pytest

from fastcore.sharding import (
    ColumnParallel,
    LayerNorm,
    Mesh,
    MixtureOfExperts,
    P,
    ParallelAttention,
    ParallelMLP,
    RowParallel,
    Sequential,
    TransformerBlock,
    VocabularyEmbedding,
    all_gather,
    all_to_all,
    device_function,
    device_kernel,
    pipeline,
    psum_scatter,
    ring_attention_backward,
    simulate_schedule,
    transfer,
    ulysses_attention_backward,
)

MESH = Mesh({"dp": 2, "tp": 2})
X = MESH.put(np.ones((4, 4)), P("dp"))
WEIGHT = MESH.put(np.ones((4, 4)), P(None, "tp"))
ARRAY = np.ones((4, 4))


def create(**changed):
    return TransformerBlock.create(MESH, **{"embed_dim": 4, "num_heads": 2, "hidden_dim": 8, **changed})


def train(loss):
    norm = LayerNorm(MESH, {"weight": np.ones(4), "bias": np.zeros(4)})
    return pipeline([Sequential(norm)], [MESH.put(np.ones((4, 2, 4)), P("dp"))], loss=loss)


CASES = {
    "transfer to none": (lambda: transfer(X, None), "target must be a Mesh"),
    "transfer to an array": (lambda: transfer(X, X), "target must be a Mesh"),
    "ColumnParallel of NumPy": (lambda: ColumnParallel(ARRAY), "weight must be a ShardedArray"),
    "RowParallel of NumPy": (lambda: RowParallel(ARRAY), "weight must be a ShardedArray"),
    "ColumnParallel, bias": (lambda: ColumnParallel(WEIGHT, "x"), "bias must be a ShardedArray"),
    "LayerNorm": (lambda: LayerNorm({"dp": 2}, {}), "mesh must be a Mesh"),
    "ParallelMLP": (lambda: ParallelMLP(None, {}), "mesh must be a Mesh"),
    "ParallelAttention": (lambda: ParallelAttention(3, {}, num_heads=1), "mesh must be a Mesh"),
    "VocabularyEmbedding": (lambda: VocabularyEmbedding("tp", {}), "mesh must be a Mesh"),
    "MixtureOfExperts": (lambda: MixtureOfExperts("tp", {}), "mesh must be a Mesh"),
    "create": (lambda: TransformerBlock.create(3, embed_dim=4, num_heads=2, hidden_dim=8), "mesh must be a Mesh"),
    "create, hidden_dim none": (lambda: create(hidden_dim=None), "hidden_dim must be an integer"),
    "create, hidden_dim text": (lambda: create(hidden_dim="x"), "hidden_dim must be an integer"),
    "create, embed_dim": (lambda: create(embed_dim="x"), "embed_dim must be an integer"),
    "create, dtype": (lambda: create(dtype="x"), "dtype must be one of NumPy's"),
    "create, integers": (lambda: create(dtype=int), "dtype must be float32 or float64"),
    "create, seed": (lambda: create(seed="x"), "seed must be an integer"),
    "gather of NumPy": (lambda: MESH.gather(ARRAY), "gather takes a ShardedArray"),
    "gather, check": (lambda: X.gather(check=3), "check must be True or False"),
    "put, pad": (lambda: MESH.put(ARRAY, pad="x"), "pad must be True or False"),
    "device_function": (lambda: device_function(3), "A function must be given"),
    "device_kernel": (lambda: device_kernel(3), "A function must be given"),
    "simulate_schedule": (lambda: simulate_schedule("x", 1, 1), "actions must be a list of actions for each device"),
    "simulate_schedule, actions": (lambda: simulate_schedule([[3]], 1, 1), "must be an Action"),
    "ring_attention_backward": (lambda: ring_attention_backward(3, X), "saved must be what ring_attention"),
    "ulysses_attention_backward": (lambda: ulysses_attention_backward(3, X), "saved must be what ulysses_attention"),
    "pipeline, loss": (lambda: train(3), "loss must be a function"),
    "pipeline, loss answers none": (lambda: train(lambda y: None), "must answer \\(value, grad_y\\). Got NoneType"),
    "pipeline, loss answers an array": (lambda: train(lambda y: y), "must answer \\(value, grad_y\\)"),
    "all_gather, tiled": (lambda: all_gather(X, "dp", tiled=np.ones(3)), "tiled must be True or False"),
    "all_to_all, tiled": (lambda: all_to_all(X, "dp", 0, 0, tiled="x"), "tiled must be True or False"),
    "psum_scatter, tiled": (lambda: psum_scatter(X, "dp", tiled=1), "tiled must be True or False"),
    "X + X": (lambda: X + X, "ShardedArrays have no operator \\+: .* device_kernel"),
    "X * 2": (lambda: X * 2.0, "ShardedArrays have no operator \\*"),
    "array - X": (lambda: ARRAY - X, "A ShardedArray must be gathered"),
    "X @ array": (lambda: X @ ARRAY, "ShardedArrays have no operator @"),
    "astype": (lambda: X.astype("x"), "dtype must be one of NumPy's"),
}


@pytest.mark.parametrize("name", CASES)
def test_argument_of_wrong_kind_raises(name):
    call, message = CASES[name]
    with pytest.raises(TypeError, match=message):
        call()


@pytest.mark.parametrize("layer", [ColumnParallel, RowParallel])
def test_linear_layer_of_another_partition_raises_when_made(layer):
    weight = X if layer is ColumnParallel else WEIGHT
    with pytest.raises(ValueError, match="weight must be put with"):
        layer(weight)


@pytest.mark.parametrize("engine", ["simulated", "dry"])
def test_mesh_of_too_many_devices_raises(engine):
    with pytest.raises(ValueError, match=r"at most 10,000,000 devices. Got 1,000,000,000, axes"):
        Mesh({"a": 10**4, "b": 10**5}, engine=engine)


def test_gather_of_another_mesh_raises():
    other = Mesh({"dp": 4}).put(np.ones((4, 4)), "dp")
    with pytest.raises(ValueError, match=r"gathers its own arrays\. Got one of Mesh\({'dp': 4}"):
        MESH.gather(other)
    with pytest.raises(ValueError, match="gathers its own arrays"):
        MESH.gather(MESH.at(dp=0).put(np.ones((4, 4)), "tp"))


def test_layer_norm_split_along_features_raises():
    norm = LayerNorm(MESH, {"weight": np.ones(4), "bias": np.zeros(4)})
    with pytest.raises(ValueError, match=r"x must be whole along its last axis\. Got"):
        norm.forward(MESH.put(np.ones((2, 2, 4)), P(None, None, "tp")))


@pytest.mark.parametrize("engine", ["simulated", "dry"])
def test_astype_converts_and_keeps_the_partition(engine):
    mesh = Mesh({"tp": 4}, engine=engine)
    x = mesh.put(np.arange(6.0) / 4, "tp", pad=True)
    y = x.astype(np.int32)
    assert (y.shape, y.block_shape, y.spec, y.dtype) == (x.shape, x.block_shape, x.spec, np.int32)
    if engine == "simulated":
        np.testing.assert_array_equal(y.gather(), [0, 0, 0, 0, 1, 1])
