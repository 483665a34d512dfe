"""`use_fastcore`: PyTorch's own attention, computed by fastcore while a context is open."""

from __future__ import annotations

import functools
import types
from collections.abc import Callable
from typing import Any, TypeVar

import torch
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from fastcore.integrations.torch_attention import scaled_dot_product_attention

_Function = TypeVar("_Function", bound=Callable[..., Any])

_THEIRS = functional.scaled_dot_product_attention
_DTYPES = (torch.float32, torch.float64, torch.float16, torch.bfloat16)


def _untouched(function: Any) -> Any:
    """A function of PyTorch's that does not hand itself to the mode that runs it.

    Called inside a mode as it is, `multi_head_attention_forward` would see the mode and hand itself back, for ever.
    """
    code = {**vars(functional), "has_torch_function": lambda arguments: False}
    copy = types.FunctionType(function.__code__, code, function.__name__, function.__defaults__, function.__closure__)
    copy.__kwdefaults__ = function.__kwdefaults__
    return copy


_MULTI_HEAD = functional.multi_head_attention_forward
_MULTI_HEAD_UNTOUCHED = _untouched(_MULTI_HEAD)


def takes(
    query: Any,
    key: Any,
    value: Any,
    attn_mask: Any = None,
    dropout_p: Any = 0.0,
    is_causal: Any = False,
    scale: Any = None,
    enable_gqa: Any = False,
) -> bool:
    """Whether fastcore computes what PyTorch's function would; what that refuses, it is to refuse itself."""
    tensors = (query, key, value)
    if not all(isinstance(x, torch.Tensor) and x.is_cpu and not x.is_nested for x in tensors):
        return False
    if query.layout is not torch.strided or query.dtype not in _DTYPES or torch.autograd.forward_ad._current_level >= 0:
        return False
    if not torch.is_autocast_enabled("cpu") and not query.dtype == key.dtype == value.dtype:
        return False
    if not query.dim() == key.dim() == value.dim() >= 2 or key.shape[-2] != value.shape[-2]:
        return False
    if query.shape[-1] != key.shape[-1] or not query.shape[-1] or not value.shape[-1]:
        return False
    # PyTorch groups heads on demand, and stretches axes of 1 among them as it does any others in front.
    if enable_gqa:
        if query.dim() == 3 or not _grouped(*(x.shape[-3] if x.dim() > 3 else 1 for x in tensors)):
            return False
    elif query.dim() > 3 and not query.shape[-3] == key.shape[-3] == value.shape[-3]:
        return False
    try:
        batch = torch.broadcast_shapes(*(x.shape[:-3] if x.dim() > 3 else x.shape[:-2] for x in tensors))
    except RuntimeError:
        return False
    if attn_mask is None:
        return True
    if is_causal or not isinstance(attn_mask, torch.Tensor) or not attn_mask.is_cpu:
        return False
    if attn_mask.dtype not in (torch.bool, query.dtype) and not torch.is_autocast_enabled("cpu"):
        return False
    scores = (*batch, *(query.shape[-3:-1] if query.dim() > 3 else query.shape[-2:-1]), key.shape[-2])
    return attn_mask.dim() <= len(scores) and all(
        size in (1, full) for size, full in zip(reversed(attn_mask.shape), reversed(scores))
    )


def _grouped(queries: int, keys: int, values: int) -> bool:
    return keys == values > 0 == queries % keys


class _Routing(TorchFunctionMode):
    """Sees each call of PyTorch's functions in its thread, by whatever name it was made."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is _THEIRS:
            if takes(*args, **(kwargs or {})):
                return scaled_dot_product_attention(*args, **(kwargs or {}))
        elif func is _MULTI_HEAD:
            with self:  # PyTorch leaves the mode for this call
                return _MULTI_HEAD_UNTOUCHED(*args, **(kwargs or {}))
        return func(*args, **(kwargs or {}))


class use_fastcore:
    """While the context is open, fastcore computes `torch.nn.functional.scaled_dot_product_attention`.

    Whoever calls it and by whatever name: models, `torch.nn.MultiheadAttention` and `torch.nn.TransformerEncoderLayer`,
    in training and in evaluation, where their fused path is left for the open one. Also a decorator.

    Notes
    -----
    Taken over are calls on CPU tensors of one dtype of float32, float64, float16 and bfloat16. All others are PyTorch's
    as before: other devices and dtypes, nested and sparse tensors, a mask together with `is_causal`, forward-mode
    derivatives, and what PyTorch refuses. A backend chosen by `torch.nn.attention.sdpa_kernel` is not asked for.
    Gradients are fastcore's too, also those of a float mask; second derivatives raise NotImplementedError.

    Like `torch.no_grad` the context holds for the thread that opened it. It may be nested, and one object may be
    entered again while it is open. `torch.compile` sees it: what was compiled inside is compiled anew outside. Each
    call of a PyTorch function inside costs about 1 us more, for PyTorch asks the context about it; scripted modules
    (`torch.jit.script`) do not ask.

    Examples
    --------
    >>> with use_fastcore():
    ...     loss = model(tokens).sum()
    >>> @use_fastcore()
    ... def answer(tokens): ...
    """

    def __init__(self) -> None:
        self._mode = _Routing()

    def __enter__(self) -> use_fastcore:
        self._mode.__enter__()
        return self

    def __exit__(self, *exception: Any) -> None:
        self._mode.__exit__(*exception)

    def __call__(self, function: _Function) -> _Function:
        @functools.wraps(function)
        def routed(*args: Any, **kwargs: Any) -> Any:
            with _Routing():
                return function(*args, **kwargs)

        return routed  # type: ignore[return-value]
