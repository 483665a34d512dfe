"""The arguments that change scores, from what callers pass to what kernels take."""

from typing import Any

import numpy as np
from numba.core.errors import NumbaError

from fastcore._core import validate_attention_scores
from fastcore.attention.kernels.score_mod import address_of_loop
from fastcore.attention.kernels.views import UNCHANGED, Changes
from fastcore.attention.layout import Layout, four_mask_axes


def score_changes(
    alibi_slopes: Any,
    sinks: Any,
    block_mask: Any,
    layout: Layout,
    queries: int,
    keys: int,
    score_mod: Any = None,
    dtype: Any = np.float32,
) -> Changes:
    """The arguments as `scaled_dot_product_attention` documents them, checked; `dtype` is what is computed in.

    What is returned is good as long as `score_mod` lives, whose code goes with it.
    """
    if alibi_slopes is sinks is block_mask is score_mod is None:
        return UNCHANGED
    slopes = validate_attention_scores.slopes(alibi_slopes, layout.batch, layout.heads)
    blocks = validate_attention_scores.block_mask(block_mask, layout.axes, queries, keys)
    if blocks is not None:
        blocks = four_mask_axes(blocks, layout.batch, layout.heads)
    sinks = validate_attention_scores.sinks(sinks, layout.heads)
    return Changes(slopes, sinks, blocks, score_function(score_mod, "score_mod", dtype))


def score_function(function: Any, name: str, dtype: Any) -> int:
    """Address of a function of scores (score, b, h, i, j) over a panel of `dtype`; 0 for None."""
    if function is None:
        return 0
    validate_attention_scores.compiled_function(function, name)
    try:
        return address_of_loop(function, np.dtype(dtype))
    except NumbaError as error:
        validate_attention_scores.refuse_function(name, dtype, error)
