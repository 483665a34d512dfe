"""PyTorch: packed sequences padded with a mask or one by one, block masks and ALiBi as a mask that is added."""

from typing import Any

import numpy as np

from benchmarks.peers import fastest, require_torch
from benchmarks.registry import Side


def prepare(data: Any) -> Side:
    """One call: padded sequences, or a mask made beforehand."""
    from benchmarks.cases.attention_scores import bias_of

    torch = require_torch()
    if data.problem.kind == "varlen":
        return padded(torch, data)
    arrays = [torch.from_numpy(x) for x in (data.query, data.key, data.value)]
    bias = bias_of(data)
    mask = None if bias is None else torch.from_numpy(bias)
    attention = torch.nn.functional.scaled_dot_product_attention
    return fastest({"mask added": lambda: Side(lambda: attention(*arrays, mask), lambda result: result.numpy())})


def padded(torch: Any, data: Any) -> Side:
    """(N, H, L, D) with zeros behind each sequence. Padding and packing again are not timed."""
    p = data.problem
    seen = np.arange(p.L) < p.lengths[:, None]

    def pad(x: np.ndarray) -> Any:
        rows = np.zeros((p.N, p.L, p.H, p.D), np.float32)
        rows[seen] = x
        return torch.from_numpy(rows).transpose(1, 2)

    arrays = [pad(x) for x in (data.query, data.key, data.value)]
    mask = np.where(seen, np.float32(0), np.float32(-np.inf))[:, None, None, :]
    # Causal, a query of a sequence sees none of the zeros behind it, and PyTorch takes no mask besides.
    options: dict[str, Any] = {"is_causal": True} if p.causal else {"attn_mask": torch.from_numpy(mask)}

    def side(contiguous: bool) -> Side:
        given = [x.contiguous() for x in arrays] if contiguous else arrays
        return Side(
            lambda: torch.nn.functional.scaled_dot_product_attention(*given, **options),
            lambda result: result.transpose(1, 2).numpy()[seen],
        )

    return fastest({"padded BHLD": lambda: side(True), "padded BLHD": lambda: side(False)})


def one_by_one(data: Any) -> Side:
    """A call a sequence, on views of the packed tokens."""
    torch = require_torch()
    p = data.problem
    packed = [torch.from_numpy(x) for x in (data.query, data.key, data.value)]
    pieces = [
        [x[start : start + n].transpose(0, 1)[None] for x in packed]
        for start, n in zip(p.starts.tolist(), p.lengths.tolist())
    ]

    def call() -> Any:
        attention = torch.nn.functional.scaled_dot_product_attention
        return [attention(*piece, is_causal=p.causal) for piece in pieces]

    def collect(results: Any) -> np.ndarray:
        return np.concatenate([result[0].transpose(0, 1).numpy() for result in results])

    return Side(call, collect, "views")
