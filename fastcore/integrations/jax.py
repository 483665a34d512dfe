"""fastcore's attention inside JAX: under `jax.jit`, `jax.grad` and `jax.vmap`, on the CPU."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from fastcore import attention
from fastcore._core import validate, validate_attention
from fastcore._core import validate_integrations as check
from fastcore.attention.layout import layout_of

try:
    import jax
    import jax.numpy as jnp
except ImportError as error:
    raise ImportError("fastcore.integrations.jax needs JAX. Install it: pip install 'fastcore-kernels[jax]'") from error

__all__ = ["scaled_dot_product_attention"]


class _Arrays(NamedTuple):
    """Options that are arrays, by the names they have in fastcore; None where not given."""

    attn_mask: Any
    alibi_slopes: Any
    sinks: Any
    block_mask: Any
    query_offset: Any
    key_lengths: Any
    seed: Any


class _Options(NamedTuple):
    """The others, known when a function is traced."""

    dropout_p: float
    is_causal: bool
    scale: float | None
    enable_gqa: bool
    window: tuple[int | None, int | None] | None
    softcap: float | None
    precision: str


def scaled_dot_product_attention(
    query: Any,
    key: Any,
    value: Any,
    attn_mask: Any = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
    *,
    window: tuple[int | None, int | None] | None = None,
    softcap: float | None = None,
    alibi_slopes: Any = None,
    sinks: Any = None,
    block_mask: Any = None,
    query_offset: Any = None,
    key_lengths: Any = None,
    seed: Any = None,
    precision: str = "highest",
) -> jax.Array:
    """`fastcore.scaled_dot_product_attention` of JAX's arrays on the CPU, differentiable in reverse mode.

    Axes: B batch, H query heads, G key/value heads (H % G == 0), L queries, S keys, D head size, Dv value size.

    Parameters
    ----------
    query, key, value : (B, H, L, D), (B, G, S, D), (B, G, S, Dv), of one float type
        `jax.nn.dot_product_attention` has the axes of heads and positions the other way round: use `jnp.swapaxes`.
    attn_mask : broadcasts to (B, H, L, S), optional; bool (True = takes part) or float (added, differentiable)
    sinks : (H,) float, optional; differentiable
    alibi_slopes, block_mask, query_offset, key_lengths : arrays, optional, without derivatives
    seed : integer or scalar array; of dropout, which needs it: ``jax.random.bits(key)``
    dropout_p, is_causal, scale, enable_gqa, window, softcap, precision
        Static; as in `fastcore.scaled_dot_product_attention`, as are the options above.

    Returns
    -------
    (B, H, L, Dv), dtype of query

    Raises
    ------
    ValueError : shapes disagree, an option is out of range, or dropout has no seed
    TypeError : unsupported or mixed dtypes

    Notes
    -----
    A `jax.pure_callback` with a `jax.custom_vjp`: arguments are read in place, results are copied once. `jax.vmap`
    joins the mapped axis with the batch, and with options that are arrays goes through it one by one.
    Forward mode (`jax.jvp`, `jax.jacfwd`) and second derivatives raise JAX's own errors. Errors that only values show,
    such as a negative length, come as `jax.errors.JaxRuntimeError`.
    """
    query, key, value = (jnp.asarray(x) for x in (query, key, value))
    named = {"query": query, "key": key, "value": value}
    validate.same_dtype(named)
    check.float_types(named)
    layout = layout_of(query, key, value, enable_gqa)
    dropout_p = validate.probability(dropout_p, "dropout_p")
    check.seed_of_dropout(seed, dropout_p)
    validate.window_bounds(window, validate.flag(is_causal, "is_causal"))
    given = (attn_mask, alibi_slopes, sinks, block_mask, query_offset, key_lengths, seed if dropout_p else None)
    arrays = _Arrays(*(None if x is None else jnp.asarray(x) for x in given))
    if arrays.attn_mask is not None:
        like = np.broadcast_to(np.zeros((), bool), arrays.attn_mask.shape)
        validate_attention.spread_mask(like, (*layout.axes, query.shape[-2], key.shape[-2]))
    options = _Options(
        dropout_p,
        bool(is_causal),
        None if scale is None else validate.score_scale(scale),
        bool(enable_gqa),
        None if window is None else (window[0], window[1]),
        None if softcap is None else validate.score_cap(softcap),
        validate.choice(precision, "precision", ("highest", "bf16")),
    )
    return _attention(options, query, key, value, arrays)


# --- derivatives ------------------------------------------------------------------------------------------------------


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _attention(options: _Options, query: Any, key: Any, value: Any, arrays: _Arrays) -> Any:
    return _call_forward(options, query, key, value, arrays, False)[0]


def _forward_rule(options: _Options, query: Any, key: Any, value: Any, arrays: _Arrays) -> Any:
    """Values come with a flag: whether a derivative by them is asked for."""
    # A flag is kept as the presence of an empty tuple, since JAX traces what it keeps.
    wanted = tuple(() if x is not None and x.perturbed else None for x in (arrays.attn_mask, arrays.sinks))
    query, key, value, arrays = jax.tree.map(
        lambda x: x.value, (query, key, value, arrays), is_leaf=lambda x: hasattr(x, "perturbed")
    )
    out, lse = _call_forward(options, query, key, value, arrays, True)
    return out, (query, key, value, out, lse, arrays, wanted)


def _backward_rule(options: _Options, kept: Any, grad_out: Any) -> Any:
    query, key, value, out, lse, arrays, wanted = kept
    if isinstance(grad_out, jax.custom_derivatives.SymbolicZero):
        return None, None, None, None
    grad_mask, grad_sinks = (x is not None for x in wanted)
    like = [query, key, value]
    like += [arrays.attn_mask] if grad_mask else []
    like += [arrays.sinks] if grad_sinks else []
    run = functools.partial(_backward, options, grad_mask, grad_sinks)
    shapes = tuple(jax.ShapeDtypeStruct(x.shape, x.dtype) for x in like)
    found = _callback(run, shapes, grad_out, query, key, value, out, lse, arrays)
    more = list(found[3:])
    by_arrays = _Arrays(*(None,) * len(arrays))
    if grad_mask:
        by_arrays = by_arrays._replace(attn_mask=more.pop(0))
    if grad_sinks:
        by_arrays = by_arrays._replace(sinks=more.pop(0))
    return (*found[:3], by_arrays)


_attention.defvjp(_forward_rule, _backward_rule, symbolic_zeros=True)


def _call_forward(options: _Options, query: Any, key: Any, value: Any, arrays: _Arrays, return_lse: bool) -> Any:
    front = layout_of(query, key, value, options.enable_gqa).axes
    shape = (*front, query.shape[-2])
    shapes = [jax.ShapeDtypeStruct((*shape, value.shape[-1]), query.dtype)]
    if return_lse:
        shapes.append(jax.ShapeDtypeStruct(shape, np.float64 if query.dtype == np.float64 else np.float32))
    return _callback(functools.partial(_forward, options, return_lse), shapes, query, key, value, arrays)


def _callback(run: Callable[..., Any], shapes: Sequence[Any], *arguments: Any) -> Any:
    """The host's function on arrays; `jax.vmap` puts an axis in front of all of them, 1 where it is not mapped."""
    tensors, arrays = arguments[:-1], arguments[-1]
    axes = tuple(x.ndim for x in tensors)
    host = functools.partial(_over_mapped_axes, run, tuple(shapes), axes)
    return jax.pure_callback(host, tuple(shapes), *tensors, arrays, vmap_method="expand_dims")


# --- on the host ------------------------------------------------------------------------------------------------------


def _over_mapped_axes(run: Callable[..., Any], shapes: Sequence[Any], axes: Sequence[int], *arguments: Any) -> Any:
    """Results for each index of the mapped axes in front, in one call where they may join the batch."""
    *tensors, arrays = jax.tree.map(np.asarray, arguments)
    mapped = tensors[0].ndim - axes[0]
    if not mapped:
        return tuple(run(*tensors, arrays))
    leaves = [*tensors, *(x for x in arrays if x is not None)]
    front = np.broadcast_shapes(*(x.shape[:mapped] for x in leaves))
    tensors = [np.broadcast_to(x, front + x.shape[mapped:]) for x in tensors]
    if all(x is None for x in arrays) and axes[0] == 4:
        joined = [x.reshape(-1, *x.shape[mapped + 1 :]) for x in tensors]
        return tuple(x.reshape(front + like.shape) for x, like in zip(run(*joined, arrays), shapes))
    arrays = _Arrays(*(None if x is None else np.broadcast_to(x, front + x.shape[mapped:]) for x in arrays))
    results = tuple(np.empty(front + like.shape, like.dtype) for like in shapes)
    for at in np.ndindex(front):
        found = run(*(x[at] for x in tensors), _Arrays(*(None if x is None else x[at] for x in arrays)))
        for result, x in zip(results, found):
            result[at] = x
    return results


def _keywords(options: _Options, arrays: _Arrays) -> dict[str, Any]:
    named = {**options._asdict(), **arrays._asdict()}
    given = {name: x for name, x in named.items() if x is not None}
    if options.precision == "highest":  # the backward has no other
        del given["precision"]
    if "seed" in given:
        given["seed"] = int(given["seed"]) % (1 << 64)
    return given


def _forward(options: _Options, return_lse: bool, query: Any, key: Any, value: Any, arrays: _Arrays) -> Any:
    given = _keywords(options, arrays)
    result = attention.scaled_dot_product_attention(query, key, value, return_lse=return_lse, **given)
    return result if return_lse else (result,)


def _backward(
    options: _Options, grad_mask: bool, grad_sinks: bool, grad_out: Any, query: Any, key: Any, value: Any, out: Any,
    lse: Any, arrays: _Arrays,
) -> Any:  # fmt: skip
    given = _keywords(options._replace(precision="highest"), arrays)
    return attention.scaled_dot_product_attention_backward(
        grad_out, query, key, value, out, lse, return_grad_mask=grad_mask, return_grad_sinks=grad_sinks, **given
    )
