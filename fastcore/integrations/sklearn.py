"""fastcore's metrics inside scikit-learn."""

from collections.abc import Callable
from contextlib import ContextDecorator
from typing import Any

from fastcore import metrics
from fastcore._core import validate
from fastcore.integrations import substitution

try:
    import sklearn.metrics
except ImportError as error:
    raise ImportError(
        "fastcore.integrations.sklearn needs scikit-learn. Install it: pip install 'scikit-learn>=1.9'"
    ) from error

_PACKAGE = "sklearn"
_SCORER_FUNCTION = "_score_func"  # where a scorer of scikit-learn holds its metric
# Theirs warns that it is going (1.10), which its callers should hear.
_NOT_SUBSTITUTED = {"entropy"}


def theirs(name: str) -> Callable:
    """What scikit-learn has under this name now."""
    return getattr(sklearn.metrics, name, None) or getattr(sklearn.metrics.cluster, name)


def substituted_names() -> list[str]:
    """Names of the metrics that both have, and `patch_sklearn` substitutes."""
    return sorted(
        name
        for name in set(metrics._MODULE_OF) - _NOT_SUBSTITUTED
        if hasattr(sklearn.metrics, name) or hasattr(sklearn.metrics.cluster, name)
    )


class patch_sklearn(ContextDecorator):
    """Substitutes fastcore's metrics in scikit-learn while the context is open.

    Parameters
    ----------
    *names : str, metrics by name, e.g. "f1_score"; none: all of `substituted_names`
    """

    def __init__(self, *names: str) -> None:
        known = substituted_names()
        self._names = [validate.choice(name, "name", known) for name in dict.fromkeys(names)] or known

    def __enter__(self) -> "patch_sklearn":
        functions = {name: (theirs(name), getattr(metrics, name)) for name in self._names}
        substitution.enter(_PACKAGE, functions, _SCORER_FUNCTION)
        return self

    def __exit__(self, *exception: Any) -> None:
        substitution.leave(_PACKAGE, self._names, _SCORER_FUNCTION)
