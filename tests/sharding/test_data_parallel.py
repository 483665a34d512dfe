"""Training steps of a language model on dp x tp x pp devices equal the unsharded step."""

from functools import partial

import numpy as np
import pytest

import fastcore
from fastcore.sharding import Mesh, P, cross_entropy, data_parallel, mean_squared_error, pipeline, psum
from tests.sharding.language_model import TOKENS, batch, expected_step, stages_of_model, weights_of_model

LAYERS = 2


def assert_step_equals(loss, grads, names, expected, bound=1e-12):
    """Loss and the gradients of stages against the twin's; the key's bias by the scale of the query's."""
    value, twins = expected
    assert abs(loss.gather() - value) <= bound * value
    found = {}
    for stage, named in zip(grads, names, strict=True):
        assert set(stage) == set(named)
        found |= {named[name]: gradient.gather() for name, gradient in stage.items()}
    assert set(found) == set(twins)
    for name, twin in twins.items():
        scale = np.abs(twins[name.replace("key_bias", "query_bias")]).max()
        assert np.abs(found[name].reshape(twin.shape) - twin).max() <= bound * scale, name


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("rows", [8, 5, 1])
@pytest.mark.parametrize(
    "axes", [{"dp": 1, "tp": 1}, {"dp": 2, "tp": 1}, {"dp": 3, "tp": 2}, {"tp": 2, "dp": 4}], ids=str
)
def test_step_on_batches_and_columns_equals_unsharded(axes, rows, threads):
    mesh = Mesh(axes)
    (model,), names = stages_of_model([mesh], weights_of_model(LAYERS), LAYERS)

    def step(tokens, targets):
        logits, saved = model.forward(tokens)
        loss, grad_logits = cross_entropy(logits, targets)
        return loss, model.backward(saved, grad_logits)[1]

    with fastcore.num_threads(threads):
        loss, grads = data_parallel(step)(*(mesh.put(each, "dp", pad=True) for each in batch(rows)))
    assert_step_equals(loss, [grads], names, expected_step(rows, LAYERS))


@pytest.mark.parametrize("schedule", ["gpipe", "1f1b", "interleaved"])
@pytest.mark.parametrize("rows", [8, 6])
def test_step_on_batches_columns_and_stages_equals_unsharded(schedule, rows):
    mesh = Mesh({"dp": 2, "tp": 2, "pp": 2})
    chunks, layers = (4, 4) if schedule == "interleaved" else (2, LAYERS)
    meshes = [mesh.at(pp=k % 2) for k in range(chunks)]
    stages, names = stages_of_model(meshes, weights_of_model(layers), layers)

    def step(tokens, targets):
        loss = partial(cross_entropy, count=rows * TOKENS)
        result = pipeline(stages, tokens, schedule, loss=loss, targets=targets)
        return result.loss, result.grads

    # micro-batches of two rows; of six rows the last is filled up, so that interleaving has a multiple of p
    parts = [slice(i, i + 2) for i in range(0, 8, 2)]
    tokens, targets = batch(rows)
    inputs = [meshes[0].put(tokens[each], "dp", pad=True) for each in parts]
    wanted = [meshes[-1].put(targets[each], "dp", pad=True) for each in parts]
    loss, grads = data_parallel(step, reduction="sum")(inputs, wanted)
    assert_step_equals(loss, grads, names, expected_step(rows, layers))


def mean_step(x):
    """The mean of a device's own rows as loss and, by the name of its axis, as gradient."""
    loss, gradient = mean_squared_error(x, x.mesh.zeros(x.shape, x.dtype, x.spec, pad=True))
    return loss, {"mean": psum(gradient, ())}


def test_data_parallel_weighs_by_rows():
    mesh = Mesh({"dp": 4})
    x = np.arange(1.0, 7.0)[:, None]  # rows 2, 2, 2, 0
    loss, _ = data_parallel(mean_step)(mesh.put(x, "dp", pad=True))
    np.testing.assert_allclose(loss.gather(), np.mean(x**2), rtol=1e-15)


def test_data_parallel_over_two_axes_and_keyword():
    mesh = Mesh({"a": 2, "b": 3})
    x = np.arange(1.0, 8.0)[:, None]
    batch_of_both = mesh.put(x, P(("a", "b")), pad=True)
    loss, _ = data_parallel(mean_step, axis=("a", "b"))(x=batch_of_both)
    np.testing.assert_allclose(loss.gather(), np.mean(x**2), rtol=1e-15)


def test_data_parallel_keeps_the_name_of_the_step():
    assert data_parallel(mean_step).__name__ == "mean_step"


def test_data_parallel_wrong_arguments_raise():
    mesh = Mesh({"dp": 2, "tp": 2})
    x = mesh.zeros((4, 3), float, "dp")
    with pytest.raises(TypeError, match="step must be a function"):
        data_parallel(None)
    with pytest.raises(ValueError, match="reduction must be 'mean' or 'sum'"):
        data_parallel(mean_step, reduction="max")
    with pytest.raises(ValueError, match="'pp' is not an axis"):
        data_parallel(mean_step, axis="pp")(x)
    with pytest.raises(ValueError, match="first axis of the batch must be split over"):
        data_parallel(mean_step)(mesh.zeros((4, 3), float))
    with pytest.raises(TypeError, match="needs a ShardedArray among its arguments"):
        data_parallel(mean_step)(np.zeros(3))
    loss = mesh.zeros((), float)
    for wrong, text in (
        (loss, r"step must answer \(loss, grads\)"),
        ((x, {}), "The loss must be a ShardedArray of shape"),
        ((loss, x), "grads must map names to arrays"),
        ((loss, {"w": np.zeros(3)}), "The gradient 'w' must be a ShardedArray"),
    ):
        with pytest.raises(TypeError, match=text):
            data_parallel(lambda _, wrong=wrong: wrong)(x)


def test_step_dry_costs_what_simulated_costs():
    entries, peaks = [], []
    for engine in ("simulated", "dry"):
        mesh = Mesh({"dp": 2, "tp": 3}, engine=engine)
        (model,), _ = stages_of_model([mesh], weights_of_model(LAYERS), LAYERS)

        def step(tokens, targets, model=model):
            logits, saved = model.forward(tokens)
            loss, grad_logits = cross_entropy(logits, targets)
            return loss, model.backward(saved, grad_logits)[1]

        data_parallel(step)(*(mesh.put(each, "dp", pad=True) for each in batch(5)))
        entries.append([entry._replace(mesh=None) for entry in mesh.ledger.entries])
        peaks.append(mesh.ledger.peak_bytes(mesh))
    assert entries[0] == entries[1]
    assert peaks[0] == peaks[1]
