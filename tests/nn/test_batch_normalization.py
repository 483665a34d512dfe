"""Batch normalisation, its gradient and its merging into the layer before it, against the plain twins."""

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import fastcore
from fastcore import reference
from fastcore.nn import batch_norm, batch_norm_backward, fold_batch_norm

# Planes below, at and above a vector, the unrolled loop and a chunk; chunks of many planes; channels that are done
# whole, and few that are shared by threads; two axes, where channels are columns, of one segment and more.
SHAPES = [
    (5, 1),
    (3, 2, 1),
    (5, 3, 7),
    (2, 3, 4, 16),
    (40, 2, 3, 11),
    (3, 17, 5, 5),
    (2, 3, 4097),
    (1, 2, 90, 100),
    (9, 70),
    (300, 5),
    (1000, 600),
    (6, 40, 31, 33),
]
DTYPES = [np.float32, np.float64]


def draw(rng, shape, dtype, count=1):
    arrays = [rng.normal(1.5, 2.0, shape).astype(dtype) for _ in range(count)]
    return arrays[0] if count == 1 else arrays


def vectors(rng, channels, dtype):
    """Running mean and variance, weight, bias."""
    mean, weight, bias = draw(rng, channels, dtype, 3)
    return mean, rng.uniform(0.5, 2.0, channels).astype(dtype), weight, bias


def channels_last(x):
    """The same numbers with the channels side by side."""
    return np.moveaxis(np.ascontiguousarray(np.moveaxis(x, 1, -1)), -1, 1)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SHAPES)
def test_batch_norm_is_as_exact_as_the_twin(rng, assert_exact, shape, dtype):
    x = draw(rng, shape, dtype)
    mean, variance, weight, bias = vectors(rng, shape[1], dtype)
    for training in (False, True):
        for options in ({}, {"weight": weight}, {"bias": bias}, {"weight": weight, "bias": bias, "eps": 0.3}):
            got = batch_norm(x, mean.copy(), variance.copy(), training=training, **options)
            assert got.dtype == dtype
            assert_exact(got, reference.batch_norm, x, mean, variance, training=training, **options)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SHAPES)
def test_batch_norm_backward_is_as_exact_as_the_twin(rng, assert_exact, shape, dtype):
    x, grad = draw(rng, shape, dtype, 2)
    arguments = vectors(rng, shape[1], dtype)
    for training in (False, True):
        got = batch_norm_backward(grad, x, *arguments, training)
        wants = reference.batch_norm_backward(grad, x, *arguments, training)
        for i, (each, want) in enumerate(zip(got, wants, strict=True)):
            assert each.dtype == dtype
            if dtype == np.float64:  # of the largest summands, around 10 each: sums of them may cancel
                np.testing.assert_allclose(each, want, rtol=1e-13, atol=1e-13 * len(x))
            else:
                assert_exact(each, lambda *a, i=i: reference.batch_norm_backward(*a)[i], grad, x, *arguments, training)


@pytest.mark.parametrize("training", [False, True])
def test_batch_norm_backward_is_the_derivative(rng, training):
    """Central differences of sum(grad * result) in float64, in the direction of a random step."""
    x, grad, step = draw(rng, (4, 3, 6), np.float64, 3)
    mean, variance, weight, bias = vectors(rng, 3, np.float64)
    weight_step, bias_step = draw(rng, 3, np.float64, 2)

    def value(t):
        moved = x + t * step, None if training else mean, None if training else variance
        return (grad * batch_norm(*moved, weight + t * weight_step, bias + t * bias_step, training)).sum()

    slopes = batch_norm_backward(grad, x, mean, variance, weight, bias, training)
    got = sum((a * b).sum() for a, b in zip(slopes, (step, weight_step, bias_step), strict=True))
    np.testing.assert_allclose((value(1e-5) - value(-1e-5)) / 2e-5, got, rtol=1e-8)


@pytest.mark.parametrize("training", [False, True])
def test_batch_norm_backward_gives_none_for_what_was_not_given(rng, training):
    x, grad = draw(rng, (4, 3, 6), np.float64, 2)
    mean, variance, weight, bias = vectors(rng, 3, np.float64)
    for options in ({}, {"weight": weight}, {"bias": bias}):
        got = batch_norm_backward(grad, x, mean, variance, training=training, **options)
        want = reference.batch_norm_backward(grad, x, mean, variance, training=training, **options)
        assert [each is None for each in got] == [each is None for each in want]
        np.testing.assert_allclose(got[0], want[0], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("given", [(True, True), (True, False), (False, True), (False, False)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.float16, ml_dtypes.bfloat16])
def test_batch_norm_training_updates_the_running_statistics(rng, dtype, given):
    x = draw(rng, (8, 3, 5), dtype)
    old = vectors(rng, 3, dtype)[:2]
    running = [vector.copy() if keep else None for vector, keep in zip(old, given, strict=True)]
    batch_norm(x, *running, training=True, momentum=0.3)
    wide = x.astype(float)
    new = wide.mean((0, 2)), wide.var((0, 2), ddof=1)
    for got, before, estimate in zip(running, old, new, strict=True):
        if got is not None:
            want = (0.7 * before.astype(float) + 0.3 * estimate).astype(dtype)
            np.testing.assert_allclose(got.astype(float), want.astype(float), rtol=2 * ml_dtypes.finfo(dtype).eps)


def test_batch_norm_inference_and_backward_leave_the_running_statistics(rng):
    x, grad = draw(rng, (8, 3, 5), np.float64, 2)
    arguments = [a.copy() for a in vectors(rng, 3, np.float64)]
    kept = [a.copy() for a in arguments]
    batch_norm(x, *arguments)
    batch_norm_backward(grad, x, *arguments)
    batch_norm_backward(grad, x, *arguments, True)
    for a, b in zip(arguments, kept, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("place", [np.asarray, channels_last])
@pytest.mark.parametrize("offset", [1e4, -3e5])
def test_batch_norm_float32_survives_a_mean_far_above_the_deviation(rng, offset, place):
    """Sums of squares have lost all digits of the variance there, a rounded mean alone three."""
    x = place((offset + rng.normal(size=(20, 5, 30, 10))).astype(np.float32))
    mean, variance = np.zeros(5, np.float32), np.zeros(5, np.float32)
    want = reference.batch_norm(x.astype(float), None, None, training=True)
    assert np.abs(batch_norm(x, mean, variance, training=True, momentum=1.0) - want).max() < 2e-6
    np.testing.assert_allclose(variance, x.astype(float).var((0, 2, 3), ddof=1), rtol=1e-6)
    grad = rng.normal(size=x.shape).astype(np.float32)
    want = reference.batch_norm_backward(grad.astype(float), x.astype(float), None, None, np.ones(5), None, True)
    got = batch_norm_backward(grad, x, None, None, np.ones(5, np.float32), None, True)
    assert np.abs(got[0] - want[0]).max() < 4e-6
    np.testing.assert_allclose(got[1], want[1], rtol=1e-5, atol=1e-2)


def test_batch_norm_float32_survives_means_that_differ_within_a_channel(rng):
    """Half of the samples around -1e4, half around 1e4: no single guess of the mean is near to both."""
    x = rng.normal(size=(10, 3, 3000)).astype(np.float32)
    x[::2] -= 1e4
    x[1::2] += 1e4
    want = reference.batch_norm(x.astype(float), None, None, training=True)
    assert np.abs(batch_norm(x, None, None, training=True) - want).max() < 4e-7


@pytest.mark.parametrize("place", [np.asarray, channels_last])
def test_batch_norm_backward_float32_survives_a_gradient_far_from_zero(rng, assert_exact, place):
    """Its mean does not reach the input: what is left is its deviation, 1e-4 of it."""
    x = place(rng.normal(size=(20, 5, 30)).astype(np.float32))
    grad = place((1e4 + rng.normal(size=x.shape)).astype(np.float32))
    got = batch_norm_backward(grad, x, None, None, training=True)[0]
    assert_exact(got, lambda *a: reference.batch_norm_backward(*a, None, None, training=True)[0], grad, x)


@pytest.mark.parametrize("value", [0.1, 1e12, -3e-39])
def test_batch_norm_of_equal_numbers_is_the_bias(value):
    x, bias = np.full((7, 3, 61), value, np.float32), np.array([1.0, -2.0, 0.0], np.float32)
    got = batch_norm(x, None, None, None, bias, True)
    np.testing.assert_allclose(got, np.broadcast_to(bias[:, None], x.shape), rtol=0, atol=1e-5)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("place", [np.asarray, channels_last])
def test_batch_norm_nan_stays_in_its_channel(rng, place, bad):
    x = draw(rng, (4, 5, 9, 2), np.float32)
    want = batch_norm(place(x), None, None, training=True)
    x[2, 3, 8, 1] = bad
    got = batch_norm(place(x), None, None, training=True)
    assert np.isnan(got[:, 3]).all()
    np.testing.assert_array_equal(np.delete(got, 3, 1), np.delete(want, 3, 1))
    slopes = batch_norm_backward(place(x), place(x), None, None, training=True)[0]
    assert np.isnan(slopes[:, 3]).all()
    assert np.isfinite(np.delete(slopes, 3, 1)).all()


def test_batch_norm_backward_of_inference_does_not_look_at_the_input(rng):
    grad, x = draw(rng, (4, 3), np.float32), np.full((4, 3), np.nan, np.float32)
    arguments = vectors(rng, 3, np.float32)
    got = batch_norm_backward(grad, x, *arguments)
    assert np.isfinite(got[0]).all()
    assert np.isnan(got[1]).all()
    assert np.isfinite(got[2]).all()


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("dtype", DTYPES)
def test_batch_norm_memory_does_not_matter(rng, in_memory, dtype, training):
    x, grad = draw(rng, (6, 5, 7, 3), dtype, 2)
    arguments = vectors(rng, 5, dtype)
    placed, kept = in_memory(x), x.copy()
    tolerance = {"rtol": 1e-5, "atol": 1e-5} if dtype == np.float32 else {"rtol": 1e-12, "atol": 1e-12}
    placed_vectors = [in_memory(np.stack([a, a]))[0] for a in arguments]
    running = [None, None] if training else placed_vectors[:2]
    want = batch_norm(x, *(running if training else arguments[:2]), *arguments[2:], training)
    np.testing.assert_allclose(batch_norm(placed, *running, *placed_vectors[2:], training), want, **tolerance)
    want = batch_norm_backward(grad, x, *arguments, training)
    got = batch_norm_backward(in_memory(grad), placed, *placed_vectors, training)
    for a, b in zip(got, want, strict=True):
        np.testing.assert_allclose(a, b, **tolerance)
    np.testing.assert_array_equal(placed, kept)


@pytest.mark.parametrize("dtype", [np.float32, ml_dtypes.bfloat16])
def test_batch_norm_channels_last_stays_so(rng, dtype):
    x, grad = (channels_last(a) for a in draw(rng, (6, 5, 7, 3), dtype, 2))
    assert batch_norm(x, None, None, training=True).strides == x.strides
    assert batch_norm_backward(grad, x, None, None, training=True)[0].strides == x.strides
    assert batch_norm(x[:, :, ::2], None, None, training=True).shape == (6, 5, 4, 3)


@given(
    shape=st.lists(st.integers(1, 6), min_size=2, max_size=5).map(tuple).filter(lambda s: np.prod(s) > s[1]),
    order=st.randoms(use_true_random=False),
    seed=st.integers(0, 100),
)
def test_batch_norm_any_axes_in_any_order(shape, order, seed):
    rng = np.random.default_rng(seed)
    axes = list(range(len(shape)))
    order.shuffle(axes)
    x, grad = (a.transpose(axes).copy().transpose(np.argsort(axes)) for a in draw(rng, shape, np.float64, 2))
    weight = draw(rng, shape[1], np.float64)
    got = batch_norm(x, None, None, weight, training=True)
    np.testing.assert_allclose(got, reference.batch_norm(x, None, None, weight, training=True), atol=1e-10)
    got = batch_norm_backward(grad, x, None, None, weight, training=True)[0]
    want = reference.batch_norm_backward(grad, x, None, None, weight, training=True)[0]
    np.testing.assert_allclose(got, want, rtol=1e-9, atol=1e-9 * np.abs(want).max())


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16])
@pytest.mark.parametrize("of_vectors", ["the same", "float32"])
def test_batch_norm_half_precision_is_rounded_once(rng, dtype, of_vectors):
    x, grad = draw(rng, (9, 4, 7), dtype, 2)
    arguments = vectors(rng, 4, dtype if of_vectors == "the same" else np.float32)
    wide = [a.astype(np.float32) for a in (grad, x, *arguments)]
    for training in (False, True):
        want = batch_norm(*(a.copy() for a in wide[1:]), training).astype(dtype)
        got = batch_norm(x, *(a.copy() for a in arguments), training)
        np.testing.assert_array_equal(got, want)
        got = batch_norm_backward(grad, x, *arguments, training)
        for a, b, like in zip(got, batch_norm_backward(*wide, training), (x, *arguments[2:]), strict=True):
            assert a.dtype == like.dtype
            np.testing.assert_array_equal(a, b.astype(like.dtype))


@pytest.mark.parametrize("shape", [(6, 5, 31, 7), (40, 5), (3, 40, 7)])
@pytest.mark.parametrize("overlap", ["input", "shifted", "none", "fortran", "weight"])
def test_batch_norm_out_may_overlap_anything(rng, overlap, shape):
    size, channels = int(np.prod(shape)), shape[1]
    memory = draw(rng, size + channels, np.float64)
    x = memory[channels:].reshape(shape)
    weight = memory[-channels:] if overlap == "weight" else draw(rng, channels, np.float64)
    out = {
        "input": x,
        "shifted": memory[:-channels].reshape(shape),
        "none": np.empty(shape),
        "fortran": np.empty(shape, order="F"),
        "weight": x,
    }[overlap]
    want = batch_norm(x.copy(), None, None, weight.copy(), training=True)
    assert batch_norm(x, None, None, weight, training=True, out=out) is out
    np.testing.assert_array_equal(out, want)


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("shape", [(6, 5, 31, 7), (40, 5)])
@pytest.mark.parametrize("overlap", ["grad_out", "input", "none"])
def test_batch_norm_backward_out_is_written_and_returned(rng, overlap, shape, training):
    x, grad = draw(rng, shape, np.float64, 2)
    arguments = vectors(rng, 5, np.float64)
    want = batch_norm_backward(grad, x, *arguments, training)
    out = {"grad_out": grad, "input": x, "none": np.empty(shape)}[overlap], np.empty(5), None
    got = batch_norm_backward(grad, x, *arguments, training, out=out)
    assert got[0] is out[0]
    assert got[1] is out[1]
    for a, b in zip(got, want, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("shape", [(0, 3, 4), (5, 3, 0), (0, 3), (2, 0, 4)])
def test_batch_norm_of_nothing_updates_nothing(shape):
    channels = shape[1]
    mean, variance = np.full(channels, 2.0), np.full(channels, 3.0)
    for training in (False, True):
        assert batch_norm(np.zeros(shape), mean, variance, training=training).shape == shape
        got = batch_norm_backward(np.zeros(shape), np.zeros(shape), mean, variance, mean, mean, training)
        assert got[0].shape == shape
        assert not got[1].any()
        assert not got[2].any()
    assert (mean == 2.0).all()
    assert (variance == 3.0).all()


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("shape", [(64, 40, 28, 28), (8, 3, 200, 200), (70_000, 9), (300, 1500)])
def test_batch_norm_one_thread_equals_many(rng, shape, training):
    x, grad = rng.standard_normal((2, *shape), dtype=np.float32)
    arguments = vectors(rng, shape[1], np.float32)

    def run():
        running = [a.copy() for a in arguments[:2]]
        y = batch_norm(x, *running, *arguments[2:], training)
        return [y, *running, *batch_norm_backward(grad, x, *arguments, training)]

    with fastcore.num_threads(1):
        want = run()
    for a, b in zip(run(), want, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("place", [np.asarray, channels_last])
def test_batch_norm_large_result_is_the_small_one(rng, place):
    """Past the caches from 16 MiB on: the same numbers, also where no row begins at a whole vector."""
    x = place(rng.standard_normal((20, 15, 121, 121), dtype=np.float32))
    arguments = vectors(rng, 15, np.float32)
    got, in_training = batch_norm(x, *arguments), batch_norm(x, None, None, training=True)
    slopes = batch_norm_backward(x, x, None, None, training=True)[0]
    assert got.nbytes > 16 << 20
    np.testing.assert_array_equal(got[:2], batch_norm(x[:2], *arguments))
    same = x.copy("K")
    np.testing.assert_array_equal(batch_norm(same, None, None, training=True, out=same), in_training)
    same = x.copy("K")
    batch_norm_backward(x, same, None, None, training=True, out=(same, None, None))
    np.testing.assert_array_equal(same, slopes)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape, transpose", [((4, 7), False), ((4, 3, 2, 2), False), ((3, 4, 2, 2), True)])
def test_fold_batch_norm_equals_the_twin(rng, dtype, shape, transpose):
    weight, bias = draw(rng, shape, dtype), draw(rng, 4, dtype)
    mean, variance, bn_weight, bn_bias = vectors(rng, 4, dtype)
    for options in ((None, None, None), (bias, bn_weight, None), (None, None, bn_bias), (bias, bn_weight, bn_bias)):
        arguments = weight, options[0], mean, variance, *options[1:], 1e-3
        got = fold_batch_norm(*arguments, transpose=transpose)
        for a, b in zip(got, reference.fold_batch_norm(*arguments, transpose=transpose), strict=True):
            assert a.dtype == dtype
            assert a.shape == b.shape
            np.testing.assert_allclose(a, b, rtol=1e-6 if dtype == np.float32 else 1e-14)


def test_fold_batch_norm_does_what_both_layers_do(rng):
    x, weight, bias = draw(rng, (9, 5), np.float64), draw(rng, (4, 5), np.float64), draw(rng, 4, np.float64)
    mean, variance, bn_weight, bn_bias = vectors(rng, 4, np.float64)
    merged, shift = fold_batch_norm(weight, bias, mean, variance, bn_weight, bn_bias, 1e-3)
    want = batch_norm(x @ weight.T + bias, mean, variance, bn_weight, bn_bias, eps=1e-3)
    np.testing.assert_allclose(x @ merged.T + shift, want, rtol=1e-12, atol=1e-12)
