"""Ulysses attention against the unsharded twin: devices, lengths, heads that divide and that do not; what it costs."""

import numpy as np
import pytest

import fastcore
from fastcore.sharding import Mesh, P, ulysses_attention, ulysses_attention_backward
from tests.sharding.split_attention import SPEC, assert_equal_to_twin, inputs, put


def run(mesh, arrays, spec=SPEC, axis="sp", **options):
    *given, grad_out = put(mesh, arrays, spec)
    out, saved = ulysses_attention(*given, axis=axis, return_saved=True, **options)
    return [x.gather() for x in (out, *ulysses_attention_backward(saved, grad_out))]


@pytest.mark.parametrize("is_causal", [False, True])
@pytest.mark.parametrize("length, dtype", [(48, np.float64), (37, np.float64), (5, np.float64), (37, np.float32)])
@pytest.mark.parametrize("devices", [1, 2, 3, 4, 8])
def test_ulysses_attention_equals_twin(rng, devices, length, is_causal, dtype):
    arrays = inputs(rng, 8, 4, length, length, dtype)
    assert_equal_to_twin(run(Mesh({"sp": devices}), arrays, is_causal=is_causal), arrays, is_causal)


@pytest.mark.parametrize("heads, groups", [(1, 1), (5, 5), (6, 3), (8, 1), (12, 2), (6, 2)])
@pytest.mark.parametrize("devices", [2, 3, 4])
def test_ulysses_attention_heads_that_do_not_divide_equal_twin(rng, devices, heads, groups):
    arrays = inputs(rng, heads, groups, 20, 31)
    assert_equal_to_twin(run(Mesh({"sp": devices}), arrays), arrays, False)


@pytest.mark.parametrize(
    "axes, spec",
    [
        ({"dp": 2, "sp": 2, "tp": 2}, P("dp", "tp", "sp")),
        ({"a": 2, "tp": 2, "b": 2}, P(None, "tp", ("b", "a"))),
        ({"sp": 3, "tp": 2}, P(None, "tp", "sp")),
    ],
)
def test_ulysses_attention_on_meshes_of_several_axes_equals_twin(rng, axes, spec):
    arrays = inputs(rng, 8, 4, 37, 37)
    assert_equal_to_twin(run(Mesh(axes), arrays, spec, spec[2], is_causal=True), arrays, True)


def test_ulysses_attention_bits_are_those_of_the_whole(rng):
    """A head is computed by one device, over all tokens."""
    arrays = inputs(rng, 8, 4, 90, 90, np.float32)
    whole = fastcore.scaled_dot_product_attention(*arrays[:3], is_causal=True, return_lse=True)[0]
    found = run(Mesh({"sp": 4}), arrays, is_causal=True)
    with fastcore.num_threads(1):
        serial = run(Mesh({"sp": 2}), arrays, is_causal=True)
    np.testing.assert_array_equal(found[0], whole)
    for result, one in zip(found, serial, strict=True):
        np.testing.assert_array_equal(result, one)


def test_ulysses_attention_half_precision(rng):
    arrays = [x.astype(np.float16) for x in inputs(rng, 4, 2, 40, 40)]
    found = run(Mesh({"sp": 4}), arrays, is_causal=True)
    wide = run(Mesh({"sp": 4}), [x.astype(np.float32) for x in arrays], is_causal=True)
    np.testing.assert_array_equal(found[0], wide[0].astype(np.float16))
    for result, right in zip(found, wide, strict=True):
        assert result.dtype == np.float16
        np.testing.assert_allclose(result, right, rtol=2e-3, atol=1e-3)


@pytest.mark.parametrize("engine", ["simulated", "dry"])
@pytest.mark.parametrize("devices", [1, 2, 4])
def test_ulysses_attention_bytes_and_flops(devices, engine):
    mesh = Mesh({"sp": devices}, engine=engine)
    query, key = mesh.zeros((2, 8, 48, 8), "f4", SPEC), mesh.zeros((2, 4, 48, 8), "f4", SPEC)
    out, saved = ulysses_attention(query, key, key, is_causal=True, return_saved=True)
    entries = list(mesh.ledger.entries)
    sent = sum(entry.sent_bytes for entry in entries if entry.kind == "all_to_all")
    assert sent == (devices - 1) * (2 * query.nbytes_block + 2 * key.nbytes_block)
    (flops,) = [entry.flops for entry in entries if entry.kind == "compute"]
    assert flops == 2 * (8 // devices) * (48 * 49 / 2) * 4 * 8
    ulysses_attention_backward(saved, out)
    entries = list(mesh.ledger.entries)[len(entries) :]
    sent = sum(entry.sent_bytes for entry in entries if entry.kind == "all_to_all")
    assert sent == (devices - 1) * (2 * query.nbytes_block + 2 * key.nbytes_block)
    (flops,) = [entry.flops for entry in entries if entry.kind == "compute"]
    assert flops == 2 * (8 // devices) * (48 * 49 / 2) * 10 * 8


def test_ulysses_attention_frees_what_it_made(rng):
    mesh = Mesh({"sp": 4})
    *given, grad_out = put(mesh, inputs(rng, 2, 2, 15, 15))
    before = mesh.ledger.held_bytes(mesh)
    out, saved = ulysses_attention(*given, return_saved=True)
    gradients = ulysses_attention_backward(saved, grad_out)
    del out, saved, gradients
    assert mesh.ledger.held_bytes(mesh) == before


def test_ulysses_attention_mistakes_raise():
    mesh = Mesh({"dp": 2, "sp": 4})
    query, key = mesh.zeros((2, 4, 24, 8), "f4", SPEC), mesh.zeros((2, 2, 24, 8), "f4", SPEC)
    with pytest.raises(ValueError, match="'tp' is not an axis of the mesh"):
        ulysses_attention(query, key, key, axis="tp")
    with pytest.raises(ValueError, match="must be split over axis"):
        ulysses_attention(query, key, key, axis="dp")
    _, saved = ulysses_attention(query, key, key, return_saved=True)
    with pytest.raises(ValueError, match="grad_out must be split as the result"):
        ulysses_attention_backward(saved, key)
