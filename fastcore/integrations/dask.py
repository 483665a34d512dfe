"""Metrics of dask arrays: data larger than memory, on the cores of a machine or on a cluster, read once."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from fastcore import metrics
from fastcore._core import validate_integrations as check
from fastcore._core.validate import flag
from fastcore._core.validate_targets import same_lengths
from fastcore.metrics.stream_state import Stream

try:
    import dask
    import dask.array as da
except ImportError as error:
    raise ImportError(
        "fastcore.integrations.dask needs dask. Install it: pip install 'fastcore-kernels[dask]'"
    ) from error

__all__ = [
    "accuracy_score",
    "average_precision_score",
    "brier_score_loss",
    "confusion_matrix",
    "explained_variance_score",
    "f1_score",
    "fbeta_score",
    "lift_curve",
    "lift_score",
    "log_loss",
    "max_error",
    "mean_absolute_error",
    "mean_absolute_percentage_error",
    "mean_percentage_error",
    "mean_squared_error",
    "multilabel_confusion_matrix",
    "precision_recall_curve",
    "precision_recall_fscore_support",
    "precision_score",
    "r2_score",
    "recall_score",
    "regression_report",
    "roc_auc_score",
    "roc_curve",
    "root_mean_squared_error",
    "score",
]

# States merged by one task: with 8 a sample's counts are moved log8(blocks) times, and 8 states are in memory at once.
FAN_IN = 8


def score(
    metric: Callable[..., Any], *arrays: Any, sample_weight: Any = None, compute: bool = True, **options: Any
) -> Any:
    """A metric of dask arrays: a state of each block, merged in a tree.

    Parameters
    ----------
    metric : function of `fastcore.metrics` that streams, see `fastcore.metrics.stream`
    *arrays : what the metric takes, N samples each: dask arrays, what has ``to_dask_array()`` (dask series and frames),
        or arrays in memory. Blocks that differ are rechunked as those of the first dask array.
    sample_weight : (N,), optional, likewise
    compute : False: a `dask.delayed.Delayed` of the result, to compute several at once
    **options : of the metric, and ``bins``, ``low`` and ``high`` of `stream`, by name

    Returns
    -------
    what the metric returns, of all the samples

    Raises
    ------
    TypeError, ValueError : as the metric and its stream; numbers of samples or of blocks differ; blocks of unknown size
        that cannot be paired

    Notes
    -----
    Each block is read once. What is kept of it is the state of the stream: a few numbers, counts of pairs of labels, or
    for ranking metrics its distinct scores; ``bins`` bounds those of `roc_auc_score`. Results from counts are those in
    memory to the last bit, sums of floats are to rounding, and the same however many workers there are: the tree is
    that of the blocks. Warnings and errors are the metric's
    own.

    Where the metric of arrays in memory looks at all samples first, its stream has to be told, or refuses:
    `roc_auc_score` takes two classes, `log_loss` of a column for each class needs ``labels``.

    Blocks of unknown size (nan, after filtering) are paired in order, if all arrays have as many; where sizes turn out
    to differ, computing raises ValueError.

    Examples
    --------
    >>> import dask.array as da
    >>> from fastcore import metrics
    >>> from fastcore.integrations.dask import roc_auc_score, score
    >>> y, p = da.from_zarr("labels.zarr"), da.from_zarr("scores.zarr")
    >>> roc_auc_score(y, p)
    >>> score(metrics.regression_report, y, p, median=False)
    >>> dask.compute(roc_auc_score(y, p, compute=False), score(metrics.log_loss, y, p, compute=False))
    """
    state = metrics.stream(metric, **options)
    names, given = list(state._arguments), list(arrays)
    check.number_of_arrays(len(given), names, metric.__name__)
    if sample_weight is not None:
        names.append("sample_weight")
        given.append(sample_weight)
    columns = _aligned(dict(zip(names, map(_as_array, given))))
    read, merge = dask.delayed(_read, pure=False), dask.delayed(_merge, pure=False)
    states = [read(state, names, *blocks) for blocks in zip(*columns)]
    while len(states) > 1:
        states = [merge(states[start : start + FAN_IN]) for start in range(0, len(states), FAN_IN)]
    result = dask.delayed(_result, pure=False)(*states)
    return result.compute() if flag(compute, "compute") else result


# --- tasks ---


def _read(state: Stream, names: Sequence[str], *blocks: Any) -> Stream:
    arrays = dict(zip(names, blocks))
    weights = arrays.pop("sample_weight", None)
    return state.copy().update(*arrays.values(), sample_weight=weights)


def _merge(states: Sequence[Stream]) -> Stream:
    merged = states[0].copy()  # results of tasks may be used again: they are not changed
    for each in states[1:]:
        merged.merge(each)
    return merged


def _result(state: Stream) -> Any:
    return state.copy().result()


# --- blocks ---


def _aligned(columns: dict[str, Any]) -> list[list[Any]]:
    """For each argument its blocks along the first axis: as many as the others have, and of the same lengths."""
    check.have_samples({name: each.ndim for name, each in columns.items()})
    lazy = {name: each for name, each in columns.items() if isinstance(each, da.Array)}
    if all(length == length for each in lazy.values() for length in each.chunks[0]):  # unknown ones are nan
        same_lengths(*(np.broadcast_to(0, each.shape[:1]) for each in columns.values()))
        chunks = next((each.chunks[0] for each in lazy.values()), None)
        return [_of_lengths(each, chunks) for each in columns.values()]
    check.blocks_pair({name: each.numblocks[0] if name in lazy else None for name, each in columns.items()})
    return [_of_lengths(each, None) for each in columns.values()]


def _of_lengths(x: Any, chunks: tuple[int, ...] | None) -> list[Any]:
    """Blocks of so many whole samples; None: as they are."""
    if not isinstance(x, da.Array):
        return [x] if chunks is None else np.split(x, np.cumsum(chunks)[:-1])
    wanted: dict[int, Any] = dict.fromkeys(range(1, x.ndim), -1)
    if chunks is not None and x.chunks[0] != chunks:
        wanted[0] = chunks
    return list((x.rechunk(wanted) if wanted else x).to_delayed().ravel())


def _as_array(x: Any) -> Any:
    """A dask array, of a dask series its own; anything else in memory."""
    if hasattr(x, "to_dask_array"):
        return x.to_dask_array()
    return x if isinstance(x, da.Array) else np.asarray(x)


# --- metrics by name ---


def _by_blocks(metric: Callable[..., Any]) -> Callable[..., Any]:
    """A metric with its own signature, and ``compute``; see `score`."""
    signature = inspect.signature(metric)
    names = [name for name, each in signature.parameters.items() if each.kind is each.POSITIONAL_OR_KEYWORD]

    @functools.wraps(metric)
    def of_dask_arrays(*arguments: Any, compute: bool = True, **options: Any) -> Any:
        histogram = {name: options.pop(name) for name in ("bins", "low", "high") if name in options}
        try:
            given = signature.bind(*arguments, **options).arguments
        except TypeError as error:
            check.not_its_arguments(metric.__name__, signature.parameters, error)
        arrays = [given.pop(name) for name in names]
        return score(metric, *arrays, compute=compute, **given, **histogram)

    of_dask_arrays.__module__ = __name__
    of_dask_arrays.__doc__ = (
        f"`fastcore.metrics.{metric.__name__}` of dask arrays, one pass; with ``compute=False`` lazy. See `score`."
    )
    return of_dask_arrays


accuracy_score = _by_blocks(metrics.accuracy_score)
confusion_matrix = _by_blocks(metrics.confusion_matrix)
f1_score = _by_blocks(metrics.f1_score)
fbeta_score = _by_blocks(metrics.fbeta_score)
lift_score = _by_blocks(metrics.lift_score)
multilabel_confusion_matrix = _by_blocks(metrics.multilabel_confusion_matrix)
precision_recall_fscore_support = _by_blocks(metrics.precision_recall_fscore_support)
precision_score = _by_blocks(metrics.precision_score)
recall_score = _by_blocks(metrics.recall_score)

average_precision_score = _by_blocks(metrics.average_precision_score)
lift_curve = _by_blocks(metrics.lift_curve)
precision_recall_curve = _by_blocks(metrics.precision_recall_curve)
roc_auc_score = _by_blocks(metrics.roc_auc_score)
roc_curve = _by_blocks(metrics.roc_curve)
brier_score_loss = _by_blocks(metrics.brier_score_loss)
log_loss = _by_blocks(metrics.log_loss)

explained_variance_score = _by_blocks(metrics.explained_variance_score)
max_error = _by_blocks(metrics.max_error)
mean_absolute_error = _by_blocks(metrics.mean_absolute_error)
mean_absolute_percentage_error = _by_blocks(metrics.mean_absolute_percentage_error)
mean_percentage_error = _by_blocks(metrics.mean_percentage_error)
mean_squared_error = _by_blocks(metrics.mean_squared_error)
r2_score = _by_blocks(metrics.r2_score)
regression_report = _by_blocks(metrics.regression_report)
root_mean_squared_error = _by_blocks(metrics.root_mean_squared_error)
