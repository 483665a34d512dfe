"""fastcore's attention under PyTorch's compiler, function transforms, tracers and checkpoints."""

import shutil

import numpy as np
import pytest
from numba import njit

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.peer

from torch.func import grad, jacrev, vmap  # noqa: E402

from fastcore.integrations.torch import scaled_dot_product_attention, use_fastcore  # noqa: E402

torch_attention = torch.nn.functional.scaled_dot_product_attention
# Inductor writes C++, also where there is nothing but a call to compile.
BACKENDS = [
    "aot_eager",
    pytest.param(
        "inductor",
        marks=pytest.mark.skipif(not any(map(shutil.which, ("g++", "clang++", "cl"))), reason="no C++ compiler"),
    ),
]


@pytest.fixture
def tensors():
    """query, key, value (B, H, L, D), float64."""
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(2, 3, 5, 4, generator=generator, dtype=torch.float64) for _ in range(3)]


@pytest.fixture(params=BACKENDS)
def compiled(request):
    """A function compiled without a break."""
    torch.compiler.reset()
    yield lambda function, **options: torch.compile(function, fullgraph=True, backend=request.param, **options)
    torch.compiler.reset()


def close(actual, expected, tolerance=1e-12):
    np.testing.assert_allclose(actual.detach(), expected.detach(), rtol=0, atol=tolerance)


def loss(attention, is_causal=True):
    return lambda q, k, v: attention(q * 2, k, v, is_causal=is_causal).sin().sum()


# --- torch.compile ----------------------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")
@pytest.mark.parametrize("dynamic", [False, True])
def test_compiled_gradients_equal_torch(tensors, compiled, dynamic):
    ours, theirs = ([x.clone().requires_grad_() for x in tensors] for _ in range(2))
    run = compiled(loss(scaled_dot_product_attention), dynamic=dynamic)
    run(*ours).backward()
    loss(torch_attention)(*theirs).backward()
    for actual, expected in zip(ours, theirs):
        close(actual.grad, expected.grad)
    longer = [torch.cat([x, x], 2) for x in tensors]
    close(run(*longer), loss(torch_attention)(*longer))


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")
def test_compiled_dropout_differs_each_call_and_repeats_by_seed(tensors, compiled):
    run = compiled(lambda q, k, v: scaled_dot_product_attention(q, k, v, dropout_p=0.5))
    torch.manual_seed(1)
    first, second = run(*tensors), run(*tensors)
    assert not torch.equal(first, second)
    torch.manual_seed(1)
    assert torch.equal(run(*tensors), first)


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")
def test_compiled_options_equal_the_direct_call(tensors):
    q, k, v = tensors
    options = {"window": (2, None), "softcap": 3.0, "scale": 0.4, "query_offset": 1}
    lengths = torch.tensor([2, 5])

    def run(q, k, v, mask):
        return scaled_dot_product_attention(q, k, v, mask, key_lengths=lengths, **options)

    mask = torch.rand(5, 5) < 0.7
    torch.compiler.reset()
    close(torch.compile(run, fullgraph=True, backend="aot_eager")(q, k, v, mask), run(q, k, v, mask))
    torch.compiler.reset()


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")
def test_compiled_score_functions_equal_the_direct_call(tensors):
    double, slope = njit(lambda score, b, h, i, j: 2 * score), njit(lambda score, b, h, i, j: 2.0)

    def run(query):
        return scaled_dot_product_attention(query, *tensors[1:], score_mod=double, score_mod_grad=slope)

    torch.compiler.reset()
    query = tensors[0].requires_grad_()
    out = torch.compile(run, fullgraph=True, backend="aot_eager")(query)  # the first that knows of these functions
    close(out, run(query))
    close(torch.autograd.grad(out.sum(), query)[0], torch.autograd.grad(run(query).sum(), query)[0])
    torch.compiler.reset()


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")
@pytest.mark.parametrize("transform", ["grad", "vmap", "vmap of grad"])
def test_transforms_inside_compiled_functions(tensors, transform):
    q, k, v = tensors
    one = loss(lambda q, k, v, is_causal: scaled_dot_product_attention(q[None], k[None], v[None], is_causal=is_causal))
    function = {
        "grad": lambda q: grad(loss(scaled_dot_product_attention))(q, k, v),
        "vmap": lambda q: vmap(one)(q, k, v),
        "vmap of grad": lambda q: vmap(grad(one))(q, k, v),
    }[transform]
    torch.compiler.reset()
    close(torch.compile(function, fullgraph=True, backend="aot_eager")(q), function(q))
    torch.compiler.reset()


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")
def test_compiled_autograd_of_a_direct_call(tensors):
    compiled_autograd = pytest.importorskip("torch._dynamo.compiled_autograd")
    ours, theirs = ([x.clone().requires_grad_() for x in tensors] for _ in range(2))
    torch.compiler.reset()
    with compiled_autograd._enable(torch.compile(backend="aot_eager", fullgraph=True)):
        loss(scaled_dot_product_attention)(*ours).backward()
    torch.compiler.reset()
    loss(torch_attention)(*theirs).backward()
    close(ours[0].grad, theirs[0].grad)


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::torch.jit.TracerWarning")
def test_exported_and_traced_modules_hold_the_operator(tensors):
    class Module(torch.nn.Module):
        def forward(self, q, k, v):
            return scaled_dot_product_attention(q, k, v, is_causal=True)

    others = [x * 2 for x in tensors]
    exported = torch.export.export(Module(), tuple(tensors))
    assert "fastcore.attention" in str(exported.graph)
    close(exported.module()(*others), Module()(*others))
    traced = torch.jit.trace(Module(), tuple(tensors))
    assert "fastcore::attention" in str(traced.inlined_graph)
    close(traced(*others), Module()(*others))


# --- torch.func -------------------------------------------------------------------------------------------------------


def test_func_grad_and_vmap_of_grad_equal_torch(tensors):
    q, k, v = tensors
    expected = grad(loss(torch_attention))(q, k, v)
    close(grad(loss(scaled_dot_product_attention))(q, k, v), expected)
    one = loss(lambda q, k, v, is_causal: scaled_dot_product_attention(q[None], k[None], v[None], is_causal=is_causal))
    close(vmap(grad(one))(q, k, v), expected)


def test_func_jacrev_equals_torch(tensors):
    q, k, v = (x[:1, :2, :3] for x in tensors)
    actual = jacrev(lambda q: scaled_dot_product_attention(q, k, v))(q)
    close(actual, torch.autograd.functional.jacobian(lambda q: torch_attention(q, k, v), q))


def test_func_second_derivative_raises(tensors):
    q, k, v = tensors
    with pytest.raises(NotImplementedError, match="first derivatives only"):
        grad(lambda q: grad(loss(scaled_dot_product_attention))(q, k, v).sum())(q)


def several(generator):
    """name -> a tensor with a mapped axis at the end of each option."""
    return {
        "attn_mask": torch.randn(2, 1, 5, 5, 3, generator=generator, dtype=torch.float64),
        "bool mask": torch.rand(5, 5, 3, generator=generator) < 0.7,
        "alibi_slopes": torch.rand(3, 3, generator=generator, dtype=torch.float64),
        "alibi_slopes of sequences": torch.rand(2, 3, 3, generator=generator, dtype=torch.float64),
        "sinks": torch.randn(3, 3, generator=generator, dtype=torch.float64),
        "query_offset": torch.randint(0, 3, (2, 3), generator=generator),
        "key_lengths": torch.randint(1, 6, (2, 3), generator=generator),
        "block_mask": torch.rand(1, 3, 1, 1, 3, generator=generator) < 0.7,
    }


@pytest.mark.parametrize("name", [None, *several(torch.Generator())])
@pytest.mark.parametrize("axes", [(1, None, 2), (0, 0, 0), (None, 1, None)])
def test_vmap_equals_one_by_one(name, axes):
    generator = torch.Generator().manual_seed(2)
    q, k, v = (
        x if axis is None else torch.stack([x, x + 1, x * 2], axis)
        for x, axis in zip((torch.randn(2, 3, 5, 4, generator=generator, dtype=torch.float64) for _ in range(3)), axes)
    )
    option = None if name is None else several(generator)[name]
    keyword = {"bool mask": "attn_mask"}.get(name, name and name.split()[0])

    def run(q, k, v, option):
        more = {} if keyword is None else {keyword: option}
        return scaled_dot_product_attention(q, k, v, is_causal=keyword != "attn_mask", **more)

    actual = vmap(run, (*axes, None if option is None else -1))(q, k, v, option)
    for i in range(3):
        each = (x if axis is None else x.select(axis, i) for x, axis in zip((q, k, v), axes))
        close(actual[i], run(*each, None if option is None else option[..., i]))


def test_vmap_randomness_of_dropout(tensors):
    q, k, v = (torch.stack([x, x]) for x in tensors)

    def run(q, k, v):
        return scaled_dot_product_attention(q, k, v, dropout_p=0.5)

    same = vmap(run, randomness="same")(q, k, v)
    assert torch.equal(same[0], same[1])
    different = vmap(run, randomness="different")(q, k, v)
    assert not torch.equal(different[0], different[1])
    with pytest.raises(RuntimeError, match="randomness"):
        vmap(run)(q, k, v)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # PyTorch scripts its decompositions
def test_jvp_raises_and_goes_to_torch_where_routed(tensors):
    q, k, v = tensors
    with pytest.raises(NotImplementedError):
        torch.func.jvp(lambda q: scaled_dot_product_attention(q, k, v), (q,), (q,))
    with use_fastcore(), torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
        out, tangent = torch.func.jvp(lambda q: torch_attention(q, k, v), (q,), (q,))
    close(out, scaled_dot_product_attention(q, k, v))
    assert tangent.abs().max() > 0


def test_checkpoint_computes_the_same_gradients(tensors):
    from torch.utils.checkpoint import checkpoint

    ours, again = ([x.clone().requires_grad_() for x in tensors] for _ in range(2))
    loss(scaled_dot_product_attention)(*ours).backward()
    checkpoint(loss(scaled_dot_product_attention), *again, use_reentrant=False).backward()
    assert torch.equal(ours[0].grad, again[0].grad)


def test_fake_tensors_give_the_shape_without_computing(tensors):
    with torch._subclasses.FakeTensorMode() as mode:
        q, k, v = map(mode.from_tensor, tensors)
        out = scaled_dot_product_attention(q, k, v)
    real = scaled_dot_product_attention(*tensors)
    assert (out.shape, out.stride(), out.dtype) == (real.shape, real.stride(), real.dtype)
