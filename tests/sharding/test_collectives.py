"""Collectives: the twins' numbers, the same bits in both ways, specifications, shapes, bytes and mistakes."""

import itertools
import math

import ml_dtypes
import numpy as np
import pytest

import fastcore
from fastcore import reference, sharding
from fastcore.sharding import Mesh, P
from fastcore.sharding.engines.simulated import SimulatedEngine

BFLOAT16 = np.dtype(ml_dtypes.bfloat16)
FLOATS = [np.float32, np.float64, np.float16, BFLOAT16, np.complex64, np.complex128]
INTEGERS = [np.bool_, np.int8, np.uint8, np.int16, np.int32, np.uint32, np.int64, np.uint64]
REDUCTIONS = ["psum", "pmean", "pmax", "pmin"]
SIZES = [1, 2, 3, 4, 8]

# name, block for n devices, arguments after the axis
MOVES = [
    ("all_gather", lambda n: (3, 2), {}),
    ("all_gather", lambda n: (3, 2), {"axis": 2}),
    ("all_gather", lambda n: (3, 2), {"axis": -1, "tiled": True}),
    ("all_gather", lambda n: (), {}),
    ("psum_scatter", lambda n: (n, 3), {}),
    ("psum_scatter", lambda n: (n,), {}),
    ("psum_scatter", lambda n: (2, 3 * n), {"scatter_dimension": -1, "tiled": True}),
    ("all_to_all", lambda n: (n, 3, 2), {"split_axis": 0, "concat_axis": 0}),
    ("all_to_all", lambda n: (n, 3, 2), {"split_axis": 0, "concat_axis": 2}),
    ("all_to_all", lambda n: (2, 3, n), {"split_axis": 2, "concat_axis": 1}),
    ("all_to_all", lambda n: (2 * n, 3), {"split_axis": 0, "concat_axis": 1, "tiled": True}),
    ("all_to_all", lambda n: (2 * n, 3), {"split_axis": 0, "concat_axis": 0, "tiled": True}),
]
MOVE_IDS = [f"{name}-{'-'.join(map(str, options.values())) or 'default'}" for name, _, options in MOVES]


class SpreadEngine(SimulatedEngine):
    """As if each device were a process of its own: collectives take the way through messages. Counts what moves."""

    moved_bytes = 0

    def holds_whole(self, mesh, groups):
        return False

    def all_to_all(self, mesh, groups, pieces, purpose):
        n = groups.shape[1]
        self.moved_bytes += groups.size * (n - 1) * math.prod(pieces.shape[2:]) * pieces.itemsize
        return super().all_to_all(mesh, groups, pieces, purpose)

    def all_gather(self, mesh, groups, pieces, purpose):
        self.moved_bytes += groups.size * (groups.shape[1] - 1) * math.prod(pieces.shape[1:]) * pieces.itemsize
        return super().all_gather(mesh, groups, pieces, purpose)

    def send(self, mesh, target, pieces, source):
        away = (source >= 0) & (mesh.devices[source] != target.devices)
        self.moved_bytes += np.count_nonzero(away) * math.prod(pieces.shape[1:]) * pieces.itemsize
        return super().send(mesh, target, pieces, source)


def make_mesh(axes, spread=False):
    mesh = Mesh(axes)
    if spread:
        mesh.engine = SpreadEngine()
    return mesh


def numbers(rng, shape, dtype):
    dtype = np.dtype(dtype)
    if dtype.kind == "b":
        return rng.integers(0, 2, shape).astype(bool)
    if dtype.kind in "iu":
        return rng.integers(0, 1 << 63, shape, np.uint64).astype(dtype)
    if dtype.kind == "c":
        return (rng.normal(size=shape) + 1j * rng.normal(size=shape)).astype(dtype)
    return rng.normal(size=shape).astype(dtype)


def as_blocks(mesh, blocks):
    """One block a device, whatever they hold: an array that claims to be repeated."""
    return mesh.from_blocks(blocks, P(), blocks.shape[1:], blocks.dtype)


def by_group(mesh, axis, blocks, twin):
    """The twin's result on each group of devices."""
    groups = mesh.groups((axis,) if isinstance(axis, str) else axis)
    results = {device: row for group in groups for device, row in zip(group, twin(blocks[group]))}
    return np.stack([results[device] for device in range(mesh.size)])


def bits(array):
    return array.dtype, array.shape, array.tobytes()


# --- the twins' numbers ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", FLOATS + INTEGERS, ids=lambda dtype: np.dtype(dtype).name)
@pytest.mark.parametrize("name", REDUCTIONS)
def test_reduction_equals_twin_in_both_ways_bit_for_bit(rng, name, dtype):
    if np.dtype(dtype).kind == "c" and name in ("pmax", "pmin"):
        pytest.skip("complex numbers have no order")
    for n, block in itertools.product(SIZES, [(5, 7), (), (1,), (16,), (0, 3)]):
        blocks = numbers(rng, (2 * n, *block), dtype)
        for axis, axes in (("b", {"a": 2, "b": n}), ("a", {"a": n, "b": 2}), (("b", "a"), {"a": 2, "b": n})):
            mesh = make_mesh(axes)
            result = getattr(sharding, name)(as_blocks(mesh, blocks), axis)
            want = by_group(mesh, axis, blocks, getattr(reference, name))
            assert result.shape == block
            if np.dtype(dtype).kind == "c" and name == "pmean":  # the twin divides by a complex number
                np.testing.assert_allclose(result.local, want, rtol=4 * np.finfo(dtype).eps)
            else:
                np.testing.assert_array_equal(result.local, want, strict=True)
            spread = getattr(sharding, name)(as_blocks(make_mesh(axes, spread=True), blocks), axis)
            assert bits(spread.local) == bits(result.local)


@pytest.mark.parametrize("dtype", [np.float64, np.float32, BFLOAT16, np.int32, np.bool_])
@pytest.mark.parametrize("move", MOVES, ids=MOVE_IDS)
def test_move_equals_twin_in_both_ways_bit_for_bit(rng, move, dtype):
    name, block_of, options = move
    for n in SIZES:
        blocks = numbers(rng, (2 * n, *block_of(n)), dtype)
        for axis, axes in (("b", {"a": 2, "b": n}), ("a", {"a": n, "b": 2})):
            mesh = make_mesh(axes)
            result = getattr(sharding, name)(as_blocks(mesh, blocks), axis, **options)
            want = by_group(mesh, axis, blocks, lambda part: getattr(reference, name)(part, **options))
            np.testing.assert_array_equal(result.local, want, strict=True)
            assert result.block_shape == want.shape[1:]
            spread = getattr(sharding, name)(as_blocks(make_mesh(axes, spread=True), blocks), axis, **options)
            assert bits(spread.local) == bits(result.local)


@pytest.mark.parametrize("n", SIZES)
def test_ppermute_equals_twin_and_fills_up_with_zeros(rng, n):
    blocks = rng.normal(size=(2 * n, 3))
    mesh = make_mesh({"a": 2, "b": n})
    for perm in ([(i, (i + 1) % n) for i in range(n)], [(i, i + 1) for i in range(n - 1)], [(0, n - 1)], []):
        result = sharding.ppermute(as_blocks(mesh, blocks), "b", perm)
        want = by_group(mesh, "b", blocks, lambda part: reference.ppermute(part, perm))  # noqa: B023
        np.testing.assert_array_equal(result.local, want)


@pytest.mark.parametrize("spread", [False, True])
def test_reduction_of_special_numbers_is_ieee_with_one_nan(spread):
    nan, inf = np.nan, np.inf
    first = np.array([nan, inf, inf, -0.0, -0.0, 1e308, nan, -inf], np.float64)
    second = np.array([1.0, -inf, inf, -0.0, 0.0, 1e308, -nan, 2.0], np.float64)
    want = {
        "psum": [nan, nan, inf, -0.0, 0.0, inf, nan, -inf],
        "pmean": [nan, nan, inf, -0.0, 0.0, inf, nan, -inf],
        "pmax": [nan, inf, inf, -0.0, -0.0, 1e308, nan, 2.0],
        "pmin": [nan, -inf, inf, -0.0, -0.0, 1e308, nan, -inf],
    }
    x = as_blocks(make_mesh({"a": 2}, spread), np.stack([first, second]))
    for name, numbers_wanted in want.items():
        result = getattr(sharding, name)(x, "a")
        assert result.local.tobytes() == np.array([numbers_wanted] * 2).tobytes(), name


@pytest.mark.parametrize("dtype", [np.float16, BFLOAT16])
def test_half_sums_accumulate_in_float32(dtype):
    # One by one, 2048 + 1 rounds back to 2048 in float16, and 256 + 1 to 256 in bfloat16.
    blocks = np.array([[2048.0], [1.0], [1.0], [2.0]] if dtype == np.float16 else [[256.0], [1.0], [1.0], [2.0]], dtype)
    total = float(sharding.psum(as_blocks(Mesh({"a": 4}), blocks), "a").local[0, 0])
    assert total == (2052.0 if dtype == np.float16 else 260.0)


def test_sum_is_in_order_of_the_members():
    blocks = np.array([[1e16], [1.0], [1.0], [-1e16]])
    assert sharding.psum(as_blocks(Mesh({"a": 4}), blocks), "a").local.ravel().tolist() == [0.0] * 4


@pytest.mark.parametrize("threads", [1, 2])
def test_psum_of_many_devices_is_the_same_for_any_threads(rng, threads):
    blocks = rng.normal(size=(300, 1000)).astype(np.float32)
    before = fastcore.get_num_threads()
    fastcore.set_num_threads(threads)
    try:
        result = sharding.psum(as_blocks(Mesh({"a": 300}), blocks), "a").local
    finally:
        fastcore.set_num_threads(before)
    np.testing.assert_array_equal(result, reference.psum(blocks))


# --- specifications, shapes and padding -----------------------------------------------------------------------------


@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("length", [24, 10, 1])
def test_all_gather_of_a_split_axis_is_the_whole_array(rng, n, length):
    mesh = Mesh({"dp": 2, "tp": n})
    array = rng.normal(size=(length, 4))
    result = sharding.all_gather(mesh.put(array, P("tp", "dp"), pad=True), "tp", axis=0, tiled=True)
    assert result.spec == P(None, "dp")
    assert result.shape == array.shape
    np.testing.assert_array_equal(result.gather(), array)


@pytest.mark.parametrize("n", SIZES)
def test_all_to_all_moves_the_split_from_one_axis_to_another(rng, n):
    mesh = Mesh({"dp": 2, "sp": n})
    array = rng.normal(size=(4, 2 * n, 3 * n + 1, 5))
    there = sharding.all_to_all(mesh.put(array, P("dp", None, "sp"), pad=True), "sp", 1, 2, tiled=True)
    assert there.spec == P("dp", "sp", None, None)
    assert there.shape == array.shape
    np.testing.assert_array_equal(there.local, mesh.put(array, P("dp", "sp")).local)


@pytest.mark.parametrize("n", SIZES)
def test_psum_scatter_of_partial_sums_is_split(rng, n):
    mesh = Mesh({"dp": 2, "tp": n})
    parts = rng.integers(0, 100, (n, 4, 2 * n))
    partial = mesh.from_blocks(parts[np.tile(np.arange(n), 2)][:, :2] * 1, P("dp"), (4, 2 * n), np.int64)
    result = sharding.psum_scatter(partial, "tp", scatter_dimension=1, tiled=True)
    assert result.spec == P("dp", "tp")
    np.testing.assert_array_equal(result.gather(), np.concatenate([parts[:, :2].sum(0)] * 2))
    again = sharding.psum_scatter(mesh.put(np.arange(4 * n), P("dp")), "tp", tiled=True)
    assert again.spec == P(("dp", "tp"))
    np.testing.assert_array_equal(again.gather(), n * np.arange(4 * n))


def test_padding_stays_where_blocks_stay(rng):
    mesh = Mesh({"dp": 4, "tp": 2})
    array = rng.normal(size=(10, 4))
    x = mesh.put(array, P("dp", "tp"), pad=True)
    assert sharding.psum(x, "tp").shape == (10, 2)
    assert sharding.psum(x, "tp").spec == P("dp", None)
    assert sharding.ppermute(x, "tp", [(0, 1), (1, 0)]).shape == (10, 4)
    assert sharding.all_gather(x, "tp").shape == (2, 10, 2)
    np.testing.assert_array_equal(sharding.pmax(x, "tp").gather(), np.maximum(array[:, :2], array[:, 2:]))


def test_padding_becomes_part_of_the_array_where_blocks_mix(rng):
    mesh = Mesh({"dp": 4, "tp": 2})
    array = rng.normal(size=(10, 2))
    padded = np.concatenate([array, np.zeros((2, 2))])
    x = mesh.put(array, P("dp"), pad=True)
    np.testing.assert_allclose(sharding.psum(x, "dp").gather(), padded.reshape(4, 3, 2).sum(0), rtol=1e-15)
    np.testing.assert_array_equal(sharding.all_gather(x, "dp").gather(), padded.reshape(4, 3, 2))
    shifted = sharding.ppermute(x, "dp", [(i, (i + 1) % 4) for i in range(4)])
    np.testing.assert_array_equal(shifted.gather(), np.roll(padded, 3, 0))
    both = mesh.put(array, P(("dp", "tp")), pad=True)
    joined = sharding.all_gather(both, "tp", tiled=True)
    assert (joined.shape, joined.spec) == ((16, 2), P("dp", None))
    np.testing.assert_array_equal(joined.gather()[:10], array)


def test_extremes_and_means_refuse_padding_they_would_count():
    x = Mesh({"dp": 4}).put(np.ones(10), P("dp"), pad=True)
    for name in ("pmax", "pmin", "pmean"):
        with pytest.raises(ValueError, match=f"{name} over dp must not meet padding: axis 0"):
            getattr(sharding, name)(x, "dp")


def test_transfer_moves_blocks_to_another_part_of_the_mesh(rng):
    mesh = Mesh({"pp": 2, "dp": 3})
    array = rng.normal(size=(6, 2))
    x = mesh.at(pp=0).put(array, P("dp"))
    y = sharding.transfer(x, mesh.at(pp=1))
    np.testing.assert_array_equal(y.gather(), array)
    entry = mesh.ledger.entries[-1]
    assert (entry.kind, entry.axis, entry.devices, entry.sent_bytes) == ("transfer", "pp", 2, array.nbytes)
    assert entry.target.fixed == (("pp", 1),)
    sharding.transfer(x, mesh.at(pp=0))
    assert mesh.ledger.entries[-1].sent_bytes == 0


def test_results_share_no_memory_with_their_input(rng):
    for n in (1, 2):
        x = as_blocks(Mesh({"a": n}), rng.normal(size=(n, n)))
        before = x.local.copy()
        for result in (
            *(getattr(sharding, name)(x, "a") for name in REDUCTIONS),
            sharding.all_gather(x, "a"),
            sharding.psum_scatter(x, "a"),
            sharding.all_to_all(x, "a", 0, 0),
            sharding.ppermute(x, "a", [(0, 0)]),
            sharding.psum(x, ()),
        ):
            assert not np.shares_memory(result.local, x.local)
        np.testing.assert_array_equal(x.local, before)


# --- dry meshes and bytes -------------------------------------------------------------------------------------------


def calls(n):
    """(name, block, call of x) for groups of n devices."""
    for name in REDUCTIONS:
        for block in ((24,), (7,), (5, 3), (), (0,)):
            yield name, block, lambda x, name=name: getattr(sharding, name)(x, "b")
    for name, block_of, options in MOVES:
        yield name, block_of(n), lambda x, name=name, options=options: getattr(sharding, name)(x, "b", **options)
    yield "ppermute", (3,), lambda x: sharding.ppermute(x, "b", [(i, (i + 1) % n) for i in range(n)])
    yield "ppermute", (3,), lambda x: sharding.ppermute(x, "b", [(0, 0)])


@pytest.mark.parametrize("n", SIZES)
def test_bytes_are_those_that_move_and_those_of_the_formulas(rng, n):
    formulas = {  # bytes that a device sends, of S entering it
        "psum": lambda size: 2 * (n - 1) * size / n,
        "pmax": lambda size: 2 * (n - 1) * size / n,
        "pmin": lambda size: 2 * (n - 1) * size / n,
        "all_gather": lambda size: (n - 1) * size,
        "psum_scatter": lambda size: (n - 1) * size / n,
        "all_to_all": lambda size: (n - 1) * size / n,
    }
    for name, block, call in calls(n):
        mesh = make_mesh({"a": 2, "b": n}, spread=True)
        call(as_blocks(mesh, rng.normal(size=(2 * n, *block)).astype(np.float32)))
        entry = mesh.ledger.entries[-1]
        assert (entry.axis, entry.devices, entry.entering_bytes, entry.name) == ("b", n, 4 * math.prod(block), name)
        filling = 0
        if entry.kind in ("psum", "pmax", "pmin"):
            # Shorter parts are filled up by one element: on their way to their member, and from there to all others.
            filling = -math.prod(block) % n * 4 * 2 * (n - 1) * 2
        assert entry.sent_bytes == mesh.engine.moved_bytes - filling
        if entry.kind in formulas:
            assert entry.sent_bytes == 2 * n * formulas[entry.kind](entry.entering_bytes)


@pytest.mark.parametrize("n", SIZES)
def test_dry_mesh_gives_the_same_shapes_bytes_and_specifications(rng, n):
    axes = {"a": 2, "b": n}
    for _, block, call in calls(n):
        mesh, dry = Mesh(axes), Mesh(axes, engine="dry")
        result = call(as_blocks(mesh, np.zeros((2 * n, *block), np.float32)))
        empty = call(dry.empty(block, np.float32))
        assert empty.local is None
        assert (empty.shape, empty.dtype, empty.spec) == (result.shape, result.dtype, result.spec)
        assert [entry[:7] for entry in dry.ledger.entries] == [entry[:7] for entry in mesh.ledger.entries]


# --- mistakes -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "error, message, call",
    [
        (ValueError, "'pp' is not an axis of the mesh, which has 'a' \\(2\\), 'b' \\(4\\)",
         lambda x: sharding.psum(x, "pp")),
        (ValueError, "axis must name each mesh axis once", lambda x: sharding.psum(x, ("a", "a"))),
        (TypeError, "axis must be the name of a mesh axis", lambda x: sharding.all_gather(x, 0)),
        (TypeError, "psum takes a ShardedArray. Got numpy.ndarray", lambda x: sharding.psum(np.ones(3), "a")),
        (TypeError, "transfer takes a ShardedArray", lambda x: sharding.transfer(np.ones(3), x.mesh)),
        (ValueError, "axis must be between -3 and 2. Got 3", lambda x: sharding.all_gather(x, "a", axis=3)),
        (ValueError, "axis must be between -2 and 1. Got 2", lambda x: sharding.all_gather(x, "a", axis=2, tiled=True)),
        (TypeError, "axis must be an integer. Got 1.5", lambda x: sharding.all_gather(x, "a", axis=1.5)),
        (ValueError, "scatter_dimension is 1, an axis of the block that must divide by 4, the devices along b. Got"
         " blocks of shape \\(4, 6\\)", lambda x: sharding.psum_scatter(x, "b", scatter_dimension=1, tiled=True)),
        (ValueError, "must have one element for each of the 2 devices along a. .* tiled=True",
         lambda x: sharding.psum_scatter(x, "a")),
        (ValueError, "split_axis is 1, .* divide by 4", lambda x: sharding.all_to_all(x, "b", 1, 0, tiled=True)),
        (ValueError, "split_axis is 0, .* one element for each", lambda x: sharding.all_to_all(x, "a", 0, 0)),
        (ValueError, "concat_axis must be between", lambda x: sharding.all_to_all(x, "b", 0, 5)),
        (ValueError, "perm must name each source once", lambda x: sharding.ppermute(x, "a", [(0, 0), (0, 1)])),
        (ValueError, "perm must hold indices between 0 and 1", lambda x: sharding.ppermute(x, "a", [(0, 2)])),
        (TypeError, "perm must be \\(source, destination\\) pairs", lambda x: sharding.ppermute(x, "a", [0, 1])),
        (ValueError, "Both meshes must have the same axes", lambda x: sharding.transfer(x, x.mesh.at(a=0))),
        (ValueError, "target must be a part of the same mesh", lambda x: sharding.transfer(x, Mesh({"a": 2, "b": 4}))),
    ],
)  # fmt: skip
@pytest.mark.parametrize("engine", ["simulated", "dry"])
def test_mistake_raises_before_anything_moves(error, message, call, engine):
    x = Mesh({"a": 2, "b": 4}, engine=engine).zeros((4, 6), np.float32)
    with pytest.raises(error, match=message):
        call(x)
    assert len(x.mesh.ledger.entries) == 0


@pytest.mark.parametrize(
    "name, dtype, message",
    [
        ("psum", "M8[s]", "psum adds numbers"),
        ("psum_scatter", "S3", "psum_scatter adds numbers"),
        ("pmax", np.complex64, "pmax compares numbers"),
        ("pmean", "U2", "pmean adds numbers"),
    ],
)
def test_dtype_without_arithmetic_is_refused(name, dtype, message):
    with pytest.raises(TypeError, match=message):
        getattr(sharding, name)(Mesh({"a": 2}).zeros((2,), dtype), "a")
