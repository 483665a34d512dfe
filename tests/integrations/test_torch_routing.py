"""`use_fastcore`: PyTorch's own attention computed by fastcore, and back."""

import threading

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.peer

from torch.nn.functional import scaled_dot_product_attention as imported  # noqa: E402

from fastcore.integrations import torch_routing  # noqa: E402
from fastcore.integrations.torch import scaled_dot_product_attention, use_fastcore  # noqa: E402


@pytest.fixture
def tensors():
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(2, 4, 9, 8, generator=generator) for _ in range(3)]


@pytest.fixture
def calls(monkeypatch):
    """The shapes of queries that fastcore attended."""
    seen = []

    def counting(query, *arguments, **options):
        seen.append(tuple(query.shape))
        return scaled_dot_product_attention(query, *arguments, **options)

    monkeypatch.setattr(torch_routing, "scaled_dot_product_attention", counting)
    return seen


def close(actual, expected, tolerance=2e-6):
    np.testing.assert_allclose(actual.detach(), expected.detach(), rtol=0, atol=tolerance)


def test_use_fastcore_routes_every_name_and_back(tensors, calls):
    held = {"attention": torch.nn.functional.scaled_dot_product_attention}
    expected = imported(*tensors)
    with use_fastcore():
        close(torch.nn.functional.scaled_dot_product_attention(*tensors), expected)
        close(imported(*tensors), expected)
        close(held["attention"](query=tensors[0], key=tensors[1], value=tensors[2]), expected)
    assert len(calls) == 3
    assert torch.equal(imported(*tensors), expected)
    assert len(calls) == 3


def test_use_fastcore_nested_and_entered_again(tensors, calls):
    context = use_fastcore()
    with context, context:
        with use_fastcore():
            imported(*tensors)
        imported(*tensors)
        assert len(calls) == 2
    imported(*tensors)
    with context:
        imported(*tensors)
    imported(*tensors)
    assert len(calls) == 3


def test_use_fastcore_ends_after_an_exception(tensors, calls):
    with pytest.raises(KeyError), use_fastcore():
        raise KeyError
    imported(*tensors)
    assert not calls


def test_use_fastcore_decorates(tensors, calls):
    @use_fastcore()
    def attend(depth):
        """Attend, and again."""
        imported(*tensors)
        return depth and attend(depth - 1)

    attend(2)
    assert len(calls) == 3
    assert attend.__doc__ == "Attend, and again."
    imported(*tensors)
    assert len(calls) == 3


def test_use_fastcore_holds_for_its_thread(tensors, calls):
    inside, checked = threading.Event(), threading.Event()
    before = []

    def other():
        inside.wait(60)
        imported(*tensors)
        before.extend(calls)
        checked.set()
        with use_fastcore():
            imported(*tensors)

    thread = threading.Thread(target=other)
    thread.start()
    with use_fastcore():
        inside.set()
        checked.wait(60)
    thread.join()
    assert not before
    assert len(calls) == 1


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("padded", [False, True])
def test_multi_head_attention_and_encoder_layers_are_routed(calls, training, padded):
    torch.manual_seed(0)
    attention = torch.nn.MultiheadAttention(32, 4, batch_first=True).train(training)
    encoder = torch.nn.TransformerEncoder(
        torch.nn.TransformerEncoderLayer(32, 4, 64, dropout=0.0, batch_first=True), 2, enable_nested_tensor=False
    ).train(training)
    x = torch.randn(2, 7, 32)
    padding = torch.arange(7) >= torch.tensor([[7], [5]]) if padded else None

    def run():
        with torch.set_grad_enabled(training):
            own = attention(x, x, x, key_padding_mask=padding, need_weights=False)[0]
            return own, encoder(x, src_key_padding_mask=padding)

    expected = run()
    with use_fastcore():
        found = run()
    assert calls == [(2, 4, 7, 8)] * 3
    kept = torch.ones(2, 7, dtype=torch.bool) if padding is None else ~padding
    for actual, each in zip(found, expected):
        close(actual[kept], each[kept], 1e-5)
    if training:
        parameters = list(encoder.parameters())
        ours = torch.autograd.grad(found[1][kept].sin().sum(), parameters)
        for actual, each in zip(ours, torch.autograd.grad(expected[1][kept].sin().sum(), parameters)):
            close(actual, each, 1e-4)


def test_multi_head_attention_with_weights_stays_torchs(calls):
    attention = torch.nn.MultiheadAttention(32, 4, batch_first=True)
    x = torch.randn(2, 7, 32)
    with use_fastcore():
        _, weights = attention(x, x, x)
    assert weights.shape == (2, 7, 7)
    assert not calls


@pytest.mark.parametrize("mask", ["bool", "float", "float with gradient"])
def test_masks_are_routed_with_their_gradient(tensors, calls, mask):
    generator = torch.Generator().manual_seed(1)
    given = torch.randn(2, 1, 9, 9, generator=generator)
    given = given > -0.5 if mask == "bool" else given
    results = []
    for context in (torch.enable_grad(), use_fastcore()):
        leaves = [x.clone().requires_grad_() for x in tensors]
        leaf = given.clone().requires_grad_(mask == "float with gradient")
        with context:
            imported(*leaves, attn_mask=leaf).sin().sum().backward()
        results.append([*(x.grad for x in leaves), *([leaf.grad] if leaf.requires_grad else [])])
    assert len(calls) == 1
    for actual, expected in zip(*results):
        close(actual, expected, 1e-5)


@pytest.mark.parametrize(
    "change",
    [
        lambda q, k, v: ((q, k.double(), v), {}),
        lambda q, k, v: ((q, k[:, :2], v[:, :2]), {}),  # groups without enable_gqa
        lambda q, k, v: ((q, k, v, torch.ones(9, 9, dtype=torch.int64)), {}),
        lambda q, k, v: ((q, k, v, torch.zeros(7, 9)), {}),
        lambda q, k, v: ((q, torch.cat([k, k[:1]]), v), {}),
        lambda q, k, v: ((q, k[:, :3], v[:, :3]), {"enable_gqa": True}),
        lambda q, k, v: ((q, k), {}),
    ],
)
def test_what_torch_refuses_it_refuses_itself(tensors, calls, change):
    arguments, options = change(*tensors)
    with pytest.raises((RuntimeError, TypeError, ValueError)) as theirs:
        imported(*arguments, **options)
    with use_fastcore(), pytest.raises(type(theirs.value)) as ours:
        imported(*arguments, **options)
    assert str(ours.value) == str(theirs.value)
    assert not calls


@pytest.mark.parametrize(
    "change",
    [
        lambda q, k, v: ((q, k[:, :1], v[:, :1]), {}),  # heads that are stretched, not grouped
        lambda q, k, v: ((q, k, v.sum(1, keepdim=True)), {}),
        lambda q, k, v: ((q, k, v, torch.zeros(9, 9), 0.0, True), {}),  # a mask and causal
        lambda q, k, v: (tuple(x.to("meta") for x in (q, k, v)), {}),
        lambda q, k, v: ((q[0], k[0, :2], v[0, :2]), {"enable_gqa": True}),
    ],
)
def test_what_fastcore_does_not_do_goes_to_torch(tensors, calls, change):
    arguments, options = change(*tensors)
    expected = imported(*arguments, **options)
    with use_fastcore():
        found = imported(*arguments, **options)
    assert found.shape == expected.shape
    assert found.is_meta or torch.equal(found, expected)
    assert not calls


@pytest.mark.parametrize(
    "options",
    [{}, {"is_causal": True}, {"scale": 0.3}, {"enable_gqa": True}, {"enable_gqa": True, "is_causal": True}],
)
@pytest.mark.parametrize("axes", [3, 4, 5])
def test_options_equal_torch(calls, options, axes):
    generator = torch.Generator().manual_seed(2)
    q, k, v = (torch.randn((2, 3, 4, 9, 8)[5 - axes :], generator=generator) for _ in range(3))
    expected = imported(q, k, v, **options)
    with use_fastcore():
        close(imported(q, k, v, **options), expected)


def test_fully_masked_rows_are_zero_as_in_torch(tensors, calls):
    mask = torch.ones(9, 9, dtype=torch.bool)
    mask[3] = False
    expected = imported(*tensors, attn_mask=mask)
    with use_fastcore():
        found = imported(*tensors, attn_mask=mask)
    assert not found[:, :, 3].any()
    close(found, expected)


def test_autocast_in_the_context_casts_as_torch(tensors, calls):
    q, k, v = tensors
    with torch.autocast("cpu", dtype=torch.bfloat16):
        expected = imported(q, k.bfloat16(), v)
        with use_fastcore():
            found = imported(q, k.bfloat16(), v)
    assert found.dtype == expected.dtype == torch.bfloat16
    close(found.float(), expected.float(), 0.03)
    assert len(calls) == 1


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")
def test_compiled_functions_follow_the_context(tensors):
    torch.compiler.reset()
    graphs = []

    def backend(graph, _):
        graphs.append(graph.code)
        return graph

    run = torch.compile(lambda q, k, v: imported(q * 2, k, v, is_causal=True), fullgraph=True, backend=backend)
    with use_fastcore():
        inside = run(*tensors)
    outside = run(*tensors)
    with use_fastcore():
        assert torch.equal(run(*tensors), inside)
    assert ["fastcore.attention" in code for code in graphs] == [True, False]
    close(inside, outside)
    torch.compiler.reset()
