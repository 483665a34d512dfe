"""Least-squares fits of polynomials, the plain NumPy twin."""

import numpy as np
from numpy.polynomial import Chebyshev
from numpy.polynomial.chebyshev import chebvander
from numpy.polynomial.polyutils import mapdomain

__all__ = ["fit"]


def fit(x, y, degree, *, weights=None, domain=None):
    """(polynomial, residual, rank, condition) of real points and an integer degree, by singular values of the basis."""
    x, y = np.asarray(x, float), np.asarray(y, float)
    w = np.ones(len(x)) if weights is None else np.asarray(weights, float)
    if domain is None:
        domain = [x.min(), x.max()] if x.min() < x.max() else [x.min() - 1.0, x.max() + 1.0]
    basis = w[:, None] * chebvander(mapdomain(x, domain, [-1.0, 1.0]), degree)
    lengths = np.linalg.norm(basis, axis=0)
    lengths[lengths == 0.0] = 1.0
    values = (y.T * w).T
    series, _, rank, singular = np.linalg.lstsq(basis / lengths, values, len(x) * np.finfo(float).eps)
    series = (series.T / lengths).T
    residual = np.sum((values - basis @ series) ** 2, axis=0)
    condition = singular[0] / singular[-1] if len(singular) == degree + 1 and singular[-1] > 0.0 else np.inf
    if y.ndim == 2:
        return tuple(Chebyshev(each, domain=domain) for each in series.T), residual, int(rank), condition
    return Chebyshev(series, domain=domain), float(residual), int(rank), condition
