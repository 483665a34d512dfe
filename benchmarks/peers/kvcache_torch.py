"""PyTorch: scaled_dot_product_attention over preallocated keys and values, as transformers' StaticCache has them."""

from functools import partial
from typing import Any

from benchmarks.peers import fastest, require, require_torch
from benchmarks.registry import Side, Unavailable

REPEATED_BYTES = 1 << 30  # beyond, keys and values are not repeated for each query head beforehand


def tensors(torch: Any, data: Any, *arrays: Any) -> list[Any]:
    """The arrays in the case's format; float32 ones share their memory."""
    if data.problem.dtype not in ("float32", "float16", "bfloat16"):
        raise Unavailable(f"its attention does not read keys of {data.problem.dtype}")
    kind = getattr(torch, data.problem.dtype)
    return [torch.from_numpy(array).to(kind) for array in arrays]


def collect(result: Any) -> Any:
    return result.float().numpy()


def prepare(data: Any) -> Side:
    """`enable_gqa`, or keys and values repeated for each query head beforehand."""
    torch = require_torch()
    p = data.problem
    query, key, value = tensors(torch, data, data.query, data.key, data.value)
    attention = torch.nn.functional.scaled_dot_product_attention
    repeats = p.H // p.G
    masks: dict[str, Any] = {"": None}
    if p.L > 1:
        (bias,) = tensors(torch, data, data.padding_bias())
        lower_right = require("torch.nn.attention.bias").causal_lower_right(p.L, p.S)
        masks = {", bias": bias, ", causal_lower_right": lower_right}

    def side(mask: Any, repeat: bool) -> Side:
        keys = [array.repeat_interleave(repeats, dim=1) if repeat else array for array in (key, value)]
        options = {"enable_gqa": True} if repeats > 1 and not repeat else {}
        return Side(partial(attention, query, *keys, attn_mask=mask, **options), collect)

    ways = {}
    for text, mask in masks.items():
        ways[("enable_gqa" if repeats > 1 else "SDPA") + text] = partial(side, mask, False)
        if repeats > 1 and 2 * repeats * key.nbytes <= REPEATED_BYTES:
            ways[f"keys repeated beforehand{text}"] = partial(side, mask, True)
    return fastest(ways)


def prepare_rows(data: Any) -> Side:
    """The query heads of one key head as rows of one query: the same numbers, and each key is read once.

    No model calls it like this, so it is a side of its own and not one of the ways above.
    """
    torch = require_torch()
    p = data.problem
    if p.H == p.G or p.L > 1:
        raise Unavailable("rows of query heads are for one token and several query heads a key head")
    query, key, value = tensors(torch, data, data.rows(), data.key, data.value)
    attention = torch.nn.functional.scaled_dot_product_attention
    call = partial(attention, query, key, value)
    return fastest({"rows": lambda: Side(call, lambda result: collect(result).reshape(data.query.shape))})


def prepare_step(data: Any) -> Side:
    """Write the newest keys and values into the buffers, then `prepare`'s call."""
    torch = require_torch()
    p = data.problem
    query, key, value, new_key, new_value = tensors(
        torch, data, data.query, data.key.copy(), data.value.copy(), *data.newest()
    )
    attention = torch.nn.functional.scaled_dot_product_attention
    options = {"enable_gqa": True} if p.H > p.G else {}

    def call() -> Any:
        key[:, :, p.S - p.L :] = new_key
        value[:, :, p.S - p.L :] = new_value
        return attention(query, key, value, **options)

    return fastest({"slice assignment, SDPA": lambda: Side(call, collect)})


def prepare_append(data: Any) -> Side:
    """The writing alone; the buffers are judged."""
    torch = require_torch()
    p = data.problem
    key, value = tensors(torch, data, data.key.copy(), data.value.copy())
    new_key, new_value = (torch.from_numpy(array.copy()) for array in data.newest())
    positions = torch.arange(p.S - p.L, p.S)

    def assign() -> Any:
        key[:, :, p.S - p.L :] = new_key
        value[:, :, p.S - p.L :] = new_value
        return key, value

    def index_copy() -> Any:
        key.index_copy_(2, positions, new_key.to(key.dtype))
        value.index_copy_(2, positions, new_value.to(value.dtype))
        return key, value

    return fastest(
        {
            "slice assignment": lambda: Side(assign, data.attend_stored),
            "index_copy_ (StaticCache)": lambda: Side(index_copy, data.attend_stored),
        }
    )
