"""A stage for tests of pipelines: tanh(x @ weight + bias), rows over "dp" where the mesh has it."""

import itertools

import numpy as np

from fastcore.sharding import P, device_function, psum


def product_flops(x, weight, *rest):
    return 2.0 * x.block_shape[0] * weight.block_shape[0] * weight.block_shape[1]


@device_function(flops=product_flops)
def dense_forward(x, weight, bias, out):
    out[...] = np.tanh(np.einsum("ij,jk->ik", x, weight) + bias)  # einsum, as BLAS's bits depend on threads


@device_function(flops=lambda x, weight, *rest: 2 * product_flops(x, weight))
def dense_backward(x, weight, out, grad_out, grad_x, grad_weight, grad_bias):
    inner = grad_out * (1 - out * out)
    grad_x[...] = np.einsum("ik,jk->ij", inner, weight)
    grad_weight[...] = np.einsum("ij,ik->jk", x, inner)
    grad_bias[...] = inner.sum(axis=0)


class Dense:
    """weight (in, out) and bias (out,), on all devices of the mesh."""

    def __init__(self, mesh, weight, bias):
        self.mesh = mesh
        self.params = {"weight": mesh.put(weight), "bias": mesh.put(bias)}

    def forward(self, x):
        weight, bias = self.params["weight"], self.params["bias"]
        if x.block_shape[1] != weight.shape[0]:
            raise ValueError(f"x must have {weight.shape[0]} columns. Got {x.shape}.")
        out = self.mesh.empty((x.shape[0], weight.shape[1]), x.dtype, x.spec, pad=True)
        dense_forward(x, weight, bias, out)
        return out, (x, out)

    def backward(self, saved, grad_out):
        x, out = saved
        weight, bias = self.params["weight"], self.params["bias"]
        grad_x = self.mesh.empty(x.shape, x.dtype, x.spec, pad=True)
        grads = [self.mesh.empty(each.shape, each.dtype) for each in (weight, bias)]
        dense_backward(x, weight, out, grad_out, grad_x, *grads)
        if "dp" in self.mesh.axes:
            grads = [psum(each, "dp") for each in grads]
        return grad_x, dict(zip(("weight", "bias"), grads))


def squared_error(y, target):
    """Half the sum of squares of all rows, and its gradient."""
    grad, value = y.mesh.empty(y.shape, y.dtype, y.spec, pad=True), y.mesh.zeros((), np.float64)
    if y.local is not None:
        grad.local[...] = y.local - target.local
        value.local[...] = 0.5 * (grad.local.astype(np.float64) ** 2).sum(axis=tuple(range(1, grad.local.ndim)))
    return (psum(value, "dp") if "dp" in y.mesh.axes else value), grad


class Plain:
    """The same layer on plain arrays."""

    def __init__(self, weight, bias):
        self.weight, self.bias = weight, bias

    def forward(self, x):
        out = np.tanh(x @ self.weight + self.bias)
        return out, (x, out)

    def backward(self, saved, grad_out):
        x, out = saved
        inner = grad_out * (1 - out * out)
        return inner @ self.weight.T, {"weight": x.T @ inner, "bias": inner.sum(axis=0)}


def plain_squared_error(y, target):
    return 0.5 * ((y - target) ** 2).sum(), y - target


def numbers(widths, rows, dtype=np.float64, seed=3):
    """(weight, bias) of each stage, input and target of the whole batch."""
    rng = np.random.default_rng(seed)
    params = [(rng.normal(size=each) / each[0] ** 0.5, rng.normal(size=each[1])) for each in itertools.pairwise(widths)]
    x, target = rng.normal(size=(rows, widths[0])), rng.normal(size=(rows, widths[-1]))
    return [tuple(each.astype(dtype) for each in pair) for pair in params], x.astype(dtype), target.astype(dtype)


def cut(array, m, mesh):
    """m micro-batches, the first ones a row longer where m does not divide; rows over "dp"."""
    spec = P("dp") if "dp" in mesh.axes else P()
    return [mesh.put(part, spec, pad=True) for part in np.array_split(array, m)]


class Wrong(Dense):
    """Returns something else."""

    def __init__(self, right, **instead):
        self.__dict__.update(right.__dict__)
        self.instead = instead

    def forward(self, x):
        y, saved = super().forward(x)
        return self.instead.get("y", y), saved

    def backward(self, saved, grad_out):
        grad_x, grads = super().backward(saved, grad_out)
        return self.instead.get("grad_x", grad_x), self.instead.get("grads", grads)


class Keep:
    """A stage without parameters that hands on what it gets, and saves `kept` float64 numbers."""

    def __init__(self, mesh, kept):
        self.mesh, self.kept, self.params = mesh, kept, {}

    def forward(self, x):
        return self._copy(x), [self.mesh.zeros((self.kept,), np.float64)]

    def backward(self, saved, grad_out):
        saved.pop()
        return self._copy(grad_out), {}

    def _copy(self, x):
        return self.mesh.from_blocks(None if x.local is None else x.local.copy(), x.spec, x.shape, x.dtype)


def on_stages(mesh, stages, widths, rows, m, dtype=np.float64):
    """Layers on the parts of a mesh along "pp", micro-batches and their targets."""
    params, x, target = numbers(widths, rows, dtype)
    parts = [mesh.at(pp=k) for k in range(mesh.axes["pp"])]
    layers = [Dense(parts[k % len(parts)], *pair) for k, pair in enumerate(params)]
    assert len(layers) == stages
    return layers, cut(x, m, parts[0]), cut(target, m, layers[-1].mesh)
