"""PyTorch: the functions of torch.nn.functional with the same names."""

from typing import Any

from benchmarks.environment import thread_count
from benchmarks.peers import fastest, require
from benchmarks.registry import Side


def prepare(data: Any) -> Side:
    torch = require("torch")
    torch.set_num_threads(thread_count())
    functional, p = torch.nn.functional, data.problem
    x, residual, weight, bias = map(torch.from_numpy, (data.x, data.residual, data.weight, data.bias))
    calls = {
        "gelu": lambda: functional.gelu(x, approximate=p.approximate),
        "layer_norm": lambda: functional.layer_norm(x, (p.E,), weight, bias),
        "add_layer_norm": lambda: functional.layer_norm(x + residual, (p.E,), weight, bias),
    }

    def call() -> Any:
        with torch.inference_mode():
            return calls[p.function]()

    return fastest({p.function: lambda: Side(call, lambda result: result.numpy())})
