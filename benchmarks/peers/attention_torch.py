"""PyTorch: torch.nn.functional.scaled_dot_product_attention."""

from functools import partial
from typing import Any

from benchmarks.peers import fastest, require_torch
from benchmarks.registry import Side


def tensor(torch: Any, array: Any) -> Any:
    """The same memory; PyTorch knows bfloat16, but not NumPy's."""
    if array.dtype == "bfloat16":
        return torch.from_numpy(array.view("int16")).view(torch.bfloat16)
    return torch.from_numpy(array)


def prepare(data: Any) -> Side:
    torch = require_torch()
    attention = torch.nn.functional.scaled_dot_product_attention
    p = data.problem
    arrays = [tensor(torch, array) for array in (data.query, data.key, data.value)]
    options: dict[str, Any] = {"is_causal": p.causal}
    bias = data.padding_bias()
    if bias is not None:
        # Additive: PyTorch turns a bool mask into one at every call.
        options["attn_mask"] = torch.from_numpy(bias)

    def side(inputs: list, **more: Any) -> Side:
        return Side(
            partial(attention, *inputs, **options, **more),
            lambda result: result.to(torch.promote_types(result.dtype, torch.float32)).numpy(),
        )

    def contiguous() -> Side:
        return side(arrays)

    def transposed() -> Side:
        """(B, L, H, D) in memory, as models have it and as its flash kernel iterates."""
        return side([array.transpose(1, 2).contiguous().transpose(1, 2) for array in arrays])

    if p.groups == p.H:
        return fastest({"BHLD": contiguous, "BLHD": transposed})
    repeats = p.H // p.groups
    repeated = [arrays[0], *(array.repeat_interleave(repeats, dim=1) for array in arrays[1:])]
    return fastest(
        {"enable_gqa": lambda: side(arrays, enable_gqa=True), "keys repeated beforehand": lambda: side(repeated)}
    )
