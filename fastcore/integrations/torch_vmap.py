"""`torch.func.vmap` of attention: the mapped axis joins the batch where no option tells sequences apart.

Where one does (dropout and score functions by the number of the sequence, gradients of masks and sinks, which are sums
over the batch), the operator is called for each element.
"""

from collections.abc import Sequence
from typing import Any

import torch

from fastcore.integrations.torch_operator import Options, Tensors

_SINKS, _SLOPES = Tensors._fields.index("sinks"), Tensors._fields.index("alibi_slopes")
_MASKS = (Tensors._fields.index("attn_mask"), Tensors._fields.index("block_mask"))
_PER_SEQUENCE = (Tensors._fields.index("query_offset"), Tensors._fields.index("key_lengths"))
_SEED = Tensors._fields.index("seed")
_SCORE_MOD = len(Tensors._fields) + Options._fields.index("score_mod")


def _in_front(x: torch.Tensor, axis: int | None, size: int) -> torch.Tensor:
    """The mapped axis first, of this size."""
    return x.unsqueeze(0).expand(size, *x.shape) if axis is None else x.movedim(axis, 0)


def _joined(x: torch.Tensor, axis: int | None, size: int, batch: int | None = None) -> torch.Tensor:
    """The mapped axis joined with the first one, which is stretched to ``batch``."""
    x = _in_front(x, axis, size)
    if batch is not None and x.shape[1] != batch:
        x = x.expand(size, batch, *x.shape[2:])
    return x.flatten(0, 1)


def _join_options(arguments: Sequence[Any], axes: Sequence[Any], size: int, batch: int) -> list[Any]:
    """The options of a batch of ``size * batch``."""
    joined = list(arguments)
    for at in _MASKS:
        mask, axis = arguments[at], axes[at]
        if mask is None:
            continue
        if axis is not None:
            mask = mask.movedim(axis, 0)
            mask = mask.reshape(size, *(1,) * (5 - mask.ndim), *mask.shape[1:])
            joined[at] = _joined(mask, 0, size, batch)
        elif mask.ndim == 4 and mask.shape[0] > 1:
            joined[at] = _joined(mask, None, size, batch)
    for at in _PER_SEQUENCE:
        if arguments[at] is not None:
            joined[at] = _joined(arguments[at], axes[at], size, batch)
    slopes, axis = arguments[_SLOPES], axes[_SLOPES]
    if slopes is not None and (axis is not None or slopes.ndim == 2):
        if axis is not None and slopes.ndim == 2:  # one slope a head, for all sequences
            slopes, axis = slopes.movedim(axis, 0).unsqueeze(1), 0
        joined[_SLOPES] = _joined(slopes, axis, size, batch)
    return joined


def _one_by_one(operator: Any, size: int, axes: Sequence[Any], arguments: Sequence[Any]) -> tuple[Any, Any]:
    results = [
        operator(*(x if axis is None else x.select(axis, i) for x, axis in zip(arguments, axes))) for i in range(size)
    ]
    stacked = tuple(torch.stack(each) for each in zip(*results))
    return stacked, (0,) * len(stacked)


def _run(operator: Any, tensors: int, info: Any, axes: Sequence[Any], arguments: Sequence[Any], wishes: int) -> Any:
    """An operator whose first arguments are ``tensors`` tensors with a batch, and whose last are ``wishes`` flags."""
    size = info.batch_size
    options, option_axes = arguments[tensors:], axes[tensors:]
    apart = options[_SEED] is not None or options[_SCORE_MOD] or option_axes[_SINKS] is not None
    summed = wishes > 1 and any(arguments[-wishes:])
    if apart or summed:
        return _one_by_one(operator, size, axes, arguments)
    query, axis = arguments[0], axes[0]
    batch = query.shape[0] if axis is None else query.movedim(axis, 0).shape[1]
    joined = [_joined(x, at, size) for x, at in zip(arguments[:tensors], axes)]
    results = operator(*joined, *_join_options(options, option_axes, size, batch))
    # What was not asked for is an empty vector.
    apart_again = tuple(x.unflatten(0, (size, batch)) if x.ndim > 1 else x.new_empty((size, 0)) for x in results)
    return apart_again, (0,) * len(apart_again)


def map_attention(operator: Any, info: Any, axes: Sequence[Any], arguments: Sequence[Any]) -> Any:
    """The rule of `attention`: results, and where their mapped axes are."""
    return _run(operator, 3, info, axes, arguments, 1)


def map_backward(operator: Any, info: Any, axes: Sequence[Any], arguments: Sequence[Any]) -> Any:
    """The rule of `attention_backward`."""
    return _run(operator, 6, info, axes, arguments, 2)
