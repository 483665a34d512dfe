"""fastcore's attention of PyTorch's tensors: values, gradients, and what the operator promises PyTorch."""

import subprocess
import sys

import numpy as np
import pytest
from numba import njit

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.peer

import fastcore  # noqa: E402
from fastcore.integrations.torch import scaled_dot_product_attention  # noqa: E402
from fastcore.integrations.torch_autograd import Attention  # noqa: E402
from fastcore.integrations.torch_operator import Options, Tensors  # noqa: E402

torch_attention = torch.nn.functional.scaled_dot_product_attention


@pytest.fixture
def tensors():
    """query, key, value (B, H, L, D), float64, on memory of (B, L, H, D)."""
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(2, 9, 4, 8, generator=generator, dtype=torch.float64).transpose(1, 2) for _ in range(3)]


def close(actual, expected, tolerance=1e-12):
    np.testing.assert_allclose(actual.detach(), expected.detach(), rtol=0, atol=tolerance)


def gradients(attention, tensors, *more, **options):
    """Gradients of a weighed sum of the output by tensors and ``more``."""
    leaves = [x.detach().clone().requires_grad_() for x in (*tensors, *more)]
    out = attention(*leaves, **options)
    weights = torch.arange(out.numel(), dtype=out.dtype).reshape(out.shape).sin()
    return torch.autograd.grad((out * weights).sum(), leaves)


# --- values -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("is_causal", [False, True])
def test_attention_of_tensors_equals_torch(tensors, dtype, is_causal):
    q, k, v = (x.to(dtype) for x in tensors)
    out = scaled_dot_product_attention(q, k, v, is_causal=is_causal)
    expected = torch_attention(q.double(), k.double(), v.double(), is_causal=is_causal)
    assert out.dtype == dtype
    assert out.transpose(1, 2).is_contiguous()
    tolerance = {torch.float32: 2e-6, torch.float64: 1e-14}.get(dtype, 4 * torch.finfo(dtype).eps)
    close(out.double(), expected, tolerance)


@pytest.mark.parametrize("shape", [(9, 8), (3, 9, 8), (2, 3, 4, 9, 8)])
@pytest.mark.parametrize("mask_axes", [None, 2, -1])
def test_attention_other_numbers_of_axes_equal_torch(shape, mask_axes):
    generator = torch.Generator().manual_seed(1)
    q, k, v = (torch.randn(shape, generator=generator, dtype=torch.float64) for _ in range(3))
    mask = None
    if mask_axes is not None:
        mask = torch.randn((*shape[:-1], 9)[-mask_axes if mask_axes > 0 else 0 :], generator=generator).double()
    close(scaled_dot_product_attention(q, k, v, mask), torch_attention(q, k, v, mask))


def test_attention_stretched_batch_and_grouped_heads_equal_torch(tensors):
    q, k, v = tensors
    out = scaled_dot_product_attention(q, k[:1, :2], v[:, :2])
    close(out, torch_attention(q, k[:1, :2].expand(2, 2, 9, 8), v[:, :2], enable_gqa=True))


def test_attention_options_are_those_of_arrays(tensors):
    q, k, v = tensors
    arrays = [x.numpy() for x in tensors]
    options = {"window": (3, 1), "softcap": 2.0, "scale": 0.3, "query_offset": 2}
    lengths = torch.tensor([5, 9])
    out = scaled_dot_product_attention(q, k, v, key_lengths=lengths, seed=7, dropout_p=0.3, **options)
    expected = fastcore.scaled_dot_product_attention(
        *arrays, key_lengths=lengths.numpy(), seed=7, dropout_p=0.3, **options
    )
    np.testing.assert_array_equal(out, expected)


def test_attention_scale_of_zero_weighs_all_keys_alike(tensors):
    q, k, v = tensors
    close(scaled_dot_product_attention(q, k, v, scale=0.0), v.mean(-2, keepdim=True).expand_as(v))


@pytest.mark.parametrize("shape", [(0, 8), (3, 0, 8), (2, 3, 4, 0, 8)])
def test_attention_masks_without_elements_equal_torch(shape):
    empty, keys = torch.ones(shape), torch.ones(*shape[:-2], 5, 8)
    mask = torch.ones(1, 0, dtype=torch.bool)
    close(scaled_dot_product_attention(empty, keys, keys, mask.T), torch_attention(empty, keys, keys, mask.T))
    close(scaled_dot_product_attention(keys, empty, empty, mask), torch_attention(keys, empty, empty, mask))


def test_attention_shares_memory_with_arrays():
    x = torch.zeros(1, 2, 3, 4, dtype=torch.bfloat16)
    from fastcore.integrations.torch_arrays import as_array, as_tensor

    array = as_array(x, "x")
    assert array.ctypes.data == x.data_ptr()
    assert as_tensor(array, torch.bfloat16).data_ptr() == x.data_ptr()


def test_attention_bfloat16_without_ml_dtypes_is_the_same(tensors, monkeypatch):
    from fastcore.integrations import torch_arrays

    q, k, v = (x.bfloat16() for x in tensors)
    expected = gradients(scaled_dot_product_attention, (q, k, v))
    monkeypatch.setattr(torch_arrays, "_bfloat16", None)
    for actual, gradient in zip(gradients(scaled_dot_product_attention, (q, k, v)), expected):
        assert actual.dtype == torch.bfloat16
        close(actual.float(), gradient.float(), 0.02)


def test_dropout_repeats_by_torch_manual_seed(tensors):
    def run():
        return scaled_dot_product_attention(*tensors, dropout_p=0.5)

    torch.manual_seed(3)
    first, second = run(), run()
    assert not torch.equal(first, second)
    torch.manual_seed(3)
    assert torch.equal(run(), first)
    seeds = (2**63 + 5, torch.tensor(5 - 2**63))
    assert torch.equal(*(scaled_dot_product_attention(*tensors, dropout_p=0.5, seed=seed) for seed in seeds))


@pytest.mark.parametrize("make", [lambda x: x.requires_grad_(), lambda x: x * 1], ids=["leaf", "inference"])
def test_attention_in_inference_mode_needs_no_gradient(tensors, make):
    with torch.inference_mode():
        out = scaled_dot_product_attention(*map(make, (x.clone() for x in tensors)))
    assert out.is_inference()


def test_attention_autocast_casts_as_torch(tensors):
    q, k, v = (x.float() for x in tensors)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out = scaled_dot_product_attention(q, k.bfloat16(), v)
    assert out.dtype == torch.bfloat16


@pytest.mark.parametrize(
    "change, error, message",
    [
        (lambda q, k, v: (q, k, v.numpy()), TypeError, "value must be a torch.Tensor"),
        (lambda q, k, v: (q, k, v.float()), TypeError, "must have one dtype"),
        (lambda q, k, v: (q, k[:, :3], v[:, :3]), ValueError, "must be a multiple of it"),
        (lambda q, k, v: (q, k, v[:, :, :3]), ValueError, "they must be equal"),
        (lambda q, k, v: (q, k[0], v), ValueError, "same number of axes"),
        (lambda q, k, v: (q, k, v, [[True]]), TypeError, "attn_mask must be a torch.Tensor"),
        (lambda q, k, v: (q[0], k[0], v[0], q), ValueError, "attn_mask must broadcast"),
        (lambda q, k, v: (q.long(), k.long(), v.long()), TypeError, "must be float32"),
    ],
)
@pytest.mark.parametrize("gradient", [False, True])
def test_attention_wrong_argument_raises(tensors, change, error, message, gradient):
    arguments = change(*tensors)
    if gradient and arguments[0].is_floating_point():
        arguments = (arguments[0].detach().clone().requires_grad_(), *arguments[1:])
    with pytest.raises(error, match=message):
        scaled_dot_product_attention(*arguments)


@pytest.mark.parametrize(
    "options, error, message",
    [
        ({"score_mod": 3}, TypeError, "score_mod must be a function"),
        ({"score_mod": njit(lambda s, b, h, i, j: s), "score_mod_grad": 3}, TypeError, "score_mod_grad must be a func"),
        ({"score_mod_grad": njit(lambda s, b, h, i, j: s)}, ValueError, "Got no score_mod"),
        ({"softcap": 0.0}, ValueError, "softcap must be positive"),
    ],
)
def test_attention_wrong_option_raises(tensors, options, error, message):
    with pytest.raises(error, match=message):
        scaled_dot_product_attention(*tensors, **options)


def test_import_without_torch_names_the_extra():
    code = "import sys; sys.modules['torch'] = None; import fastcore.integrations.torch"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "ImportError: fastcore.integrations.torch needs PyTorch. Install it: pip install 'fastcore" in done.stderr


# --- gradients --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("is_causal", [False, True])
def test_gradients_equal_torch(tensors, is_causal):
    ours = gradients(scaled_dot_product_attention, tensors, is_causal=is_causal)
    theirs = gradients(torch_attention, tensors, is_causal=is_causal)
    for actual, expected in zip(ours, theirs):
        close(actual, expected)


def test_gradients_of_stretched_batch_and_groups_are_summed(tensors):
    q, k, v = tensors
    ours = gradients(scaled_dot_product_attention, (q, k[:1, :2], v[:1, :2]))

    def stretched(q, k, v):
        return torch_attention(q, k.expand(2, 2, 9, 8), v.expand(2, 2, 9, 8), enable_gqa=True)

    for actual, expected in zip(ours, gradients(stretched, (q, k[:1, :2], v[:1, :2]))):
        close(actual, expected)


def test_gradients_of_options_equal_composed_ones(tensors):
    q, k, v = (x[:, :2] for x in tensors)
    generator = torch.Generator().manual_seed(4)
    mask, sinks = (torch.randn(s, generator=generator, dtype=torch.float64) for s in ((9, 9), (2,)))
    slopes = torch.tensor([0.5, 0.25], dtype=torch.float64)
    distance = (torch.arange(9)[:, None] - torch.arange(9)).abs()

    def composed(q, k, v, mask, sinks):
        scores = 3.0 * torch.tanh(q @ k.transpose(-1, -2) / 8**0.5 / 3.0) - slopes[:, None, None] * distance + mask
        scores = scores.masked_fill(torch.ones(9, 9, dtype=torch.bool).triu(1), -torch.inf)
        more = sinks[:, None, None].expand(*scores.shape[:-1], 1)
        return torch.cat([scores, more], -1).softmax(-1)[..., :-1] @ v

    def ours(q, k, v, mask, sinks):
        return scaled_dot_product_attention(
            q, k, v, mask, is_causal=True, sinks=sinks, softcap=3.0, alibi_slopes=slopes
        )

    for actual, expected in zip(gradients(ours, (q, k, v), mask, sinks), gradients(composed, (q, k, v), mask, sinks)):
        close(actual, expected, 1e-10)


def test_gradcheck_passes(tensors):
    leaves = [x[:, :2, :5].detach().clone().requires_grad_() for x in tensors]
    assert torch.autograd.gradcheck(lambda q, k, v: scaled_dot_product_attention(q, k, v, is_causal=True), leaves)


def test_second_derivative_raises(tensors):
    q, k, v = (x.detach().clone().requires_grad_() for x in tensors)
    (gradient,) = torch.autograd.grad(scaled_dot_product_attention(q, k, v).square().sum(), q, create_graph=True)
    with pytest.raises(NotImplementedError, match="first derivatives only"):
        gradient.sum().backward()


def test_backward_of_an_operator_without_lse_computes_it(tensors):
    q, k, v = (x.detach().clone().requires_grad_() for x in tensors)
    out, lse = torch.ops.fastcore.attention(q, k, v, *Tensors(), *Options(), False)
    assert lse.numel() == 0
    expected = gradients(torch_attention, tensors)
    weights = torch.arange(out.numel(), dtype=out.dtype).reshape(out.shape).sin()
    for actual, each in zip(torch.autograd.grad((out * weights).sum(), (q, k, v)), expected):
        close(actual, each)


# --- the operator -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("return_lse", [False, True])
def test_operator_passes_opcheck(tensors, return_lse):
    leaves = [x.detach().clone().requires_grad_(return_lse) for x in tensors]
    arguments = (*leaves, *Tensors(), *Options(is_causal=True), return_lse)
    assert set(torch.library.opcheck(torch.ops.fastcore.attention.default, arguments).values()) == {"SUCCESS"}


def test_backward_operator_passes_opcheck(tensors):
    with torch.no_grad():
        out, lse = torch.ops.fastcore.attention(*tensors, *Tensors(), *Options(), True)
    arguments = (torch.ones_like(out), *tensors, out, lse, *Tensors(), *Options(), False, False)
    checks = torch.library.opcheck(torch.ops.fastcore.attention_backward.default, arguments)
    assert set(checks.values()) == {"SUCCESS"}


def test_operator_is_the_direct_call(tensors):
    out, _ = torch.ops.fastcore.attention(*tensors, *Tensors(), *Options(is_causal=True), False)
    direct = scaled_dot_product_attention(*tensors, is_causal=True)
    assert torch.equal(out, direct)
    assert out.stride() == direct.stride()
    assert torch.equal(Attention.apply(*tensors, *Tensors(), *Options(is_causal=True), False)[0], direct)
