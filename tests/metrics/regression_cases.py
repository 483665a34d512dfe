"""The regression metrics by kind, and the targets they are tried on."""

import sklearn.metrics

from fastcore import metrics

ERRORS = [
    "mean_squared_error",
    "root_mean_squared_error",
    "mean_absolute_error",
    "mean_absolute_percentage_error",
    "median_absolute_error",
]
FRACTIONS = ["r2_score", "explained_variance_score"]
SHARED = [*ERRORS, *FRACTIONS]
ALL = [*SHARED, "max_error", "mean_percentage_error"]


def both(name):
    return getattr(metrics, name), getattr(sklearn.metrics, name)


def targets(rng, shape, spread=1.0):
    y = rng.normal(size=shape) * spread + 3.0
    return y, y + rng.normal(size=shape) * 0.3
