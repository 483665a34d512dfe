"""The same gradients as PyTorch's autograd, in float64: of its own function, and of the formula for what that lacks."""

import math

import numpy as np
import pytest

from fastcore import reference, scaled_dot_product_attention, scaled_dot_product_attention_backward
from tests.attention.test_backward import PAIRS, of_forward, with_function

pytestmark = pytest.mark.peer


@pytest.fixture(scope="module")
def torch():
    return pytest.importorskip("torch")


def ours(inputs, grad_out, keywords, **more):
    out, lse = scaled_dot_product_attention(*inputs, **of_forward(keywords), return_lse=True)
    return scaled_dot_product_attention_backward(grad_out, *inputs, out, lse, **keywords, **more)


def assert_close(got, expected):
    for result, right in zip(got, expected, strict=True):
        np.testing.assert_allclose(result, right.numpy(), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("scale", [None, 0.3])
@pytest.mark.parametrize("mask", [None, "causal", "bool", "float"])
@pytest.mark.parametrize("groups", [4, 2, 1])
@pytest.mark.parametrize("queries, keys, size", [(1, 40, 32), (37, 37, 24), (20, 150, 64), (150, 20, 16)])
def test_gradients_equal_those_of_the_torch_function(rng, torch, queries, keys, size, groups, mask, scale):
    shapes = (2, 4, queries, size), (2, groups, keys, size), (2, groups, keys, size + 3), (2, 4, queries, size + 3)
    *inputs, grad_out = (rng.normal(size=shape) for shape in shapes)
    keywords = {"scale": scale, "enable_gqa": groups != 4, "is_causal": mask == "causal"}
    tensors = [torch.from_numpy(x).requires_grad_() for x in inputs]
    theirs = dict(keywords)
    if mask == "bool":
        keywords["attn_mask"] = rng.random((2, 1, queries, keys)) < 0.7
        keywords["attn_mask"][..., 0] = True
        theirs["attn_mask"] = torch.from_numpy(keywords["attn_mask"])
    if mask == "float":
        keywords["attn_mask"] = rng.normal(size=(2, 1, queries, keys))
        theirs["attn_mask"] = torch.from_numpy(keywords["attn_mask"]).requires_grad_()
        tensors.append(theirs["attn_mask"])
    out = torch.nn.functional.scaled_dot_product_attention(*tensors[:3], **theirs)
    expected = torch.autograd.grad(out, tensors, torch.from_numpy(grad_out))
    assert_close(ours(inputs, grad_out, keywords, return_grad_mask=mask == "float"), expected)


def by_formula(torch, query, key, value, mask, sinks, keywords):
    """Attention written out in tensors, with every option; `reference` says which pairs take part and are kept."""
    sharing = query.shape[1] // key.shape[1]
    key, value = key.repeat_interleave(sharing, 1), value.repeat_interleave(sharing, 1)
    scores = query @ key.mT * keywords.get("scale", 1 / math.sqrt(query.shape[-1]))
    if softcap := keywords.get("softcap"):
        scores = softcap * torch.tanh(scores / softcap)
    shape = tuple(scores.shape)
    offset = keywords.get("query_offset", 0)
    positions, j = np.broadcast_arrays(reference.attention.positions(shape, offset), np.arange(shape[-1]))
    i, j = torch.from_numpy(positions.copy()), torch.from_numpy(j.copy())
    if "score_mod" in keywords:  # `bent` of test_backward
        sequence, head = (torch.arange(n).double().reshape(-1, *(1,) * m) for n, m in ((shape[0], 3), (shape[1], 2)))
        bent = 0.75 * scores + 0.05 * scores**2 - 0.02 * sequence * (i - j).abs() + 0.1 * head
        scores = bent.masked_fill((i + j) % 7 == 3, -torch.inf)
    if "alibi_slopes" in keywords:
        scores = scores - torch.from_numpy(keywords["alibi_slopes"][..., None, None]) * (i - j).abs()
    allowed = reference.attention.allowed_by_position(
        shape, keywords.get("is_causal", False), keywords.get("window"), offset, keywords.get("key_lengths")
    )
    if "block_mask" in keywords:
        allowed = allowed & reference.attention.elements_of_blocks(keywords["block_mask"], shape)
    if mask is not None and mask.dtype == torch.bool:
        allowed = allowed & mask.numpy()
    elif mask is not None:
        scores = scores + mask
    scores = scores.masked_fill(~torch.from_numpy(allowed), -torch.inf)
    if sinks is not None:
        scores = torch.cat([scores, sinks[:, None, None].expand(*shape[:-1], 1)], dim=-1)
    weights = torch.nan_to_num(torch.softmax(scores, dim=-1))[..., : shape[-1]]
    if "dropout_p" in keywords:
        kept = reference.dropout_mask(*shape, keywords["dropout_p"], keywords["seed"])
        weights = weights * torch.from_numpy(kept / (1 - keywords["dropout_p"]))
    return weights @ value


@pytest.mark.parametrize("names", PAIRS, ids="-".join)
def test_gradients_with_each_pair_of_options_equal_torch(torch, options, names):
    rng = np.random.default_rng(len(names))
    shapes = ((2, 2, 35, 8), (2, 1, 80, 8), (2, 1, 80, 10), (2, 2, 35, 10))
    *inputs, grad_out = (rng.normal(size=shape) for shape in shapes)
    keywords = with_function(names, options(names, 3, 2, 2, 35, 80, np.float64))
    tensors = [torch.from_numpy(x).requires_grad_() for x in inputs]
    mask, sinks = (torch.from_numpy(keywords[x]) if x in keywords else None for x in ("attn_mask", "sinks"))
    for x in (mask, sinks):
        if x is not None and x.dtype != torch.bool:
            tensors.append(x.requires_grad_())
    out = by_formula(torch, *tensors[:3], mask, sinks, keywords)
    # A row without keys is a softmax of nothing: torch's NaN there has no gradient that counts.
    expected = [torch.nan_to_num(x) for x in torch.autograd.grad(out, tensors, torch.from_numpy(grad_out))]
    more = {"return_grad_mask": "attn_mask_float" in names, "return_grad_sinks": "sinks" in names}
    assert_close(ours(inputs, grad_out, keywords, **more), expected)
