"""Checks of optimiser steps: numbers of the rule, and arrays that a step changes in place."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from fastcore._core.validate import (
    computing_dtype,
    finite_float,
    flag,
    index,
    integer,
    is_float_type,
    kind_of,
    no_place_twice,
    not_negative_float,
    shares_memory,
    shown,
)


def betas(x: Any) -> tuple[float, float]:
    if not isinstance(x, tuple | list) or len(x) != 2:
        raise TypeError(f"betas must be two numbers, e.g. (0.9, 0.999). Got {shown(x)}.")
    first, second = (finite_float(beta, f"betas[{position}]") for position, beta in enumerate(x))
    for position, beta in enumerate((first, second)):
        if not 0.0 <= beta < 1.0:
            raise ValueError(f"betas[{position}] must lie in [0, 1). Got {beta}.")
    return first, second


def nesterov(x: Any, momentum: float, dampening: Any) -> bool:
    damping = finite_float(dampening, "dampening")
    is_nesterov = flag(x, "nesterov")
    if is_nesterov and (not momentum or damping):
        raise ValueError(
            f"nesterov needs momentum above 0 and dampening 0. Got momentum={momentum}, dampening={dampening}."
        )
    return is_nesterov


def step_number(x: Any) -> int:
    """The number of a step, from 1."""
    number = index(x, "step")
    if not 1 <= number < 1 << 63:
        raise ValueError(f"step must count from 1: the first call passes 1. Got {integer(number)}.")
    return number


def step_of_momentum(x: Any, dampening: float) -> int:
    """The number of a step, or 2 for None: any but the first."""
    if x is None and dampening:
        raise ValueError(
            f"step must be given where dampening is not 0: it spares the first step. Got dampening={dampening}."
        )
    return 2 if x is None else step_number(x)


def momentum_buffer(x: Any, momentum: Any) -> float:
    """The momentum, which needs a buffer."""
    value = not_negative_float(momentum, "momentum")
    if value and x is None:
        raise TypeError(f"momentum_buffer must be an array where momentum is not 0. Got None, momentum={value}.")
    return value


def parameter(x: Any) -> np.dtype:
    """The dtype of the states of a parameter: float32, or float64 where that one is."""
    _writable_array(x, "param")
    if not (x.dtype.isnative and is_float_type(x.dtype)):
        raise TypeError(
            f"param must be float32, float64, float16 or bfloat16 in this machine's byte order. Got {x.dtype!r}."
        )
    return computing_dtype(x.dtype)


def states(given: Mapping[str, Any], param: np.ndarray, dtype: np.dtype) -> None:
    """Arrays that change along with param: its shape, `dtype`, and memory of their own."""
    for name, x in given.items():
        _writable_array(x, name)
        if x.dtype != dtype:
            why = "" if dtype == param.dtype else f", for a param of {param.dtype}"
            raise TypeError(f"{name} must be {dtype}{why}. Got {x.dtype}.")
        if x.shape != param.shape:
            raise ValueError(f"{name} must have the shape of param. Got {name} {x.shape}, param {param.shape}.")
    arrays = {"param": param, **given}
    names = list(arrays)
    for position, (name, x) in enumerate(arrays.items()):
        no_place_twice(x, name)
        for other in names[:position]:
            if np.may_share_memory(x, arrays[other]) and shares_memory(x, [arrays[other]]):
                raise ValueError(
                    f"{other} and {name} must not overlap: both are changed in place. Got arrays that do. Pass a copy."
                )


def gradient(grad: np.ndarray, param: np.ndarray) -> None:
    if grad.dtype != param.dtype:
        raise TypeError(f"grad must have the dtype of param, {param.dtype}. Got {grad.dtype}. Convert it with .astype.")
    if grad.shape != param.shape:
        raise ValueError(f"grad must have the shape of param. Got grad {grad.shape}, param {param.shape}.")


def _writable_array(x: Any, name: str) -> None:
    if not isinstance(x, np.ndarray) or isinstance(x, np.ma.MaskedArray):
        raise TypeError(f"{name} must be a numpy.ndarray: it is changed in place. Got {kind_of(x)}.")
    if not x.flags.writeable:
        raise ValueError(f"{name} must be writable: it is changed in place. Got a read-only array. Pass a copy.")
