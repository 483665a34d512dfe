"""Checks of the regression metrics and their messages, in scikit-learn's words where it has some."""

from typing import Any, NamedTuple

import numpy as np

from fastcore._core.validate_containers import as_array
from fastcore._core.validate_targets import (
    InvalidParameterError,
    array,
    array_like,
    boolean,
    finite,
    invalid,
    is_array_like,
    option,
    same_lengths,
    sample_weights,
)

__all__ = ["InvalidParameterError", "Targets", "boolean", "finite_targets", "no_zero_targets", "option", "targets"]

_F32, _F64 = np.dtype(np.float32), np.dtype(np.float64)
_AVERAGES = ("raw_values", "uniform_average")


class ZeroWeightsError(ValueError, ZeroDivisionError):
    """Weights that sum to 0: there is no mean. Also the ZeroDivisionError that `numpy.average` raises."""


class Targets(NamedTuple):
    """Targets and predictions as the kernels read them.

    Attributes
    ----------
    true, pred : (N, D), N > 0, D > 0, both float32 or both float64, strides of whole elements; not checked for NaN
    weight : (N,) float64, finite and contiguous, or None
    multioutput : 'raw_values', 'uniform_average', 'variance_weighted', (D,) weights, or None
    dtype : that scikit-learn would compute in
    """

    true: np.ndarray
    pred: np.ndarray
    weight: np.ndarray | None
    multioutput: Any
    dtype: np.dtype

    @property
    def result_dtype(self) -> np.dtype:
        """Of the numbers of outputs: float16 is averaged in float64 with weights."""
        return _F64 if self.weight is not None and self.dtype.itemsize == 2 else self.dtype


def targets(
    y_true: Any,
    y_pred: Any,
    sample_weight: Any,
    multioutput: Any,
    function: str,
    *,
    averages: tuple[str, ...] = _AVERAGES,
    may_be_none: bool = False,
    promote: bool = False,
) -> Targets:
    """Targets, predictions, weights and `multioutput` of a regression metric.

    Parameters
    ----------
    averages : strings that `multioutput` may be
    may_be_none : whether it may be None
    promote : compute in the common dtype of both, as the order statistics do; otherwise in the widest float dtype among
        the arrays (integers beside float32 become float32), and in float64 where there is none

    Raises
    ------
    ValueError : lengths or numbers of outputs differ, nothing in it, weights that are not finite or all 0
    TypeError : not an array, sparse
    """
    multioutput = check_multioutput(multioutput, averages, may_be_none, function)
    array_like(y_true, "y_true", function)
    array_like(y_pred, "y_pred", function)
    array_like(sample_weight, "sample_weight", function, optional=True)
    same_lengths(y_true, y_pred, sample_weight)
    given = {"y_true": y_true, "y_pred": y_pred} | ({} if sample_weight is None else {"sample_weight": sample_weight})
    read = {name: as_array(x, name) for name, x in given.items()}
    if promote:
        true, pred, dtype = _promoted(*(array(read[name], name) for name in ("y_true", "y_pred")))
    else:
        # Sequences and data frames have no dtype of their own.
        floats = [read[name].dtype for name, x in given.items() if hasattr(x, "dtype") and read[name].dtype.kind == "f"]
        dtype = np.result_type(*floats) if floats else _F64
        true, pred = (_as_floats(read[name], name, dtype) for name in ("y_true", "y_pred"))
    weight = None if sample_weight is None else sample_weights(read["sample_weight"], len(true))
    true, pred = (x[:, None] if x.ndim == 1 else x for x in (true, pred))
    outputs = true.shape[1]
    if outputs != pred.shape[1]:
        raise ValueError(f"y_true and y_pred have different number of output ({outputs}!={pred.shape[1]})")
    multioutput = output_weights(multioutput, outputs)
    return Targets(_for_kernels(true), _for_kernels(pred), weight, multioutput, dtype)


def _as_floats(x: np.ndarray, name: str, dtype: np.dtype) -> np.ndarray:
    if x.dtype.kind not in "fiub":
        try:  # objects and, as scikit-learn has it, strings that are numbers
            x = x.astype(np.float64)
        except (TypeError, ValueError) as error:
            raise type(error)(f"{name} must hold numbers: {error}. Convert it first.") from error
    x = array(x, name)
    if x.dtype == dtype:
        return x
    with np.errstate(over="ignore"):
        return x.astype(dtype)


def _promoted(true: np.ndarray, pred: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.dtype]:
    dtype = np.result_type(true, pred)
    if dtype.kind == "f":
        with np.errstate(over="ignore"):
            return true.astype(dtype, copy=False), pred.astype(dtype, copy=False), dtype
    if dtype.itemsize == 8 and true.shape == pred.shape:
        # Beyond 2**53 only the differences of integers are exact; here as those of 0.
        difference = np.where(true >= pred, true.astype(dtype) - pred.astype(dtype), pred.astype(dtype) - true)
        return difference.view(np.uint64).astype(np.float64), np.zeros(true.shape), _F64
    return true.astype(np.float64), pred.astype(np.float64), _F64


def _for_kernels(x: np.ndarray) -> np.ndarray:
    """float32 and float64 in place, unless their strides are odd; all else as float64."""
    dtype = _F32 if x.dtype == _F32 else _F64
    x = x.astype(dtype, copy=False)
    return x if all(stride % x.itemsize == 0 for stride in x.strides) else np.ascontiguousarray(x)


def finite_targets(checked: Targets) -> None:
    """Refuse NaN and infinities; told by sums that are not finite, which may have overflowed all the same."""
    finite(checked.true, "y_true")
    finite(checked.pred, "y_pred")


def weights_with_sum(checked: Targets) -> None:
    """Refuse weights that sum to 0, which negative ones can."""
    if checked.weight is not None and checked.weight.sum() == 0.0:
        raise ZeroWeightsError("Weights sum to zero, can't be normalized: sample_weight holds negative numbers.")


def check_multioutput(x: Any, averages: tuple[str, ...], may_be_none: bool, function: str) -> Any:
    """One of some strings, which comes back as the one in `averages`, or an array."""
    if isinstance(x, str):
        return option(x, "multioutput", averages, function)
    if not (may_be_none if x is None else is_array_like(x)):
        strings = ", ".join(repr(name) for name in averages)
        raise invalid(x, "multioutput", f"a str among {{{strings}}} or an array-like", function)
    return x


def output_weights(x: Any, outputs: int) -> Any:
    """`multioutput`: a string or None as it is, weights as (outputs,)."""
    if x is None or isinstance(x, str):
        return x
    weights = array(x, "multioutput")
    finite(weights, "multioutput")
    if outputs == 1:
        raise ValueError("Custom weights are useful only in multi-output cases.")
    if weights.shape != (outputs,):
        raise ValueError(
            f"There must be equally many custom weights ({len(weights)}) as outputs ({outputs})."
            f" Got multioutput of shape {weights.shape}."
        )
    if weights.sum() == 0:
        raise ZeroWeightsError("Weights sum to zero, can't be normalized: those of multioutput do.")
    return weights


def single_output(outputs: int, function: str) -> None:
    """One column of targets."""
    if outputs != 1:
        raise ValueError(f"Multioutput not supported in {function}")


def no_zero_targets(rows: int) -> None:
    """Without targets of 0, by which the errors would be divided."""
    if rows:
        raise ValueError(
            f"y_true must not be 0 where errors are divided by it. Got {rows} zeros."
            " Pass zero_target='skip' to leave these rows out, or 'epsilon' to divide by 2**-52 instead."
        )
