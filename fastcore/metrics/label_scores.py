"""Precision, recall and F scores from counts of labels: ratios, what stands for 0 / 0, averages, warnings."""

import math
from collections.abc import Collection
from typing import Any, NamedTuple

import numpy as np

from fastcore._core import validate_classification as validate
from fastcore.metrics.label_counts import (
    LabelCounts,
    as_float64,
    count_indicators,
    count_labels,
    count_positives,
    select,
)
from fastcore.metrics.warning import warn_undefined

# The default of ``zero_division``, known by its identity in short ways, since what comes may be an array.
WARN = "warn"
PRECISION, RECALL, FSCORE = "precision", "recall", "f-score"
# Of the caller of a public function, which calls `scores`, which calls `counts_of`, which calls what warns.
STACKLEVEL = 5


class Question(NamedTuple):
    """The arguments that the public functions share, checked."""

    labels: Any
    pos_label: Any
    average: str | None
    zero_division: float  # what stands for 0 / 0
    warns: Collection[str]  # scores whose 0 / 0 are warned of
    function: str


def question(
    labels: Any, pos_label: Any, average: Any, zero_division: Any, warn_for: Collection[str], function: str
) -> Question:
    """The arguments checked; warnings are for ``zero_division='warn'`` only."""
    value = validate.zero_division(zero_division, function)
    warns = warn_for if isinstance(zero_division, str) else ()
    pos_label = validate.pos_label(pos_label, function)
    return Question(labels, pos_label, validate.average(average, function), value, warns, function)


def counts_of(y_true: Any, y_pred: Any, sample_weight: Any, asked: Question) -> tuple[LabelCounts, np.ndarray | None]:
    """Counts of the labels (or samples) to score, and the weights of samples."""
    targets = validate.targets(y_true, y_pred, sample_weight, asked.function, asked.labels)
    binary = asked.average == "binary"
    if not binary and not (asked.pos_label is None or asked.pos_label == 1):
        validate.warn_ignored_pos_label(asked.pos_label, asked.average, STACKLEVEL)
    if validate.are_single(targets):
        positives = positives_of(targets, asked.pos_label) if binary else None
        if positives is not None:
            return positives, None
        counts = count_labels(targets)
        if binary:
            validate.positive_of_binary(asked.pos_label, counts.kind, counts.labels)
            return select(counts, np.asarray([asked.pos_label])), None
        if asked.average == "samples":
            validate.samplewise_needs_indicators()
        if asked.labels is not None:
            counts = select(counts, validate.labels_to_report(asked.labels, counts.labels))
        return counts, None
    validate.indicators(targets)
    if binary:
        validate.positive_of_binary(asked.pos_label, validate.INDICATOR, np.arange(targets.true.shape[1]))
    columns = None if asked.labels is None else validate.columns_to_report(asked.labels, targets.true.shape[1])
    return count_indicators(targets, columns, of_samples=asked.average == "samples"), targets.weights


def positives_of(targets: validate.Targets, pos_label: Any) -> LabelCounts | None:
    """Counts of the positive label, by the same sums as in the short ways of the public functions; None as there."""
    true, pred, _ = targets
    if true.dtype is not pred.dtype and true.dtype.kind in "iubf" and pred.dtype.kind in "iubf":
        # Where int64 beside uint64 rounds to float64, nothing becomes 0 or 1.
        common = np.result_type(true, pred, np.float32 if "f" in true.dtype.kind + pred.dtype.kind else np.int8)
        true, pred = true.astype(common), pred.astype(common)
    counted = count_positives(true, pred, pos_label, as_float64(targets.weights))
    if counted is None:
        return None
    both, true_sum, pred_sum, total = (np.array([x]) for x in counted)
    return LabelCounts("binary", np.array([pos_label]), both, true_sum, pred_sum, total[0])


def scores(
    y_true: Any, y_pred: Any, sample_weight: Any, asked: Question, beta: float, names: Collection[str]
) -> tuple[dict[str, Any], np.ndarray]:
    """The scores named, each a float, or an array where there is no average; and the support of labels."""
    counts, weights = counts_of(y_true, y_pred, sample_weight, asked)
    both, true, pred = counts.both, counts.true, counts.pred
    ratio: Any = _ratios
    if asked.average in ("binary", "micro"):
        both, true, pred = (x.sum().item() for x in (both, true, pred))
        ratio = _ratio
    elif asked.average == "weighted":
        weights = true
    elif asked.average != "samples":
        weights = None
    found: dict[str, Any] = {}
    for name in names:
        # Zero and infinite beta are limits: precision and recall.
        of = name if name != FSCORE else PRECISION if beta == 0 else RECALL if math.isinf(beta) else FSCORE
        if of != name and of in found:
            found[name] = found[of]
            continue
        if of == PRECISION:
            score = ratio(both, pred, of, "predicted", asked)
        elif of == RECALL:
            score = ratio(both, true, of, "true", asked)
        else:
            square = beta * beta
            score = ratio((1.0 + square) * both, square * true + pred, of, "true nor predicted", asked)
        found[name] = nan_average(score, weights) if ratio is _ratios and asked.average is not None else score
    return found, counts.true


def _ratio(numerator: float, denominator: float, name: str, modifier: str, asked: Question) -> float:
    """The one score there is."""
    if denominator:
        return numerator / denominator
    if name in asked.warns:
        _warn(name, modifier, 1, asked)
    return asked.zero_division


def _ratios(numerator: np.ndarray, denominator: np.ndarray, name: str, modifier: str, asked: Question) -> np.ndarray:
    """The scores of labels, or of samples."""
    empty = denominator == 0
    if not empty.any():
        return np.asarray(numerator / denominator)
    result = numerator / np.where(empty, 1, denominator)
    result[empty] = asked.zero_division
    if name in asked.warns:
        _warn(name, modifier, len(result), asked)
    return np.asarray(result)


def _warn(name: str, modifier: str, results: int, asked: Question) -> None:
    sample, label = ("label", "sample") if asked.average == "samples" else ("sample", "label")
    where = "due to" if results == 1 else f"in {label}s with"
    warn_undefined(
        f"{name.capitalize()} is ill-defined and being set to 0.0 {where} no {modifier} {sample}s."
        " Use `zero_division` parameter to control this behavior.",
        STACKLEVEL + 1,
    )


def nan_average(values: np.ndarray, weights: np.ndarray | None) -> float:
    """Mean of what is not NaN; where the weights of that sum to 0 without them, and NaN of nothing."""
    there = ~np.isnan(values)
    if not there.all():
        values, weights = values[there], None if weights is None else weights[there]
    if values.size == 0:
        return float("nan")
    if weights is None or weights.sum() == 0:
        return float(values.mean())
    return float(np.multiply(values, weights).sum() / weights.sum())
