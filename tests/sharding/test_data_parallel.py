"""Training steps of a language model on dp x tp x pp devices equal the unsharded step."""

from functools import partial

import numpy as np
import pytest

import fastcore
from fastcore.sharding import (
    Mesh,
    cross_entropy,
    data_parallel,
    pipeline,
)
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
