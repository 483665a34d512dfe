"""fastcore's metrics inside scikit-learn: scorers for its searches, and a context in which they stand for its own."""

from collections.abc import Callable
from contextlib import ContextDecorator
from typing import Any

from fastcore import metrics
from fastcore._core.validate_integrations import known_name
from fastcore.integrations import substitution

try:
    import sklearn.metrics
except ImportError as error:
    raise ImportError(
        "fastcore.integrations.sklearn needs scikit-learn. Install it: pip install 'scikit-learn>=1.9'"
    ) from error

__all__ = ["get_scorer", "get_scorer_names", "patch_sklearn", "substituted_names"]

PACKAGE = "sklearn"
SCORER_FUNCTION = "_score_func"  # where a scorer of scikit-learn holds its metric

# scikit-learn 1.10 drops its own, and warns callers until then.
_NOT_SUBSTITUTED = frozenset({"entropy"})


class patch_sklearn(ContextDecorator):
    """While the context is open, scikit-learn computes with fastcore's metrics.

    They stand wherever scikit-learn's modules hold its own: in `sklearn.metrics` and its private modules, under the
    names other modules of it imported, in the scorers that `scoring="roc_auc"` finds. So `cross_val_score`,
    `GridSearchCV`, `classification_report`, curve displays and `estimator.score` use them, too.

    Parameters
    ----------
    *names : str, metrics to substitute, e.g. "f1_score"; without any, all of `substituted_names`

    Raises
    ------
    TypeError, ValueError : not the name of a metric that both have

    Notes
    -----
    Contexts may be nested, and entered again while they are open: what is in place stays until the last one that named
    it ends. Then every reference stands as before, those of modules that were imported meanwhile included. The
    substitution holds for the process and all its threads. It does not reach

    - functions that other code has imported (`from sklearn.metrics import f1_score` in a script), scorers that it has
      made or copied. What it takes in the context stays fastcore's after it;
    - worker processes that are started afresh (joblib's): scorers arrive there with fastcore's functions, but
      `estimator.score` is scikit-learn's;
    - pickle, in the context, of scikit-learn's own functions, which are then not found under their names.

    What fastcore's function refuses is refused, and not handed back to scikit-learn's. With scikit-learn's
    ``array_api_dispatch`` on, arrays of other libraries in the memory of the CPU are read as NumPy arrays, and results
    are NumPy's and Python's; arrays of a GPU raise TypeError. `balanced_accuracy_score` and `cohen_kappa_score`, which
    go on with the arrays of `confusion_matrix`, then fail, so name the metrics to substitute, without that one.

    Examples
    --------
    >>> with patch_sklearn():
    ...     scores = cross_val_score(model, X, y, scoring="roc_auc")
    >>> @patch_sklearn("f1_score", "confusion_matrix")
    ... def report(model, X, y): ...
    """

    def __init__(self, *names: str) -> None:
        known = substituted_names()
        chosen = [known_name(name, "name", known, "substituted_names") for name in names]
        self._names = list(dict.fromkeys(chosen)) or known

    def __enter__(self) -> "patch_sklearn":
        functions = {name: (theirs(name), getattr(metrics, name)) for name in self._names}
        substitution.enter(PACKAGE, functions, SCORER_FUNCTION)
        return self

    def __exit__(self, *exception: Any) -> None:
        substitution.leave(PACKAGE, self._names, SCORER_FUNCTION)


def substituted_names() -> list[str]:
    """Names of the metrics that `patch_sklearn` substitutes: those that both libraries have."""
    return [name for name in sorted(set(metrics._MODULE_OF) - _NOT_SUBSTITUTED) if _has(name)]


def _has(name: str) -> bool:
    return hasattr(sklearn.metrics, name) or hasattr(sklearn.metrics.cluster, name)


def theirs(name: str) -> Callable:
    """What scikit-learn has under the name of a metric now."""
    return getattr(sklearn.metrics, name, None) or getattr(sklearn.metrics.cluster, name)


# --- scorers --------------------------------------------------------------------------------------------------------


def get_scorer(name: str) -> Callable:
    """A scorer with fastcore's metric, for ``scoring=`` of cross-validation and searches.

    Parameters
    ----------
    name : str, one of `get_scorer_names`: scikit-learn's names, with its options and signs, and these of fastcore:

        "lift" : `lift_score` of predicted labels
        "mean_percentage_error" : signed, to look at, as ``scoring={"bias": get_scorer(...)}``: a search that maximised
            it would look for the lowest predictions
        "neg_absolute_mean_percentage_error" : −|mean percentage error|, to select by
        "silhouette" : `silhouette_score` of ``estimator.predict(X)``; y is not looked at
        "uplift_auc", "qini_auc" : ``estimator.predict(X)`` is the uplift. They ask metadata routing for ``treatment``.

    Returns
    -------
    scorer(estimator, X, y), a new object each time, as scikit-learn's are: changes of its requests stay its own

    Raises
    ------
    TypeError, ValueError : not the name of a scorer

    Notes
    -----
    For other options make a scorer as for any function: ``make_scorer(fastcore.metrics.roc_auc_score, max_fpr=0.1,
    response_method="predict_proba")``. Scorers are pickled by reference and reach the workers of ``n_jobs``.

    Examples
    --------
    >>> GridSearchCV(model, grid, scoring=get_scorer("roc_auc")).fit(X, y)
    >>> with sklearn.config_context(enable_metadata_routing=True):
    ...     cross_val_score(model, X, y, scoring=get_scorer("qini_auc"), params={"treatment": treatment})
    """
    known_name(name, "name", get_scorer_names(), "get_scorer_names")
    own = _OWN_SCORERS.get(name)
    if own is not None:
        return own()
    scorer = sklearn.metrics.get_scorer(name)
    setattr(scorer, SCORER_FUNCTION, getattr(metrics, _metric_of(name)))
    return scorer


def get_scorer_names() -> list[str]:
    """Names that `get_scorer` takes."""
    both = set(substituted_names())
    names = {name for name in sklearn.metrics.get_scorer_names() if _metric_of(name) in both}
    return sorted(names | set(_OWN_SCORERS))


def _metric_of(scorer_name: str) -> str:
    """Name of the metric a scorer of scikit-learn computes: "neg_log_loss" -> "log_loss"."""
    return getattr(sklearn.metrics.get_scorer(scorer_name), SCORER_FUNCTION).__name__


def _lift() -> Callable:
    return sklearn.metrics.make_scorer(metrics.lift_score)


def _mean_percentage_error() -> Callable:
    return sklearn.metrics.make_scorer(metrics.mean_percentage_error)


def _neg_absolute_mean_percentage_error() -> Callable:
    return sklearn.metrics.make_scorer(absolute_mean_percentage_error, greater_is_better=False)


def absolute_mean_percentage_error(y_true: Any, y_pred: Any, *, sample_weight: Any = None) -> float:
    """|mean percentage error|: how far predictions are off on average, whichever way."""
    return abs(metrics.mean_percentage_error(y_true, y_pred, sample_weight=sample_weight))


def silhouette_scorer(estimator: Any, X: Any, y: Any = None) -> float:
    """Silhouette of the clusters that a fitted estimator predicts."""
    return metrics.silhouette_score(X, estimator.predict(X))


def _of_treatment(name: str) -> Callable:
    """Without routing set up nobody could ask for ``treatment``, so it is on while the request is made."""
    with sklearn.config_context(enable_metadata_routing=True):
        return sklearn.metrics.make_scorer(getattr(metrics, name)).set_score_request(treatment=True)


_OWN_SCORERS: dict[str, Callable[[], Callable]] = {
    "lift": _lift,
    "mean_percentage_error": _mean_percentage_error,
    "neg_absolute_mean_percentage_error": _neg_absolute_mean_percentage_error,
    "silhouette": lambda: silhouette_scorer,
    "uplift_auc": lambda: _of_treatment("uplift_auc_score"),
    "qini_auc": lambda: _of_treatment("qini_auc_score"),
}
