"""Linear layers whose weights are split over devices: by columns, which needs no communication forward, and by rows.

Weights are (in, out): y = x @ weight + bias, over the last axis of x. An MLP is a column-parallel layer, an activation
and a row-parallel layer, with one psum in all. Source: Shoeybi et al. 2019, Megatron-LM, section 3.

Sizes that do not divide are filled up with zeros: put weight and bias with ``pad=True``. The zero columns of a
column-parallel layer and the zero rows of a row-parallel one add nothing, and their gradients are zero as long as what
comes between (an activation) takes 0 to 0.
"""

from __future__ import annotations

from fastcore._core import validate_sharding as check
from fastcore._core import validate_sharding_device as check_device
from fastcore.sharding.array import ShardedArray
from fastcore.sharding.collectives import psum
from fastcore.sharding.layer import Layer
from fastcore.sharding.products import add_bias, column_sums, matmul, matmul_nt, matmul_tn
from fastcore.sharding.spec import P, entry_of

__all__ = [
    "ColumnParallel",
    "RowParallel",
    "column_parallel",
    "column_parallel_backward",
    "row_parallel",
    "row_parallel_backward",
]

Axis = str | tuple[str, ...]
Gradients = tuple[ShardedArray, ShardedArray, ShardedArray]


def column_parallel(
    x: ShardedArray, weight: ShardedArray, bias: ShardedArray | None = None, *, axis: Axis = "tp"
) -> ShardedArray:
    """x @ weight + bias, each device its columns. No communication.

    Parameters
    ----------
    x : (..., K) float32, float64, float16 or bfloat16, whole on each device of `axis`; other axes of the mesh may
        split its rows
    weight : (K, N), dtype of x, put with P(None, axis)
    bias : (N,), put with P(axis), optional
    axis : axis of the mesh, or several

    Returns
    -------
    (..., N), dtype of x, its last axis split over `axis`

    Raises
    ------
    ValueError : shapes or partitions disagree, an axis is unknown, arrays are on different meshes
    TypeError : dtypes differ or are no floats; an argument is no ShardedArray
    """
    names = _checked({"x": x, "weight": weight, **_given(bias)}, 1, axis)
    check_device.last_axis("x", x, weight.shape[0], (), names)
    y = _empty(x, weight.shape[1], names)
    matmul(x, weight, y)
    if bias is not None:
        add_bias(y, bias)
    return y


def column_parallel_backward(
    x: ShardedArray, weight: ShardedArray, grad_y: ShardedArray, *, axis: Axis = "tp"
) -> Gradients:
    """Gradients of `column_parallel` by x, weight and bias. One psum, of the gradient by x.

    Parameters
    ----------
    x, weight, axis : as they were given to `column_parallel`
    grad_y : (..., N), partitioned as its result

    Returns
    -------
    grad_x : as x
    grad_weight : as weight
    grad_bias : (N,), split over `axis`. Axes of the mesh that split the rows of x are not summed over: `data_parallel`
        does that.

    Raises
    ------
    As `column_parallel`.
    """
    names = _checked({"x": x, "weight": weight, "grad_y": grad_y}, 1, axis)
    check_device.last_axis("x", x, weight.shape[0], (), names)
    check_device.last_axis("grad_y", grad_y, weight.shape[1], names, names)
    check_device.same_rows(x, grad_y)
    grad_x = _empty(x, weight.shape[0], ())
    matmul_nt(grad_y, weight, grad_x)
    return psum(grad_x, names), *_parameter_gradients(x, weight, grad_y, names)


def row_parallel(
    x: ShardedArray, weight: ShardedArray, bias: ShardedArray | None = None, *, axis: Axis = "tp"
) -> ShardedArray:
    """x @ weight + bias, each device its rows of weight. One psum, of the result.

    Parameters
    ----------
    x : (..., K) float32, float64, float16 or bfloat16, its last axis split over `axis`, as `column_parallel` gives it
    weight : (K, N), dtype of x, put with P(axis)
    bias : (N,), whole on each device, optional; added once, after the sum
    axis : axis of the mesh, or several

    Returns
    -------
    (..., N), dtype of x, whole on each device of `axis`

    Raises
    ------
    ValueError : shapes or partitions disagree, an axis is unknown, arrays are on different meshes
    TypeError : dtypes differ or are no floats; an argument is no ShardedArray
    """
    names = _checked({"x": x, "weight": weight, **_given(bias)}, 0, axis)
    check_device.last_axis("x", x, weight.shape[0], names, names)
    partial = _empty(x, weight.shape[1], ())
    matmul(x, weight, partial)
    y = psum(partial, names)
    if bias is not None:
        add_bias(y, bias)
    return y


def row_parallel_backward(
    x: ShardedArray, weight: ShardedArray, grad_y: ShardedArray, *, axis: Axis = "tp"
) -> Gradients:
    """Gradients of `row_parallel` by x, weight and bias. No communication.

    Parameters
    ----------
    x, weight, axis : as they were given to `row_parallel`
    grad_y : (..., N), partitioned as its result

    Returns
    -------
    grad_x : as x
    grad_weight : as weight
    grad_bias : (N,), whole on each device of `axis`. Axes of the mesh that split the rows of x are not summed over:
        `data_parallel` does that.

    Raises
    ------
    As `row_parallel`.
    """
    names = _checked({"x": x, "weight": weight, "grad_y": grad_y}, 0, axis)
    check_device.last_axis("x", x, weight.shape[0], names, names)
    check_device.last_axis("grad_y", grad_y, weight.shape[1], (), names)
    check_device.same_rows(x, grad_y)
    grad_x = _empty(x, weight.shape[0], names)
    matmul_nt(grad_y, weight, grad_x)
    return grad_x, *_parameter_gradients(x, weight, grad_y, ())


class _Linear(Layer):
    """What both layers share: `params`, and the gradients by name."""

    split: int  # axis of weight that is split over devices

    def __init__(self, weight: ShardedArray, bias: ShardedArray | None = None, *, axis: Axis = "tp") -> None:
        _checked({"weight": weight, **_given(bias)}, self.split, axis)
        self.mesh = weight.mesh
        self.params = {"weight": weight, **_given(bias)}
        self.axis = axis

    def _named(self, gradients: Gradients) -> tuple[ShardedArray, dict[str, ShardedArray]]:
        grad_x, *rest = gradients
        return grad_x, dict(zip(("weight", "bias")[: len(self.params)], rest))


class ColumnParallel(_Linear):
    """`column_parallel` as a layer.

    Parameters
    ----------
    weight, bias, axis : as there

    Attributes
    ----------
    params : dict of "weight" and, where there is one, "bias"

    Raises
    ------
    As `column_parallel`.
    """

    split = 1

    def forward(self, x: ShardedArray) -> tuple[ShardedArray, ShardedArray]:
        """The result, and what `backward` needs: x."""
        return column_parallel(x, self.params["weight"], self.params.get("bias"), axis=self.axis), x

    def backward(self, saved: ShardedArray, grad_y: ShardedArray) -> tuple[ShardedArray, dict[str, ShardedArray]]:
        """Gradient by x, and those of `params` by name."""
        return self._named(column_parallel_backward(saved, self.params["weight"], grad_y, axis=self.axis))


class RowParallel(_Linear):
    """`row_parallel` as a layer.

    Parameters
    ----------
    weight, bias, axis : as there

    Attributes
    ----------
    params : dict of "weight" and, where there is one, "bias"

    Raises
    ------
    As `row_parallel`.
    """

    split = 0

    def forward(self, x: ShardedArray) -> tuple[ShardedArray, ShardedArray]:
        """The result, and what `backward` needs: x."""
        return row_parallel(x, self.params["weight"], self.params.get("bias"), axis=self.axis), x

    def backward(self, saved: ShardedArray, grad_y: ShardedArray) -> tuple[ShardedArray, dict[str, ShardedArray]]:
        """Gradient by x, and those of `params` by name."""
        return self._named(row_parallel_backward(saved, self.params["weight"], grad_y, axis=self.axis))


def _given(bias: ShardedArray | None) -> dict[str, ShardedArray]:
    return {} if bias is None else {"bias": bias}


def _checked(arrays: dict[str, ShardedArray], split: int, axis: Axis) -> tuple[str, ...]:
    """The axes of the mesh, after the checks that all functions share; `split`: which axis of weight they split."""
    check_device.sharded_floats(arrays)
    weight = arrays["weight"]
    names = check.axis_names(axis, weight.mesh.axes)
    check_device.linear_weight(weight, split, names)
    if "x" in arrays:
        check_device.fits_weight(arrays["x"], weight)
    if "bias" in arrays:
        check_device.linear_bias(arrays["bias"], weight.shape[1], names if split else (), names)
    return names


def _empty(x: ShardedArray, columns: int, names: tuple[str, ...]) -> ShardedArray:
    """(..., columns) with the rows of x, the last axis split by `names`."""
    spec = x.spec.replaced(x.ndim - 1, names, x.ndim)
    return x.mesh.empty((*x.shape[:-1], columns), x.dtype, spec, pad=True)


def _parameter_gradients(
    x: ShardedArray, weight: ShardedArray, grad_y: ShardedArray, bias_names: tuple[str, ...]
) -> tuple[ShardedArray, ShardedArray]:
    grad_weight = weight.empty_like()
    matmul_tn(x, grad_y, grad_weight)
    grad_bias = x.mesh.empty((weight.shape[1],), weight.dtype, P(entry_of(bias_names)), pad=True)
    column_sums(grad_y, grad_bias)
    return grad_weight, grad_bias
