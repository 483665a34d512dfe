"""Gradients of attention: of the operators, and of a `torch.autograd.Function` for calls that are not compiled.

The function costs 7 us a call where an operator's autograd costs 33 us, and `torch.func` differentiates it, which it
does not do with an operator's.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import torch

from fastcore.integrations import torch_vmap
from fastcore.integrations.torch_operator import LIBRARY, Options, Tensors, run_backward, run_forward, split

NO_SECOND_DERIVATIVE = (
    "fastcore's attention has first derivatives only, and its backward was differentiated. Outside use_fastcore(),"
    " torch.nn.functional.scaled_dot_product_attention has second ones with"
    " torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH)."
)

_PLAIN = (torch.Tensor, torch.nn.Parameter)
_MASK, _SINKS = 3 + Tensors._fields.index("attn_mask"), 3 + Tensors._fields.index("sinks")
_INPUTS = 3 + len(Tensors._fields)
_OTHERS = len(Options._fields) + 1  # options and `return_lse`


def is_plain(*tensors: Any) -> bool:
    """Whether tensors have memory on the CPU and nothing below autograd looks at calls: no mode and no tracer."""
    return (
        all(type(x) in _PLAIN and x.is_cpu for x in tensors)
        and not torch._C._len_torch_dispatch_stack()
        and torch._C._get_tracing_state() is None
    )


def _remember(ctx: Any, inputs: Any, output: Any) -> None:
    _, ctx.options, _ = split(inputs[3:])
    out, lse = output
    ctx.mark_non_differentiable(lse)
    ctx.set_materialize_grads(False)
    ctx.save_for_backward(*inputs[:3], out, lse, *inputs[3:_INPUTS])


def _gradients(ctx: Any, grad_out: Any, run: Callable[..., Any]) -> tuple[Any, ...]:
    """The gradient of each argument of the operator; ``run`` is its backward."""
    result: list[Any] = [None] * (_INPUTS + _OTHERS)
    if grad_out is not None:
        needed = ctx.needs_input_grad
        found = run(grad_out, *ctx.saved_tensors, *ctx.options, needed[_MASK], needed[_SINKS])
        for at, gradient in zip((0, 1, 2, _MASK, _SINKS), found):
            result[at] = gradient if needed[at] else None
    return tuple(result)


def _takes(count: int) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """A function of as many arguments: by their number PyTorch's compiler decides whether the first is the context."""

    def signed(function: Callable[..., Any]) -> Callable[..., Any]:
        each = [inspect.Parameter(f"argument{i}", inspect.Parameter.POSITIONAL_ONLY) for i in range(count)]
        function.__signature__ = inspect.Signature(each)  # type: ignore[attr-defined]
        return function

    return signed


# --- functions --------------------------------------------------------------------------------------------------------


class Attention(torch.autograd.Function):
    """`torch.ops.fastcore.attention`, with its arguments."""

    @staticmethod
    @_takes(_INPUTS + _OTHERS)
    def forward(*arguments: Any) -> Any:
        inputs = [x for x in arguments[:_INPUTS] if x is not None]
        if torch.compiler.is_compiling() or not (arguments[-1] and is_plain(*inputs)):
            return torch.ops.fastcore.attention(*arguments)
        query, key, value, *rest = arguments
        tensors, options, _ = split(rest)
        return run_forward(query, key, value, tensors, options, True)

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        _remember(ctx, inputs, output)

    @staticmethod
    def backward(ctx: Any, grad_out: Any, grad_lse: Any) -> Any:
        return _gradients(ctx, grad_out, AttentionBackward.apply)

    @staticmethod
    def vmap(info: Any, axes: Any, *arguments: Any) -> Any:
        return torch_vmap.map_attention(Attention.apply, info, axes, arguments)


class AttentionBackward(torch.autograd.Function):
    """`torch.ops.fastcore.attention_backward`. Its derivative is refused where it is asked for, not before."""

    @staticmethod
    @_takes(3 + _INPUTS + _OTHERS + 1)  # two flags instead of one
    def forward(*arguments: Any) -> Any:
        inputs = [x for x in arguments[: 3 + _INPUTS] if x is not None]
        if torch.compiler.is_compiling() or not is_plain(*inputs):
            return torch.ops.fastcore.attention_backward(*arguments)
        grad_out, query, key, value, out, lse, *rest = arguments
        tensors, options, wanted = split(rest)
        return run_backward(grad_out, query, key, value, out, lse, tensors, options, *wanted)

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        pass

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        raise NotImplementedError(NO_SECOND_DERIVATIVE)

    @staticmethod
    def vmap(info: Any, axes: Any, *arguments: Any) -> Any:
        return torch_vmap.map_backward(AttentionBackward.apply, info, axes, arguments)


def differentiated(*arguments: Any) -> Any:
    """`Attention` where `torch.func` looks at the call, which it does inside a compiled function, too."""
    if torch.compiler.is_compiling():
        _let_into_graphs()
    return _applied(*arguments)


def _applied(*arguments: Any) -> Any:
    return Attention.apply(*arguments)


def _let_into_graphs() -> None:
    """Have `_applied` stand in compiled graphs as a whole: inside, the compiler would lose the rules of `Attention`."""
    torch.compiler.allow_in_graph(_applied)


# What `torch.compiler.assume_constant_result` does: run when it is traced. Importing the compiler for it takes 1.4 s.
_let_into_graphs._dynamo_marked_constant = True  # type: ignore[attr-defined]


# --- operators --------------------------------------------------------------------------------------------------------


def _differentiate(ctx: Any, grad_out: Any, grad_lse: Any) -> Any:
    return _gradients(ctx, grad_out, torch.ops.fastcore.attention_backward)


def refuse(ctx: Any, *gradients: Any) -> Any:
    """The derivative of a backward."""
    raise NotImplementedError(NO_SECOND_DERIVATIVE)


def _map_attention(info: Any, axes: Any, *arguments: Any) -> Any:
    return torch_vmap.map_attention(torch.ops.fastcore.attention, info, axes, arguments)


def _map_backward(info: Any, axes: Any, *arguments: Any) -> Any:
    return torch_vmap.map_backward(torch.ops.fastcore.attention_backward, info, axes, arguments)


torch.library.register_autograd("fastcore::attention", _differentiate, setup_context=_remember, lib=LIBRARY)
torch.library.register_autograd("fastcore::attention_backward", refuse, lib=LIBRARY)
torch.library.register_vmap("fastcore::attention", _map_attention, lib=LIBRARY)
torch.library.register_vmap("fastcore::attention_backward", _map_backward, lib=LIBRARY)
