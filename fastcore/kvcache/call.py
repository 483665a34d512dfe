"""One call of attend, its arguments checked: what the kernel reads and writes, and what the caller gets."""

import math
from typing import Any, NamedTuple

import numpy as np

from fastcore._core import validate, validate_cache
from fastcore._core.validate_cache import CacheSizes

_FLOAT32 = np.dtype(np.float32)


class AttendCall(NamedTuple):
    query: np.ndarray  # (B, H, T, D) float32
    target: np.ndarray  # (B, H, T, Dv) float32
    result: np.ndarray  # (B, H, T, Dv) or (B, H, Dv), dtype of the query that came
    in_place: bool  # target is result
    scale: float
    softcap: float  # 0 for none
    is_causal: bool

    def finish(self, counts: np.ndarray | None) -> np.ndarray:
        """The result: in the caller's dtype, zeros beyond the `counts` new tokens of each sequence."""
        if counts is not None:
            for target, count in zip(self.target, counts.tolist(), strict=True):
                target[:, count:] = 0.0
        if not self.in_place:
            with np.errstate(over="ignore"):  # float16 ends at 65504
                self.result[...] = self.target.reshape(self.result.shape)
        return self.result


def attend_call(
    query: Any,
    scale: Any,
    softcap: Any,
    is_causal: Any,
    out: Any,
    sizes: CacheSizes,
    inputs: tuple[np.ndarray, ...] = (),
) -> AttendCall:
    """Check the arguments of `KVCache.attend`; `inputs` are arrays that are read after the first row is written."""
    query = validate_cache.query_array(query, sizes)
    scale = 1.0 / math.sqrt(sizes.head_dim) if scale is None else validate.finite_float(scale, "scale")
    softcap = 0.0 if softcap is None else validate.positive_float(softcap, "softcap")
    is_causal = validate.flag(is_causal, "is_causal")
    shape = (*query.shape[:-1], sizes.value_dim)
    result = np.empty(shape, query.dtype) if out is None else validate.output_array(out, shape, query.dtype)
    rows = validate_cache.as_float32(query)
    in_place = result.dtype == _FLOAT32 and (
        out is None or (validate.is_readable_in_place(out) and not validate.shares_memory(out, (rows, *inputs)))
    )
    target = np.asarray(result) if in_place else np.empty(shape, _FLOAT32)
    if len(shape) == 3:
        rows, target = rows[:, :, None], target[:, :, None]
    return AttendCall(rows, target, result, in_place, scale, softcap, is_causal)
