"""PyTorch: torch.nn.MultiheadAttention in evaluation mode, without attention weights (its fast path)."""

from functools import partial
from typing import Any

from benchmarks.peers import fastest, require_torch
from benchmarks.registry import Side


def prepare(data: Any) -> Side:
    torch = require_torch()
    functional = torch.nn.functional
    layer = data.layer
    x, in_weight, in_bias, out_weight, out_bias = map(
        torch.from_numpy, (data.x, data.in_weight, data.in_bias, data.out_weight, data.out_bias)
    )

    def module() -> Side:
        attention = torch.nn.MultiheadAttention(layer.E, layer.H, batch_first=True)
        attention.load_state_dict(
            {
                "in_proj_weight": in_weight,
                "in_proj_bias": in_bias,
                "out_proj.weight": out_weight,
                "out_proj.bias": out_bias,
            }
        )
        attention.eval()

        return Side(partial(attention, x, x, x, need_weights=False), lambda result: result[0].numpy())

    def by_hand() -> Side:
        """As transformers writes it: linear, SDPA on a transposed view, linear."""
        shape = (layer.B, layer.L, 3, layer.H, layer.E // layer.H)

        def call() -> Any:
            query, key, value = functional.linear(x, in_weight, in_bias).view(shape).permute(2, 0, 3, 1, 4)
            attended = functional.scaled_dot_product_attention(query, key, value)
            joined = attended.transpose(1, 2).reshape(layer.B, layer.L, layer.E)
            return functional.linear(joined, out_weight, out_bias)

        return Side(call, lambda result: result.numpy())

    return fastest({"nn.MultiheadAttention": module, "linear, SDPA, linear": by_hand})
