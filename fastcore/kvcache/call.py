"""One call of attend, its arguments checked: what the kernel reads and writes, and what the caller gets."""

from typing import Any, NamedTuple

import numpy as np

from fastcore._core import validate, validate_cache
from fastcore._core.validate import LARGEST_SCALE
from fastcore._core.validate_cache import CacheSizes
from fastcore.kvcache.kernels import plain

_FLOAT32 = np.dtype(np.float32)
_ndarray = np.ndarray
_empty = np.empty


class AttendCall(NamedTuple):
    query: np.ndarray  # (B, H, T, D) float32
    target: np.ndarray  # (B, H, T, Dv) float32
    result: np.ndarray  # (B, H, T, Dv) or (B, H, Dv), dtype of the query that came
    in_place: bool  # target is result
    options: tuple[float, float, bool]  # scale, softcap (0 for none), is_causal

    @property
    def is_causal(self) -> bool:
        return self.options[2]

    def finish(self, counts: np.ndarray | None) -> np.ndarray:
        """The result: in the caller's dtype, zeros beyond the `counts` new tokens of each sequence."""
        if counts is not None:
            for target, count in zip(self.target, counts.tolist(), strict=True):
                target[:, count:] = 0.0
        if not self.in_place:
            with np.errstate(over="ignore"):  # float16 ends at 65504
                self.result[...] = self.target.reshape(self.result.shape)
        return self.result


def attend_options(scale: Any, softcap: Any, is_causal: Any, default_scale: float) -> tuple[float, float, bool]:
    """Scale, softcap (0 for none) and is_causal, checked."""
    if scale is None:
        scale = default_scale
    elif type(scale) is not float or not -LARGEST_SCALE <= scale <= LARGEST_SCALE:
        scale = validate.score_scale(scale)
    if softcap is None:
        softcap = 0.0
    elif type(softcap) is not float or not 1.0 <= softcap <= LARGEST_SCALE:
        softcap = validate.score_cap(softcap)
    return scale, softcap, is_causal if is_causal is True else validate.flag(is_causal, "is_causal")


def attend_call(
    query: Any,
    options: tuple[Any, Any, Any, float],
    out: Any,
    sizes: CacheSizes,
    inputs: tuple[np.ndarray, ...] = (),
) -> AttendCall:
    """Check the arguments of `KVCache.attend`; `inputs` are arrays that are read after the first row is written."""
    query = validate_cache.query_array(query, sizes)
    checked = attend_options(*options)
    shape = (*query.shape[:-1], sizes.value_dim)
    result = np.empty(shape, query.dtype) if out is None else validate.output_array(out, shape, query.dtype)
    rows = validate_cache.as_float32(query)
    in_place = result.dtype == _FLOAT32 and (
        out is None or (validate.is_readable_in_place(out) and not validate.shares_memory(out, (rows, *inputs)))
    )
    target = np.asarray(result) if in_place else np.empty(shape, _FLOAT32)
    if len(shape) == 3:
        rows, target = rows[:, :, None], target[:, :, None]
    return AttendCall(rows, target, result, in_place, checked)


def plain_call(
    query: Any,
    options: tuple[Any, Any, Any, float],
    out: Any,
    sizes: CacheSizes,
    inputs: tuple[np.ndarray, ...] = (),
) -> AttendCall | None:
    """`attend_call` of float32 arrays in 1 us instead of 6, None if they are none.

    Shapes, strides and alignment are left to `plain.may_attend`, which looks at them in compiled code. `inputs` are the
    key and value of a step, `plain_tokens`.
    """
    if type(query) is not _ndarray or query.dtype is not _FLOAT32 or (axes := query.ndim) not in (3, 4):
        return None
    checked = attend_options(*options)
    if out is None:
        try:
            result = _empty((*query.shape[:-1], sizes.value_dim), _FLOAT32)
        except (MemoryError, ValueError):  # a wrong shape of a stretched array may ask for any size
            return None
    elif type(out) is _ndarray and out.dtype is _FLOAT32 and out.ndim == axes and out.flags.writeable:
        result = out
    else:
        return None
    rows, target = (query, result) if axes == 4 else (query[:, :, None], result[:, :, None])
    if out is not None and plain.TOUCHES.call(target, rows, *(inputs or (rows, rows))):
        return None
    return AttendCall(rows, target, result, True, checked)


def plain_tokens(key: Any, value: Any) -> bool:
    """Whether key and value are float32 arrays of four axes; `plain.lengthen` looks at the rest."""
    return type(key) is type(value) is _ndarray and key.dtype is value.dtype is _FLOAT32 and key.ndim == value.ndim == 4
