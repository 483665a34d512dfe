"""Ring attention against the unsharded twin: devices, lengths, layouts, splits; what it sends, counts and holds."""

import ml_dtypes
import numpy as np
import pytest

import fastcore
from fastcore.sharding import Mesh, P, ring_attention, ring_attention_backward, unzigzag, zigzag
from tests.sharding.split_attention import SPEC, assert_equal_to_twin, inputs, put

DEVICES = [1, 2, 3, 4, 8]


def run(mesh, arrays, spec=SPEC, axis="sp", layout="contiguous", **options):
    """Result and gradients, whole and in the order of `arrays`."""
    n, length = mesh.axis_size(axis), arrays[0].shape[2]
    if layout == "zigzag":
        arrays, options = [zigzag(x, n) for x in arrays], options | {"length": length}
    *given, grad_out = put(mesh, arrays, spec)
    out, saved = ring_attention(*given, axis=axis, layout=layout, return_saved=True, **options)
    found = [x.gather() for x in (out, *ring_attention_backward(saved, grad_out))]
    return [unzigzag(x, n, length) for x in found] if layout == "zigzag" else found


@pytest.mark.parametrize("is_causal", [False, True])
@pytest.mark.parametrize("layout", ["contiguous", "zigzag"])
@pytest.mark.parametrize("length, dtype", [*((each, np.float64) for each in (48, 37, 5, 150)), (150, np.float32)])
@pytest.mark.parametrize("devices", DEVICES)
def test_ring_attention_equals_twin(rng, devices, length, layout, is_causal, dtype):
    arrays = inputs(rng, 4, 2, length, length, dtype)
    found = run(Mesh({"sp": devices}), arrays, layout=layout, is_causal=is_causal)
    assert_equal_to_twin(found, arrays, is_causal)


@pytest.mark.parametrize("is_causal", [False, True])
@pytest.mark.parametrize("queries, keys", [(37, 90), (90, 37), (3, 11), (0, 5)])
@pytest.mark.parametrize("devices", [1, 3, 4])
def test_ring_attention_queries_and_keys_of_different_lengths(rng, devices, queries, keys, is_causal):
    arrays = inputs(rng, 3, 1, queries, keys)
    assert_equal_to_twin(run(Mesh({"sp": devices}), arrays, is_causal=is_causal), arrays, is_causal)


@pytest.mark.parametrize("layout", ["contiguous", "zigzag"])
@pytest.mark.parametrize(
    "axes, spec",
    [
        ({"dp": 2, "sp": 2, "tp": 2}, P("dp", "tp", "sp")),
        ({"sp": 4, "dp": 2}, P("dp", None, "sp")),
        ({"a": 2, "tp": 2, "b": 2}, P(None, "tp", ("b", "a"))),
        ({"sp": 3, "other": 2}, P(None, None, "sp")),
    ],
)
def test_ring_attention_on_meshes_of_several_axes_equals_twin(rng, axes, spec, layout):
    arrays = inputs(rng, 4, 2, 37, 37)
    found = run(Mesh(axes), arrays, spec, spec[2], layout=layout, is_causal=True)
    assert_equal_to_twin(found, arrays, True)


def test_ring_attention_scale_is_that_of_the_whole(rng):
    arrays = inputs(rng, 2, 2, 20, 20)
    out = ring_attention(*put(Mesh({"sp": 4}), arrays[:3]), scale=0.7).gather()
    np.testing.assert_allclose(out, fastcore.scaled_dot_product_attention(*arrays[:3], scale=0.7), rtol=1e-13)


def test_ring_attention_without_keys_is_zero(rng):
    arrays = inputs(rng, 2, 1, 6, 0)
    found = run(Mesh({"sp": 2}), arrays)
    assert [x.shape[2] for x in found] == [6, 6, 0, 0]
    assert not any(x.any() for x in found)


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16])
def test_ring_attention_half_precision_is_rounded_once(rng, dtype):
    """Partial results and gradients are float32."""
    arrays = [x.astype(dtype) for x in inputs(rng, 4, 2, 40, 40)]
    found = run(Mesh({"sp": 4}), arrays, is_causal=True)
    wide = run(Mesh({"sp": 4}), [x.astype(np.float32) for x in arrays], is_causal=True)
    for result, right in zip(found, wide, strict=True):
        assert result.dtype == dtype
        np.testing.assert_array_equal(result, right.astype(dtype))


@pytest.mark.parametrize("layout", ["contiguous", "zigzag"])
def test_ring_attention_bits_depend_on_neither_threads_nor_other_axes(rng, layout):
    arrays = inputs(rng, 4, 2, 90, 90, np.float32)
    many = run(Mesh({"sp": 3}), arrays, layout=layout, is_causal=True)
    with fastcore.num_threads(1):
        serial = run(Mesh({"sp": 3}), arrays, layout=layout, is_causal=True)
    split = run(Mesh({"tp": 2, "sp": 3}), arrays, P(None, "tp", "sp"), layout=layout, is_causal=True)
    for result, one, part in zip(many, serial, split, strict=True):
        np.testing.assert_array_equal(result, one)
        np.testing.assert_array_equal(result, part)


def test_ring_attention_padding_is_zero_and_harmless(rng):
    """What lies in the padding of queries, keys, values and gradients reaches nothing."""
    mesh = Mesh({"sp": 4})
    arrays = inputs(rng, 2, 2, 10, 10)
    clean = run(mesh, arrays)
    *given, grad_out = put(mesh, arrays)
    for x in (*given, grad_out):
        x.local[3, :, :, 1:] = 7.0
    out, saved = ring_attention(*given, return_saved=True)
    found = [out, *ring_attention_backward(saved, grad_out)]
    for x, right in zip(found, clean, strict=True):
        np.testing.assert_array_equal(x.gather(), right)
        assert not x.local[3, :, :, 1:].any()


# --- what it costs ----------------------------------------------------------------------------------------------------


def flops_of(mesh):
    return [entry.flops for entry in mesh.ledger.entries if entry.kind == "compute"]


@pytest.mark.parametrize("engine", ["simulated", "dry"])
@pytest.mark.parametrize("devices", DEVICES)
def test_ring_attention_bytes_and_messages(devices, engine):
    """(n - 1) blocks of keys with values a device; on the way back as many, and n of their gradients."""
    mesh = Mesh({"dp": 2, "sp": devices}, engine=engine)
    query, key = (
        mesh.zeros((2, 4, 48, 8), "f4", P("dp", None, "sp")),
        mesh.zeros((2, 2, 48, 8), "f4", P("dp", None, "sp")),
    )
    out, saved = ring_attention(query, key, key, return_saved=True)
    block = 1 * 2 * (48 // devices) * 16 * 4
    sent = [entry for entry in mesh.ledger.entries if entry.kind == "ppermute"]
    assert len(sent) == devices - 1
    assert sum(entry.sent_bytes for entry in sent) == 2 * devices * (devices - 1) * block
    ring_attention_backward(saved, out)
    sent = [entry for entry in mesh.ledger.entries if entry.kind == "ppermute"][devices - 1 :]
    moves = 0 if devices == 1 else 2 * devices - 1
    assert len(sent) == moves
    assert sum(entry.sent_bytes for entry in sent) == 2 * devices * moves * block


@pytest.mark.parametrize("devices", DEVICES)
def test_ring_attention_flops_skip_what_the_mask_hides(devices):
    """Contiguous: the last device sees a whole block at each step. Zigzag: all see half a block, n / 2 in all."""
    steps = {}
    for layout in ("contiguous", "zigzag"):
        mesh = Mesh({"sp": devices}, engine="dry")
        x = mesh.zeros((1, 1, 16 * devices, 8), "f4", SPEC)
        ring_attention(x, x, x, is_causal=True, layout=layout)
        steps[layout] = [flops / (4 * 8) for flops in flops_of(mesh)]
    block = 16 * 16
    assert steps["contiguous"] == [16 * 17 / 2, *[block] * (devices - 1)]
    assert steps["zigzag"] == [2 * (8 * 9 / 2) + block / 4, *[block / 2] * (devices - 1)]


def test_ring_attention_holds_two_blocks_of_keys_whatever_the_length(rng):
    """The peak above what the caller holds: blocks of the result and of keys, none of all tokens."""
    peaks = {}
    for devices in (2, 4, 8, 16):
        mesh = Mesh({"sp": devices}, engine="dry")
        x = mesh.zeros((1, 2, 64 * devices, 16), "f4", SPEC)
        before = mesh.ledger.held_bytes(mesh)
        ring_attention(x, x, x, is_causal=True)
        peaks[devices] = (mesh.ledger.peak_bytes(mesh) - before) / x.nbytes_block
    assert len(set(peaks.values())) == 1
    assert peaks[2] < 2 + 2 * 2 + 0.2  # the result and what is merged into it, two blocks of keys and values, lse


def test_ring_attention_frees_what_it_made(rng):
    mesh = Mesh({"sp": 4})
    *given, grad_out = put(mesh, inputs(rng, 2, 2, 16, 16))
    before = mesh.ledger.held_bytes(mesh)
    out, saved = ring_attention(*given, return_saved=True)
    gradients = ring_attention_backward(saved, grad_out)
    del out, saved, gradients
    assert mesh.ledger.held_bytes(mesh) == before


def test_ring_attention_ledgers_of_simulated_and_dry_are_equal(rng):
    ledgers = []
    for engine in ("simulated", "dry"):
        mesh = Mesh({"sp": 4}, engine=engine)
        *given, grad_out = put(mesh, inputs(rng, 2, 1, 24, 24))
        _, saved = ring_attention(*given, is_causal=True, layout="zigzag", return_saved=True)
        ring_attention_backward(saved, grad_out)
        ledgers.append([entry._replace(mesh=None) for entry in mesh.ledger.entries])
    assert ledgers[0] == ledgers[1]


# --- mistakes ---------------------------------------------------------------------------------------------------------


def arguments(mesh, spec=SPEC, **shapes):
    shapes = {"query": (2, 4, 24, 8), "key": (2, 2, 24, 8), "value": (2, 2, 24, 8)} | shapes
    return [mesh.zeros(shapes[name], "f4", spec, pad=True) for name in ("query", "key", "value")]


@pytest.mark.parametrize(
    "shapes, match",
    [
        ({"key": (2, 2, 24, 4)}, "query has head size 8 and key 4"),
        ({"key": (2, 2, 20, 8)}, "key and value must have the same batch, heads and tokens"),
        ({"key": (2, 3, 24, 8), "value": (2, 3, 24, 8)}, "the 4 heads of query must be a multiple of it"),
        ({"key": (1, 2, 24, 8), "value": (1, 2, 24, 8)}, "query and key must have the same batch"),
        ({"query": (4, 24, 8)}, "query must have four axes"),
        ({"value": (2, 2, 24, 0)}, "The last axes must not be empty"),
    ],
)
def test_ring_attention_shapes_that_disagree_raise(shapes, match):
    with pytest.raises(ValueError, match=match):
        ring_attention(*arguments(Mesh({"sp": 4}), **shapes))


@pytest.mark.parametrize(
    "options, match",
    [
        ({"axis": "tp"}, "'tp' is not an axis of the mesh"),
        ({"axis": "dp"}, "must be split over axis"),
        ({"layout": "stripes"}, "layout must be one of 'contiguous', 'zigzag'. Got 'stripes'"),
        ({"length": 25}, "length must lie between 0 and the tokens"),
        ({"scale": float("inf")}, "scale"),
    ],
)
def test_ring_attention_wrong_options_raise(options, match):
    with pytest.raises(ValueError, match=match):
        ring_attention(*arguments(Mesh({"dp": 2, "sp": 4})), **options)


def test_ring_attention_heads_that_part_from_their_keys_raise():
    with pytest.raises(ValueError, match="A device must hold the key heads of its query heads"):
        ring_attention(
            *arguments(
                Mesh({"sp": 2, "tp": 2}),
                P(None, "tp", "sp"),
                query=(2, 6, 24, 8),
                key=(2, 3, 24, 8),
                value=(2, 3, 24, 8),
            )
        )


def test_ring_attention_different_splits_raise():
    mesh = Mesh({"dp": 2, "sp": 4})
    query, key, value = arguments(mesh)
    with pytest.raises(ValueError, match="must be split over the same mesh axes"):
        ring_attention(query, mesh.zeros(key.shape, "f4", P("dp", None, "sp")), value)
    with pytest.raises(ValueError, match="on one mesh"):
        ring_attention(query, *arguments(Mesh({"dp": 2, "sp": 4}))[1:])


def test_ring_attention_zigzag_that_is_not_causal_needs_its_length(rng):
    mesh, x = Mesh({"sp": 2}), rng.normal(size=(1, 1, 13, 4))
    shares = mesh.put(zigzag(x, 2), P(None, None, "sp"))
    with pytest.raises(ValueError, match="layout='zigzag' needs length="):
        ring_attention(shares, shares, shares, layout="zigzag")
    for options in ({"length": 13}, {"is_causal": True}):
        out = ring_attention(shares, shares, shares, layout="zigzag", **options)
        expected = fastcore.scaled_dot_product_attention(x, x, x, is_causal="is_causal" in options)
        assert np.abs(unzigzag(out.gather(), 2, 13) - expected).max() <= 1e-14


def test_ring_attention_zigzag_of_other_lengths_raises():
    mesh = Mesh({"sp": 4})
    shape = (2, 2, 20, 8)
    with pytest.raises(ValueError, match=r"tokens must divide by 8. Got 20. zigzag\(array, 4\)"):
        ring_attention(*arguments(mesh, query=shape, key=shape, value=shape), layout="zigzag")
    with pytest.raises(ValueError, match="queries and keys of the same tokens"):
        ring_attention(*arguments(mesh, query=(2, 2, 16, 8)), layout="zigzag")


def test_ring_attention_wrong_kinds_raise():
    mesh = Mesh({"sp": 4})
    query, key, value = arguments(mesh)
    with pytest.raises(TypeError, match="key must be a ShardedArray"):
        ring_attention(query, np.zeros((2, 2, 24, 8)), value)
    with pytest.raises(TypeError, match="must have one dtype"):
        ring_attention(query, key, mesh.zeros(value.shape, "f8", SPEC))
    with pytest.raises(TypeError, match="layout must be one of"):
        ring_attention(query, key, value, layout=1)
    with pytest.raises(TypeError, match="query must be float32"):
        ring_attention(*(mesh.zeros(x.shape, "i4", SPEC) for x in (query, key, value)))
    with pytest.raises(TypeError, match="is_causal must be True or False"):
        ring_attention(query, key, value, is_causal=1)


def test_ring_attention_backward_of_another_gradient_raises():
    mesh = Mesh({"sp": 4})
    _, saved = ring_attention(*arguments(mesh), return_saved=True)
    with pytest.raises(ValueError, match="grad_out must be split as the result"):
        ring_attention_backward(saved, mesh.zeros((2, 4, 24, 4), "f4", SPEC))
    with pytest.raises(ValueError, match="grad_out must be split as the result"):
        ring_attention_backward(saved, mesh.zeros((2, 4, 24, 8), "f4", P(None, "sp")))
    with pytest.raises(TypeError, match="grad_out must have the dtype of the result"):
        ring_attention_backward(saved, mesh.zeros((2, 4, 24, 8), "f8", SPEC))
    with pytest.raises(TypeError, match="grad_out must be a ShardedArray"):
        ring_attention_backward(saved, np.zeros((2, 4, 24, 8), np.float32))


@pytest.mark.peer
@pytest.mark.parametrize("layout", ["contiguous", "zigzag"])
@pytest.mark.parametrize("is_causal", [False, True])
def test_ring_attention_equals_torch(rng, is_causal, layout):
    torch = pytest.importorskip("torch")
    arrays = inputs(rng, 4, 2, 61, 61)
    *tensors, grad_out = [torch.from_numpy(x).requires_grad_() for x in arrays]
    with torch.enable_grad():
        out = torch.nn.functional.scaled_dot_product_attention(*tensors, is_causal=is_causal, enable_gqa=True)
        gradients = torch.autograd.grad(out, tensors, grad_out.detach())
    found = run(Mesh({"sp": 4}), arrays, layout=layout, is_causal=is_causal)
    for result, right in zip(found, (out.detach(), *gradients), strict=True):
        np.testing.assert_allclose(result, right.numpy(), rtol=1e-11, atol=1e-12)
