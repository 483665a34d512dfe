"""What changes scores before they are masked: soft cap, the user's function, ALiBi.

Forward and backward share it: both have the raw products of a block in a panel, one key a row and one query a lane.
"""

import math

from fastcore._core import simd
from fastcore._core.jit import kernel
from fastcore._core.tile import filled, lane_numbers, lanes_of
from fastcore._core.work import call_by_address
from fastcore.attention.kernels.masking import cap_scores
from fastcore.attention.kernels.panels import fill_panel, used_keys
from fastcore.attention.kernels.softmax import LOG2_E


@kernel
def subtract_distances(scores, keys, peak, width, distance, slope, diagonal):
    """scores <- scores - slope * |distance + lane - j|; ``peak`` <- the columns' maxima.

    Source: Press et al. 2022, "Train short, test long", section 3, with the distance to both sides as FlashAttention
    has it. Keys that the products do not use for a vector of queries are passed over.
    """
    lanes = lanes_of(scores)
    for first in range(0, width, lanes):
        place = lane_numbers(scores) + (distance + first)
        highest = filled(scores, -math.inf)
        at = simd.advance(scores, first)
        for j in range(used_keys(diagonal, keys, width, first, lanes)):
            score = simd.fma(simd.absolute(place - j), -slope, simd.load(at, lanes))
            simd.store(at, score)
            highest = simd.maximum(score, highest)
            at = simd.advance(at, width)
        simd.store(simd.advance(peak, first), highest)


@kernel
def modify_scores(panel, keys, queries, peak, width, first_position, first_key, diagonal, scores):
    """The raw products of ``queries`` queries and ``keys`` keys become scores in units of ``scores.unit``.

    The queries were scaled by `softmax_factor` before. ``peak`` is right afterwards only where ALiBi comes last: cap
    and function leave it to `bound_scores`.
    """
    lanes = lanes_of(panel)
    if scores.softcap > 0:
        cap_scores(panel, keys * (width // lanes), scores.softcap * LOG2_E / scores.unit)
    if scores.score_mod != 0:
        address = simd.address_of(panel)
        arguments = (address, keys, queries, width, first_position, first_key, scores.batch, scores.head)
        if not call_by_address(scores.score_mod, arguments):  # the function has raised
            fill_panel(panel, keys * (width // lanes), math.nan)
    if scores.slope != 0:
        slope = scores.slope * LOG2_E / scores.unit
        subtract_distances(panel, keys, peak, width, first_position - first_key, slope, diagonal)
