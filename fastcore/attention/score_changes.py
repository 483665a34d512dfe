"""The arguments that change scores, from what callers pass to what kernels take."""

from typing import Any

from fastcore._core import validate_attention_scores
from fastcore.attention.kernels.views import UNCHANGED, Changes
from fastcore.attention.layout import Layout, four_mask_axes


def score_changes(alibi_slopes: Any, sinks: Any, block_mask: Any, layout: Layout, queries: int, keys: int) -> Changes:
    """`alibi_slopes`, `sinks` and `block_mask` checked, as `scaled_dot_product_attention` documents them."""
    if alibi_slopes is sinks is block_mask is None:
        return UNCHANGED
    slopes = validate_attention_scores.slopes(alibi_slopes, layout.batch, layout.heads)
    blocks = validate_attention_scores.block_mask(block_mask, layout.axes, queries, keys)
    if blocks is not None:
        blocks = four_mask_axes(blocks, layout.batch, layout.heads)
    return Changes(slopes, validate_attention_scores.sinks(sinks, layout.heads), blocks)
