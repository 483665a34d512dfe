"""Checks of outcomes, treatments, scores and options of the uplift metrics."""

import numbers
from typing import Any

import numpy as np

from fastcore._core.validate import shown
from fastcore._core.validate_containers import InvalidParameterError
from fastcore._core.validate_targets import finite, real, same_lengths, vector

__all__ = [
    "both_values",
    "head_size",
    "head_size_of_group",
    "imported",
    "number_of_bins",
    "one_pair_each",
    "outcomes",
    "pair_labels",
    "positive_total_effect",
    "ranked_arguments",
    "scores_of",
    "zeros_and_ones",
]

_ABOVE_INT64 = np.uint64(2**63)


def zeros_and_ones(x: Any, name: str) -> np.ndarray:
    """(N,) uint8 of 0 and 1, from bools, integers or floats that are either."""
    values = vector(x, name)
    if values.dtype == np.bool_:
        return values.view(np.uint8)
    finite(values, name)
    ones = values == 1
    good = ones | (values == 0)
    if not good.all():
        others = np.unique(values[~good][:100])[:5]
        raise ValueError(
            f"Input array is not binary. {name} should contain only int or float binary values 0 (or 0.) and 1 (or 1.)."
            f" Got {', '.join(str(value) for value in others)}. Pass for example {name} == {others[0]}."
        )
    return ones.view(np.uint8)


def both_values(ones: int, rows: int, name: str) -> None:
    """Refuse zeros or ones only, given how many ones there are."""
    if ones in (0, rows):
        raise ValueError(
            f"Input array is not binary. {name} should contain both 0 and 1; got {rows} times {int(ones == rows)}."
            " An effect is a difference between the two, so pass rows of both."
        )


def ranked_arguments(y_true: Any, uplift: Any, treatment: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """y_true and treatment (N,) uint8 with both values in each, uplift (N,) finite float32, float64 or int64.

    Every order and every tie of the scores stays: integers are not rounded to floats.
    """
    same_lengths(y_true, uplift, treatment)
    flags = zeros_and_ones(treatment, "treatment")
    y = zeros_and_ones(y_true, "y_true")
    both_values(int(np.count_nonzero(flags)), flags.size, "treatment")
    both_values(int(np.count_nonzero(y)), y.size, "y_true")
    scores = scores_of(uplift, y, flags)
    return y, _orderable(scores), flags


def scores_of(uplift: Any, y: np.ndarray, flags: np.ndarray) -> np.ndarray:
    """(N,) finite scores, as many as there are outcomes and treatments."""
    scores = vector(uplift, "uplift")
    finite(scores, "uplift")
    same_lengths(y, scores, flags)  # columns of shape (N, 1) and frames have their say only now
    return scores


def _orderable(scores: np.ndarray) -> np.ndarray:
    dtype = scores.dtype
    if dtype in (np.float32, np.float64, np.int64):
        return scores
    if dtype == np.uint64:
        return (scores ^ _ABOVE_INT64).view(np.int64)  # the same order: 0 is the least int64
    if dtype == np.float16:
        return scores.astype(np.float32)
    if dtype.kind == "f":
        narrow = scores.astype(np.float64)
        if (narrow == scores).all():
            return narrow
        return np.unique(scores, return_inverse=True)[1].astype(np.int64)  # ranks
    return scores.astype(np.int64)


def outcomes(x: Any, name: str) -> np.ndarray:
    """(N,) finite float64, float32, int64, uint8 or bool, C-contiguous."""
    values = vector(x, name)
    finite(values, name)
    if values.dtype not in (np.float64, np.float32, np.int64, np.uint8, np.bool_):
        values = values.astype(np.float32 if values.dtype == np.float16 else np.float64)
    return np.ascontiguousarray(values)


def head_size(k: Any, rows: int, name: str) -> int:
    """How many of `rows` the first k are: an int counts them, a float is a share, rounded down."""
    if isinstance(k, numbers.Integral) and not isinstance(k, bool | np.bool_):
        if 0 < int(k) < rows:
            return int(k)
    elif isinstance(k, float | np.floating):
        if 0.0 < k < 1.0:
            return int(rows * k)
    else:
        raise InvalidParameterError(f"Invalid value for k: it must be an int or a float. Got {shown(k)}.")
    raise InvalidParameterError(
        f"k={k} should be either positive and smaller than the number of samples {rows} ({name}) or a float in the"
        " (0, 1) range"
    )


def head_size_of_group(k: Any, rows: int, group_rows: int, group: str) -> int:
    """`head_size` of one group's rows; an int k may be all of them."""
    size = head_size(k, rows, "y_true")
    if isinstance(k, float | np.floating):
        return int(group_rows * k)
    if size > group_rows:
        raise InvalidParameterError(
            f"With k={k}, the number of the first k observations is bigger than the number of samples in {group}:"
            f" {group_rows}. Pass a smaller k."
        )
    return size


def imported(module: Any, name: str, function: str) -> Any:
    """An optional package that the caller's program has imported, or None: fastcore itself imports none."""
    if module is None:
        raise ImportError(f"{function} needs {name}: install it where it is missing, and `import {name}` first.")
    return module


def number_of_bins(bins: Any, rows: int) -> int:
    bins = int(real(bins, "bins", 1, None, "uplift_by_percentile", kind="int"))
    if bins >= rows:
        raise InvalidParameterError(
            f"Number of bins = {bins} should be smaller than the length of y_true {rows}. Pass fewer bins."
        )
    return bins


def positive_total_effect(effect: float) -> None:
    """Without negative effects the perfect Qini curve cannot end below zero."""
    if effect < 0:
        raise ValueError(
            f"negative_effect=False needs a curve that ends at zero or above, and this one ends at {effect:.6g}: the"
            " treated respond less than control, so negative effects exist. Pass negative_effect=True."
        )


def pair_labels(pairs: Any, rows: int) -> np.ndarray:
    """(N,) labels of any kind, one for each of so many rows."""
    labels = vector(pairs, "pairs", numeric=False)
    if labels.size != rows:
        raise ValueError(
            f"Found input variables with inconsistent numbers of samples: {[rows, labels.size]}."
            " pairs must have a label for each row."
        )
    finite(labels, "pairs")
    return labels


def one_pair_each(counts: np.ndarray, labels: np.ndarray) -> None:
    """counts (P, 2): control and treated rows of each label, which must be one and one."""
    if (counts == 1).all():
        return
    worst = int(np.argmax(np.abs(counts - 1).sum(1)))
    raise ValueError(
        f"Each label of pairs must have one treated and one control row. Label {labels[worst]!s} has"
        f" {counts[worst, 1]} treated and {counts[worst, 0]} control rows. Drop what has no match."
    )
