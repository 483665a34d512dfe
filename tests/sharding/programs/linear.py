"""Linear layers split by columns and by rows, forward and backward."""

import numpy as np

from fastcore.sharding import ColumnParallel, P, RowParallel, device_kernel

AXES = [{"tp": 8}, {"dp": 2, "tp": 4}, {"dp": 4, "tp": 2}, {"tp": 3}, {"tp": 1}]


def cases():
    found = {}
    for axes in AXES:
        text = ",".join(f"{name}{size}" for name, size in axes.items())
        for dtype in ("float32", "float64"):
            found[f"layers {dtype} on {text}"] = lambda make_mesh, a=axes, d=dtype: layers(make_mesh(a), d)
    found["kernel with numbers and tables"] = numbers
    return found


def layers(mesh, dtype):
    """Two layers; sizes that do not divide."""
    rng = np.random.default_rng(11)
    rows = P("dp") if "dp" in mesh.axes else P()
    shapes = (8, 13), (13, 29), (29,), (29, 13), (13,), (8, 13)
    x, up_weight, up_bias, down_weight, down_bias, grad = (rng.normal(size=shape).astype(dtype) for shape in shapes)
    up = ColumnParallel(mesh.put(up_weight, P(None, "tp"), pad=True), mesh.put(up_bias, P("tp"), pad=True))
    down = RowParallel(mesh.put(down_weight, P("tp"), pad=True), mesh.put(down_bias))
    hidden, saved_up = up.forward(mesh.put(x, rows))
    y, saved_down = down.forward(hidden)
    grad_hidden, grads_down = down.backward(saved_down, mesh.put(grad, rows))
    grad_x, grads_up = up.backward(saved_up, grad_hidden)
    # Parameters' gradients differ along "dp" until data_parallel averages them: of the first copy.
    parameters = [*grads_down.values(), *grads_up.values()]
    return [hidden.gather(), y.gather(), grad_x.gather(), *(each.gather(check=False) for each in parameters)]


@device_kernel(flops=lambda x, index, table, out: 2.0 * x.block_shape[0])
def looked_up(x, index, table, out):
    for i in range(x.shape[0]):
        out[i] = x[i] * table[index] + index


def numbers(make_mesh):
    mesh = make_mesh({"x": 8})
    x, out = mesh.put(np.arange(24.0), P("x")), mesh.zeros((24,), float, P("x"))
    looked_up(x, mesh.axis_index("x"), np.linspace(1, 2, 8), out)
    return [out.gather()]
