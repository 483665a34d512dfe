"""Kernels on the blocks of many devices."""

import os
import subprocess
import sys

import numpy as np
import pytest

import fastcore
from fastcore._core.jit import kernel
from fastcore.sharding import Mesh, P, device_function, device_kernel
from fastcore.sharding.kernels.matmul import product


@device_kernel(flops=lambda x, factor, index, table, out: 3 * x.block_shape[0] * x.block_shape[1])
def scaled(x, factor, index, table, out):
    for i in range(x.shape[0]):
        for j in range(x.shape[1]):
            out[i, j] = x[i, j] * factor + index + table[j]


@device_kernel
def failing(index, low, out):
    out[0] = 1
    if index >= low:
        raise ValueError("index is too large")


@device_kernel(parts=lambda x, out: x.block_shape[0])
def squared(x, out, part, parts):
    for i in range(x.shape[0] * part // parts, x.shape[0] * (part + 1) // parts):
        out[i] = x[i] * x[i]


@device_kernel
def increased(x):
    for i in range(x.shape[0]):
        x[i] += 1


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("devices", [1, 2, 3, 4, 8, 100])
def test_device_kernel_gets_blocks_numbers_and_arrays(rng, devices, threads):
    if threads > fastcore.get_num_threads():
        pytest.skip("needs two threads")
    mesh = Mesh({"tp": devices})
    values, table = rng.standard_normal((3, 5 * devices)), np.arange(5.0)
    x, out = mesh.put(values, P(None, "tp")), mesh.zeros(values.shape, float, P(None, "tp"))
    with fastcore.num_threads(threads):
        assert scaled(x, 2.5, mesh.axis_index("tp"), table, out) is None
    expected = values * 2.5 + np.repeat(np.arange(devices), 5) + np.tile(table, devices)
    np.testing.assert_allclose(out.gather(), expected, rtol=0, atol=1e-13)
    (entry,) = (each for each in mesh.ledger.entries if each.name == "scaled")
    assert (entry.kind, entry.flops) == ("compute", 45.0)


def test_device_kernel_dry_counts_only():
    mesh = Mesh({"tp": 1000}, engine="dry")
    x, out = (mesh.empty((3, 5000), float, P(None, "tp")) for _ in range(2))
    scaled(x, 2.5, mesh.axis_index("tp"), np.zeros(5), out)
    assert mesh.ledger.entries[-1].flops == 45.0


def test_device_kernel_of_another_stage_does_its_blocks_alone():
    mesh = Mesh({"pp": 2, "tp": 2})
    stage = mesh.at(pp=1)
    x = stage.zeros((4,), np.int32, P("tp"))
    increased(x)
    np.testing.assert_array_equal(x.gather(), np.ones(4, np.int32))


@pytest.mark.parametrize("threads", [1, 2])
def test_device_kernel_in_parts_does_all_of_them(rng, threads):
    values = rng.standard_normal(10_001)
    mesh = Mesh({})
    out = mesh.zeros(values.shape, float)
    with fastcore.num_threads(min(threads, fastcore.get_num_threads())):
        squared(mesh.put(values), out)
    np.testing.assert_array_equal(out.gather(), values * values)


@pytest.mark.parametrize("threads", [1, 2])
def test_device_kernel_exception_reaches_the_caller(threads):
    mesh = Mesh({"tp": 8})
    index = mesh.axis_index("tp")
    out = mesh.zeros((8,), float, P("tp"))
    with fastcore.num_threads(min(threads, fastcore.get_num_threads())):
        with pytest.raises(ValueError, match="index is too large"):
            failing(index, 5, out)
        failing(index, 8, out)
    np.testing.assert_array_equal(out.gather(), 1)


@pytest.mark.parametrize("dtype", ["f2", "bfloat16"])
def test_device_kernel_half_blocks_are_float32_inside(dtype):
    mesh = Mesh({"tp": 2})
    dtype = np.dtype(dtype) if dtype == "f2" else np.dtype(pytest.importorskip("ml_dtypes").bfloat16)
    values = np.arange(6).reshape(2, 3).astype(dtype)
    x, out = mesh.put(values, P("tp")), mesh.zeros((2, 3), dtype, P("tp"))
    scaled(x, 1.5, mesh.axis_index("tp"), np.zeros(3), out)
    np.testing.assert_array_equal(out.gather(), (values * np.float32(1.5) + [[0], [1]]).astype(dtype))
    assert out.gather().dtype == dtype
    np.testing.assert_array_equal(x.gather(), values)


def test_device_kernel_of_a_kernel_and_of_a_closure():
    mesh = Mesh({"tp": 2})
    step = 7

    def shifted(x):
        x[0] += step

    x = mesh.zeros((2,), np.int64, P("tp"))
    device_kernel(shifted)(x)
    device_kernel(kernel(shifted, fastmath=False))(x)
    np.testing.assert_array_equal(x.gather(), [14, 14])


def test_device_kernel_empty_blocks_are_allowed():
    mesh = Mesh({"tp": 2})
    out = mesh.zeros((0, 4), float, P(None, "tp"))
    scaled(mesh.zeros((0, 4), float, P(None, "tp")), 1.0, mesh.axis_index("tp"), np.zeros(2), out)
    assert out.gather().shape == (0, 4)


def test_device_kernel_plain_arrays_must_not_be_written():
    mesh = Mesh({"tp": 2})

    @device_kernel
    def writes(x, table):
        table[0] = x[0]

    with pytest.raises(TypeError, match="writes cannot be compiled"):
        writes(mesh.zeros((2,), float, P("tp")), np.zeros(3))


@pytest.mark.parametrize("decorate", [device_kernel, device_function])
def test_device_kernel_wrong_arguments_raise(decorate):
    mesh = Mesh({"tp": 2})

    @decorate
    def copied(x, out):
        out[:] = x

    x = mesh.zeros((2,), float, P("tp"))
    with pytest.raises(TypeError, match="copied needs at least one ShardedArray"):
        copied(np.zeros(2), np.zeros(2))
    with pytest.raises(ValueError, match="All arguments of copied must be on one mesh"):
        copied(x, Mesh({"tp": 2}).zeros((2,), float, P("tp")))
    with pytest.raises(ValueError, match="on one mesh"):
        copied(x, Mesh({"pp": 2, "tp": 2}).at(pp=0).zeros((2,), float, P("tp")))


@pytest.mark.parametrize("value", [None, "text", [1.0], {}])
def test_device_kernel_wrong_kind_of_argument_raises(value):
    mesh = Mesh({"tp": 2}, engine="dry")
    with pytest.raises(TypeError, match="Argument 1 of scaled must be a ShardedArray, a NumPy array or a number"):
        scaled(mesh.zeros((2, 2), float), value, mesh.axis_index("tp"), np.zeros(2), mesh.zeros((2, 2), float))


@pytest.mark.parametrize("engine", ["simulated", "dry"])
def test_device_kernel_wrong_number_of_arguments_raises(engine):
    x = Mesh({"tp": 2}, engine=engine).zeros((2,), float, P("tp"))
    with pytest.raises(TypeError, match=r"increased takes 1 argument \(x\)\. Got 2\."):
        increased(x, x)
    with pytest.raises(TypeError, match=r"squared takes 2 arguments \(x, out\)\. Got 1\."):
        squared(x)


def test_device_kernel_wrong_dtype_raises():
    mesh = Mesh({"tp": 2}, engine="dry")
    with pytest.raises(TypeError, match="Argument 0 of increased must be of booleans, integers"):
        increased(mesh.zeros((2,), "M8[s]"))
    with pytest.raises(TypeError, match=r"Argument 3 of scaled .* in native byte order\. Got dtype >f8"):
        scaled(mesh.zeros((2, 2), float), 1.0, mesh.axis_index("tp"), np.zeros(2, ">f8"), mesh.zeros((2, 2), float))
    with pytest.raises(ValueError, match="Argument 1 of failing must fit into 64 bits"):
        failing(mesh.axis_index("tp"), 1 << 80, mesh.zeros((2,), float))


SCRIPT = """
import numpy as np
from fastcore.sharding import Mesh, P, device_kernel

@device_kernel
def doubled(x, factor, out):
    for i in range(x.shape[0]):
        out[i] = factor * x[i]

@device_kernel
def failing(x):
    raise ZeroDivisionError("no")

mesh = Mesh({"tp": 4})
x, out = mesh.put(np.arange(8), P("tp")), mesh.zeros((8,), np.int64, P("tp"))
doubled(x, 3, out)
try:
    failing(x)
except ZeroDivisionError as error:
    print(error, *out.gather())
"""


BEYOND = """
from fastcore.sharding import Mesh, P, device_kernel

@device_kernel
def beyond(x):
    x[x.shape[0] + 5] = 1

try:
    beyond(Mesh({"tp": 4}).zeros((8,), float, P("tp")))
except IndexError as error:
    print(*error.__notes__)
"""


def test_device_kernel_beyond_its_block_raises_with_boundscheck(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(BEYOND)
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "NUMBA_BOUNDSCHECK": "1"}
    done = subprocess.run([sys.executable, script], env=environment, capture_output=True, text=True, timeout=120)
    assert done.stdout == "raised by device_kernel beyond\n", done.stderr


@pytest.mark.parametrize("settings", [{}, {"NUMBA_DISABLE_JIT": "1"}])
def test_device_kernel_of_a_script_works_compiled_and_not(tmp_path, settings):
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)} | settings
    done = subprocess.run([sys.executable, script], env=environment, capture_output=True, text=True, timeout=120)
    assert done.stdout.split() == ["no", *map(str, range(0, 24, 3))], done.stderr


def test_device_kernel_columns_over_devices_are_the_columns_of_the_product(rng):
    @device_kernel
    def columns(x, w, out):
        product(x, w, out)

    x, w = rng.standard_normal((7, 33)), rng.standard_normal((33, 24))
    results = []
    for devices in (1, 2, 3, 4, 8):
        mesh = Mesh({"tp": devices})
        out = mesh.empty((7, 24), float, P(None, "tp"))
        columns(mesh.put(x), mesh.put(w, P(None, "tp")), out)
        results.append(out.gather())
    np.testing.assert_allclose(results[0], x @ w, rtol=0, atol=1e-13)
    for each in results[1:]:
        np.testing.assert_array_equal(each, results[0])


def test_device_function_runs_devices_in_order():
    mesh = Mesh({"tp": 3})
    seen = []

    @device_function(flops=lambda index: 2)
    def note(index):
        seen.append(int(index))

    note(mesh.axis_index("tp"))
    assert seen == [0, 1, 2]
    assert mesh.ledger.entries[-1].flops == 2
