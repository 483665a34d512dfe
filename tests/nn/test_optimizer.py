import inspect
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest

import fastcore
from fastcore import nn, reference

# Below, at and above a vector and an item; the last one is shared by threads.
SHAPES = [(), (1,), (17,), (3, 16), (2, 3, 33), (70_001,)]
STATES = {
    "sgd_step": ("momentum_buffer",),
    "adam_step": ("exp_avg", "exp_avg_sq"),
    "adamw_step": ("exp_avg", "exp_avg_sq"),
}
RULES = [
    ("sgd_step", {}),
    ("sgd_step", {"lr": 0.1, "weight_decay": 0.1, "maximize": True}),
    ("sgd_step", {"lr": 0.1, "momentum": 0.9, "dampening": 0.3}),
    ("sgd_step", {"lr": 0.1, "momentum": 0.9, "nesterov": True, "weight_decay": 0.1}),
    ("adam_step", {}),
    ("adam_step", {"lr": 0.1, "weight_decay": 0.1, "eps": 1e-4, "betas": (0.8, 0.9), "maximize": True}),
    ("adam_step", {"lr": 0.1, "amsgrad": True}),
    ("adamw_step", {}),
    ("adamw_step", {"lr": 0.1, "weight_decay": 0.3, "amsgrad": True, "maximize": True}),
]


def begin(name, options, param):
    """Zeros for the states, by their names, and the options without what only asks for one."""
    options = dict(options)
    names = [*STATES[name], "max_exp_avg_sq"] if options.pop("amsgrad", False) else [*STATES[name]]
    dtype = np.float64 if param.dtype == np.float64 else np.float32
    return {each: np.zeros(param.shape, dtype) for each in names}, options


def run(module, name, options, start, grads):
    """Param and the states after a step with each of grads."""
    param = start.copy()
    states, options = begin(name, options, param)
    for number, grad in enumerate(grads, 1):
        assert getattr(module, name)(param, grad, step=number, **states, **options) is param
    return [param, *states.values()]


@pytest.mark.parametrize("name, options", RULES)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", SHAPES)
def test_step_is_as_exact_as_the_twin(rng, shape, dtype, name, options):
    start, *grads = np.asarray(rng.normal(size=(4, *shape)), dtype)
    start, grads = np.asarray(start), [np.asarray(grad) for grad in grads]
    got = run(nn, name, options, start, grads)
    exact = run(reference, name, options, start.astype(float), [grad.astype(float) for grad in grads])
    plain = run(reference, name, options, start, grads)
    for ours, theirs, want in zip(got, plain, exact):
        assert ours.dtype == dtype
        allowed = 1e-14 if dtype == np.float64 else 2 * np.abs(theirs - want).max() + 1e-7 * np.abs(want).max()
        assert np.abs(ours - want).max() <= allowed


@pytest.mark.parametrize("name, options", RULES)
@pytest.mark.parametrize("which", ["param", "grad", "states", "all"])
def test_step_memory_does_not_matter(rng, in_memory, which, name, options):
    start, grad = rng.normal(size=(2, 6, 5, 33)).astype(np.float32)
    want = run(nn, name, options, start, [grad])
    states, options = begin(name, options, start)

    def place(array, role):
        placed = in_memory(array)
        writable = placed.flags.writeable and placed.dtype.isnative
        return placed if which in (role, "all") and (writable or role == "grad") else array.copy()

    param, placed = place(start, "param"), place(grad, "grad")
    kept = placed.copy()
    states = {each: place(x, "states") for each, x in states.items()}
    assert getattr(nn, name)(param, placed, step=1, **states, **options) is param
    for got, expected in zip([param, *states.values()], want):
        np.testing.assert_array_equal(got, expected)
    np.testing.assert_array_equal(placed, kept)


def test_step_of_transposed_arrays_copies_nothing(rng, monkeypatch):
    arrays = [x.T for x in rng.normal(size=(4, 50, 30)) ** 2]
    shared = []
    monkeypatch.setattr("fastcore.nn.optimizer.put_rows", lambda rows, out: shared.append(np.shares_memory(rows, out)))
    want = reference.adam_step(arrays[0].copy(), arrays[1], arrays[2].copy(), arrays[3].copy(), 1)
    np.testing.assert_allclose(nn.adam_step(*arrays, 1), want, rtol=1e-14)
    assert shared == [True] * 3


@pytest.mark.parametrize("name, options", RULES)
@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16])
def test_step_half_precision_is_rounded_once(rng, dtype, name, options):
    start, grad = rng.normal(size=(2, 9, 70)).astype(dtype)
    got = run(nn, name, options, start, [grad])
    wide = run(nn, name, options, start.astype(np.float32), [grad.astype(np.float32)])
    assert got[0].dtype == dtype
    np.testing.assert_array_equal(got[0], wide[0].astype(dtype))
    for state, expected in zip(got[1:], wide[1:]):
        np.testing.assert_array_equal(state, expected)


@pytest.mark.parametrize("name, options", RULES)
@pytest.mark.parametrize("shape", [(300_001,), (3000, 101)])
def test_step_one_thread_equals_many(rng, shape, name, options):
    start, grad = rng.normal(size=(2, *shape[:-1], shape[-1] + 2)).astype(np.float32)[..., 2:]  # rows cannot be joined
    with fastcore.num_threads(1):
        want = run(nn, name, options, start, [grad])
    for got, expected in zip(run(nn, name, options, start, [grad]), want):
        np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize("name, options", RULES)
def test_step_position_in_an_array_does_not_matter(rng, name, options):
    start, grad = rng.normal(size=(2, 70)).astype(np.float32)
    whole = run(nn, name, options, start, [grad])
    for first in range(1, 20):
        for part, expected in zip(run(nn, name, options, start[first:], [grad[first:]]), whole):
            np.testing.assert_array_equal(part, expected[first:])


@pytest.mark.parametrize("name", STATES)
@pytest.mark.parametrize("shape", [(0,), (3, 0), (0, 3)])
def test_step_of_nothing(shape, name):
    assert run(nn, name, {}, np.zeros(shape), [np.zeros(shape)])[0].shape == shape


@pytest.mark.parametrize("options", [{}, {"nesterov": True}])
def test_sgd_step_first_fills_the_buffer_whatever_it_holds(rng, options):
    param, grad = rng.normal(size=(2, 40))
    buffer, zeros, again = np.full(40, np.nan), np.zeros(40), param.copy()
    nn.sgd_step(param, grad, buffer, 1, momentum=0.9, **options)
    nn.sgd_step(again, grad, zeros, momentum=0.9, **options)
    np.testing.assert_array_equal(buffer, grad)
    np.testing.assert_array_equal(zeros, grad)
    np.testing.assert_array_equal(param, again)


def test_sgd_step_without_momentum_leaves_the_buffer(rng):
    param, buffer = np.ones(20), np.full(20, np.nan)
    nn.sgd_step(param, np.ones(20), buffer, lr=0.5, dampening=0.1)
    np.testing.assert_array_equal(param, 0.5)
    assert np.isnan(buffer).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_step_takes_nan_and_infinity_as_the_twin(dtype):
    special = np.array([0.0, -0.0, 1.0, np.inf, -np.inf, np.nan, 1e-40, 3e38], dtype)
    start, grad = (x.ravel() for x in np.meshgrid(special, special))
    for name, options in RULES:
        with np.errstate(all="ignore"):
            want = run(reference, name, options, start, [grad, grad])
        for got, expected in zip(run(nn, name, options, start, [grad, grad]), want):
            np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-35)


def test_adam_step_largest_keeps_nan():
    square = np.array([np.nan, 4.0], np.float32)
    nn.adam_step(*np.zeros((4, 2), np.float32), 1, max_exp_avg_sq=square)
    np.testing.assert_array_equal(square, [np.nan, 4.0])


@pytest.mark.parametrize("overlap", ["same", "shifted", "state"])
def test_step_gradient_may_overlap_anything(rng, overlap):
    memory = rng.normal(size=200)
    mean, square = np.ones(90), np.ones(90)
    param = memory[:90]
    grad = {"same": param, "shifted": memory[5:95], "state": mean}[overlap]
    want = nn.adam_step(param.copy(), grad.copy(), mean.copy(), square.copy(), 3)
    np.testing.assert_array_equal(nn.adam_step(param, grad, mean, square, 3), want)


def test_step_takes_the_gradient_as_a_list_or_big_endian():
    a, b, c = np.ones(3), np.ones(3), np.ones(3)
    nn.sgd_step(a, [1.0, 2.0, 3.0], lr=0.5)
    nn.sgd_step(b, np.array([1.0, 2.0, 3.0], ">f8"), lr=0.5)
    nn.sgd_step(c, np.array([1.0, 2.0, 3.0]), lr=0.5)
    np.testing.assert_array_equal(a, c)
    np.testing.assert_array_equal(b, c)


def test_step_numbers_may_be_of_numpy_and_large(rng):
    arrays = rng.normal(size=(4, 9)) ** 2
    twin = arrays.copy()
    nn.adam_step(*arrays, np.int64(10**18), lr=np.float32(0.5), betas=[np.float64(0.5), 0.25])
    reference.adam_step(*twin, 10**18, lr=0.5, betas=(0.5, 0.25))
    np.testing.assert_allclose(arrays, twin, rtol=1e-14)


@pytest.mark.parametrize("name", STATES)
def test_twin_has_the_same_arguments(name):
    assert inspect.signature(getattr(nn, name)) == inspect.signature(getattr(reference, name))


def readonly(shape):
    return np.broadcast_to(np.zeros(shape), shape)


def twice(count):
    return np.lib.stride_tricks.as_strided(np.zeros(1), (count,), (0,))


SHARED = np.zeros(8)

# What is wrong, in a step of 4 elements: changed arguments, and the error.
MISTAKES = [
    ({"param": [0.0] * 4}, TypeError, "param must be a numpy.ndarray: it is changed in place. Got list"),
    ({"param": np.ma.zeros(4)}, TypeError, "param must be a numpy.ndarray"),
    ({"param": readonly(4)}, ValueError, "param must be writable"),
    ({"param": np.zeros(4, int)}, TypeError, "param must be float32, float64, float16 or bfloat16"),
    ({"param": np.zeros(4, ">f8")}, TypeError, "in this machine's byte order"),
    ({"param": twice(4)}, ValueError, "param must not be a view that holds a place twice"),
    ({"grad": np.zeros(3)}, ValueError, r"grad must have the shape of param. Got grad \(3,\), param \(4,\)"),
    ({"grad": np.zeros(4, np.float32)}, TypeError, "grad must have the dtype of param, float64. Got float32"),
    ({"grad": np.ma.zeros(4)}, TypeError, "grad must be a plain array"),
    ({"exp_avg": np.zeros(4, np.float32)}, TypeError, "exp_avg must be float64. Got float32"),
    ({"exp_avg": np.zeros((2, 2))}, ValueError, r"exp_avg must have the shape of param. Got exp_avg \(2, 2\)"),
    ({"exp_avg": readonly(4)}, ValueError, "exp_avg must be writable"),
    ({"exp_avg_sq": twice(4)}, ValueError, "exp_avg_sq must not be a view that holds a place twice"),
    ({"exp_avg_sq": None}, TypeError, "exp_avg_sq must be a numpy.ndarray"),
    ({"max_exp_avg_sq": np.zeros(3)}, ValueError, "max_exp_avg_sq must have the shape of param"),
    ({"exp_avg": SHARED[:4], "exp_avg_sq": SHARED[1:5]}, ValueError, "exp_avg and exp_avg_sq must not overlap"),
    ({"param": SHARED[:4], "exp_avg_sq": SHARED[:4]}, ValueError, "param and exp_avg_sq must not overlap"),
    ({"step": 0}, ValueError, "step must count from 1: the first call passes 1. Got 0"),
    ({"step": 1.5}, TypeError, "step must be an integer"),
    ({"step": 10**400}, ValueError, "step must count from 1"),
    ({"lr": -1}, ValueError, "lr must not be negative"),
    ({"lr": "a"}, TypeError, "lr must be a real number"),
    ({"betas": (0.9, 1.0)}, ValueError, r"betas\[1\] must lie in \[0, 1\). Got 1.0"),
    ({"betas": 0.9}, TypeError, "betas must be two numbers"),
    ({"eps": np.nan}, ValueError, "eps must be finite"),
    ({"weight_decay": -0.1}, ValueError, "weight_decay must not be negative"),
    ({"maximize": 1}, TypeError, "maximize must be True or False"),
]


@pytest.mark.parametrize("name", ["adam_step", "adamw_step"])
@pytest.mark.parametrize("changed, error, message", MISTAKES)
def test_adam_step_wrong_argument_raises_and_writes_nothing(name, changed, error, message):
    names = ("param", "grad", "exp_avg", "exp_avg_sq")
    arguments = {each: np.full(4, 0.5) for each in names} | {"step": 1} | changed
    with pytest.raises(error, match=message):
        getattr(nn, name)(**arguments)
    for each in names:
        if each not in changed:
            np.testing.assert_array_equal(arguments[each], 0.5)


@pytest.mark.parametrize(
    "changed, error, message",
    [
        ({"momentum_buffer": None}, TypeError, "momentum_buffer must be an array where momentum is not 0"),
        ({"momentum_buffer": np.zeros(3)}, ValueError, "momentum_buffer must have the shape of param"),
        ({"momentum": -0.5}, ValueError, "momentum must not be negative"),
        ({"dampening": 0.5}, ValueError, "step must be given where dampening is not 0"),
        (
            {"dampening": 0.5, "step": 1, "nesterov": True},
            ValueError,
            "nesterov needs momentum above 0 and dampening 0",
        ),
        ({"momentum": 0.0, "nesterov": True}, ValueError, "nesterov needs momentum above 0"),
        ({"nesterov": None}, TypeError, "nesterov must be True or False"),
        ({"step": -1}, ValueError, "step must count from 1"),
        ({"lr": np.inf}, ValueError, "lr must be finite"),
    ],
)
def test_sgd_step_wrong_argument_raises_and_writes_nothing(changed, error, message):
    param = np.zeros(4)
    arguments = {"momentum_buffer": np.zeros(4), "momentum": 0.9} | changed
    with pytest.raises(error, match=message):
        nn.sgd_step(param, np.ones(4), **arguments)
    assert not param.any()


def test_half_precision_needs_float32_states():
    with pytest.raises(TypeError, match=r"exp_avg must be float32, for a param of float16. Got float16"):
        nn.adam_step(*np.zeros((4, 3), np.float16), 1)


def test_steps_are_right_and_touch_nothing_out_of_bounds(run_guarded):
    assert run_guarded(Path(__file__).with_name("guarded_rows.py"), "optimizers").endswith(" cases")
