"""Column- and row-parallel linear layers."""

import numpy as np
import pytest

import fastcore
from fastcore.reference import linear, linear_backward
from fastcore.sharding import ColumnParallel, Mesh, P, RowParallel
from fastcore.sharding.linear import column_parallel, column_parallel_backward, row_parallel, row_parallel_backward
from fastcore.sharding.products import matmul, matmul_nt, matmul_tn

# (rows, in, out): that divide by 8, and that do not divide by 2.
SHAPES = [((4, 6), 32, 40), ((5,), 33, 37), ((3,), 1, 2), ((), 8, 8)]


def operands(rng, rows, k, n, dtype=float):
    shapes = (*rows, k), (k, n), (n,), (*rows, n)
    return [rng.standard_normal(shape).astype(dtype) for shape in shapes]


def sharded_columns(mesh, x, weight, bias, grad_y):
    """Result and gradients as whole arrays."""
    layer = ColumnParallel(mesh.put(weight, P(None, "tp"), pad=True), mesh.put(bias, P("tp"), pad=True))
    y, saved = layer.forward(mesh.put(x))
    grad = mesh.put(grad_y, P(*[None] * (x.ndim - 1), "tp"), pad=True)
    grad_x, grads = layer.backward(saved, grad)
    assert list(grads) == list(layer.params)
    return [each.gather() for each in (y, grad_x, grads["weight"], grads["bias"])]


def sharded_rows(mesh, x, weight, bias, grad_y):
    layer = RowParallel(mesh.put(weight, P("tp"), pad=True), mesh.put(bias))
    y, saved = layer.forward(mesh.put(x, P(*[None] * (x.ndim - 1), "tp"), pad=True))
    grad_x, grads = layer.backward(saved, mesh.put(grad_y))
    return [each.gather() for each in (y, grad_x, grads["weight"], grads["bias"])]


def unsharded(x, weight, bias, grad_y):
    return [linear(x, weight, bias), *linear_backward(x, weight, grad_y)]


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("devices", [1, 2, 3, 4, 8])
@pytest.mark.parametrize("sharded", [sharded_columns, sharded_rows])
def test_parallel_linear_equals_unsharded(rng, sharded, devices, threads):
    mesh = Mesh({"tp": devices})
    with fastcore.num_threads(min(threads, fastcore.get_num_threads())):
        for shape in SHAPES:
            arguments = operands(rng, *shape)
            for found, expected in zip(sharded(mesh, *arguments), unsharded(*arguments), strict=True):
                np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12 * max(1, np.abs(expected).max()))


@pytest.mark.parametrize("sharded", [sharded_columns, sharded_rows])
def test_parallel_linear_threads_and_parts_keep_the_bits(rng, sharded):
    arguments = operands(rng, (200,), 64, 300, np.float32)
    with fastcore.num_threads(1):
        expected = sharded(Mesh({"tp": 2}), *arguments)
    for found, each in zip(sharded(Mesh({"tp": 2}), *arguments), expected, strict=True):
        np.testing.assert_array_equal(found, each)


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_parallel_linear_other_dtypes_are_as_exact_as_their_rounding(rng, dtype):
    kind = np.dtype(dtype) if dtype != "bfloat16" else np.dtype(pytest.importorskip("ml_dtypes").bfloat16)
    bound = {"float32": 1e-6, "float16": 4e-3, "bfloat16": 4e-2}[dtype]
    arguments = operands(rng, (6,), 20, 24, kind)
    for sharded in (sharded_columns, sharded_rows):
        exact = unsharded(*(each.astype(float) for each in arguments))
        for found, expected in zip(sharded(Mesh({"tp": 4}), *arguments), exact, strict=True):
            assert found.dtype == kind
            assert np.abs(found.astype(float) - expected).max() <= bound * np.abs(expected).max()


def test_parallel_linear_rows_over_another_axis_are_left_alone(rng):
    mesh = Mesh({"dp": 2, "tp": 2})
    x, weight, bias, _ = operands(rng, (6,), 5, 7)
    y = column_parallel(mesh.put(x, P("dp")), mesh.put(weight, P(None, "tp"), pad=True))
    assert y.spec == P("dp", "tp")
    np.testing.assert_allclose(y.gather(), linear(x, weight), atol=1e-13)
    two = column_parallel(mesh.put(x), mesh.put(weight, P(None, ("dp", "tp")), pad=True), axis=("dp", "tp"))
    np.testing.assert_array_equal(two.gather(), y.gather())
    rows = row_parallel(mesh.put(x, P("dp", "tp"), pad=True), mesh.put(weight, P("tp"), pad=True), mesh.put(bias))
    np.testing.assert_allclose(rows.gather(), linear(x, weight, bias), atol=1e-13)


def test_parallel_linear_without_bias_has_one_parameter(rng):
    mesh = Mesh({"tp": 2})
    x, weight, _, grad_y = operands(rng, (2,), 4, 6)
    layer = RowParallel(mesh.put(weight, P("tp")))
    _, saved = layer.forward(mesh.put(x, P(None, "tp")))
    _, grads = layer.backward(saved, mesh.put(grad_y))
    assert list(grads) == list(layer.params) == ["weight"]


@pytest.mark.parametrize("devices", [2, 8])
def test_mlp_of_both_sends_the_bytes_of_one_psum_each_way(devices):
    mesh = Mesh({"tp": devices}, engine="dry")
    x, grad_y = mesh.empty((16, 32), "f4"), mesh.empty((16, 32), "f4")
    up = ColumnParallel(mesh.empty((32, 64), "f4", P(None, "tp")), mesh.empty((64,), "f4", P("tp")))
    down = RowParallel(mesh.empty((64, 32), "f4", P("tp")), mesh.empty((32,), "f4"))
    hidden, saved_up = up.forward(x)
    _, saved_down = down.forward(hidden)
    grad_hidden, _ = down.backward(saved_down, grad_y)
    up.backward(saved_up, grad_hidden)
    entries = list(mesh.ledger.entries)
    sent = [each.sent_bytes for each in entries if each.kind == "psum"]
    assert sent == [2 * (devices - 1) * 16 * 32 * 4] * 2
    products = sum(each.flops for each in entries if each.name == "multiply")
    assert products == 6 * (2 * 16 * 32 * 64 / devices)  # three products for each layer, forward and backward


def test_matmul_add_adds_to_what_is_there(rng):
    mesh = Mesh({"tp": 2})
    x, weight, _, grad_y = operands(rng, (6,), 5, 8)
    for function, left, right in ((matmul, x, weight), (matmul_nt, grad_y, weight), (matmul_tn, x, grad_y)):
        once, twice = (
            mesh.zeros((5 if function is matmul_tn else 6, 5 if function is matmul_nt else 8), float) for _ in "12"
        )
        function(mesh.put(left), mesh.put(right), once)
        for _ in range(2):
            function(mesh.put(left), mesh.put(right), twice, add=True)
        np.testing.assert_allclose(twice.gather(), 2 * once.gather(), rtol=0, atol=1e-13)


WRONG = {
    "x of another length": (
        lambda m: (m.zeros((2, 5), float), m.zeros((4, 8), float, P(None, "tp"))),
        "last axis of x",
    ),
    "weight not split": (
        lambda m: (m.zeros((2, 4), float), m.zeros((4, 8), float)),
        r"weight must be put with P\(None",
    ),
    "weight of three axes": (
        lambda m: (m.zeros((2, 4), float), m.zeros((4, 8, 2), float)),
        "weight must have two axes",
    ),
    "x split": (
        lambda m: (m.zeros((2, 4), float, P(None, "tp")), m.zeros((4, 8), float, P(None, "tp"))),
        "last axis of x must be whole on each device",
    ),
    "rows of x split": (
        lambda m: (m.zeros((2, 4), float, P("tp")), m.zeros((4, 8), float, P(None, "tp"))),
        "Only the last axis of x may be split over 'tp'",
    ),
    "bias whole": (
        lambda m: (m.zeros((2, 4), float), m.zeros((4, 8), float, P(None, "tp")), m.zeros((8,), float)),
        "last axis of bias must be split over 'tp'",
    ),
    "bias of two axes": (
        lambda m: (m.zeros((2, 4), float), m.zeros((4, 8), float, P(None, "tp")), m.zeros((1, 8), float)),
        "bias must have one axis",
    ),
    "another mesh": (
        lambda m: (m.zeros((2, 4), float), Mesh({"tp": 2}).zeros((4, 8), float, P(None, "tp"))),
        "must be on one mesh",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_column_parallel_wrong_shapes_raise(case):
    make, message = WRONG[case]
    with pytest.raises(ValueError, match=message):
        column_parallel(*make(Mesh({"tp": 2})))


def test_column_parallel_wrong_kinds_raise():
    mesh = Mesh({"tp": 2})
    x, weight = mesh.zeros((2, 4), float), mesh.zeros((4, 8), float, P(None, "tp"))
    with pytest.raises(TypeError, match="x must be a ShardedArray"):
        column_parallel(np.zeros((2, 4)), weight)
    with pytest.raises(TypeError, match="x, weight must have one dtype"):
        column_parallel(mesh.zeros((2, 4), "f4"), weight)
    with pytest.raises(TypeError, match="x must be float32, float64, float16 or bfloat16"):
        column_parallel(mesh.zeros((2, 4), int), mesh.zeros((4, 8), int, P(None, "tp")))
    with pytest.raises(ValueError, match="'sp' is not an axis of the mesh"):
        column_parallel(x, weight, axis="sp")


def test_parallel_linear_backward_wrong_gradient_raises():
    mesh = Mesh({"dp": 2, "tp": 2})
    x, weight = mesh.zeros((2, 4), float), mesh.zeros((4, 8), float, P(None, "tp"))
    with pytest.raises(ValueError, match="last axis of grad_y must have 8 elements"):
        column_parallel_backward(x, weight, mesh.zeros((2, 4), float, P(None, "tp")))
    with pytest.raises(ValueError, match="grad_y must have the axes of x but the last"):
        column_parallel_backward(x, weight, mesh.zeros((2, 8), float, P("dp", "tp")))
    with pytest.raises(ValueError, match="last axis of grad_y must be whole on each device"):
        row_parallel_backward(
            mesh.zeros((2, 4), float, P(None, "tp")),
            mesh.zeros((4, 8), float, P("tp")),
            mesh.zeros((2, 8), float, P(None, "tp")),
        )
