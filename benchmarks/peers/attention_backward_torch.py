"""PyTorch: the gradients of torch.nn.functional.scaled_dot_product_attention by autograd."""

from typing import Any

from benchmarks.peers import fastest, require_torch
from benchmarks.registry import Side


def prepare(data: Any) -> Side:
    torch = require_torch()

    def side(transposed: bool) -> Side:
        given = [torch.from_numpy(x) for x in (data.query, data.key, data.value, data.grad_out)]
        if transposed:
            given = [x.transpose(1, 2).contiguous().transpose(1, 2) for x in given]
        *inputs, grad_out = given
        for x in inputs:
            x.requires_grad_()

        def forward() -> Any:
            with torch.enable_grad():
                return torch.nn.functional.scaled_dot_product_attention(*inputs, is_causal=data.problem.causal)

        def collect(gradients: Any) -> Any:
            return torch.stack(gradients).numpy()

        if data.with_forward:
            return Side(lambda: torch.autograd.grad(forward(), inputs, grad_out), collect)
        out = forward()
        return Side(lambda: torch.autograd.grad(out, inputs, grad_out, retain_graph=True), collect)

    return fastest({"BHLD": lambda: side(False), "BLHD": lambda: side(True)})
