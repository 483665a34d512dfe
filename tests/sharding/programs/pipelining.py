"""Pipelines of small stages: losses, gradients and outputs of all schedules, and mistakes that every rank finds."""

import numpy as np

from fastcore.sharding import pipeline
from tests.sharding.small_stages import on_stages, squared_error

AXES = [{"pp": 1}, {"pp": 2}, {"pp": 3}, {"pp": 4}, {"pp": 8}, {"dp": 2, "pp": 4}]
SCHEDULES = [("gpipe", 1), ("1f1b", 1), ("interleaved", 2)]


def cases():
    found = {}
    for axes in AXES:
        text = ",".join(f"{name}{size}" for name, size in axes.items())
        for schedule, chunks in SCHEDULES if axes["pp"] < 8 else SCHEDULES[1:2]:  # 8 ranks share few cores
            found[f"{schedule} on {text}"] = lambda make_mesh, axes=axes, schedule=schedule, chunks=chunks: train(
                make_mesh(axes), schedule, chunks
            )
        found[f"forward only on {text}"] = lambda make_mesh, axes=axes: forward_only(make_mesh(axes))
    for size in (2, 4):
        found[f"stages that do not fit on {size}"] = lambda make_mesh, size=size: misfits(make_mesh({"pp": size}))
    return found


def sizes(stages):
    return [3 + k % 4 for k in range(stages + 1)]


def train(mesh, schedule, chunks):
    devices = mesh.axes["pp"]
    stages, m = chunks * devices, devices * (2 if devices < 4 else 1)
    layers, inputs, targets = on_stages(mesh, stages, sizes(stages), 4 * m + 1, m)
    result = pipeline(layers, inputs, schedule, loss=squared_error, targets=targets)
    return [result.loss.gather(), *(each.gather() for grads in result.grads for each in grads.values())]


def forward_only(mesh):
    stages = mesh.axes["pp"]
    layers, inputs, _ = on_stages(mesh, stages, sizes(stages), 11, 3)
    return [y.gather() for y in pipeline(layers, inputs).outputs]


def misfits(mesh):
    """Stages whose widths disagree: the error, and afterwards the mesh works on."""
    stages = mesh.axes["pp"]
    layers, inputs, targets = on_stages(mesh, stages, sizes(stages), 8, 2)
    layers[-1].params["weight"] = layers[-1].mesh.zeros((99, 1), np.float64)
    try:
        pipeline(layers, inputs, "1f1b", loss=squared_error, targets=targets)
    except ValueError as error:
        found = np.array([str(error), *error.__notes__])
        assert "x must have 99 columns" in found[0]
        assert f"forward pass of stage {stages - 1}, micro-batch 0" in found[1]
    return [found, *forward_only(mesh)]
