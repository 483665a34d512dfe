import numpy as np
import pytest

from fastcore.sharding import Mesh, pipeline
from tests.sharding.small_stages import Dense, Keep, Wrong, cut, squared_error


def stages_of(mesh, count, size=2):
    parts = [mesh.at(pp=k) for k in range(mesh.axes["pp"])]
    return [Dense(parts[k % len(parts)], np.eye(size), np.zeros(size)) for k in range(count)]


def mistaken(change):
    """Arguments of `pipeline` that are right, changed."""
    mesh = Mesh({"pp": 2, "dp": 2})
    layers = stages_of(mesh, 2)
    arguments = {
        "stages": layers,
        "microbatches": cut(np.ones((8, 2)), 4, layers[0].mesh),
        "schedule": "1f1b",
        "loss": squared_error,
        "targets": cut(np.ones((8, 2)), 4, layers[1].mesh),
    }
    arguments.update(change(mesh, layers, arguments))
    return arguments


MISTAKES = {
    "no stages": (lambda mesh, layers, a: {"stages": []}, TypeError, "at least one layer"),
    "no layer": (lambda mesh, layers, a: {"stages": [layers[0], 1]}, TypeError, r"stages\[1\] must be a layer, .*int"),
    "other mesh": (
        lambda mesh, layers, a: {"stages": [layers[0], stages_of(Mesh({"pp": 2}), 2)[1]]},
        ValueError,
        "parts of one mesh",
    ),
    "order of stages": (
        lambda mesh, layers, a: {"stages": [layers[0], layers[1], layers[1]]},
        ValueError,
        "Stage k must be on the same part of the mesh as stage k % 2",
    ),
    "other axes": (
        lambda mesh, layers, a: {"stages": [layers[0], Dense(mesh.at(dp=0), np.eye(2), np.zeros(2))]},
        ValueError,
        "meshes of the same axes",
    ),
    "nowhere": (
        lambda mesh, layers, a: {"stages": [layers[0], Keep(None, 1)]},
        ValueError,
        r"stages\[1\] has no params",
    ),
    "two meshes": (
        lambda mesh, layers, a: layers[1].params.update(bias=layers[0].params["bias"]) or {},
        ValueError,
        r"All params of a stage must be on one mesh. stages\[1\]",
    ),
    "schedule": (lambda mesh, layers, a: {"schedule": "2f2b"}, ValueError, "schedule must be one of"),
    "chunks": (
        lambda mesh, layers, a: {"stages": stages_of(mesh, 4)},
        ValueError,
        "'1f1b' has one stage a device. Got 4 stages on 2 devices",
    ),
    "microbatches": (
        lambda mesh, layers, a: {
            "schedule": "interleaved",
            "microbatches": a["microbatches"][:3],
            "targets": a["targets"][:3],
        },
        ValueError,
        "Got 3 micro-batches on 2 devices",
    ),
    "no micro-batch": (lambda mesh, layers, a: {"microbatches": [], "targets": []}, ValueError, "at least one array"),
    "plain array": (
        lambda mesh, layers, a: {"microbatches": [np.ones(2)] * 4},
        TypeError,
        r"microbatches\[0\] must be",
    ),
    "one array": (lambda mesh, layers, a: {"microbatches": a["microbatches"][0]}, TypeError, "must be a sequence"),
    "wrong stage": (
        lambda mesh, layers, a: {"microbatches": a["targets"]},
        ValueError,
        "microbatches must be on the mesh of the first stage",
    ),
    "targets": (lambda mesh, layers, a: {"targets": a["targets"][1:]}, ValueError, "one for each of 4 .* Got 3"),
    "one target": (lambda mesh, layers, a: {"targets": a["targets"][0]}, TypeError, "targets must be a sequence"),
    "no loss": (lambda mesh, layers, a: {"loss": None}, ValueError, "targets are for a loss"),
    "misfit": (lambda mesh, layers, a: {"stages": [layers[0], stages_of(mesh, 2, 3)[1]]}, ValueError, "3 columns. Got"),
    "output": (
        lambda mesh, layers, a: {"stages": [Wrong(layers[0], y=a["targets"][0]), layers[1]]},
        ValueError,
        "The output of stage 0 must be on Mesh",
    ),
    "no output": (
        lambda mesh, layers, a: {"stages": [Wrong(layers[0], y=3.0), layers[1]]},
        TypeError,
        "The output of stage 0 must be an array of a mesh. Got float",
    ),
    "input's gradient": (
        lambda mesh, layers, a: {"stages": [layers[0], Wrong(layers[1], grad_x=layers[1].params["weight"])]},
        ValueError,
        r"The gradient of the input of stage 1 must be of shape \(2, 2\), split over \(\('dp',\), \(\)\)",
    ),
    "no gradient": (
        lambda mesh, layers, a: {"stages": [layers[0], Wrong(layers[1], grad_x=None)]},
        TypeError,
        "The gradient of the input of stage 1 must be an array",
    ),
    "missing gradient": (
        lambda mesh, layers, a: {"stages": [layers[0], Wrong(layers[1], grads={})]},
        ValueError,
        r"backward of stage 1 must return gradients of \['bias', 'weight'\]. Got \[\]",
    ),
    "gradient's shape": (
        lambda mesh, layers, a: {
            "stages": [Wrong(layers[0], grads=dict.fromkeys(layers[0].params, layers[0].params["weight"])), layers[1]]
        },
        ValueError,
        r"The gradient of bias of stage 0 must be of shape \(2,\)",
    ),
    "loss's value": (
        lambda mesh, layers, a: {"loss": lambda y, target: (y, y)},
        ValueError,
        r"value of the loss must have blocks of shape \(\)",
    ),
    "loss's gradient": (
        lambda mesh, layers, a: {"loss": lambda y, target: (y.mesh.zeros((), np.float64), y.mesh.zeros((3,), float))},
        ValueError,
        r"The gradient of the loss must be of shape \(2, 2\)",
    ),
    "loss's mesh": (
        lambda mesh, layers, a: {"loss": lambda y, target: (layers[0].mesh.zeros((), np.float64), y)},
        ValueError,
        "value of loss.* must be on Mesh",
    ),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_pipeline_mistake_raises(name):
    change, error, message = MISTAKES[name]
    with pytest.raises(error, match=message):
        pipeline(**mistaken(change))


def test_pipeline_error_of_a_stage_says_where():
    layers = stages_of(Mesh({"pp": 2}), 2)
    layers[1].params["weight"] = layers[1].mesh.zeros((7, 2), np.float64)
    with pytest.raises(ValueError, match="x must have 7 columns") as caught:
        pipeline(layers, cut(np.ones((4, 2)), 2, layers[0].mesh))
    (note,) = caught.value.__notes__
    assert note.startswith("In the forward pass of stage 1, micro-batch 0: ShardedArray(shape=(2, 2)")
