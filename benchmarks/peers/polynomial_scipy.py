"""SciPy's solvers on arrays: Newton's iteration, and bracketed root finding element by element."""

from typing import Any

import numpy as np

from benchmarks.peers import require
from benchmarks.registry import Side


def _functions(data: Any) -> tuple[Any, Any]:
    value, slope = data.c[::-1], np.polyder(data.c[::-1])
    return lambda x, y: np.polyval(value, x) - y, lambda x, y: np.polyval(slope, x)


def newton(data: Any) -> Side:
    """Vectorised, with the derivative."""
    optimize = require("scipy.optimize")
    miss, slope = _functions(data)
    start, how = data.newton_start()
    # SciPy stops where no step is longer; the next one would be far shorter. In float32 steps may never be as short.
    tolerance = 1e-9 if data.y.dtype == np.float64 else 1e-4

    def call() -> np.ndarray:
        return optimize.newton(miss, start, slope, args=(data.y,), tol=tolerance, maxiter=100)

    return Side(call, np.asarray, how)


def newton_of_one(data: Any) -> Side:
    """One problem, from x = 0."""
    optimize = require("scipy.optimize")
    miss, slope = _functions(data)
    return Side(lambda: optimize.newton(miss, 0.0, slope, args=(data.y,), tol=1e-12), np.atleast_1d, "from x = 0")


def find_root(data: Any) -> Side:
    """scipy.optimize.elementwise.find_root (Chandrupatla), bracketed by the domain."""
    elementwise = require("scipy.optimize.elementwise")
    miss, _ = _functions(data)
    low, high = data.domain

    def call() -> Any:
        return elementwise.find_root(miss, (low, high), args=(data.y,))

    return Side(call, lambda found: found.x)
