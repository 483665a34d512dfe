"""`torch.ops.fastcore.attention` and its backward: operators that PyTorch's compiler and transforms know.

Shapes are (B, H, L, D), (B, G, S, D), (B, G, S, Dv) with one B; `torch_attention` brings others to it. Calls that
nothing traces or transforms do not come by here: the dispatcher and the Python around an operator take 11 us, and 33 us
with autograd.
"""

import weakref
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch

from fastcore import attention
from fastcore._core import validate_attention_backward, validate_attention_scores
from fastcore.integrations.torch_arrays import as_array, as_tensor
from fastcore.integrations.torch_threads import ON_TORCH_THREADS


class Tensors(NamedTuple):
    """Options that are tensors. Masks have four axes; ``seed`` is a scalar of int64 whose bits are the seed."""

    attn_mask: torch.Tensor | None = None
    alibi_slopes: torch.Tensor | None = None
    sinks: torch.Tensor | None = None
    block_mask: torch.Tensor | None = None
    query_offset: torch.Tensor | None = None
    key_lengths: torch.Tensor | None = None
    seed: torch.Tensor | None = None


class Options(NamedTuple):
    """The others. ``first_query`` is a `query_offset` for all sequences; ``score_mod`` is a `handle_of` functions."""

    dropout_p: float = 0.0
    is_causal: bool = False
    scale: float | None = None
    left: int | None = None
    right: int | None = None
    softcap: float | None = None
    first_query: int = 0
    precision: str = "highest"
    score_mod: int = 0


_TENSORS = "".join(f", Tensor? {name}" for name in Tensors._fields)
_OPTIONS = (
    ", float dropout_p, bool is_causal, float? scale, SymInt? left, SymInt? right, float? softcap, SymInt first_query,"
    " str precision, int score_mod"
)

LIBRARY = torch.library.Library("fastcore", "FRAGMENT")
LIBRARY.define(
    f"attention(Tensor query, Tensor key, Tensor value{_TENSORS}{_OPTIONS}, bool return_lse) -> (Tensor, Tensor)",
    tags=(torch.Tag.pt2_compliant_tag,),
)
LIBRARY.define(
    "attention_backward(Tensor grad_out, Tensor query, Tensor key, Tensor value, Tensor out, Tensor lse"
    f"{_TENSORS}{_OPTIONS}, bool grad_mask, bool grad_sinks) -> (Tensor, Tensor, Tensor, Tensor, Tensor)",
    tags=(torch.Tag.pt2_compliant_tag,),
)


# --- score functions -------------------------------------------------------------------------------------------------

_FUNCTIONS: dict[int, tuple[Callable | None, Callable | None]] = {0: (None, None)}
_HANDLES: "weakref.WeakKeyDictionary[Callable, dict[int, int]]" = weakref.WeakKeyDictionary()


def handle_of(score_mod: Callable | None, score_mod_grad: Callable | None) -> int:
    """A number for the two functions, since operators take no functions; the same for the same ones."""
    if score_mod is score_mod_grad is None:
        return 0
    for name, function in (("score_mod", score_mod), ("score_mod_grad", score_mod_grad)):
        if function is not None:
            validate_attention_scores.compiled_function(function, name)
    if score_mod is None:
        validate_attention_backward.derivative_of_function(score_mod, score_mod_grad)  # refuses one without the other
        return 0
    known = _HANDLES.setdefault(score_mod, {})
    if id(score_mod_grad) not in known:
        # Kept for good: a compiled graph may hold the number.
        known[id(score_mod_grad)] = len(_FUNCTIONS)
        _FUNCTIONS[len(_FUNCTIONS)] = (score_mod, score_mod_grad)
    return known[id(score_mod_grad)]


# What `torch.compiler.assume_constant_result` does: run when it is traced, for these functions. Traced itself, the
# functions would be put down behind the graph's run, which looks them up. Importing the compiler for it takes 1.4 s.
handle_of._dynamo_marked_constant = True  # type: ignore[attr-defined]


# --- calls of fastcore -----------------------------------------------------------------------------------------------


def seed_of(seed: torch.Tensor) -> int:
    """The bits of an int64 as fastcore's unsigned seed."""
    return int(seed) % (1 << 64)


def keywords(tensors: Tensors, options: Options) -> dict[str, Any]:
    """fastcore's options by name; those at their defaults are left out."""
    given: dict[str, Any] = {
        name: as_array(x, name) for name, x in zip(Tensors._fields, tensors) if x is not None and name != "seed"
    }
    if tensors.seed is not None:
        given["seed"] = seed_of(tensors.seed)
    if options.first_query:
        given["query_offset"] = options.first_query + given.get("query_offset", 0)
    if options.left is not None or options.right is not None:
        given["window"] = (options.left, options.right)
    for name in ("dropout_p", "is_causal", "scale", "softcap"):
        value = getattr(options, name)
        if value is not None and value is not False and (value != 0.0 or name in ("scale", "softcap")):
            given[name] = value
    if options.precision != "highest":
        given["precision"] = options.precision
    if options.score_mod:
        given["score_mod"] = _FUNCTIONS[options.score_mod][0]
    return given


def run_forward(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    tensors: Tensors,
    options: Options,
    return_lse: bool,
) -> tuple[torch.Tensor, Any]:
    """(B, H, L, Dv) on memory of (B, L, H, Dv), as PyTorch's own on the CPU, and the lse, None where not asked for."""
    q, k, v = as_array(query, "query"), as_array(key, "key"), as_array(value, "value")
    given = keywords(tensors, options)
    batch, heads, rows = q.shape[:3]
    out = np.empty((batch, rows, heads, v.shape[3]), q.dtype).transpose(0, 2, 1, 3)
    with ON_TORCH_THREADS:
        result = attention.scaled_dot_product_attention(q, k, v, out=out, return_lse=return_lse, **given)
    return as_tensor(out, query.dtype), torch.from_numpy(result[1]) if return_lse else None


def run_backward(
    grad_out: torch.Tensor,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    out: torch.Tensor,
    lse: torch.Tensor,
    tensors: Tensors,
    options: Options,
    grad_mask: bool,
    grad_sinks: bool,
) -> tuple[torch.Tensor, ...]:
    """Gradients of query, key, value, mask and sinks; empty where not asked for."""
    if not lse.numel() and out.numel():  # the forward was not told of a gradient
        out, lse = run_forward(query, key, value, tensors, options, True)
    names = ("grad_out", "query", "key", "value", "out", "lse")
    arrays: Any = [as_array(x, name) for x, name in zip((grad_out, query, key, value, out, lse), names)]
    given = keywords(tensors, options)
    if options.score_mod:
        given["score_mod_grad"] = _FUNCTIONS[options.score_mod][1]
    given.pop("precision", None)  # gradients are float32's
    with ON_TORCH_THREADS:
        gradients = list(
            attention.scaled_dot_product_attention_backward(
                *arrays, return_grad_mask=grad_mask, return_grad_sinks=grad_sinks, **given
            )
        )
    results = [as_tensor(x, query.dtype) for x in gradients[:3]]
    more = iter(gradients[3:])
    for wanted, x in ((grad_mask, tensors.attn_mask), (grad_sinks, tensors.sinks)):
        results.append(as_tensor(next(more), x.dtype) if x is not None and wanted else query.new_empty((0,)))
    return tuple(results)


def lse_dtype(query: torch.Tensor) -> torch.dtype:
    return torch.float64 if query.dtype == torch.float64 else torch.float32


def split(arguments: Sequence[Any]) -> tuple[Tensors, Options, Sequence[Any]]:
    """Tensors, options and what follows, from the arguments of an operator behind its first tensors."""
    last = len(Tensors._fields) + len(Options._fields)
    tensors = Tensors(*arguments[: len(Tensors._fields)])
    return tensors, Options(*arguments[len(Tensors._fields) : last]), arguments[last:]


# --- the operators ---------------------------------------------------------------------------------------------------


def _attention(query, key, value, *arguments):
    tensors, options, (return_lse,) = split(arguments)
    out, lse = run_forward(query, key, value, tensors, options, return_lse)
    return out, query.new_empty((0,), dtype=lse_dtype(query)) if lse is None else lse


def _attention_shapes(query, key, value, *arguments):
    batch, heads, rows, _ = query.shape
    out = query.new_empty((batch, rows, heads, value.shape[3])).transpose(1, 2)
    shape = (batch, heads, rows) if arguments[-1] else (0,)
    return out, query.new_empty(shape, dtype=lse_dtype(query))


def _attention_backward(grad_out, query, key, value, out, lse, *arguments):
    tensors, options, (grad_mask, grad_sinks) = split(arguments)
    return run_backward(grad_out, query, key, value, out, lse, tensors, options, grad_mask, grad_sinks)


def _attention_backward_shapes(grad_out, query, key, value, out, lse, *arguments):
    tensors, _, wanted = split(arguments)
    more = [
        x.new_empty(x.shape) if wish and x is not None else query.new_empty((0,))
        for wish, x in zip(wanted, (tensors.attn_mask, tensors.sinks))
    ]
    return tuple(x.new_empty(x.shape) for x in (query, key, value)) + tuple(more)


LIBRARY.impl("attention", _attention, "CPU")
LIBRARY.impl("attention_backward", _attention_backward, "CPU")
torch.library.register_fake("fastcore::attention", _attention_shapes, lib=LIBRARY)
torch.library.register_fake("fastcore::attention_backward", _attention_backward_shapes, lib=LIBRARY)
