"""The same numbers as PyTorch, and as ONNX's operator tests where `onnx` is there. Run by `make test-peers`."""

import numpy as np
import pytest

from fastcore import MultiHeadAttention, scaled_dot_product_attention

pytestmark = pytest.mark.peer

TOLERANCE = {np.float64: 1e-10, np.float32: 2e-5}


@pytest.fixture(scope="module")
def torch():
    return pytest.importorskip("torch")


@pytest.fixture(scope="module")
def torch_attention(torch):
    """F.scaled_dot_product_attention over NumPy arrays."""

    def attend(*inputs, **keywords):
        tensors = {name: torch.from_numpy(x) if isinstance(x, np.ndarray) else x for name, x in keywords.items()}
        out = torch.nn.functional.scaled_dot_product_attention(*map(torch.from_numpy, inputs), **tensors)
        return out.numpy()

    return attend


def mask_of(rng, kind, shape, dtype):
    mask = rng.random(shape) < 0.7
    mask[..., 0] = True
    return mask if kind == "bool" else rng.normal(size=shape).astype(dtype)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("scale", [None, 0.3])
@pytest.mark.parametrize("mask", [None, "causal", "bool", "float"])
@pytest.mark.parametrize("groups", [4, 2, 1])
@pytest.mark.parametrize("queries, keys, size", [(1, 40, 32), (37, 37, 24), (20, 150, 64), (150, 20, 16)])
def test_attention_equals_torch(rng, torch_attention, queries, keys, size, groups, mask, scale, dtype):
    shapes = (2, 4, queries, size), (2, groups, keys, size), (2, groups, keys, size + 3)
    inputs = [rng.normal(size=shape).astype(dtype) for shape in shapes]
    keywords = {"scale": scale, "enable_gqa": groups != 4, "is_causal": mask == "causal"}
    if mask in ("bool", "float"):
        keywords["attn_mask"] = mask_of(rng, mask, (2, 1, queries, keys), dtype)
    np.testing.assert_allclose(
        scaled_dot_product_attention(*inputs, **keywords),
        torch_attention(*inputs, **keywords),
        rtol=TOLERANCE[dtype],
        atol=TOLERANCE[dtype],
    )


@pytest.mark.parametrize("axes", [(), (3,), (2, 3), (2, 3, 2)])
@pytest.mark.parametrize("mask", [None, "causal", "bool", "float"])
def test_attention_any_number_of_axes_equals_torch(rng, torch_attention, axes, mask):
    inputs = [rng.normal(size=(*axes, *shape)) for shape in ((5, 8), (7, 8), (7, 6))]
    keywords = {"is_causal": mask == "causal"}
    if mask in ("bool", "float"):
        keywords["attn_mask"] = mask_of(rng, mask, (*axes[-1:], 5, 7), np.float64)
    want = torch_attention(*inputs, **keywords)
    np.testing.assert_allclose(scaled_dot_product_attention(*inputs, **keywords), want, rtol=1e-10)


def test_attention_three_axes_grouped_equals_torch(rng, torch_attention):
    inputs = [rng.normal(size=shape) for shape in ((4, 5, 8), (2, 7, 8), (2, 7, 6))]
    want = torch_attention(*inputs, enable_gqa=True)
    np.testing.assert_allclose(scaled_dot_product_attention(*inputs, enable_gqa=True), want, rtol=1e-10)


def test_attention_batch_axes_of_one_equal_torch(rng, torch_attention):
    inputs = [rng.normal(size=shape) for shape in ((3, 4, 5, 8), (1, 4, 7, 8), (3, 4, 7, 6))]
    np.testing.assert_allclose(scaled_dot_product_attention(*inputs), torch_attention(*inputs), rtol=1e-10)


def test_attention_reads_torch_tensors_in_place(torch, rng, kernel_calls):
    tensors = [torch.from_numpy(rng.normal(size=(2, 7, 4, 8))).transpose(1, 2) for _ in range(3)]
    mask = torch.ones(7, 7, dtype=torch.bool).tril()
    out = scaled_dot_product_attention(*tensors, attn_mask=mask, key_lengths=torch.tensor([7, 3]))
    assert type(out) is np.ndarray
    for read, tensor in zip(kernel_calls[0][:3], tensors, strict=True):
        assert read.__array_interface__["data"][0] == tensor.data_ptr()


def test_attention_torch_tensors_numpy_cannot_read_raise(torch):
    good = torch.zeros(1, 1, 2, 4)
    with pytest.raises(TypeError, match=r"query cannot be read as a NumPy array.*\.detach\(\)"):
        scaled_dot_product_attention(good.clone().requires_grad_(), good, good)
    with pytest.raises(TypeError, match=r"key cannot be read as a NumPy array.*\.float\(\)"):
        scaled_dot_product_attention(good, good.bfloat16(), good)
    with pytest.raises(TypeError, match="value cannot be read as a NumPy array"):
        scaled_dot_product_attention(good, good, good.to("meta"))


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("arguments", [{}, {"bias": False}, {"kdim": 24, "vdim": 12}])
@pytest.mark.parametrize("call", ["self", "cross", "unbatched"])
@pytest.mark.parametrize("mask", [None, "causal", "bool", "float", "padding", "both"])
def test_layer_equals_torch(torch, rng, arguments, call, mask, dtype):
    torch.manual_seed(0)
    module = torch.nn.MultiheadAttention(
        32, 4, batch_first=True, dtype=torch.float64 if dtype == np.float64 else torch.float32, **arguments
    ).eval()
    keys = 9 if call == "self" else 13
    query, key, value = (
        rng.normal(size=(2, rows, features)).astype(dtype)
        for rows, features in ((9, 32), (keys, module.kdim), (keys, module.vdim))
    )
    if call == "unbatched":
        query, key, value = query[0], key[0], value[0]
    if call == "self" and not {"kdim"} & arguments.keys():
        key = value = query
    ours, theirs = {}, {}
    if mask == "causal":
        ours["is_causal"] = True
        theirs["attn_mask"] = torch.ones(9, keys, dtype=torch.bool).triu(1)
    elif mask in ("bool", "both", "float"):
        ours["attn_mask"] = mask_of(rng, "float" if mask == "float" else "bool", (9, keys), dtype)
        theirs["attn_mask"] = torch.from_numpy(ours["attn_mask"] if mask == "float" else ~ours["attn_mask"])
    if mask in ("padding", "both"):
        padding = ~mask_of(rng, "bool", key.shape[:-1], dtype)
        ours["key_padding_mask"], theirs["key_padding_mask"] = padding, torch.from_numpy(padding)
    with torch.no_grad():
        want, _ = module(*map(torch.from_numpy, (query, key, value)), need_weights=False, **theirs)
    out = MultiHeadAttention.from_torch(module)(query, key, value, **ours)
    np.testing.assert_allclose(out, want.numpy(), rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype])


def test_layer_from_torch_shares_the_weights_and_refuses_what_it_lacks(torch):
    module = torch.nn.MultiheadAttention(8, 2, batch_first=True)
    layer = MultiHeadAttention.from_torch(module)
    x = np.ones((1, 3, 8), np.float32)
    before = layer(x)
    with torch.no_grad():
        module.in_proj_weight.mul_(3)
    assert (layer(x) != before).any()
    with pytest.raises(ValueError, match="bias_k"):
        MultiHeadAttention.from_torch(torch.nn.MultiheadAttention(8, 2, add_bias_kv=True))
    with pytest.raises(ValueError, match="add_zero_attn"):
        MultiHeadAttention.from_torch(torch.nn.MultiheadAttention(8, 2, add_zero_attn=True))
    with pytest.raises(TypeError, match=r"torch\.nn\.MultiheadAttention. Got torch"):
        MultiHeadAttention.from_torch(torch.nn.Linear(3, 3))


def attend_as_onnx(attributes, inputs):
    """ONNX's Attention operator (opset 23 and later) by ours; only its first output."""
    query, key, value = inputs["Q"], inputs["K"], inputs["V"]
    packed = query.ndim == 3
    if packed:
        heads = attributes["q_num_heads"], attributes["kv_num_heads"], attributes["kv_num_heads"]
        query, key, value = (
            x.reshape(*x.shape[:2], count, -1).swapaxes(1, 2)
            for x, count in zip((query, key, value), heads, strict=True)
        )
    offset = 0
    if "past_key" in inputs:
        offset = inputs["past_key"].shape[2]
        key = np.concatenate([inputs["past_key"], key], axis=2)
        value = np.concatenate([inputs["past_value"], value], axis=2)
    lengths = inputs.get("nonpad_kv_seqlen")
    if lengths is not None:
        offset = lengths - query.shape[2]
    mask = inputs.get("attn_mask")
    if mask is not None and mask.shape[-1] < key.shape[2]:  # a shorter mask ends in "does not take part"
        missing = [(0, 0)] * (mask.ndim - 1) + [(0, key.shape[2] - mask.shape[-1])]
        mask = np.pad(mask, missing, constant_values=False if mask.dtype == bool else -np.inf)
    window = [attributes.get(f"{side}_window_size", -1) for side in ("left", "right")]
    out = scaled_dot_product_attention(
        query,
        key,
        value,
        mask,
        is_causal=bool(attributes.get("is_causal", 0)),
        scale=attributes.get("scale"),
        softcap=attributes.get("softcap") or None,
        window=[None if side < 0 else side for side in window],
        query_offset=offset,
        key_lengths=lengths,
    )
    return out.swapaxes(1, 2).reshape(*inputs["Q"].shape[:2], -1) if packed else out


@pytest.mark.filterwarnings("ignore")
def test_attention_equals_the_onnx_operator_tests():
    onnx = pytest.importorskip("onnx", reason="onnx is not installed")
    node_cases = pytest.importorskip("onnx.backend.test.case.node")
    wrong, right = [], 0
    # All of them: onnx collects once in a process, and tests of nn ask for other operators.
    for case in node_cases.collect_testcases(None):
        (node, *others), (inputs, outputs) = case.model.graph.node, case.data_sets[0]
        if others or node.op_type != "Attention":  # the same operator, expanded into primitive ones
            continue
        attributes = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
        got = attend_as_onnx(attributes, dict(zip(filter(None, node.input), inputs, strict=True)))
        right += 1
        tolerance = {4: 1e-5, 2: 2e-2}[got.itemsize]  # theirs computes bfloat16 in bfloat16
        if not np.allclose(got.astype(float), outputs[0].astype(float), rtol=tolerance, atol=tolerance):
            wrong.append(case.name)
    assert not wrong
    assert right >= 50
