"""Bootstrap confidence intervals of any metric, in parallel and without copies of the data."""

import inspect
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import count
from typing import Any, NamedTuple

import numpy as np

from fastcore._core import threads, validate
from fastcore._core import validate_resampling as check
from fastcore.metrics.kernels.resample import Strata
from fastcore.metrics.labels import encode
from fastcore.metrics.warning import undefined_metric_warning

# Metrics of which weighting a row is repeating it, whatever rows are missing. Not the averages over classes: a class
# without weight still counts there, a class without rows does not.
_WEIGHTED_LIKE_REPEATED = frozenset(
    {
        "accuracy_score",
        "average_precision_score",
        "brier_score_loss",
        "explained_variance_score",
        "f1_score",
        "fbeta_score",
        "lift_score",
        "mean_absolute_error",
        "mean_absolute_percentage_error",
        "mean_percentage_error",
        "mean_squared_error",
        "precision_score",
        "r2_score",
        "recall_score",
        "roc_auc_score",
        "root_mean_squared_error",
    }
)
# Below this many rows drawn in all, starting threads costs more than it gains.
SMALLEST_PARALLEL_ROWS = 200_000


class BootstrapResult(NamedTuple):
    """What `bootstrap` found.

    estimate : the metric of the data
    low, high : ends of the confidence interval
    standard_error : standard deviation of the metric over the resamples, divisor n - 1
    samples : (n_resamples, ...) the metric of each resample
    undefined : number of resamples of which it is NaN; they are left out of the interval and the standard error

    For a metric that returns an array, all but `undefined` have its shape, in ``samples`` behind the first axis.
    """

    estimate: Any
    low: Any
    high: Any
    standard_error: Any
    samples: np.ndarray
    undefined: int


def bootstrap(
    metric: Callable[..., Any],
    *data: Any,
    n_resamples: int = 1000,
    confidence: float = 0.95,
    method: str = "percentile",
    strata: Any = None,
    by: str = "auto",
    seed: int = 0,
    **options: Any,
) -> BootstrapResult:
    """Confidence interval of a metric by resampling the rows of its data with replacement.

    Parameters
    ----------
    metric : function of ``*data`` and ``**options`` that returns a number, or an array of one shape
    *data : arrays of N rows, as ``metric`` takes them: y_true and y_pred, X and labels, ...
    n_resamples : int, positive
    confidence : float between 0 and 1
    method : {'percentile', 'basic'}
        'percentile': from the quantile (1 - confidence) / 2 of the resamples to that of 1 minus it. 'basic': these
        mirrored at the estimate.
    strata : (N,) labels, optional
        Rows are drawn within each label, so that every resample has as many of it as the data.
    by : {'auto', 'weights', 'rows'}
        'weights' calls ``metric`` on the data itself, with ``sample_weight`` telling how often each row was drawn: no
        row is copied. 'rows' copies the rows drawn, which any metric can take. 'auto' takes weights where they give the
        same number: for this package's metrics of two classes, of regression and of ranking, but neither for averages
        over classes (a class without weight counts there, a class without rows does not) nor where ``options`` has
        weights or an average.
    seed : int in [0, 2**64)
    **options : further arguments of ``metric``. A ``sample_weight`` of N numbers is resampled along with the rows.

    Returns
    -------
    BootstrapResult; the same for one seed whatever the number of threads

    Raises
    ------
    ValueError : lengths disagree, there are no rows, an option is out of range, all resamples are undefined
    TypeError : metric is no function, or takes no weights with by='weights'

    Notes
    -----
    Resamples run in as many threads as `fastcore.get_num_threads` says, one resample a thread, as long as there are
    enough rows; a metric of one's own must be safe to call from several. Warnings about undefined resamples are
    silenced, their number is in the result. Source: Efron and Tibshirani 1993, "An Introduction to the Bootstrap",
    section 13.3 (percentile); Davison and Hinkley 1997, eq. 5.6 (basic).
    """
    metric = check.metric(metric)
    arrays = check.data(data)
    rows = len(arrays[0])
    n_resamples = validate.positive_index(n_resamples, "n_resamples")
    confidence = check.confidence(confidence)
    method = validate.choice(method, "method", ("percentile", "basic"))
    by = validate.choice(by, "by", ("auto", "weights", "rows"))
    seed = validate.random_seed(seed)
    drawing = Strata(None if strata is None else _codes(check.same_length_as_data(strata, "strata", rows)))

    estimate = check.result_of_metric(metric(*arrays, **options))
    resample = _by_weights if _weights_will_do(metric, by, options) else _by_rows
    one = resample(metric, arrays, options, drawing, seed)
    samples = np.empty((n_resamples, *estimate.shape))
    _run(one, samples, rows)
    return _summary(estimate, samples, confidence, method)


def _codes(strata: np.ndarray) -> np.ndarray:
    return encode(strata)[1].astype(np.int64, copy=False)


def _weights_will_do(metric: Callable[..., Any], by: str, options: dict[str, Any]) -> bool:
    if by == "rows":
        return False
    if by == "weights":
        try:
            parameters = inspect.signature(metric).parameters
        except (TypeError, ValueError):
            return True
        check.takes_weights(
            metric, "sample_weight" in parameters or any(p.kind is p.VAR_KEYWORD for p in parameters.values())
        )
        return True
    is_ours = getattr(metric, "__module__", "").startswith("fastcore.metrics.")
    return is_ours and metric.__name__ in _WEIGHTED_LIKE_REPEATED and not options.keys() & {"average", "sample_weight"}


def _by_weights(
    metric: Callable[..., Any], arrays: list[np.ndarray], options: dict[str, Any], drawing: Strata, seed: int
) -> Callable[[int, dict[str, np.ndarray]], Any]:
    given = options.get("sample_weight")
    others = {name: value for name, value in options.items() if name != "sample_weight"}
    rows = len(arrays[0])
    weights = None if given is None else check.same_length_as_data(given, "sample_weight", rows)

    def one(resample: int, memory: dict[str, np.ndarray]) -> Any:
        counts = memory.setdefault("counts", np.empty(rows))
        drawing.counts(seed, resample, counts)
        if weights is not None:
            counts *= weights
        return metric(*arrays, sample_weight=counts, **others)

    return one


def _by_rows(
    metric: Callable[..., Any], arrays: list[np.ndarray], options: dict[str, Any], drawing: Strata, seed: int
) -> Callable[[int, dict[str, np.ndarray]], Any]:
    given = options.get("sample_weight")
    size = len(arrays[0])
    weights = None if given is None else check.same_length_as_data(given, "sample_weight", size)

    def one(resample: int, memory: dict[str, np.ndarray]) -> Any:
        rows = memory.setdefault("rows", np.empty(size, np.int64))
        drawing.rows(seed, resample, rows)
        resampled = dict(options) if weights is None else {**options, "sample_weight": weights[rows]}
        return metric(*(x[rows] for x in arrays), **resampled)

    return one


def _run(one: Callable[[int, dict[str, np.ndarray]], Any], samples: np.ndarray, rows: int) -> None:
    """Fill the samples, each thread with the next one that is left."""
    left = count()

    def work() -> None:
        memory: dict[str, np.ndarray] = {}
        for resample in left:
            if resample >= len(samples):
                return
            samples[resample] = check.result_of_metric(one(resample, memory))

    workers = min(threads.get_num_threads(), len(samples)) if rows * len(samples) >= SMALLEST_PARALLEL_ROWS else 1
    with _undefined_is_silent():
        if workers == 1:
            work()
            return
        with ThreadPoolExecutor(workers) as pool:
            for done in [pool.submit(_alone, work) for _ in range(workers)]:
                done.result()


def _alone(work: Callable[[], None]) -> None:
    with threads.num_threads(1):
        work()


@contextmanager
def _undefined_is_silent() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", undefined_metric_warning())
        yield


def _summary(estimate: np.ndarray, samples: np.ndarray, confidence: float, method: str) -> BootstrapResult:
    undefined = np.isnan(samples).reshape(len(samples), -1).any(axis=1)
    check.some_defined(int((~undefined).sum()), len(samples))
    defined = samples[~undefined]
    low, high = np.quantile(defined, check.interval_of(confidence), axis=0)
    if method == "basic":
        low, high = 2 * estimate - high, 2 * estimate - low
    error = defined.std(axis=0, ddof=1) if len(defined) > 1 else np.full(estimate.shape, np.nan)
    plain = [x if x.ndim else float(x) for x in (estimate, low, high, error)]
    return BootstrapResult(plain[0], plain[1], plain[2], plain[3], samples, int(undefined.sum()))
