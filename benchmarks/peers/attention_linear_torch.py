"""PyTorch: linear attention in chunks, by batched products; it has no function of its own."""

from functools import partial
from typing import Any

from benchmarks.peers import fastest, require_torch
from benchmarks.registry import Side

CHUNKS = (64, 128, 256)


def prepare(data: Any) -> Side:
    torch = require_torch()
    arrays = [torch.from_numpy(x) for x in (data.query, data.key, data.value)]

    def mapped(x: Any) -> Any:
        return torch.nn.functional.elu(x) + 1

    def whole() -> Any:
        query, key, value = mapped(arrays[0]), mapped(arrays[1]), arrays[2]
        return (query @ (key.mT @ value)) / (query @ key.sum(2)[..., None])

    def causal(chunk: int) -> Any:
        query, key, value = (x.unflatten(2, (-1, chunk)) for x in (mapped(arrays[0]), mapped(arrays[1]), arrays[2]))
        states, sums = key.mT @ value, key.sum(3)
        states, sums = states.cumsum(2) - states, sums.cumsum(2) - sums
        weights = (query @ key.mT).tril_()
        total = weights.sum(-1, keepdim=True) + query @ sums[..., None]
        return ((weights @ value + query @ states) / total).flatten(2, 3)

    def side(call: Any) -> Side:
        return Side(call, lambda result: result.numpy())

    if not data.problem.causal:
        return fastest({"two products": lambda: side(whole)})
    return fastest({f"chunks of {chunk}": partial(side, partial(causal, chunk)) for chunk in CHUNKS})
