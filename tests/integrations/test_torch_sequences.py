"""Attention over packed sequences and linear attention of PyTorch's tensors."""

import itertools

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.peer

from fastcore import attention  # noqa: E402
from fastcore.integrations.torch import linear_attention, scaled_dot_product_attention_varlen  # noqa: E402

STARTS = [0, 3, 3, 10]


@pytest.fixture
def tokens():
    """query, key, value (total, H, D), float64: a strided view of (total, 3, H, D)."""
    generator = torch.Generator().manual_seed(0)
    return torch.randn(10, 3, 2, 4, generator=generator, dtype=torch.float64).unbind(1)


@pytest.fixture
def heads(tokens):
    """The same as (1, H, L, D)."""
    return [x.transpose(0, 1)[None] for x in tokens]


def close(actual, expected, tolerance=1e-12):
    np.testing.assert_allclose(actual.detach(), expected.detach(), rtol=0, atol=tolerance)


def each_sequence(q, k, v):
    """Causal attention of each sequence by PyTorch."""
    outs = []
    for first, last in itertools.pairwise(STARTS):
        one = (x[first:last].transpose(0, 1)[None] for x in (q, k, v))
        outs.append(torch.nn.functional.scaled_dot_product_attention(*one, is_causal=True)[0].transpose(0, 1))
    return torch.cat(outs)


def linear_by_hand(q, k, v):
    q, k = (torch.nn.functional.elu(x) + 1 for x in (q, k))
    weights = (q @ k.transpose(-1, -2)).tril()
    return weights @ v / weights.sum(-1, keepdim=True)


def gradients(function, inputs):
    leaves = [x.detach().clone().requires_grad_() for x in inputs]
    function(*leaves).sin().sum().backward()
    return [x.grad for x in leaves]


def packed(q, k, v, **options):
    return scaled_dot_product_attention_varlen(q, k, v, torch.tensor(STARTS), is_causal=True, **options)


def test_varlen_and_its_gradients_equal_torch_of_each_sequence(tokens):
    close(packed(*tokens), each_sequence(*tokens))
    for actual, expected in zip(gradients(packed, tokens), gradients(each_sequence, tokens)):
        close(actual, expected)


def test_linear_attention_and_its_gradients_equal_torch_by_hand(heads):
    def causal(q, k, v):
        return linear_attention(q, k, v, True)

    close(causal(*heads), linear_by_hand(*heads))
    for actual, expected in zip(gradients(causal, heads), gradients(linear_by_hand, heads)):
        close(actual, expected, 1e-11)


def test_second_derivatives_raise(tokens, heads):
    for function, inputs in ((packed, tokens), (linear_attention, heads)):
        query, *others = (x.detach().clone().requires_grad_() for x in inputs)
        (first,) = torch.autograd.grad(function(query, *others).sum(), query, create_graph=True)
        with pytest.raises(NotImplementedError, match="first derivatives only"):
            torch.autograd.grad(first.square().sum(), query)


def test_varlen_options_are_those_of_arrays(tokens):
    options = {"window": (2, 0), "softcap": 2.0, "scale": 0.4, "dropout_p": 0.3, "seed": 5}
    expected = attention.scaled_dot_product_attention_varlen(
        *(x.numpy() for x in tokens), STARTS, is_causal=True, sinks=np.ones(2), **options
    )
    np.testing.assert_array_equal(packed(*tokens, sinks=torch.ones(2), **options), expected)


@pytest.mark.parametrize("gradient", [False, True])
def test_operators_pass_opcheck(tokens, heads, gradient):
    q, k, v = (x.detach().clone().requires_grad_(gradient) for x in tokens)
    options = (torch.tensor(STARTS), *(None,) * 5, 0.0, True, None, None, None, None)
    checked = torch.library.opcheck(torch.ops.fastcore.attention_varlen.default, (q, k, v, *options))
    assert set(checked.values()) == {"SUCCESS"}
    q, k, v = (x.detach().clone().requires_grad_(gradient) for x in heads)
    checked = torch.library.opcheck(torch.ops.fastcore.linear_attention.default, (q, k, v, True, "elu", True, 1.0))
    assert set(checked.values()) == {"SUCCESS"}


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")
def test_compiled_gradients_equal_the_direct_ones(tokens, heads):
    torch.compiler.reset()
    for function, inputs in ((packed, tokens), (linear_attention, heads)):
        compiled = torch.compile(function, fullgraph=True, backend="aot_eager")
        for actual, expected in zip(gradients(compiled, inputs), gradients(function, inputs)):
            close(actual, expected)
    torch.compiler.reset()


def test_wrong_arguments_raise(tokens, heads):
    with pytest.raises(TypeError, match=r"query_starts must be a torch\.Tensor"):
        scaled_dot_product_attention_varlen(*tokens, STARTS)
    with pytest.raises(ValueError, match="sinks must not require a gradient"):
        packed(*tokens, sinks=torch.ones(2, requires_grad=True))
    with pytest.raises(ValueError, match="query must have four axes"):
        linear_attention(*tokens)
    with pytest.raises(ValueError, match="feature_map must be"):
        linear_attention(*heads, feature_map="none")
