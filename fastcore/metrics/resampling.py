"""Bootstrap confidence intervals of any metric, in parallel and without copies of the data."""

import inspect
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import Any, NamedTuple

import numpy as np

from fastcore._core import threads, validate
from fastcore._core import validate_resampling as check
from fastcore._core.warn import silenced
from fastcore.metrics.kernels.resample import Drawing, Groups, Strata
from fastcore.metrics.labels import encode

# Metrics of which weighting a row is repeating it, whatever rows are missing, and that are as fast with weights. Not
# the averages over classes: a class without weight still counts there, a class without rows does not.
_WEIGHTED_LIKE_REPEATED = frozenset(
    {
        "accuracy_score",
        "average_precision_score",
        "brier_score_loss",
        "f1_score",
        "fbeta_score",
        "lift_score",
        "precision_score",
        "recall_score",
        "roc_auc_score",
    }
)
# From so many rows on: with 8000 both ways take the same time, with 100,000 weights take 0.55 of it, and no memory.
SMALLEST_WEIGHTED_ROWS = 10_000
# Below this many rows drawn in all, starting threads costs more than it gains.
SMALLEST_PARALLEL_ROWS = 200_000

Resample = Callable[[int, dict[str, np.ndarray]], Any]


class BootstrapResult(NamedTuple):
    """What `bootstrap` found.

    estimate : the metric of the data
    low, high : ends of the confidence interval
    standard_error : standard deviation of the metric over the resamples, divisor n - 1
    samples : (n_resamples, ...) the metric of each resample
    undefined : number of resamples of which it is undefined: NaN where the estimate is not, or refused by the metric

    Undefined resamples are left out of the interval and the standard error. For a metric that returns an array the
    first four have its shape; for one that returns a named tuple of numbers they are such tuples.
    """

    estimate: Any
    low: Any
    high: Any
    standard_error: Any
    samples: np.ndarray
    undefined: int

    def __repr__(self) -> str:
        shown = ", ".join(f"{name}={getattr(self, name)!r}" for name in self._fields if name != "samples")
        return f"BootstrapResult({shown}, samples=<array of shape {self.samples.shape}>)"


def bootstrap(
    metric: Callable[..., Any],
    /,
    *data: Any,
    n_resamples: int = 1000,
    confidence: float = 0.95,
    method: str = "percentile",
    strata: Any = None,
    groups: Any = None,
    by: str = "auto",
    seed: int = 0,
    **options: Any,
) -> BootstrapResult:
    """Confidence interval of a metric by resampling the rows of its data with replacement.

    Parameters
    ----------
    metric : function of ``*data`` and ``**options`` that returns a number, a named tuple of numbers, or an array
    *data : arrays of N rows, as ``metric`` takes them: y_true and y_pred, X and labels, ...
    n_resamples : int, positive
    confidence : float between 0 and 1
    method : {'percentile', 'basic'}
        'percentile': from the quantile (1 - confidence) / 2 of the resamples to that of 1 minus it. 'basic': these
        mirrored at the estimate.
    strata : (N,) labels, optional
        Rows are drawn within each label, so that every resample has as many of it as the data.
    groups : (N,) labels, optional; not with strata
        Rows of one label belong together (a patient, a pair): labels are drawn, and all their rows come along.
    by : {'auto', 'weights', 'rows'}
        'weights' calls ``metric`` on the data itself, with ``sample_weight`` telling how often each row was drawn: no
        row is copied. 'rows' copies the rows drawn, which any metric can take. 'auto' takes weights from 10,000 rows on
        where they give the same number in less time: for this package's metrics of two classes and of ranking, but not
        for averages over classes (a class without weight counts there, a class without rows does not) nor where
        ``options`` has an average or weights.
    seed : int in [0, 2**64)
    **options : further arguments of ``metric``
        A ``sample_weight`` of N numbers is resampled along with the rows; nothing else is. Options that `bootstrap` has
        itself are given by `functools.partial`.

    Returns
    -------
    BootstrapResult; the same for one seed whatever the number of threads

    Raises
    ------
    ValueError : lengths disagree, there are no rows, an option is out of range, no resample is defined, or the metric
        returns an array of another shape in a resample
    TypeError : metric is no function, returns no numbers, or takes no weights with by='weights'

    Notes
    -----
    Resamples run in as many threads as `fastcore.get_num_threads` says, as long as there are enough rows; a metric of
    one's own must be safe to call from several. A ValueError of a metric that took the data themselves (a class is
    missing in the rows drawn) and its warnings do not end the run: such resamples count as undefined. A curve has
    another length in each resample: return it on a fixed grid, by `numpy.interp`.

    A row drawn twice is a duplicate: silhouettes and mutual information come out higher in resamples than they are.

    Source: Efron and Tibshirani 1993, "An Introduction to the Bootstrap", section 13.3 (percentile); Davison and
    Hinkley 1997, eq. 5.6 (basic) and section 3.8 (groups).

    Examples
    --------
    >>> import numpy as np
    >>> from fastcore.metrics import accuracy_score, bootstrap
    >>> y_true = np.tile([0, 1, 1, 1], 50)
    >>> found = bootstrap(accuracy_score, y_true, np.ones(200, int))
    >>> found.estimate, bool(found.low < 0.75 < found.high)
    (0.75, True)
    """
    metric = check.metric(metric)
    arrays = check.data(data)
    rows = len(arrays[0])
    n_resamples = validate.positive_index(n_resamples, "n_resamples")
    confidence = check.confidence(confidence)
    method = validate.choice(method, "method", ("percentile", "basic"))
    by = validate.choice(by, "by", ("auto", "weights", "rows"))
    seed = validate.random_seed(seed)
    drawing = _drawing(strata, groups, rows)

    result = metric(*arrays, **options)
    estimate = check.result_of_metric(result)
    resample = _by_weights if _weights_will_do(metric, by, rows, options) else _by_rows
    samples = np.full((n_resamples, *estimate.shape), np.nan)
    refused = _run(resample(metric, arrays, options, drawing, seed), samples, rows)
    return _summary(result, estimate, samples, confidence, method, refused)


def _drawing(strata: Any, groups: Any, rows: int) -> Drawing:
    check.one_of_two(strata, groups)
    if groups is not None:
        return Groups(_codes(check.same_length_as_data(groups, "groups", rows)))
    return Strata(rows, None if strata is None else _codes(check.same_length_as_data(strata, "strata", rows)))


def _codes(labels: np.ndarray) -> np.ndarray:
    return encode(labels)[1].astype(np.int64, copy=False)


def _weights_will_do(metric: Callable[..., Any], by: str, rows: int, options: dict[str, Any]) -> bool:
    if by == "rows":
        return False
    if by == "weights":
        check.takes_weights(metric, _has_weights(metric))
        return True
    is_ours = getattr(metric, "__module__", "").startswith("fastcore.metrics.")
    same = is_ours and metric.__name__ in _WEIGHTED_LIKE_REPEATED and not options.keys() & {"average", "sample_weight"}
    return same and rows >= SMALLEST_WEIGHTED_ROWS


def _has_weights(metric: Callable[..., Any]) -> bool:
    try:
        parameters = inspect.signature(metric).parameters
    except (TypeError, ValueError):  # of some builtins, which will say so themselves
        return True
    return "sample_weight" in parameters or any(each.kind is each.VAR_KEYWORD for each in parameters.values())


def _weights_in(options: dict[str, Any], rows: int) -> np.ndarray | None:
    given = options.get("sample_weight")
    return None if given is None else check.same_length_as_data(given, "sample_weight", rows)


def _by_weights(
    metric: Callable[..., Any], arrays: list[np.ndarray], options: dict[str, Any], drawing: Drawing, seed: int
) -> Resample:
    others = {name: value for name, value in options.items() if name != "sample_weight"}
    weights = _weights_in(options, len(arrays[0]))

    def one(resample: int, memory: dict[str, np.ndarray]) -> Any:
        counts = drawing.counts(seed, resample, memory)
        if weights is not None:
            counts *= weights
        return metric(*arrays, sample_weight=counts, **others)

    return one


def _by_rows(
    metric: Callable[..., Any], arrays: list[np.ndarray], options: dict[str, Any], drawing: Drawing, seed: int
) -> Resample:
    weights = _weights_in(options, len(arrays[0]))

    def one(resample: int, memory: dict[str, np.ndarray]) -> Any:
        rows = drawing.rows(seed, resample, memory)
        resampled = options if weights is None else {**options, "sample_weight": weights[rows]}
        return metric(*(x[rows] for x in arrays), **resampled)

    return one


def _run(one: Resample, samples: np.ndarray, rows: int) -> Exception | None:
    """Fill the samples, each thread with the next one that is left; one of the errors of those left at NaN."""
    left = iter(range(len(samples)))
    refused: list[Exception] = []
    stop = threading.Event()  # after an error or an interrupt no thread begins another resample

    def work() -> None:
        memory: dict[str, np.ndarray] = {}
        for resample in left:
            if stop.is_set():
                return
            try:
                result = one(resample, memory)
            except ValueError as error:
                refused.append(error)
                continue
            samples[resample] = check.resample_like(check.result_of_metric(result), samples.shape[1:], resample)

    workers = min(threads.get_num_threads(), len(samples)) if rows * len(samples) >= SMALLEST_PARALLEL_ROWS else 1
    if workers == 1:
        with silenced():  # undefined, or one label only: the result counts them
            work()
        return refused[0] if refused else None
    with ThreadPoolExecutor(workers) as pool:
        try:
            for done in as_completed([pool.submit(_alone, work) for _ in range(workers)]):
                done.result()
        finally:
            stop.set()
    return refused[0] if refused else None


def _alone(work: Callable[[], None]) -> None:
    with threads.num_threads(1), silenced():
        work()


def _summary(
    result: Any, estimate: np.ndarray, samples: np.ndarray, confidence: float, method: str, refused: Exception | None
) -> BootstrapResult:
    flat = samples.reshape(len(samples), -1)
    expected = ~np.isnan(estimate).ravel()  # an entry that is NaN in the data says nothing about a resample
    undefined = np.isnan(flat[:, expected] if expected.any() else flat).any(axis=1)
    check.some_defined(int((~undefined).sum()), len(samples), refused)
    defined = samples[~undefined]
    low, high = np.quantile(defined, check.interval_of(confidence), axis=0)
    if method == "basic":
        low, high = 2 * estimate - high, 2 * estimate - low
    error = defined.std(axis=0, ddof=1) if len(defined) > 1 else np.full(estimate.shape, np.nan)
    found = [_shaped_like(result, x) for x in (estimate, low, high, error)]
    return BootstrapResult(found[0], found[1], found[2], found[3], samples, int(undefined.sum()))


def _shaped_like(result: Any, values: np.ndarray) -> Any:
    """A float for a number, a named tuple for one, else the array."""
    if values.ndim == 0:
        return float(values)
    return type(result)._make(values) if hasattr(result, "_make") and values.ndim == 1 else values
