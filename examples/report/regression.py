"""Progression of diabetes after a year: gradient boosting on scikit-learn's diabetes set."""

import numpy as np
from sklearn.datasets import load_diabetes
from sklearn.ensemble import GradientBoostingRegressor
from sklearn.model_selection import train_test_split

from examples.report.measures import PEERS, Settings, Table
from fastcore.metrics.regression_summary import RegressionReport


def predict(settings: Settings) -> tuple[np.ndarray, np.ndarray]:
    """(y, predictions) of the 40 % of the rows that the model was not trained on."""
    x, y = load_diabetes(return_X_y=True)
    x_train, x_test, y_train, y_test = train_test_split(x, y, test_size=0.4, random_state=settings.seed)
    model = GradientBoostingRegressor(
        n_estimators=60, max_depth=2, learning_rate=0.1, loss="huber", random_state=settings.seed
    )
    return y_test, model.fit(x_train, y_train).predict(x_test)


def regression_metrics(y: np.ndarray, predicted: np.ndarray, settings: Settings) -> Table:
    """Each metric by itself, and all in one pass."""
    extent = f"progression from {y.min():.0f} to {y.max():.0f}"
    table = Table(f"Diabetes, regression: {len(y)} patients held out, {extent}", settings)
    names = RegressionReport._fields
    for name in names:
        table.add(name, y, predicted)
    theirs = [getattr(PEERS, name)(y, predicted) for name in names]
    # One bootstrap for the nine of them, since a metric may return an array.
    table.add("regression_report", y, predicted, what=names, theirs=theirs)
    table.notes += [
        "Percentage errors are fractions; mean_percentage_error is positive where predictions are low.",
        "max_error: no resample has an error above the largest, so its interval says nothing of larger ones to come.",
    ]
    return table
