"""Freezes what PyTorch computes on small seeded inputs into data/*.npz: `python tests/attention/freeze_expected.py`.

The files hold inputs, weights, options and results, so that `make test` compares with PyTorch without having it. Arrays
are named case/role/name, where role is one of input, weight, option and expected. Numbers are drawn as float16, which
keeps the files small, and computed in float64. Run with torch 2.13.0.
"""

from pathlib import Path

import numpy as np
import torch

DATA = Path(__file__).parent / "data"


class Draws:
    """Seeded numbers that float16 holds exactly."""

    def __init__(self, seed):
        self.rng = np.random.default_rng(seed)
        self.random = self.rng.random

    def normal(self, size, spread=1.0):
        return (spread * self.rng.normal(size=size)).astype(np.float16).astype(float)


def small(x):
    return x.astype(np.float16) if isinstance(x, np.ndarray) and x.dtype == np.float64 else x


def attention_cases(rng):
    """name -> (inputs, options as PyTorch takes them)."""

    def inputs(*axes, groups=None):
        kv_axes = axes if groups is None else (*axes[:-1], groups)
        return rng.normal(size=(*axes, 3, 4)), rng.normal(size=(*kv_axes, 5, 4)), rng.normal(size=(*kv_axes, 5, 2))

    mask = rng.random((2, 1, 3, 5)) < 0.7
    mask[..., 0] = True
    return {
        "plain": (inputs(2, 4), {}),
        "causal": (inputs(2, 4), {"is_causal": True}),
        "scale": (inputs(2, 4), {"scale": 0.875}),
        "bool_mask": (inputs(2, 4), {"attn_mask": mask}),
        "float_mask": (inputs(2, 4), {"attn_mask": rng.normal(size=(3, 5))}),
        "grouped": (inputs(2, 4, groups=2), {"enable_gqa": True}),
        "three_axes": (inputs(3), {"attn_mask": rng.normal(size=(3, 1, 5))}),
        "two_axes": (inputs(), {"is_causal": True}),
        "five_axes": (inputs(2, 3, 2), {"attn_mask": rng.normal(size=(3, 1, 3, 5))}),
    }


def layer_cases(rng):
    """name -> (layer arguments, inputs, call options)."""
    x, memory = rng.normal(size=(2, 5, 12)), rng.normal(size=(2, 7, 12))
    padding = np.array([[False] * 4 + [True] * 3, [False, True, False, False, True, False, False]])
    other = {"key": rng.normal(size=(2, 7, 10)), "value": rng.normal(size=(2, 7, 6))}
    return {
        "self": ({}, {"query": x}, {}),
        "no_bias": ({"bias": False}, {"query": x}, {}),
        "cross": ({}, {"query": x, "key": memory}, {}),
        "three_inputs": ({}, {"query": x, "key": memory, "value": rng.normal(size=(2, 7, 12))}, {}),
        "other_features": ({"kdim": 10, "vdim": 6}, {"query": x, **other}, {}),
        "unbatched": ({}, {"query": x[0], "key": memory[0]}, {"key_padding_mask": padding[1]}),
        "padding": ({}, {"query": x, "key": memory}, {"key_padding_mask": padding}),
        "float_mask": ({}, {"query": x}, {"attn_mask": rng.normal(size=(5, 5))}),
        "bool_mask": ({}, {"query": x}, {"attn_mask": np.triu(np.ones((5, 5), bool), 2)}),
        "mask_and_padding": (
            {}, {"query": x, "key": memory},
            {"attn_mask": np.triu(np.ones((5, 7), bool), 4), "key_padding_mask": padding},
        ),
    }  # fmt: skip


def attend(inputs, options):
    tensors = {name: torch.from_numpy(x) if isinstance(x, np.ndarray) else x for name, x in options.items()}
    out = torch.nn.functional.scaled_dot_product_attention(*map(torch.from_numpy, inputs), **tensors)
    return out.numpy()


def run_layer(arguments, inputs, options, seed):
    draws = Draws(seed)
    layer = torch.nn.MultiheadAttention(12, 4, batch_first=True, dtype=torch.float64, **arguments).eval()
    with torch.no_grad():
        for parameter in layer.parameters():  # torch starts biases at zero
            parameter.copy_(torch.from_numpy(draws.normal(parameter.shape, 0.5)))
    query = torch.from_numpy(inputs["query"])
    key = torch.from_numpy(inputs["key"]) if "key" in inputs else query
    value = torch.from_numpy(inputs["value"]) if "value" in inputs else key
    tensors = {name: torch.from_numpy(x) for name, x in options.items()}
    with torch.no_grad():
        out, _ = layer(query, key, value, need_weights=False, **tensors)
    return out.numpy(), {name: x.numpy() for name, x in layer.state_dict().items()}


def main():
    rng = Draws(20_170_612)
    frozen = {}
    for case, (inputs, options) in attention_cases(rng).items():
        frozen |= {f"{case}/input/{name}": small(x) for name, x in zip(("query", "key", "value"), inputs, strict=True)}
        frozen |= {f"{case}/option/{name}": small(x) for name, x in options.items()}
        frozen[f"{case}/expected/out"] = attend(inputs, options)
    np.savez_compressed(DATA / "scaled_dot_product.npz", **frozen)
    frozen = {}
    for seed, (case, (arguments, inputs, options)) in enumerate(layer_cases(rng).items()):
        out, weights = run_layer(arguments, inputs, options, seed)
        frozen |= {f"{case}/input/{name}": small(x) for name, x in inputs.items()}
        frozen |= {f"{case}/weight/{name}": small(x) for name, x in weights.items()}
        frozen |= {f"{case}/option/{name}": small(x) for name, x in options.items()}
        frozen[f"{case}/expected/out"] = out
    np.savez_compressed(DATA / "multi_head.npz", **frozen)


if __name__ == "__main__":
    main()
