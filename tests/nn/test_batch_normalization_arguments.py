"""What batch normalisation refuses, before anything is written."""

from pathlib import Path

import numpy as np
import pytest

from fastcore.nn import batch_norm, batch_norm_backward, fold_batch_norm

X, V = np.zeros((2, 3, 4)), np.ones(3)
FIXED = np.ones(3)
FIXED.flags.writeable = False


@pytest.mark.parametrize(
    "arguments, error, message",
    [
        ((np.zeros(3), V, V), ValueError, r"input must have the axes \(N, C, ...\). Got \(3,\)"),
        ((X, None, V), ValueError, "running_mean must be given: inference uses it"),
        ((X, V, None), ValueError, "running_var must be given"),
        ((X, np.ones(4), V), ValueError, r"running_mean must have one number for each of 3 channels. Got \(4,\)"),
        ((X, V, V, np.ones((3, 1))), ValueError, "weight must have one number for each of 3 channels"),
        ((X, V, V, V.astype("f4")), TypeError, "must have one dtype, float64. Got running_mean float64"),
        ((X.astype("f2"), V, V), TypeError, "must have one dtype, float16 or float32"),
        ((X, V, V, None, None, 1), TypeError, "training must be True or False"),
        ((X, V, V, None, None, False, "a"), TypeError, "momentum must be a real number"),
        ((X, V, V, None, None, False, 0.1, -1.0), ValueError, "eps must not be negative"),
        ((X.astype(int), V, V), TypeError, "input must be float32"),
        ((np.ma.zeros((2, 3)), V, V), TypeError, "input must be a plain array"),
        (
            (X[:1, :, :1], V, V, None, None, True),
            ValueError,
            "more than one value per channel in training. Got \\(1, 3, 1\\), 3 in all",
        ),
        ((X, [1.0] * 3, V, None, None, True), TypeError, "running_mean must be a numpy.ndarray: training updates"),
        ((X, V, FIXED, None, None, True), ValueError, "running_var must be writable"),
        ((X, V.astype(">f8"), V, None, None, True), TypeError, "running_mean must be in native byte order"),
        ((X, V, V, None, None, True), ValueError, "running_mean and running_var must not share memory"),
    ],
)
def test_batch_norm_wrong_argument_raises(arguments, error, message):
    before = V.copy()
    with pytest.raises(error, match=message):
        batch_norm(*arguments)
    np.testing.assert_array_equal(V, before)


def test_batch_norm_wrong_out_raises_and_updates_nothing():
    running = np.ones((2, 3))
    with pytest.raises(ValueError, match="out must have the shape of the result"):
        batch_norm(X, *running, training=True, out=np.zeros((2, 3)))
    memory = np.ones(24)
    with pytest.raises(ValueError, match="out and running_mean must not share memory"):
        batch_norm(X, memory[:3], running[1], training=True, out=memory.reshape(2, 3, 4))
    assert (running == 1.0).all()
    assert (memory == 1.0).all()


@pytest.mark.parametrize(
    "out, error, message",
    [
        (np.zeros((2, 3, 4)), TypeError, r"out must be \(grad_input, grad_weight, grad_bias\)"),
        ((None, None), TypeError, "Got a tuple of 2"),
        ((np.zeros((2, 3)), None, None), ValueError, "grad_input must have the shape of the result"),
        ((None, np.zeros(3), np.zeros(3)), ValueError, "out must have None for grad_bias: bias is None"),
        ((None, np.zeros(3, "f4"), None), TypeError, "grad_weight must have the dtype of the result"),
        ((X, X[0, 0, :3], None), ValueError, "grad_weight must not share memory"),
    ],
)
def test_batch_norm_backward_wrong_out_raises(out, error, message):
    with pytest.raises(error, match=message):
        batch_norm_backward(np.ones((2, 3, 4)), np.ones((2, 3, 4)), V, V, V, out=out)


def test_batch_norm_backward_wrong_gradient_raises():
    with pytest.raises(ValueError, match=r"grad_out must have the shape of input"):
        batch_norm_backward(X[:1], X, V, V)
    with pytest.raises(TypeError, match="input, grad_out must have one dtype"):
        batch_norm_backward(X.astype("f4"), X, V, V)


def test_fold_batch_norm_wrong_argument_raises():
    with pytest.raises(ValueError, match="weight must have an axis 1, of output channels"):
        fold_batch_norm(V, None, V, V, transpose=True)
    with pytest.raises(ValueError, match="running_var must be given"):
        fold_batch_norm(X[0], None, V, None)
    with pytest.raises(ValueError, match="bn_bias must have one number for each of 3 channels"):
        fold_batch_norm(X[0], None, V, V, None, np.ones(4))


def test_norms_of_channels_are_right_and_touch_nothing_out_of_bounds(run_guarded):
    assert run_guarded(Path(__file__).with_name("guarded_rows.py"), "normalize_channels").endswith(" cases")
