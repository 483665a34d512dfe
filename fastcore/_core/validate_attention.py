"""Argument checks of attention: shapes, masks and the weights of the layer. `validate` has the general ones."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from fastcore._core.validate import (
    as_native_array,
    casts_to_float,
    flag,
    float_array,
    is_float_type,
    kind_of,
    positive_index,
    shown,
)

# bfloat16 as its bits, for callers without ml_dtypes.
BFLOAT_BITS = np.dtype([("bfloat16", np.uint16)])


def attention_array(x: Any, name: str) -> np.ndarray:
    """`validate.float_array`, or an ndarray of `BFLOAT_BITS`."""
    if type(x) is np.ndarray and x.dtype == BFLOAT_BITS:
        return x
    return float_array(x, name)


def attention_ranks(query: np.ndarray, key: np.ndarray, value: np.ndarray) -> None:
    if query.ndim < 2 or not query.ndim == key.ndim == value.ndim:
        raise ValueError(
            "query, key and value must have the same number of axes, at least 2: (B, H, L, D), (N, L, D) or (L, D)."
            f" Got {_shapes(query, key, value)}."
        )


def attention_sizes(query: np.ndarray, key: np.ndarray, value: np.ndarray) -> None:
    """The rules on the last three axes; H and G are 1 where there is no head axis."""
    if key.shape[-2] != value.shape[-2]:
        raise ValueError(
            f"key has {key.shape[-2]} positions and value {value.shape[-2]}; they must be equal."
            f" Got {_shapes(query, key, value)}."
        )
    if query.shape[-1] != key.shape[-1]:
        raise ValueError(
            f"query has head size {query.shape[-1]} and key {key.shape[-1]}; they must be equal."
            f" Got {_shapes(query, key, value)}."
        )
    if query.shape[-1] == 0 or value.shape[-1] == 0:
        raise ValueError(f"the last axes must not be empty. Got {_shapes(query, key, value)}.")


def attention_heads(query: np.ndarray, key: np.ndarray, value: np.ndarray) -> None:
    heads, groups = query.shape[-3], key.shape[-3]
    if value.shape[-3] != groups:
        raise ValueError(
            f"key has {groups} heads and value {value.shape[-3]}; they must be equal. Got {_shapes(query, key, value)}."
        )
    if heads and (groups == 0 or heads % groups):
        raise ValueError(
            f"key has {groups} heads; the {heads} heads of query must be a multiple of it."
            f" Got {_shapes(query, key, value)}."
        )


def attention_batch(query: np.ndarray, key: np.ndarray, value: np.ndarray, axes: int) -> tuple[int, ...]:
    """The common batch axes: all but the last `axes`. Sizes of 1 stretch, as in PyTorch."""
    if query.shape[:-axes] == key.shape[:-axes] == value.shape[:-axes]:
        return query.shape[:-axes]
    try:
        return np.broadcast_shapes(query.shape[:-axes], key.shape[:-axes], value.shape[:-axes])
    except ValueError:
        raise ValueError(
            f"query, key and value must have the same batch axes, or 1 there. Got {_shapes(query, key, value)}."
            + (" Grouped heads without a batch axis: pass enable_gqa=True." if query.ndim == 3 else "")
        ) from None


def attention_mask(mask: Any, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray | None:
    """`attn_mask` as a view of shape (..., L, S), bool or `dtype`; what is converted is the mask, never the view."""
    if mask is None:
        return None
    mask = mask_array(mask, "attn_mask")
    return spread_mask(readable_mask(mask, dtype), shape)


def readable_mask(mask: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """A mask as aligned bool, or `dtype` where it is float."""
    if mask.dtype in (np.bool_, dtype) and mask.flags.aligned:
        return mask
    # float64's lowest number, a habit of some masks, becomes -inf in float32: "not at all", as it was meant.
    with np.errstate(over="ignore"):
        return mask.astype(np.bool_ if mask.dtype == np.bool_ else dtype)


def mask_array(mask: Any, name: str) -> np.ndarray:
    """A mask as a native ndarray of bool or float."""
    array = as_native_array(mask, name)
    if array.dtype != np.bool_ and not is_float_type(array.dtype):
        fix = ""
        if array.dtype.kind in "iu":
            fix = f" Pass {name}.astype(bool)."
        elif casts_to_float(array.dtype):
            fix = f" Pass {name}.astype(np.float32)."
        raise TypeError(f"{name} must be bool or float (added to the scores). Got {array.dtype}.{fix}")
    return array


def spread_mask(mask: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """`attn_mask` as a read-only view of the scores' shape."""
    if mask.shape == shape:
        return mask
    try:
        return np.broadcast_to(mask, shape)
    except ValueError:
        raise ValueError(
            f"attn_mask must broadcast to {shape}: the axes of query but the last, then the number of keys."
            f" Got shape {mask.shape}."
        ) from None


def _shapes(query: np.ndarray, key: np.ndarray, value: np.ndarray) -> str:
    return f"query {query.shape}, key {key.shape}, value {value.shape}"


def states(out_a: np.ndarray, lse_a: np.ndarray, out_b: np.ndarray, lse_b: np.ndarray) -> None:
    """Shapes of two attention states that are to be merged."""
    if out_a.ndim == 0 or out_a.shape != out_b.shape:
        raise ValueError(f"out_a and out_b must have one shape (..., L, Dv). Got {out_a.shape} and {out_b.shape}.")
    for name, lse in (("lse_a", lse_a), ("lse_b", lse_b)):
        if lse.shape != out_a.shape[:-1]:
            raise ValueError(
                f"{name} must have the shape of out_a without its last axis, {out_a.shape[:-1]}. Got {lse.shape}."
            )


# --- the multi-head layer ---------------------------------------------------------------------------------------------

LAYER_NAMES = {
    f"{part}_{kind}" for part in ("in_proj", "q_proj", "k_proj", "v_proj", "out_proj") for kind in ("weight", "bias")
}


def head_counts(embed_dim: Any, num_heads: Any, num_kv_heads: Any) -> tuple[int, int, int]:
    embed_dim, num_heads = positive_index(embed_dim, "embed_dim"), positive_index(num_heads, "num_heads")
    kv_heads = num_heads if num_kv_heads is None else positive_index(num_kv_heads, "num_kv_heads")
    if embed_dim % num_heads:
        raise ValueError(f"embed_dim must be a multiple of num_heads. Got {embed_dim} and {num_heads}.")
    if num_heads % kv_heads:
        raise ValueError(f"num_heads must be a multiple of num_kv_heads. Got {num_heads} and {kv_heads}.")
    return embed_dim, num_heads, kv_heads


def layer_weights(weights: Mapping[str, np.ndarray], embed_dim: int, kv_rows: int, kdim: int, vdim: int) -> None:
    """Exactly one set of weights, each of its shape."""
    separate = [f"{x}_proj_weight" for x in "qkv"]
    missing = [
        name for name in [*([] if "in_proj_weight" in weights else separate), "out_proj_weight"] if name not in weights
    ]
    if missing:
        raise ValueError(
            f"out_proj_weight and either in_proj_weight or all of {', '.join(separate)} must be given. Missing"
            f" {', '.join(missing)}."
        )
    for kind in ("weight", "bias"):
        twice = [name for x in "qkv" if f"in_proj_{kind}" in weights and (name := f"{x}_proj_{kind}") in weights]
        if twice:
            raise ValueError(f"in_proj_{kind} already holds {', '.join(twice)}. Pass one or the other.")
    if "in_proj_weight" in weights and not embed_dim == kdim == vdim:
        raise ValueError(
            f"in_proj_weight needs kdim and vdim equal to embed_dim, {embed_dim}. Got {kdim} and {vdim}. Pass"
            f" {', '.join(separate)}."
        )
    rows = {"in": embed_dim + 2 * kv_rows, "q": embed_dim, "k": kv_rows, "v": kv_rows, "out": embed_dim}
    columns = {"in": embed_dim, "q": embed_dim, "k": kdim, "v": vdim, "out": embed_dim}
    for name, array in weights.items():
        part = name.split("_")[0]
        shape = (rows[part], columns[part]) if name.endswith("weight") else (rows[part],)
        if array.shape != shape:
            raise ValueError(f"{name} must have shape {shape} (features out first, as in PyTorch). Got {array.shape}.")


def layer_names(state: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    """The constructor's names for the names of a state dict, where `out_proj.weight` is out_proj_weight."""
    weights = {name.replace(".", "_"): x for name, x in state.items()}
    unknown = sorted(name for name in weights if name not in LAYER_NAMES)
    if unknown:
        raise ValueError(
            f"state may hold in_proj, q_proj, k_proj, v_proj and out_proj, each weight and bias. Got also"
            f" {', '.join(unknown)}. Pass prefix= to pick one layer; bias_k and bias_v are not supported."
        )
    if getattr(weights.get("out_proj_weight"), "ndim", 0) != 2:
        raise ValueError(f"state must hold the matrix {prefix}out_proj.weight. Got {sorted(state) or 'no name'}.")
    return weights


def torch_layer(module: Any) -> None:
    for name in ("state_dict", "num_heads", "add_zero_attn"):
        if not hasattr(module, name):
            raise TypeError(f"module must be a torch.nn.MultiheadAttention. Got {kind_of(module)}.")
    if module.add_zero_attn:
        raise ValueError("module must not use add_zero_attn, which is not supported. Got add_zero_attn=True.")


def layer_inputs(arrays: Sequence[np.ndarray], features: Sequence[int], dtype: np.dtype) -> None:
    """query, key and value of the layer."""
    query, key, value = arrays
    for name, array, size in zip(("query", "key", "value"), arrays, features, strict=True):
        if array.dtype != dtype:
            raise TypeError(f"{name} must have the dtype of the weights, {dtype}. Got {array.dtype}.")
        if array.ndim not in (2, 3) or array.ndim != query.ndim or array.shape[-1] != size:
            raise ValueError(
                f"{name} must be (B, rows, {size}) or (rows, {size}), with as many axes as query. Got {array.shape}."
            )
    if key.shape[:-1] != value.shape[:-1] or (query.ndim == 3 and query.shape[0] != key.shape[0]):
        raise ValueError(
            "query, key and value must have the same batch, key and value the same positions."
            f" Got {_shapes(query, key, value)}."
        )


def padding_mask(mask: Any, shape: tuple[int, ...]) -> np.ndarray:
    array = mask_array(mask, "key_padding_mask")
    if array.shape != shape:
        raise ValueError(f"key_padding_mask must have the shape of key without features, {shape}. Got {array.shape}.")
    return array


def no_weights(need_weights: Any) -> None:
    if flag(need_weights, "need_weights"):
        raise ValueError(
            "need_weights must be False: the L x S weights are never formed."
            " fastcore.reference.multi_head_attention(..., need_weights=True) forms them."
        )


def precision(x: Any, dtype: np.dtype) -> str:
    """How exactly products are taken: "highest", or "bf16" for float32 and bfloat16."""
    if not isinstance(x, str):
        raise TypeError(f'precision must be "highest" or "bf16". Got {kind_of(x)}.')
    if x not in ("highest", "bf16"):
        raise ValueError(f'precision must be "highest" or "bf16". Got {shown(x)}.')
    if x == "bf16" and dtype.char in "de":
        raise TypeError(
            f'precision="bf16" is for float32 and bfloat16. Got {dtype}. Convert it, or leave precision out.'
        )
    return x
