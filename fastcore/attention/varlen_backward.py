"""`scaled_dot_product_attention_varlen_backward`: the gradients of attention over packed sequences."""

import math
from typing import Any

import numpy as np

from fastcore._core import validate, validate_attention_varlen
from fastcore._core import validate_attention_backward as check
from fastcore.attention.kernels.packed_backward import packed_backward
from fastcore.attention.layout import Layout
from fastcore.attention.score_changes import score_changes, score_function
from fastcore.attention.varlen import heads_first


def scaled_dot_product_attention_varlen_backward(
    grad_out: Any,
    query: Any,
    key: Any,
    value: Any,
    out: Any,
    lse: Any,
    query_starts: Any,
    key_starts: Any = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    *,
    scale: float | None = None,
    window: tuple[int | None, int | None] | None = None,
    softcap: float | None = None,
    alibi_slopes: Any = None,
    sinks: Any = None,
    score_mod: Any = None,
    score_mod_grad: Any = None,
    query_offset: Any = 0,
    seed: int = 0,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Gradients of `scaled_dot_product_attention_varlen` by query, key and value.

    Axes: B sequences, H query heads, G key/value heads (H % G == 0), D head size, Dv value size.

    Parameters
    ----------
    grad_out : (total_q, H, Dv), dtype of query: the gradient by the result
    query, key, value : (total_q, H, D), (total_k, G, D), (total_k, G, Dv), as in the forward function
    out, lse : (total_q, H, Dv) and (H, total_q): what the forward function gave for the same arguments, with
        `return_lse`
    query_starts, key_starts, dropout_p, is_causal, scale, window, softcap, alibi_slopes, sinks, score_mod,
    query_offset, seed : as they were in the forward call; the same `seed` drops the same weights
    score_mod_grad : function decorated with `numba.njit`, (score, b, h, i, j) -> number; needed with `score_mod`
        The derivative of score_mod by its score, at the score that it was given; where score_mod gives -inf, anything.
        Where it raises, gradients become NaN.

    Returns
    -------
    grad_query, grad_key, grad_value : shapes and dtypes of query, key and value
        Summed over the queries that share a key/value head. Zeros for tokens that nothing sees.

    Raises
    ------
    ValueError : shapes disagree, starts are not in order, or an option is out of range
    TypeError : unsupported or mixed dtypes, or an argument of the wrong kind

    Notes
    -----
    Source: Dao 2023, FlashAttention-2, section 3.1, algorithm 2. Items are chunks of a sequence's keys, those with most
    work first. A sequence's gradients have the same bits in any batch and for any number of threads.
    """
    query = validate.float_array(query, "query")
    key = validate.float_array(key, "key")
    value = validate.float_array(value, "value")
    dtype = validate.same_dtype({"query": query, "key": key, "value": value})
    computing = validate.computing_dtype(dtype)
    validate_attention_varlen.packed_shapes(query, key, value)
    starts = validate_attention_varlen.sequence_starts(query_starts, key_starts, query.shape[0], key.shape[0])
    shape = (*query.shape[:2], value.shape[2])
    sequences = Layout((starts[0].size - 1,), True, shape[1], key.shape[1])
    grad_out = check.result_array(grad_out, "grad_out", shape, dtype)
    out = check.result_array(out, "out", shape, dtype)
    lse = check.statistics(lse, shape[1::-1], computing)

    scale = 1.0 / math.sqrt(query.shape[2]) if scale is None else validate.score_scale(scale)
    softcap = 0.0 if softcap is None else validate.score_cap(softcap)
    dropout_p = validate.probability(dropout_p, "dropout_p")
    seed = validate.random_seed(seed)
    left, right = validate.window_bounds(window, validate.flag(is_causal, "is_causal"))
    offsets = validate.query_offsets(query_offset, sequences.batch)
    check.derivative_of_function(score_mod, score_mod_grad)
    changes = score_changes(alibi_slopes, sinks, None, sequences, query.shape[0], key.shape[0], score_mod, computing)
    derivative = score_function(score_mod_grad, "score_mod_grad", computing)

    gradients = [np.zeros(x.shape, computing) for x in (query, key, value)]
    if query.size and key.size and dropout_p < 1.0:
        targets = [heads_first(x, computing) for x in gradients]
        packed_backward(
            heads_first(query, computing), heads_first(key, computing), heads_first(value, computing),
            heads_first(out, computing), lse[None], heads_first(grad_out, computing), targets[0], targets[1],
            targets[2], starts[0], starts[1], offsets, left, right, scale, softcap, dropout_p, seed, changes,
            derivative,
        )  # fmt: skip
    with np.errstate(over="ignore"):  # float16 ends at 65504
        of_query, of_key, of_value = (gradient.astype(dtype, copy=False) for gradient in gradients)
    return of_query, of_key, of_value
