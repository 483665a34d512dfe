"""ZeRO steps, also of parameters that other axes split, and that only some ranks have."""

import numpy as np

from fastcore.sharding import SGD, AdamW, Mesh, P, ZeroOptimizer

AXES = [{"dp": 8}, {"dp": 4, "tp": 2}, {"pp": 2, "dp": 2, "tp": 2}, {"dp": 3}]


def cases():
    found = {}
    for axes in AXES:
        for stage in (1, 2, 3):
            text = ",".join(f"{name}{size}" for name, size in axes.items())
            found[f"stage {stage} on {text}"] = lambda make_mesh, axes=axes, stage=stage: train(make_mesh(axes), stage)
    return found


def train(mesh: Mesh, stage: int) -> list[np.ndarray]:
    """Two steps of float32, the gradients made of the device's index; a pipeline's stages have their own parameters."""
    rng = np.random.default_rng(3)
    meshes = [mesh.at(pp=index) for index in range(mesh.axes["pp"])] if "pp" in mesh.axes else [mesh]
    spec = P(None, "tp") if "tp" in mesh.axes else P()
    found = []
    for rule in (AdamW(lr=0.1), SGD(lr=0.1, momentum=0.9)):
        shapes = {"w": ((7, 5), spec), "b": ((3,), P())}
        params = {
            f"{name}{place}": each.put(rng.normal(size=shape).astype(np.float32), partition, pad=True)
            for place, each in enumerate(meshes)
            for name, (shape, partition) in shapes.items()
        }
        zero = ZeroOptimizer(params, rule, stage=stage)
        for _ in range(2):
            for name, param in params.items():
                gradient = param.mesh.put(rng.normal(size=param.shape).astype(np.float32), param.spec, pad=True)
                index = param.mesh.axis_index("dp").local
                gradient.local[...] *= (1.0 + index.reshape(-1, *[1] * param.ndim)).astype(np.float32)
                zero.accumulate({name: gradient})
            zero.step()
        found += [each.gather() for each in zero.gather().values()]
        found += [each.gather() for state in zero.state.values() for each in state.values()]
    return found
