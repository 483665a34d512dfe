"""Bounds on keys are the masks that transformers describes by functions."""

import dataclasses

import numpy as np
import pytest

pytestmark = [pytest.mark.peer, pytest.mark.filterwarnings("default")]  # deprecations inside of the libraries

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from transformers import masking_utils  # noqa: E402

from fastcore.integrations.transformers_masks import ALL_KEYS, Bounds, VisibleKeys, bounds_of, pieces_of, visible_keys  # noqa: E402

FUNCTIONS = {
    "causal": masking_utils.causal_mask_function,
    "bidirectional": masking_utils.bidirectional_mask_function,
    "window": masking_utils.sliding_window_causal_mask_function(4),
    "window on both sides": masking_utils.sliding_window_bidirectional_mask_function(3),
}
# (queries, keys, position of query 0, position of key 0): prefill, a growing cache, a static one, a sliding one
PLACES = [(7, 7, 0, 0), (3, 12, 9, 0), (1, 10, 9, 0), (5, 16, 0, 0), (4, 16, 6, 0), (2, 6, 11, 7), (1, 4, 11, 8)]
PADDING = {
    "none": None,
    "right": [[1] * 14, [1] * 9 + [0] * 5],
    "left": [[0] * 3 + [1] * 11, [1] * 14],
    "left alike": [[0] * 2 + [1] * 12] * 2,
    "both": [[0] * 2 + [1] * 8 + [0] * 4, [0] * 14],
    "holes": [[1, 0] * 7, [1] * 14],
}


def padding_of(name, q_offset, queries):
    rows = PADDING[name]
    return None if rows is None else torch.tensor(rows, dtype=torch.bool)[:, : q_offset + queries]


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("padding", PADDING)
@pytest.mark.parametrize("place", PLACES)
def test_visible_keys_elements_are_those_of_sdpa_mask(name, padding, place):
    queries, keys, q_offset, kv_offset = place
    mask = padding_of(padding, q_offset, queries)
    arguments = (2, queries, keys, q_offset, kv_offset, FUNCTIONS[name], mask)
    ours = visible_keys(*arguments, allow_is_causal_skip=False)
    theirs = masking_utils.sdpa_mask(*arguments, allow_is_causal_skip=False)
    assert isinstance(ours, VisibleKeys)
    assert (ours.shape, ours.dtype, ours.ndim) == (theirs.shape, torch.bool, 4)
    assert "elements" not in vars(ours)
    assert torch.equal(ours.elements, theirs)


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("padding", PADDING)
@pytest.mark.parametrize("place", PLACES)
def test_pieces_of_bounds_make_up_the_mask(name, padding, place):
    queries, keys, q_offset, kv_offset = place
    mask = padding_of(padding, q_offset, queries)
    seen = visible_keys(2, queries, keys, q_offset, kv_offset, FUNCTIONS[name], mask, allow_is_causal_skip=False)
    made = torch.zeros_like(seen.elements)
    for piece in pieces_of(seen.bounds, 2, queries, keys):
        assert piece.bounds.starts is piece.bounds.packed is None
        sizes = [len(range(*each.indices(10**6))) for each in (piece.batch, piece.rows, piece.keys)]
        own = piece.bounds if piece.bounds.keys is None else dataclasses.replace(piece.bounds, keys=None)
        part = own.elements(*sizes)
        if piece.bounds.keys is not None:
            part = part & piece.bounds.keys[piece.batch, None, None, piece.keys]
        made[piece.batch, :, piece.rows, piece.keys] |= part
    assert torch.equal(made, seen.elements)


@pytest.mark.parametrize("place", PLACES)
def test_visible_keys_is_none_where_sdpa_mask_is_or_says_more(place):
    """None means all keys, or for several queries causal from key 0 on: "sdpa" relies on it in the same places."""
    queries, keys, q_offset, kv_offset = place
    arguments = (2, queries, keys, q_offset, kv_offset)
    ours, theirs = visible_keys(*arguments), masking_utils.sdpa_mask(*arguments)
    assert (ours is None) == (theirs is None)
    bidirectional = {"mask_function": FUNCTIONS["bidirectional"], "allow_is_causal_skip": False}
    assert visible_keys(*arguments, **bidirectional, allow_is_bidirectional_skip=True) is None


def test_packed_positions_are_bounds():
    positions = torch.tensor([[0, 1, 2, 0, 1, 0, 1, 2, 3], [0, 1, 2, 3, 4, 5, 6, 0, 1]])
    numbers = masking_utils.find_packed_sequence_indices(positions)
    for base in (FUNCTIONS["causal"], FUNCTIONS["window"]):
        function = masking_utils.packed_sequence_compatibility_function(base, positions, numbers)
        ours = visible_keys(2, 9, 9, 0, 0, function, allow_is_causal_skip=False)
        assert [edges.tolist() for edges in ours.bounds.packed] == [[0, 3, 5, 9], [0, 7, 9]]
        assert torch.equal(ours.elements, masking_utils.sdpa_mask(2, 9, 9, 0, 0, function, allow_is_causal_skip=False))


@pytest.mark.parametrize(
    "function",
    [
        lambda b, h, q, k: k <= q,
        masking_utils.chunked_causal_mask_function(4, torch.zeros(2, dtype=int)),
        masking_utils.or_masks(masking_utils.causal_mask_function, lambda b, h, q, k: k < 2),
        masking_utils.and_masks(masking_utils.causal_mask_function, lambda b, h, q, k: k != 3),
    ],
)
def test_functions_without_bounds_become_the_mask_of_sdpa(function):
    ours = visible_keys(2, 9, 9, 0, 0, function, allow_is_causal_skip=False, use_vmap=True)
    theirs = masking_utils.sdpa_mask(2, 9, 9, 0, 0, function, allow_is_causal_skip=False, use_vmap=True)
    assert bounds_of(function) is None
    assert type(ours) is torch.Tensor
    assert torch.equal(ours, theirs)


def test_visible_keys_in_other_functions_are_an_ordinary_mask():
    mask = VisibleKeys.of(Bounds(right=0, ends=np.array([2, 3])), 2, 4, 4)
    elements = mask.bounds.elements(2, 4, 4)
    assert type(mask[:, :, 1:]) is torch.Tensor
    assert torch.equal(mask[:, :, 1:], elements[:, :, 1:])
    assert torch.equal(mask & elements, elements)
    assert torch.equal(torch.where(mask, 0.0, 1.0), (~elements).float())
    assert torch.equal(torch.cat([mask, mask], -1), torch.cat([elements, elements], -1))
    query = torch.rand(2, 1, 4, 8)
    attended = torch.nn.functional.scaled_dot_product_attention(query, query, query, attn_mask=mask)
    expected = torch.nn.functional.scaled_dot_product_attention(query, query, query, attn_mask=elements)
    assert torch.equal(attended, expected)
    assert "True" in repr(mask)


def test_bounds_of_all_keys_leave_everything():
    (piece,) = pieces_of(ALL_KEYS, 2, 3, 5)
    assert piece == (slice(0, 2), slice(0, 3), slice(0, 5), ALL_KEYS)
