"""PyTorch: the functions of torch.nn.functional with the same names."""

from collections.abc import Callable
from functools import partial
from typing import Any

from benchmarks.peers import fastest, require_torch
from benchmarks.registry import Side


def prepare(data: Any) -> Side:
    torch = require_torch()
    functional, p = torch.nn.functional, data.problem
    x, residual, weight, bias = map(torch.from_numpy, (data.x, data.residual, data.weight, data.bias))
    calls: dict[str, Callable[[], Any]] = {
        "gelu": partial(functional.gelu, x, approximate=p.approximate),
        "layer_norm": partial(functional.layer_norm, x, (p.E,), weight, bias),
        "add_layer_norm": lambda: functional.layer_norm(x + residual, (p.E,), weight, bias),
    }
    return fastest({p.function: lambda: Side(calls[p.function], lambda result: result.numpy())})
