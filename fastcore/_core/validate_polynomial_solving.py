"""Checks of the options of `fastcore.polynomial.solve` and their messages."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from fastcore._core.validate import shown

__all__ = ["common_shape", "max_iterations", "method", "tolerance"]


def method(name: Any, which: Any, known: Mapping[str, int]) -> int:
    """The number of a method; which is checked with it.

    Raises
    ------
    ValueError : unknown, or all answers asked of a method that finds one
    TypeError : no string
    """
    for option, value in (("which", which), ("method", name)):
        if not isinstance(value, str):
            raise TypeError(f"{option} must be a string. Got {shown(value)}.")
    if which not in ("nearest", "all"):
        raise ValueError(f'which must be "nearest" or "all". Got {shown(which)}.')
    if name not in known:
        raise ValueError(f"method must be one of {', '.join(map(repr, known))}. Got {shown(name)}.")
    if which == "all" and name != "hybrid":
        raise ValueError(f'which="all" needs method="hybrid": "{name}" follows the polynomial from x0 to one solution.')
    return known[name]


def tolerance(value: Any, name: str) -> float:
    """A float that is not negative.

    Raises
    ------
    ValueError : negative or NaN
    TypeError : no number
    """
    if isinstance(value, bool) or not isinstance(value, (int, float, np.integer, np.floating)):
        raise TypeError(f"{name} must be a number. Got {shown(value)}.")
    if not value >= 0:
        raise ValueError(f"{name} must not be negative. Got {shown(value)}.")
    return float(value)


def max_iterations(value: Any) -> int:
    """An int of at least 1.

    Raises
    ------
    ValueError : less
    TypeError : no integer
    """
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)):
        raise TypeError(f"max_iterations must be an integer. Got {shown(value)}.")
    if value < 1:
        raise ValueError(f"max_iterations must be at least 1. Got {value}.")
    return min(int(value), 2**31 - 1)


def common_shape(c: np.ndarray, y: Any, x0: Any) -> tuple[int, ...]:
    """The shape of the problems: that of c without its last axis, of y and of x0, broadcast.

    Raises
    ------
    ValueError : they do not broadcast
    """
    try:
        return np.broadcast_shapes(c.shape[:-1], np.shape(y), np.shape(x0))
    except ValueError:
        raise ValueError(
            f"c without its last axis, y and x0 must broadcast. Got c {c.shape}, y {np.shape(y)}, x0 {np.shape(x0)}: "
            "add axes of length 1, as in c[:, None, :], for each y with each c."
        ) from None
