"""MultiHeadAttention against PyTorch's frozen results and against its twin; masks, dtypes, weights, errors."""

from pathlib import Path

import ml_dtypes
import numpy as np
import pytest

from fastcore import MultiHeadAttention, reference, scaled_dot_product_attention

DATA = Path(__file__).parent / "data"


def frozen(file):
    """{case: {role: {name: array}}} of a file that freeze_expected.py wrote; numbers come back as float64."""
    cases = {}
    with np.load(DATA / file) as arrays:
        for path, array in arrays.items():
            case, role, name = path.split("/")
            array = array.astype(float) if array.dtype.kind == "f" else array
            cases.setdefault(case, {}).setdefault(role, {})[name] = array if array.ndim else array.item()
    return cases


ATTENTION, LAYER = frozen("scaled_dot_product.npz"), frozen("multi_head.npz")


@pytest.mark.parametrize("attend", [scaled_dot_product_attention, reference.scaled_dot_product_attention])
@pytest.mark.parametrize("case", ATTENTION)
def test_attention_equals_frozen_pytorch(attend, case):
    case = ATTENTION[case]
    out = attend(*case["input"].values(), **case.get("option", {}))
    np.testing.assert_allclose(out, case["expected"]["out"], rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("dtype, tolerance", [(np.float64, 1e-11), (np.float32, 2e-6)])
@pytest.mark.parametrize("case", LAYER)
def test_layer_equals_frozen_pytorch(case, dtype, tolerance):
    case = LAYER[case]
    layer = MultiHeadAttention.from_state_dict({k: x.astype(dtype) for k, x in case["weight"].items()}, 4)
    options = dict(case.get("option", {}))
    if "attn_mask" in options:
        mask = options["attn_mask"]
        options["attn_mask"] = ~mask if mask.dtype == np.bool_ else mask
    out = layer(**{name: x.astype(dtype) for name, x in case["input"].items()}, **options)
    assert out.dtype == dtype
    np.testing.assert_allclose(out, case["expected"]["out"], rtol=tolerance, atol=4 * tolerance)


def weights_of(rng, embed=12, kv_rows=12, kdim=12, vdim=12, bias=True, dtype=np.float64):
    shapes = {
        "q_proj_weight": (embed, embed),
        "k_proj_weight": (kv_rows, kdim),
        "v_proj_weight": (kv_rows, vdim),
        "out_proj_weight": (embed, embed),
    }
    if bias:
        shapes |= {name.replace("weight", "bias"): shape[:1] for name, shape in shapes.items()}
    return {name: (0.4 * rng.normal(size=shape)).astype(dtype) for name, shape in shapes.items()}


MASKS = {
    "none": {},
    "causal": {"is_causal": True},
    "bool": {"attn_mask": np.tri(5, 7, 2, bool)},
    "float": {"attn_mask": np.linspace(-1, 1, 35).reshape(5, 7)},
    "heads": {"attn_mask": np.arange(2 * 4 * 35).reshape(2, 4, 5, 7) % 3 > 0},
    "lengths": {"key_lengths": np.array([6, 3])},
    "window": {"window": (1, 2), "softcap": 2.0, "scale": 0.3, "query_offset": 1},
    "dropout": {"dropout_p": 0.4, "seed": 11},
}
PADDING = {
    "none": None,
    "at the end": np.arange(7) >= np.array([[7], [4]]),
    "anywhere": np.array(
        [[False, True, False, False, True, False, False], [True, False, False, False, True, True, True]]
    ),
    "all": np.array([[False] * 7, [True] * 7]),
    "float": np.where(np.arange(7) >= np.array([[5], [2]]), -np.inf, 0.25),
}


@pytest.mark.parametrize("padding", PADDING)
@pytest.mark.parametrize("masks", MASKS)
@pytest.mark.parametrize("kv_heads", [4, 2, 1])
def test_layer_masks_match_reference(rng, masks, padding, kv_heads):
    query, memory = rng.normal(size=(2, 5, 12)), rng.normal(size=(2, 7, 12))
    weights = weights_of(rng, kv_rows=3 * kv_heads)
    options = MASKS[masks] | {"key_padding_mask": PADDING[padding]}
    out = MultiHeadAttention(12, 4, num_kv_heads=kv_heads, **weights)(query, memory, **options)
    want = reference.multi_head_attention(query, memory, num_heads=4, num_kv_heads=kv_heads, **weights, **options)
    np.testing.assert_allclose(out, want, rtol=1e-11, atol=1e-12)


FLOATS = [np.float16, ml_dtypes.bfloat16, np.float32, np.float64]


@pytest.mark.parametrize("mask_dtype", FLOATS)
@pytest.mark.parametrize("padding_dtype", FLOATS)
def test_layer_float_masks_of_two_dtypes_are_summed(rng, mask_dtype, padding_dtype):
    layer, x = MultiHeadAttention(12, 4, **weights_of(rng, dtype=np.float32)), rng.normal(size=(2, 5, 12))
    x = x.astype(np.float32)
    # Numbers all four hold; of the sums float16 and bfloat16 would lose the halves.
    mask, padding = rng.integers(-4, 5, (5, 5)) / 2, np.full((2, 5), 2048.0)
    given = {"attn_mask": mask.astype(mask_dtype), "key_padding_mask": padding.astype(padding_dtype)}
    want = layer(x, attn_mask=(mask + padding[:, None, None]).astype(np.float32))
    np.testing.assert_array_equal(layer(x, **given), want)


@pytest.mark.parametrize("dtype", FLOATS)
def test_layer_lowest_number_in_both_float_masks_hides_a_key(rng, dtype):
    layer = MultiHeadAttention(12, 4, **weights_of(rng, dtype=np.float32))
    x = rng.normal(size=(2, 5, 12)).astype(np.float32)
    lowest = ml_dtypes.finfo(dtype).min
    mask, padding = np.zeros((5, 5), dtype), np.zeros((2, 5), dtype)
    mask[:, 2], padding[:, 2] = lowest, lowest
    want = layer(x, attn_mask=np.arange(5) != 2)
    np.testing.assert_allclose(layer(x, attn_mask=mask, key_padding_mask=padding), want, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("given_as", ["in_proj", "separate", "in_proj and three biases", "separate and one bias"])
@pytest.mark.parametrize("inputs", ["self", "cross", "three", "unbatched"])
def test_layer_packed_and_separate_weights_agree(rng, given_as, inputs):
    weights = weights_of(rng)
    query, key, value = rng.normal(size=(2, 5, 12)), rng.normal(size=(2, 7, 12)), rng.normal(size=(2, 7, 12))
    call = {"self": (query,), "cross": (query, key), "three": (query, key, value), "unbatched": (query[0], key[0])}[
        inputs
    ]
    kinds = {"in_proj": ["weight", "bias"], "in_proj and three biases": ["weight"]}.get(given_as, [])
    for kind in kinds:
        weights[f"in_proj_{kind}"] = np.concatenate([weights.pop(f"{x}_proj_{kind}") for x in "qkv"])
    if given_as == "separate and one bias":
        del weights["q_proj_bias"], weights["v_proj_bias"]
    twin = dict(weights)
    for kind in kinds:
        twin |= dict(zip((f"{x}_proj_{kind}" for x in "qkv"), np.split(twin.pop(f"in_proj_{kind}"), 3), strict=True))
    out = MultiHeadAttention(12, 4, **weights)(*call)
    assert out.shape == call[0].shape
    np.testing.assert_allclose(out, reference.multi_head_attention(*call, num_heads=4, **twin), rtol=1e-11, atol=1e-12)


def test_layer_reads_heads_in_place(kernel_calls, rng):
    weights = weights_of(rng, dtype=np.float32)
    for kind in ("weight", "bias"):
        weights[f"in_proj_{kind}"] = np.concatenate([weights.pop(f"{x}_proj_{kind}") for x in "qkv"])
    MultiHeadAttention(12, 4, **weights)(rng.normal(size=(2, 5, 12)).astype(np.float32))
    query, key, value, _, out = kernel_calls[0]
    assert query.base is key.base is value.base
    assert out.strides == (5 * 12 * 4, 3 * 4, 12 * 4, 4)


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16])
def test_layer_half_types_are_computed_in_float32(rng, dtype):
    weights = weights_of(rng, dtype=dtype)
    query = rng.normal(size=(2, 5, 12)).astype(dtype)
    out = MultiHeadAttention(12, 4, **weights)(query)
    wide = MultiHeadAttention(12, 4, **{name: x.astype(np.float32) for name, x in weights.items()})
    assert out.dtype == dtype
    np.testing.assert_array_equal(out, wide(query.astype(np.float32)).astype(dtype))


def test_layer_takes_read_only_strided_and_big_endian_arrays_and_leaves_them(rng):
    weights = weights_of(rng)
    query = rng.normal(size=(2, 5, 12))
    want = MultiHeadAttention(12, 4, **weights)(query, is_causal=True)
    strange = {name: np.asfortranarray(x).astype(">f8") for name, x in weights.items()}
    view = np.asfortranarray(query)
    for x in (*strange.values(), view):
        x.flags.writeable = False
    np.testing.assert_allclose(MultiHeadAttention(12, 4, **strange)(view, is_causal=True), want, rtol=1e-12)


@pytest.mark.parametrize("shape", [(0, 5, 12), (2, 0, 12), (0, 12)])
def test_layer_empty_inputs(rng, shape):
    layer = MultiHeadAttention(12, 4, **weights_of(rng))
    assert layer(np.zeros(shape)).shape == shape


def test_layer_no_keys_gives_the_output_bias(rng):
    weights = weights_of(rng)
    out = MultiHeadAttention(12, 4, **weights)(np.ones((2, 5, 12)), np.ones((2, 0, 12)))
    np.testing.assert_array_equal(out, np.broadcast_to(weights["out_proj_bias"], (2, 5, 12)))


def test_layer_from_state_dict_takes_one_layer_of_many(rng):
    weights = weights_of(rng)
    layer = MultiHeadAttention(12, 4, **weights)
    state = {"encoder.0.attn." + name.replace("_proj_", "_proj."): x for name, x in weights.items()}
    state["encoder.0.norm.weight"] = np.ones(12)
    loaded = MultiHeadAttention.from_state_dict(state, 4, prefix="encoder.0.attn.")
    x = rng.normal(size=(2, 5, 12))
    np.testing.assert_array_equal(loaded(x), layer(x))


W = weights_of(np.random.default_rng(0))
PACKED = {"in_proj_weight": np.zeros((36, 12)), "out_proj_weight": np.zeros((12, 12))}


@pytest.mark.parametrize(
    "arguments, keywords, error, message",
    [
        ((12, 5), W, ValueError, "embed_dim must be a multiple of num_heads. Got 12 and 5"),
        ((12, 4), W | {"num_kv_heads": 3}, ValueError, "num_heads must be a multiple of num_kv_heads. Got 4 and 3"),
        ((0, 4), W, ValueError, "embed_dim must be positive"),
        ((12, 4.0), W, TypeError, "num_heads must be an integer. Got 4.0"),
        ((12, 4), {}, ValueError, "Missing q_proj_weight, k_proj_weight, v_proj_weight, out_proj_weight"),
        ((12, 4), {"in_proj_weight": PACKED["in_proj_weight"]}, ValueError, "Missing out_proj_weight"),
        ((12, 4), PACKED | {"k_proj_weight": W["k_proj_weight"]}, ValueError, "already holds k_proj_weight"),
        ((12, 4), W | {"in_proj_bias": np.zeros(36)}, ValueError, "in_proj_bias already holds q_proj_bias"),
        ((12, 4), PACKED | {"kdim": 10}, ValueError, "in_proj_weight needs kdim and vdim equal to embed_dim, 12"),
        ((12, 4), W | {"vdim": 10}, ValueError, r"v_proj_weight must have shape \(12, 10\).*Got \(12, 12\)"),
        ((12, 4), W | {"out_proj_bias": np.zeros(11)}, ValueError, r"out_proj_bias must have shape \(12,\)"),
        ((12, 4), W | {"out_proj_bias": np.zeros(12, np.float32)}, TypeError, "must have one dtype"),
        ((12, 4), W | {"out_proj_bias": np.zeros(12, int)}, TypeError, "out_proj_bias must be float32"),
    ],
)  # fmt: skip
def test_layer_wrong_weights_raise(arguments, keywords, error, message):
    with pytest.raises(error, match=message):
        MultiHeadAttention(*arguments, **keywords)


X = np.zeros((2, 5, 12))


@pytest.mark.parametrize(
    "arguments, keywords, error, message",
    [
        ((X.astype(np.float32),), {}, TypeError, "query must have the dtype of the weights, float64. Got float32"),
        ((X[..., :10],), {}, ValueError, r"query must be \(B, rows, 12\) or \(rows, 12\).*Got \(2, 5, 10\)"),
        ((X[None],), {}, ValueError, "query must be"),
        ((X, X[0]), {}, ValueError, r"key must be .*as many axes as query. Got \(5, 12\)"),
        ((X, X[:1]), {}, ValueError, "same batch"),
        ((X, X, X[:, :4]), {}, ValueError, "key and value the same positions"),
        ((None,), {}, TypeError, "query must be an array"),
        ((X,), {"need_weights": True}, ValueError, "need_weights must be False.*reference.multi_head_attention"),
        ((X,), {"key_padding_mask": np.zeros((2, 4), bool)}, ValueError, r"key_padding_mask must have.*\(2, 5\). Got"),
        ((X,), {"key_padding_mask": np.zeros((2, 5), int)}, TypeError, "key_padding_mask must be bool or float"),
        ((X,), {"attn_mask": np.zeros((5, 4), bool)}, ValueError, r"attn_mask must broadcast to \(2, 4, 5, 5\)"),
        (
            (X,), {"attn_mask": np.zeros((5, 4), bool), "key_padding_mask": np.eye(2, 5, dtype=bool)},
            ValueError, r"attn_mask must broadcast to \(2, 4, 5, 5\)",
        ),
        (
            (X,), {"key_lengths": [1, 2, 3], "key_padding_mask": np.eye(2, 5, dtype=bool)},
            ValueError, "key_lengths must be one integer or one for each of 2",
        ),
        ((X,), {"dropout_p": 2}, ValueError, "dropout_p must lie in"),
    ],
)  # fmt: skip
def test_layer_wrong_call_raises(arguments, keywords, error, message):
    with pytest.raises(error, match=message):
        MultiHeadAttention(12, 4, **W)(*arguments, **keywords)


def test_layer_wrong_state_dict_or_module_raises():
    with pytest.raises(ValueError, match=r"Got also bias_k.*prefix="):
        MultiHeadAttention.from_state_dict(W | {"bias_k": np.zeros(12)}, 4)
    with pytest.raises(ValueError, match=r"must hold the matrix layer\.out_proj\.weight. Got no name"):
        MultiHeadAttention.from_state_dict(W, 4, prefix="layer.")
    with pytest.raises(TypeError, match=r"module must be a torch\.nn\.MultiheadAttention. Got int"):
        MultiHeadAttention.from_torch(3)
