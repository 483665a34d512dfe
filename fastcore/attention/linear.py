"""`linear_attention` and its gradients: attention without the softmax, whose cost grows with L and not with L x S."""

from typing import Any

import numpy as np

from fastcore._core import validate
from fastcore._core import validate_attention_linear as check
from fastcore._core.validate_attention_backward import result_array
from fastcore.attention.kernels import linear_blocks
from fastcore.attention.kernels.linear import States, linear_forward, segments_of
from fastcore.attention.kernels.linear_backward import linear_backward
from fastcore.attention.layout import Layout, four_axes, gradient_like, layout_of

_FEATURES = {"elu": linear_blocks.ELU, "relu": linear_blocks.RELU, "identity": linear_blocks.IDENTITY}

State = tuple[np.ndarray, np.ndarray]


def linear_attention(
    query: Any,
    key: Any,
    value: Any,
    is_causal: bool = False,
    *,
    feature_map: str = "elu",
    normalize: bool = True,
    scale: float = 1.0,
    initial_state: Any = None,
    return_state: bool = False,
    out: np.ndarray | None = None,
) -> Any:
    """phi(query) (phi(key)^T value) over its row sums: attention whose cost is linear in the number of tokens.

    Query i gives sum_j w_ij value_j / sum_j w_ij with weights w_ij = phi(query_i) . phi(key_j), over all keys, or with
    `is_causal` over keys j <= i. What a query needs to know of all keys before it is a D x Dv state.

    Axes: B batch, H query heads, G key/value heads (H % G == 0), L queries, S keys, D head size, Dv value size.

    Parameters
    ----------
    query, key, value : (B, H, L, D), (B, G, S, D), (B, G, S, Dv), all float32, float64, float16 or ml_dtypes.bfloat16
        Arrays or anything with `__array__` or `__dlpack__`. (N, L, D) has batch and no heads, (L, D) neither; more axes
        in front are more batch. Batch axes of size 1 stretch. Read in place whatever the strides, as long as the last
        axis is contiguous; else copied.
    is_causal : bool
        Query i sees keys j <= i; L and S must be equal.
    feature_map : "elu", "relu" or "identity"
        phi: elu(x) + 1, positive everywhere; max(x, 0); or x, for queries and keys that were mapped before.
    normalize : bool
        Divide by the sum of the weights. A query whose weights sum to 0 gives zeros. With "identity" the sum may come
        close to 0: models without a positive map, such as RetNet, pass False and normalise the result.
    scale : float, default 1
        Of the weights; without `normalize` only, since it cancels in the division.
    initial_state : pair of (B, G, D, Dv) and (B, G, D), optional
        Sums over keys before the first one, as `return_state` gave them.
    return_state : bool
    out : (B, H, L, Dv), dtype of query, optional; written in place and returned. May overlap the inputs.

    Returns
    -------
    out : (B, H, L, Dv), dtype of query, axes in front as in query
    state : only with `return_state`: (sum_j phi(key_j) value_j^T (B, G, D, Dv), sum_j phi(key_j) (B, G, D)) over the
        initial state and all keys; float64 for float64, else float32. A text given in pieces, each with the state of
        the one before, gives the numbers of the whole up to rounding.

    Raises
    ------
    ValueError : shapes disagree or an option is out of range; the message names argument, rule and what came
    TypeError : unsupported or mixed dtypes, or an argument of the wrong kind

    Notes
    -----
    Source: Katharopoulos et al. 2020, "Transformers are RNNs", equations 4 to 12; in chunks of tokens as in Yang et al.
    2024, "Gated Linear Attention", section 3. float16 and bfloat16 are converted a chunk at a time, computed in float32
    and rounded once. NaN or inf in a token never reaches the results of tokens before it. The same bits for any number
    of threads; a sequence's do not depend on its neighbours in the batch.
    """
    query, key, value, dtype, layout = _inputs(query, key, value, is_causal)
    computing = validate.computing_dtype(dtype)
    shape = (*layout.axes, query.shape[-2], value.shape[-1])
    feature, normalize, scale = _options(feature_map, normalize, scale)
    state_shape = _state_shape(layout, query, value)
    initial = check.state_of_keys(initial_state, "initial_state", state_shape, computing)
    return_state = validate.flag(return_state, "return_state")
    result = np.empty(shape, dtype) if out is None else validate.output_array(out, shape, dtype)

    queries, keys, values = _four_axes(query, key, value, layout, dtype)
    foldable = result.ndim <= 4 or result.flags.c_contiguous
    in_place = (
        foldable
        and validate.is_readable_in_place(result)
        and not validate.shares_memory(result, (queries, keys, values))
    )
    target = result if out is None or in_place else np.empty(shape, dtype)
    states = _states(layout, key.shape[-2], state_shape, initial, 0, computing)
    if layout.batch * layout.heads:
        linear_forward(
            queries, keys, values, np.asarray(target).reshape(layout.batch, layout.heads, *shape[-2:]), states,
            _stored(dtype), bool(is_causal), feature, normalize, scale,
        )  # fmt: skip
    if target is not result:
        result[...] = target
    return (result, _state(states, -1, state_shape)) if return_state else result


def linear_attention_backward(
    grad_out: Any,
    query: Any,
    key: Any,
    value: Any,
    is_causal: bool = False,
    *,
    feature_map: str = "elu",
    normalize: bool = True,
    scale: float = 1.0,
    initial_state: Any = None,
    grad_state: Any = None,
    return_grad_state: bool = False,
) -> Any:
    """Gradients of `linear_attention` by query, key and value; its result is not needed.

    Parameters
    ----------
    grad_out : (B, H, L, Dv), dtype of query: the gradient by the result
    query, key, value, is_causal, feature_map, normalize, scale, initial_state : as in the forward call
    grad_state : pair of (B, G, D, Dv) and (B, G, D), optional
        The gradient by the state that `return_state` gave.
    return_grad_state : bool
        Whether the gradient by `initial_state` (zeros, where None was given) is wanted, too.

    Returns
    -------
    grad_query, grad_key, grad_value : shapes and dtypes of query, key and value
        Summed over the queries that share a key/value head, and over batch axes that were stretched.
    grad_initial_state : only with `return_grad_state`: pair of (B, G, D, Dv) and (B, G, D)

    Raises
    ------
    ValueError : shapes disagree or an option is out of range; the message names argument, rule and what came
    TypeError : unsupported or mixed dtypes, or an argument of the wrong kind

    Notes
    -----
    Source: Katharopoulos et al. 2020, equations 13 to 15, with the gradient through the division. The derivative of
    relu at 0 is 0, and a query whose weights sum to 0 has no gradient. A NaN or inf does not reach the gradients of
    queries before it, and one in a query or in grad_out not those of keys and values behind it. The same bits for any
    number of threads.
    """
    query, key, value, dtype, layout = _inputs(query, key, value, is_causal)
    shape = (*layout.axes, query.shape[-2], value.shape[-1])
    grad_out = result_array(grad_out, "grad_out", shape, dtype)
    feature, normalize, scale = _options(feature_map, normalize, scale)
    computing = validate.computing_dtype(dtype)
    state_shape = _state_shape(layout, query, value)
    initial = check.state_of_keys(initial_state, "initial_state", state_shape, computing)
    final = check.state_of_keys(grad_state, "grad_state", state_shape, computing)
    return_grad_state = validate.flag(return_grad_state, "return_grad_state")

    # What is summed over stretched axes is rounded once, behind the sum.
    stretched = any(x.shape[: len(layout.batch_axes)] != layout.batch_axes for x in (query, key, value))
    kernels = computing if stretched else dtype
    queries, keys, values = _four_axes(query, key, value, layout, kernels)
    grad_query, grad_key, grad_value = (np.zeros(x.shape, kernels) for x in (queries, keys, values))
    states = _states(layout, key.shape[-2], state_shape, initial, 0, computing)
    grad_states = _states(layout, query.shape[-2], state_shape, final, -1, computing)
    if layout.batch * layout.heads:
        linear_backward(
            four_axes(grad_out, layout, layout.heads, kernels), queries, keys, values, grad_query, grad_key, grad_value,
            states, grad_states, _stored(kernels), bool(is_causal), feature, normalize, scale,
        )  # fmt: skip
    results = (
        gradient_like(grad_query, query, layout),
        gradient_like(grad_key, key, layout),
        gradient_like(grad_value, value, layout),
    )
    return (*results, _state(grad_states, 0, state_shape)) if return_grad_state else results


def _inputs(
    query: Any, key: Any, value: Any, is_causal: Any
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.dtype, Layout]:
    query = validate.float_array(query, "query")
    key = validate.float_array(key, "key")
    value = validate.float_array(value, "value")
    dtype = validate.same_dtype({"query": query, "key": key, "value": value})
    layout = layout_of(query, key, value, None)
    if validate.flag(is_causal, "is_causal"):
        check.as_many_keys(query, key)
    return query, key, value, dtype, layout


def _four_axes(
    query: np.ndarray, key: np.ndarray, value: np.ndarray, layout: Layout, dtype: np.dtype
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return (
        four_axes(query, layout, layout.heads, dtype),
        four_axes(key, layout, layout.groups, dtype),
        four_axes(value, layout, layout.groups, dtype),
    )


def _options(feature_map: Any, normalize: Any, scale: Any) -> tuple[int, bool, float]:
    feature = _FEATURES[validate.choice(feature_map, "feature_map", check.FEATURE_MAPS)]
    return feature, validate.flag(normalize, "normalize"), validate.score_scale(scale)


def _stored(dtype: np.dtype) -> int:
    """How the kernels find elements of `dtype`."""
    if dtype == np.float16:
        return linear_blocks.FLOAT16
    return linear_blocks.SAME if dtype in (np.float32, np.float64) else linear_blocks.BFLOAT16


def _state_shape(layout: Layout, query: np.ndarray, value: np.ndarray) -> tuple[int, ...]:
    front = (*layout.batch_axes, layout.groups) if layout.has_heads else layout.batch_axes
    return (*front, query.shape[-1], value.shape[-1])


def _states(
    layout: Layout, rows: int, shape: tuple[int, ...], given: State | None, record: int, dtype: np.dtype
) -> States:
    """Records for the segments of ``rows`` tokens, one of them holding the given state."""
    states = States(layout.batch, layout.groups, segments_of(rows), shape[-2], shape[-1], dtype)
    if given is not None:
        for part, array in zip(states.parts(record), given, strict=True):
            part[...] = array.reshape(part.shape)
    return states


def _state(states: States, record: int, shape: tuple[int, ...]) -> State:
    matrix, sums = states.parts(record)
    return matrix.reshape(shape).copy(), sums.reshape(shape[:-1]).copy()
