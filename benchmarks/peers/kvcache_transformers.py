"""transformers: DynamicCache, the cache its models have by default, which concatenates."""

from typing import Any

from benchmarks.peers import fastest, require, require_torch
from benchmarks.peers.kvcache_torch import tensors
from benchmarks.registry import Side


def prepare_append(data: Any) -> Side:
    torch = require_torch()
    transformers = require("transformers")
    p = data.problem
    key, value, *new = tensors(torch, data, data.key, data.value, *data.newest())

    def dynamic() -> Side:
        cache = transformers.DynamicCache()
        cache.update(key, value, 0)

        def call() -> Any:
            cache.crop(-p.L)  # views; the next update copies them
            return cache.update(*new, 0)

        return Side(call, data.attend_stored)

    return fastest({"DynamicCache": dynamic})
