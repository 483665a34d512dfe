"""The warning of metrics that are undefined for their input."""

import functools
import sys

from fastcore._core.warn import warn


class UndefinedMetricWarning(UserWarning):
    """A metric is not defined for this input, and a value stands in for it."""


@functools.cache
def _joined_with(theirs: type[Warning]) -> type[Warning]:
    return type("UndefinedMetricWarning", (UndefinedMetricWarning, theirs), {"__doc__": UndefinedMetricWarning.__doc__})


def undefined_metric_warning() -> type[Warning]:
    """The category to warn with: where scikit-learn is loaded it is scikit-learn's too, and its filters apply."""
    exceptions = sys.modules.get("sklearn.exceptions")
    theirs = getattr(exceptions, "UndefinedMetricWarning", None)
    return UndefinedMetricWarning if theirs is None else _joined_with(theirs)


def warn_undefined(message: str, stacklevel: int = 3) -> None:
    """Warn the caller of the public function: ``stacklevel`` counts as in `warnings.warn`."""
    warn(message, undefined_metric_warning(), stacklevel)
