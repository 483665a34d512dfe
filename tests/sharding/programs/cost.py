"""Reports and traces of a program: the same numbers on simulated devices and on every rank."""

import tempfile
from pathlib import Path

import numpy as np

from fastcore.sharding import P, all_gather, device_function, pipeline, ppermute, psum, psum_scatter, transfer

AXES = [{"pp": 2, "tp": 4}, {"dp": 2, "pp": 2, "tp": 2}, {"pp": 8}, {"pp": 3}]


@device_function(flops=lambda x, out: 5.0 * x.nbytes_block)
def double(x, out):
    np.multiply(x, 2, out=out)


class Doubling:
    """A stage that doubles, and keeps its input until its backward pass."""

    params = {}  # noqa: RUF012

    def __init__(self, mesh):
        self.mesh = mesh

    def forward(self, x):
        y = self.mesh.empty(x.shape, x.dtype, x.spec)
        double(x, y)
        return y, x

    def backward(self, saved, grad_y):
        return self.forward(grad_y)[0], {}


def cases():
    return {
        f"report on {','.join(f'{name}{size}' for name, size in axes.items())}": lambda make_mesh, axes=axes: numbers(
            program(make_mesh(axes))
        )
        for axes in AXES
    }


def loss(y):
    return y.mesh.zeros((), np.float64), y.mesh.zeros(y.shape, y.dtype, y.spec)


def program(mesh):
    """All kinds of entries, on the whole mesh and its parts."""
    stages = [Doubling(mesh.at(pp=k)) for k in range(mesh.axes["pp"])]
    axis = next(reversed(mesh.axes))
    x = mesh.zeros((3 * mesh.axes[axis], 5), np.float64, P(axis))
    double(x, mesh.empty(x.shape, x.dtype, x.spec))
    for move in (psum, all_gather):
        move(x, axis)
    psum_scatter(mesh.zeros((mesh.size, 2), np.float32), tuple(mesh.axes), tiled=True)
    ppermute(x, axis, [(0, mesh.axes[axis] - 1)])
    transfer(stages[0].mesh.zeros((7,), np.int16), stages[-1].mesh)
    batches = [stages[0].mesh.zeros((6, 2), np.float64) for _ in range(3)]
    pipeline(stages, batches, "gpipe", loss=loss)
    return mesh


def numbers(mesh):
    """What the report says, and how long the trace is, which one process writes."""
    report = mesh.report()
    rows = [row[2:] for row in report.collectives] + [(*row[1:], 0) for row in report.kernels]
    peaks = [mesh.ledger.peak_bytes(mesh.at(pp=k)) for k in range(mesh.axes["pp"])]
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "trace.json"
        mesh.chrome_trace(file)
        written = np.array(file.exists())
    writers = mesh.put(np.zeros(mesh.size, bool), P(tuple(mesh.axes)))
    if len(mesh.positions) and mesh.positions[0] == 0:
        writers.local[0] = written
    return [
        np.array(rows, float),
        np.array(peaks),
        np.array([report.bytes_device, report.bytes_total, report.messages, report.peak_bytes]),
        np.array([report.flops_device, report.flops_total, report.bubble, *report.time_s]),
        writers.gather(),
    ]
