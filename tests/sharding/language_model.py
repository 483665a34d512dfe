"""A small language model of sharded layers, and its weights; what the tests of training steps share."""

import numpy as np

from fastcore import reference
from fastcore.sharding import ColumnParallel, LayerNorm, P, Sequential, TransformerBlock, VocabularyEmbedding

VOCABULARY, TOKENS, EMBED, HIDDEN, HEADS, KV_HEADS = 19, 6, 24, 20, 6, 3


def weights_of_model(layers, dtype=np.float64):
    rng = np.random.default_rng(11)
    weights = {
        "embedding.weight": rng.standard_normal((VOCABULARY, EMBED)),
        "embedding.position_weight": rng.standard_normal((TOKENS + 2, EMBED)),
        "norm.weight": 1 + 0.1 * rng.standard_normal(EMBED),
        "norm.bias": 0.1 * rng.standard_normal(EMBED),
        "head.weight": rng.standard_normal((EMBED, VOCABULARY)) / np.sqrt(EMBED),
    }
    for layer in range(layers):
        block = reference.block_weights(EMBED, HIDDEN, HEADS, KV_HEADS, seed=layer)
        weights |= {f"{layer}.{name}": array for name, array in block.items()}
    return {name: array.astype(dtype) for name, array in weights.items()}


def part(weights, name):
    return {key.removeprefix(f"{name}."): array for key, array in weights.items() if key.startswith(f"{name}.")}


def stages_of_model(meshes, weights, layers):
    """One stage a mesh, the blocks spread evenly; answers the stages and, for each, the twin's names of its params."""
    stages, names = [], []
    for k, mesh in enumerate(meshes):
        chosen, prefixes = [], []
        if k == 0:
            chosen.append(VocabularyEmbedding(mesh, part(weights, "embedding")))
            prefixes.append("embedding")
        for layer in range(k * layers // len(meshes), (k + 1) * layers // len(meshes)):
            chosen.append(TransformerBlock(mesh, part(weights, str(layer)), num_heads=HEADS, num_kv_heads=KV_HEADS))
            prefixes.append(str(layer))
        if k == len(meshes) - 1:
            head = mesh.put(weights["head.weight"], P(None, "tp"), pad=True)
            chosen += [LayerNorm(mesh, part(weights, "norm")), ColumnParallel(head)]
            prefixes += ["norm", "head"]
        stages.append(Sequential(*chosen))
        places = {f"{i}.": f"{prefix}." for i, prefix in enumerate(prefixes)}
        names.append({name: places[name[:2]] + name[2:] for name in stages[-1].params})
    return stages, names


def batch(rows):
    """Tokens and targets, (rows, TOKENS)."""
    return np.random.default_rng(5).integers(0, VOCABULARY, (2, rows, TOKENS))


def expected_step(rows, layers):
    return reference.language_model(
        *batch(rows), weights_of_model(layers), num_layers=layers, num_heads=HEADS, num_kv_heads=KV_HEADS
    )
