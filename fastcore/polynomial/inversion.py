"""The inverse of a polynomial as a function: made once, called with millions of values."""

from typing import Any

import numpy as np

from fastcore._core import validate_polynomial_inverse as check
from fastcore._core.validate_polynomial import interval
from fastcore.polynomial.kernels import inverse_build as kernels
from fastcore.polynomial.kernels.inverse_items import inverse_values
from fastcore.polynomial.kernels.inverse_line import LINE
from fastcore.polynomial.record import Solution, Status

__all__ = ["Inverse", "inverse"]

_FLOAT64, _FLOAT32 = np.dtype(np.float64), np.dtype(np.float32)
_BYTE, _BOOL = np.dtype(np.int8), np.dtype(np.bool_)
_ndarray = np.ndarray
_STATUSES = tuple(Status)


def inverse(c: Any, domain: Any = None, *, branch: Any = "lowest", ytol: Any = 1e-10) -> "Inverse":
    """Invert P on an interval: a function that takes y to the x of the domain with P(x) = y.

    Parameters
    ----------
    c : (n,) numbers, ascending: c[k] belongs to x**k
    domain : (low, high), closed; infinite ends allowed. Default: all real numbers.
    branch : 'lowest', 'highest' or int: which x, where P is not monotone on the domain and several have the value y
        'lowest' and 'highest' answer every y that P takes, by the lowest and highest x; the answer jumps where a piece
        of the curve ends. An int is the number of a monotone piece, ascending in x, negative ones from the end
        (`Inverse.pieces`): the answer is continuous, and only values on that piece have one.
    ytol : float, a residual that is good enough where the steps end before it is within its error bound

    Returns
    -------
    Inverse, to be called with y of any shape

    Raises
    ------
    ValueError : shapes, a domain without numbers, no such branch, a negative tolerance
    TypeError : kinds

    Notes
    -----
    Takes 0.1 to 1 ms for degree 10 (`benchmarks`), then about 5 ns a value: from a table with bins logarithmic in the
    distance from the values at turns, a quintic start and one corrected step in SIMD lanes, checked for each lane; what
    fails is found by safeguarded steps in its bracket.
    """
    return Inverse(c, domain, branch=branch, ytol=ytol)


class Inverse:
    """What `inverse` returns: call it with y. It does not change, so threads may share it; it copies and pickles.

    Attributes
    ----------
    c : (n,) float64, read-only
    domain : (low, high)
    branch, ytol : as given
    pieces : (m + 1,) float64, read-only: the ends of the m monotone pieces of P on the domain, ascending
    """

    def __init__(self, c: Any, domain: Any = None, *, branch: Any = "lowest", ytol: Any = 1e-10) -> None:
        self.c = check.one_polynomial(c)
        self.c.flags.writeable = False
        self.domain = interval(domain)
        self.ytol = check.tolerance(ytol)
        self.branch = branch
        self._table: kernels.Table | None = None
        self._line: tuple[float, float] | None = None
        self.pieces = np.array(self.domain)
        low, high = self.domain
        if not np.isfinite(self.c).all():
            check.branch(branch, 1)
            self._constant = np.nan
        elif self.c.size > 1 and self.c[1] != 0.0 and not self.c[2:].any():
            check.branch(branch, 1)
            self._line = float(self.c[0]), float(self.c[1])
        else:
            scaled, x_shift, y_shift, points = kernels.scale(self.c, low, high)
            if scaled.size == 1:
                check.branch(branch, 1)
                self._constant = float(self.c[0])
            else:
                which = check.branch(branch, points.size - 1)
                table = kernels.build(scaled, x_shift, y_shift, points, which)
                self._table = table
                with np.errstate(over="ignore"):  # of open ends
                    self.pieces = np.ldexp(points, x_shift)
                self.pieces[0], self.pieces[-1] = low, high
                self._settings = {
                    dtype: kernels.settings_of(table, low, high, self.ytol, dtype) for dtype in (_FLOAT64, _FLOAT32)
                }
        self.pieces.flags.writeable = False

    def __call__(self, y: Any) -> Solution:
        """Solve P(x) = y for each y.

        Parameters
        ----------
        y : numbers of any shape; float32 and float16 are answered in float32, all else in float64

        Returns
        -------
        Solution of arrays with the shape of y, count None; of scalars for a scalar y

            x is in the domain. Where no x has the value y, it is the end of the range nearest to y, with status
            NO_REAL_SOLUTION, or TOUCHING, where y is beyond a turn or end by no more than rounding. For y NaN or
            infinite it is NaN, with status NOT_FINITE, for c not finite too; for constant P with status DEGENERATE.
            residual is abs(P(x) - y) at the x returned: what rounding the last step leaves, to first order, or an
            evaluation in twice the working precision; error_bound bounds its error, and what rounding x to its dtype
            does to P.

        Raises
        ------
        TypeError : y is not of real numbers

        Notes
        -----
        The arrays share one block of memory: keeping one of them keeps all (27 bytes a value).
        """
        if not (type(y) is _ndarray and (y.dtype is _FLOAT64 or y.dtype is _FLOAT32) and y.flags.c_contiguous):
            y = check.values(y)
        shape, dtype = y.shape, y.dtype
        flat = y if len(shape) == 1 else y.reshape(-1)
        out = _empty(flat.size, shape, dtype)
        if self._line is not None:
            self._on_line(flat, out if len(shape) == 1 else tuple(each.reshape(-1) for each in out))
        elif self._table is None:
            self._without_table(y, out)
        else:
            table = self._table
            targets = out if len(shape) == 1 else tuple(each.reshape(-1) for each in out)
            inverse_values(
                flat,
                table.c,
                table.sections,
                table.offsets,
                table.rows,
                52 - table.bits,
                self._settings[dtype],
                targets,
            )
        if shape == ():
            x, residual, bound, iterations, status, converged = (each[()] for each in out)
            return Solution(x, residual, bound, int(iterations), _STATUSES[status], bool(converged))
        return Solution(*out)

    def _on_line(self, y: np.ndarray, out: tuple[np.ndarray, ...]) -> None:
        """All y of a polynomial of degree 1."""
        assert self._line is not None
        single = y.dtype == _FLOAT32
        numbers = tuple(np.empty(y.size) for _ in range(3)) if single else out[:3]
        ends = kernels.ends(*self.domain, y.dtype)
        LINE.call(y.astype(np.float64) if single else y, *self._line, *ends, single, *numbers, *out[3:])
        if single:
            with np.errstate(over="ignore"):
                for target, wide in zip(out, numbers, strict=False):
                    target[...] = wide

    def _without_table(self, y: np.ndarray, out: tuple[np.ndarray, ...]) -> None:
        """All y of a constant, or of coefficients that are not finite."""
        x, residual, bound, iterations, status, converged = out
        x[...] = np.nan
        fine = np.isfinite(y) & np.isfinite(self._constant)
        residual[...] = np.where(fine, np.abs(np.where(fine, y, 0.0) - self._constant), np.nan)
        bound[...] = np.where(fine, 0.0, np.nan)
        iterations[...], converged[...] = 0, False
        status[...] = np.where(fine, Status.DEGENERATE, Status.NOT_FINITE)

    def __reduce__(self) -> Any:
        return _restored, (self.c, self.domain, self.branch, self.ytol)

    def __repr__(self) -> str:
        return f"<Inverse of degree {self.c.size - 1} on {self.domain}, {self.pieces.size - 1} monotone piece(s)>"


def _restored(c: np.ndarray, domain: tuple[float, float], branch: Any, ytol: float) -> Inverse:
    return Inverse(c, domain, branch=branch, ytol=ytol)


def _empty(size: int, shape: tuple[int, ...], dtype: np.dtype) -> tuple[np.ndarray, ...]:
    """x, residual, bound, iterations, status, converged in one block.

    Six blocks are given back to the system at each call and zeroed again for the next one: 3.4 ms for 1e6 values.
    """
    wide = size * dtype.itemsize
    block = np.empty(3 * wide + 3 * size, np.uint8)
    return (
        _ndarray(shape, dtype, block),
        _ndarray(shape, dtype, block, wide),
        _ndarray(shape, dtype, block, 2 * wide),
        _ndarray(shape, _BYTE, block, 3 * wide),
        _ndarray(shape, _BYTE, block, 3 * wide + size),
        _ndarray(shape, _BOOL, block, 3 * wide + 2 * size),
    )
