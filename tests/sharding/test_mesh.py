"""Meshes and the arrays on them, simulated and dry."""

import copy
import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastcore.sharding import Mesh, P, psum
from fastcore.sharding.spec import as_spec, entry_of


@pytest.fixture
def mesh():
    return Mesh({"dp": 2, "tp": 4})


# --- blocks ---


@given(st.data())
def test_put_and_gather_give_the_array_back(data):
    axes = dict(zip("abc", data.draw(st.lists(st.integers(1, 4), max_size=3))))
    shape = data.draw(st.lists(st.integers(0, 9), max_size=3))
    left = list(data.draw(st.permutations(list(axes))))
    entries = []
    for _ in shape:
        taken = data.draw(st.integers(0, len(left)))
        entries.append(entry_of(tuple(left[:taken])))
        left = left[taken:]
    dtype = data.draw(st.sampled_from(["f8", "f4", "f2", "i8", "u1", "?", "c8"]))
    array = (100 * np.random.default_rng(0).normal(size=shape)).astype(dtype)
    x = Mesh(axes).put(array, P(*entries), pad=True)
    assert x.shape == array.shape
    assert x.local.shape == (x.mesh.size, *x.block_shape)
    assert x.gather().tobytes() == array.tobytes()
    assert x.nbytes_block == x.local[0].nbytes


def test_blocks_lie_where_their_axes_say(mesh):
    x = mesh.put(np.arange(64).reshape(8, 8), P("tp", "dp"))
    for dp in range(2):
        for tp in range(4):
            want = np.arange(64).reshape(8, 8)[2 * tp : 2 * tp + 2, 4 * dp : 4 * dp + 4]
            np.testing.assert_array_equal(x.local[4 * dp + tp], want)


def test_two_axes_on_one_dimension_first_is_slowest(mesh):
    assert mesh.put(np.arange(8), P(("dp", "tp"))).local.ravel().tolist() == list(range(8))
    assert mesh.put(np.arange(8), P(("tp", "dp"))).local.ravel().tolist() == [0, 2, 4, 6, 1, 3, 5, 7]


def test_padding_is_zeros_at_the_end(mesh):
    x = mesh.put(np.ones(5), P("tp"), pad=True)
    assert x.local[:4].tolist() == [[1, 1], [1, 1], [1, 0], [0, 0]]
    assert x.gather().tolist() == [1] * 5


def test_put_copies_and_takes_what_numpy_takes(mesh):
    array = np.arange(8.0)
    x = mesh.put(array, "tp")
    array[:] = 0
    assert x.gather().tolist() == list(range(8))
    assert mesh.put([[1, 2], [3, 4]]).shape == (2, 2)
    assert mesh.put(3.5).gather() == 3.5
    swapped = mesh.put(np.arange(4, dtype=">i4"), "tp")
    assert swapped.dtype == np.int32
    assert swapped.dtype.isnative


def test_empty_and_zeros_take_an_integer_shape(mesh):
    assert mesh.zeros(8, np.float32, "tp").gather().tolist() == [0] * 8
    assert mesh.empty([4, 2], ">f8").dtype == np.float64


def test_from_blocks_does_not_copy(mesh):
    local = np.arange(8.0).reshape(8, 1)
    x = mesh.from_blocks(local.reshape(8, 1, 1), P("dp", "tp"), (2, 4), np.float64)
    assert np.shares_memory(x.local, local)
    assert x.gather().tolist() == [[0, 1, 2, 3], [4, 5, 6, 7]]


def test_parts_hold_their_devices(mesh):
    assert mesh.at(dp=1).devices.tolist() == [4, 5, 6, 7]
    assert mesh.at(tp=2).devices.tolist() == [2, 6]
    assert mesh.at(tp=2).at(dp=1).devices.tolist() == [6]
    assert mesh.at(dp=1, tp=2).devices.tolist() == [6]
    assert mesh.at(tp=2).at(dp=1).axes == {}
    assert repr(mesh.at(tp=2)) == "Mesh({'dp': 2}, tp=2, engine='simulated')"


def test_dry_mesh_has_shapes_and_no_values():
    mesh = Mesh({"dp": 256, "tp": 256}, engine="dry")
    x = psum(mesh.put(np.zeros((512, 512)), P("dp", "tp")), "tp")
    assert x.local is None
    assert x.block_shape == (2, 2)
    with pytest.raises(ValueError, match="A dry mesh holds no values to gather"):
        x.gather()


def test_gather_finds_copies_that_differ(mesh):
    x = mesh.zeros(4, np.float64, "tp")
    x.local[5] = 1
    with pytest.raises(ValueError, match="different values on devices 1 and 5 of ShardedArray"):
        x.gather()
    assert x.gather(check=False).tolist() == [0] * 4


def test_copies_that_are_nan_are_equal(mesh):
    assert np.isnan(mesh.put([np.nan, -0.0]).gather()[0])


# --- copies, pickles, NumPy ---


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy, lambda x: x.copy()])
def test_copy_shares_no_values_but_the_mesh(mesh, duplicate):
    x = mesh.put(np.arange(8.0), "tp")
    other = duplicate(x)
    other.local[...] = 0
    assert other.mesh is mesh
    assert x.gather().tolist() == list(range(8))
    assert mesh.ledger.held_bytes(mesh) == 2 * x.nbytes_block


def test_layers_are_copied_with_their_arrays(mesh):
    params = {"weight": mesh.put(np.arange(8.0), "tp")}
    other = copy.deepcopy(params)["weight"]
    assert other.mesh is mesh
    assert not np.shares_memory(other.local, params["weight"].local)


@pytest.mark.parametrize("make", [lambda mesh: mesh, lambda mesh: mesh.zeros(4, float)])
def test_pickle_is_refused(mesh, make):
    with pytest.raises(TypeError, match="cannot be pickled"):
        pickle.dumps(make(mesh))


@pytest.mark.parametrize("use", [np.asarray, np.sum, lambda x: np.stack([x, x]), lambda x: np.ones(4) + x])
def test_numpy_does_not_take_it_for_an_object(mesh, use):
    with pytest.raises(TypeError, match=r"must be gathered before it is a NumPy array, by all processes: array.gather"):
        use(mesh.zeros(4, float))


# --- mistakes ---


@pytest.mark.parametrize(
    "call, error, match",
    [
        (lambda mesh: Mesh(4), TypeError, "axes must map names to numbers of devices"),
        (lambda mesh: Mesh({"x": 0}), ValueError, r"axes\['x'\] must be at least 1. Got 0"),
        (lambda mesh: Mesh({"x": 2.0}), TypeError, r"axes\['x'\] must be an integer"),
        (lambda mesh: Mesh({"x": True}), ValueError, "must be at least 1. Got True"),
        (lambda mesh: Mesh({1: 2}), TypeError, "Names of axes must be strings"),
        (lambda mesh: Mesh({"": 2}), ValueError, "must not be empty"),
        (lambda mesh: Mesh({"x": 2}, engine="gpu"), ValueError, "engine must be one of 'simulated', 'mpi', 'dry'"),
        (lambda mesh: Mesh({"x": 2}, engine=None), TypeError, "engine must be one of"),
        (lambda mesh: mesh.put(np.ones(6), "tp"), ValueError, "must divide into 4 blocks.*Got 6. Pass pad=True"),
        (lambda mesh: mesh.put(np.ones(8), "pp"), ValueError, "'pp' is not an axis of the mesh"),
        (lambda mesh: mesh.put(np.ones((8, 8)), P("tp", "tp")), ValueError, "name each mesh axis once"),
        (lambda mesh: mesh.put(np.ones(8), P(None, "tp")), ValueError, "at most one entry an axis"),
        (lambda mesh: mesh.put(np.array([None])), TypeError, "object"),
        (lambda mesh: mesh.put(np.ma.ones(4)), TypeError, "mask"),
        (lambda mesh: mesh.put(np.ones(8), 3), TypeError, "An entry of P must be the name"),
        (lambda mesh: mesh.zeros(-1, float), ValueError, "must not have negative lengths"),
        (lambda mesh: mesh.zeros("ab", float), TypeError, "shape must be an integer"),
        (lambda mesh: mesh.zeros((2.0,), float), TypeError, "shape must be an integer"),
        (lambda mesh: mesh.zeros(2, object), TypeError, "must not hold Python objects"),
        (lambda mesh: mesh.zeros(2, "wrong"), TypeError, "dtype must be one of NumPy's"),
        (lambda mesh: mesh.at(pp=0), ValueError, "'pp' is not an axis"),
        (lambda mesh: mesh.at(dp=2), ValueError, "dp must be between 0 and 1. Got 2"),
        (lambda mesh: mesh.at(dp=True), TypeError, "dp must be an integer"),
        (lambda mesh: mesh.axis_size(3), TypeError, "axis must be the name"),
        (lambda mesh: mesh.from_blocks(np.ones((8, 2)), P(), (3,), float), ValueError, r"of shape \(8, 3\)"),
        (lambda mesh: mesh.from_blocks([1], P(), (3,), float), TypeError, "must be a NumPy array"),
        (lambda mesh: P("a", 1), TypeError, "An entry of P"),
        (lambda mesh: P(("a", None)), TypeError, "An entry of P"),
    ],
)
def test_mistake_says_what_is_wrong(mesh, call, error, match):
    with pytest.raises(error, match=match):
        call(mesh)


def test_partition_is_written_as_it_is_read():
    assert repr(P(None, "tp", ("a", "b"))) == "P(None, 'tp', ('a', 'b'))"
    assert as_spec("a") == P("a")
    assert as_spec(None) == P()
    assert P(("a", "b"), "c").without(("a", "c")) == P("b", None)
    assert P("a").replaced(1, ("b",), 2) == P("a", "b")


@pytest.mark.parametrize("engine", ["simulated", "dry"])
@pytest.mark.parametrize("dtype", [None, np.int32])
def test_arrays_like_another_have_its_shape_and_partition(engine, dtype):
    x = Mesh({"tp": 4}, engine=engine).put(np.arange(6.0), "tp", pad=True)
    for like in (x.empty_like(dtype), x.zeros_like(dtype)):
        assert (like.mesh, like.shape, like.block_shape, like.spec) == (x.mesh, x.shape, x.block_shape, x.spec)
        assert like.dtype == (dtype or x.dtype)
    if engine == "simulated":
        assert not like.local.any()
