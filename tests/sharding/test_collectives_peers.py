"""The same numbers, shapes and dtypes as JAX inside `jax.shard_map`. Run by `make test-peers`."""

import inspect
import json
import os
import subprocess
import sys
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest

from fastcore import sharding
from fastcore.sharding import Mesh, P

pytestmark = pytest.mark.peer

SCRIPT = Path(__file__).with_name("jax_collectives.py")
AXES = {"a": 2, "b": 4}
DTYPES = ["float32", "float64", "float16", "bfloat16", "int8", "int32", "uint8", "bool", "complex64"]
# Sums may be in any order in JAX, and pmean rounds a 16-bit sum before it divides.
TOLERANCE = {"float32": 1e-6, "float64": 1e-14, "float16": 4e-3, "bfloat16": 4e-2, "complex64": 1e-6}


def all_cases():
    """[function, axis of the mesh, dtype, arguments], block."""
    for dtype in DTYPES:
        for name in ("psum", "pmean", "pmax", "pmin"):
            if dtype == "complex64" and name in ("pmax", "pmin"):
                continue  # JAX compares them lexicographically; we refuse
            for axis in ("b", ["b", "a"]):
                yield [name, axis, dtype, {}], (5, 3)
        if dtype != "bool":  # JAX refuses what psum takes; we add int32 in both
            yield ["psum_scatter", "b", dtype, {"scatter_dimension": 1, "tiled": True}], (3, 8)
    for axis, n in (("a", 2), ("b", 4), (["a", "b"], 8), (["b", "a"], 8)):
        yield ["psum", axis, "float32", {}], ()
        for options in ({}, {"axis": 1}, {"axis": 2}, {"axis": -1}, {"tiled": True}, {"axis": -1, "tiled": True}):
            yield ["all_gather", axis, "float32", options], (3, 2)
        yield ["all_gather", axis, "int32", {}], ()
        for dimension in (0, 1, 2):
            block = tuple(n if d == dimension else 3 for d in range(3))
            yield ["psum_scatter", axis, "float32", {"scatter_dimension": dimension}], block
            for concat in (0, 1, 2):
                yield ["all_to_all", axis, "float32", {"split_axis": dimension, "concat_axis": concat}], block
        for split in (0, 1):
            for concat in (0, 1):
                options = {"split_axis": split, "concat_axis": concat, "tiled": True}
                yield ["all_to_all", axis, "float32", options], (2 * n, 3 * n)
        if axis == ["b", "a"]:
            continue  # JAX numbers the members in the order of the mesh here, unlike its axis_index; we do not
        for perm in ([[i, (i + 1) % n] for i in range(n)], [[0, n - 1]], [[i, i] for i in range(n)], []):
            yield ["ppermute", axis, "float32", {"perm": perm}], (3,)
    # What JAX refuses, too.
    yield ["psum_scatter", "b", "float32", {}], (3, 4)
    yield ["psum_scatter", "b", "float32", {"tiled": True}], (6, 4)
    yield ["all_to_all", "b", "float32", {"split_axis": 0, "concat_axis": 1}], (8, 4)
    yield ["all_to_all", "b", "float32", {"split_axis": 0, "concat_axis": 1, "tiled": True}], (6, 4)
    yield ["all_gather", "b", "float32", {"axis": 3}], (2, 2)
    yield ["ppermute", "b", "float32", {"perm": [[0, 1], [0, 2]]}], (2, 2)
    yield ["psum", "pp", "float32", {}], (2, 2)


CASES = list(all_cases())


def blocks_of(rng, dtype, block):
    x = rng.normal(0, 30, size=(8, *block))
    if dtype == "complex64":
        return (x + 1j * rng.normal(size=x.shape)).astype(dtype)
    if dtype == "bool":
        return x > 0
    return np.abs(x).astype(dtype) if dtype == "uint8" else x.astype("float32" if dtype == "bfloat16" else dtype)


@pytest.fixture(scope="module")
def answers(tmp_path_factory):
    """Blocks and JAX's answer for each case, from a process with eight devices of the CPU."""
    pytest.importorskip("jax")
    rng = np.random.default_rng(6)
    folder = tmp_path_factory.mktemp("jax")
    blocks = [blocks_of(rng, case[2], block) for case, block in CASES]
    paths = [folder / name for name in ("cases.json", "blocks.npz", "answers.npz")]
    paths[0].write_text(json.dumps([case for case, _ in CASES]))
    np.savez(paths[1], **{str(number): each for number, each in enumerate(blocks)})
    settings = {
        "XLA_FLAGS": "--xla_force_host_platform_device_count=8",
        "JAX_PLATFORMS": "cpu",
        "JAX_ENABLE_X64": "1",
        "PYTHONPATH": str(Path(__file__).parents[2]),
    }
    subprocess.run([sys.executable, SCRIPT, *paths], env=os.environ | settings, check=True, timeout=300)
    found = np.load(paths[2])
    return [(each, found[str(number)]) for number, each in enumerate(blocks)]


@pytest.mark.parametrize("number", range(len(CASES)), ids=lambda number: f"{number}-{CASES[number][0][0]}")
def test_collective_equals_jax(answers, number):
    (name, axis, dtype, options), _ = CASES[number]
    blocks, want = answers[number]
    blocks = blocks.astype(ml_dtypes.bfloat16) if dtype == "bfloat16" else blocks
    x = Mesh(AXES).from_blocks(blocks, P(), blocks.shape[1:], blocks.dtype)
    call = getattr(sharding, name)
    if want.dtype.kind == "U":
        with pytest.raises((ValueError, TypeError)):
            call(x, axis, **options)
        return
    got = call(x, tuple(axis) if isinstance(axis, list) else axis, **options).local
    is_mean_of_integers = name == "pmean" and blocks.dtype.kind in "biu"
    if not is_mean_of_integers:  # float64 with us, as NumPy's
        assert got.dtype == (blocks.dtype if dtype == "bfloat16" else want.dtype)
    if name in ("psum", "pmean", "psum_scatter") and (dtype in TOLERANCE or is_mean_of_integers):
        limit = TOLERANCE.get(dtype, 1e-6)
        scale = np.abs(want).max()
        np.testing.assert_allclose(got.astype(want.dtype), want, rtol=0, atol=limit * scale)
    else:
        np.testing.assert_array_equal(got.astype(want.dtype), want)
    assert got.shape == want.shape


@pytest.mark.parametrize(
    "name", ["psum", "pmean", "pmax", "pmin", "all_gather", "psum_scatter", "all_to_all", "ppermute"]
)
def test_arguments_and_defaults_are_those_of_jax(name):
    jax = pytest.importorskip("jax")
    theirs = inspect.signature(getattr(jax.lax, name)).parameters
    ours = inspect.signature(getattr(sharding, name)).parameters
    only_in_jax = {"axis_index_groups", "to"}
    assert [(each, theirs[each].kind, theirs[each].default) for each in theirs if each not in only_in_jax] == [
        (each, ours[each].kind, ours[each].default) for each in ours
    ]
