"""Streams of losses of probabilities: sums over samples, each with what rounding took from it."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from fastcore._core import validate_ranking as validate
from fastcore._core import validate_streams as check
from fastcore._core.validate_targets import same_lengths, vector
from fastcore.metrics import ranking_inputs as inputs
from fastcore.metrics.kernels import probability as kernels
from fastcore.metrics.probability import (
    check_loss_arguments,
    positive_label,
    probabilities_of,
    sums_of_loss,
    sums_of_two_classes,
)
from fastcore.metrics.stream_state import Stream


class Losses(NamedTuple):
    """Sums of losses and of weights; of each the rounded sum and the rest (Neumaier)."""

    loss: tuple[float, float]
    weight: tuple[float, float]
    columns: int  # of probabilities: 1 of a vector
    classes: tuple[Any, ...]  # that occur, sorted, where they have to be known


def added(a: tuple[float, float], b: tuple[float, float]) -> tuple[float, float]:
    """Sum and rest of two sums with rests: what is lost in the sum of the sums is known exactly (Knuth's two-sum)."""
    total = a[0] + b[0]
    of_b = total - a[0]
    lost = (a[0] - (total - of_b)) + (b[0] - of_b)
    return total, a[1] + b[1] + lost


class LossStream(Stream):
    """`log_loss` and `brier_score_loss`."""

    def _read(self, arrays: Sequence[Any], sample_weight: Any) -> Losses:
        y_true, y_proba = arrays
        labels = self._all_options["labels"]
        check_loss_arguments(y_true, y_proba, sample_weight, labels, self._name)
        p = probabilities_of(y_proba)
        same_lengths(p, y_true, sample_weight)
        weights = check.weights(sample_weight, len(p))
        columns = 1 if p.ndim == 1 or p.shape[1] == 1 else p.shape[1]
        p = p.reshape(-1) if columns == 1 else p
        if columns == 1 and (self._name == "brier_score_loss" or labels is None):
            loss, weight, classes = self._two_classes(y_true, p, weights)
        else:
            check.known_without_labels(labels is not None, self._name, "labels")
            loss, weight = sums_of_loss(y_true, p, weights, labels, self._kind())
            classes = ()
        return Losses((loss, 0.0), (weight, 0.0), columns, classes)

    def _kind(self) -> int:
        return kernels.LOG if self._name == "log_loss" else kernels.SQUARES

    def _two_classes(
        self, y_true: Any, p: np.ndarray, weights: np.ndarray | None
    ) -> tuple[float, float, tuple[Any, ...]]:
        """Sums over samples of two classes, and which of them occur."""
        pos_label = self._all_options.get("pos_label")
        factor = 2 if self._name == "brier_score_loss" and p.itemsize > 2 else 1
        is_plain = type(y_true) is np.ndarray and y_true.ndim == 1 and y_true.dtype.kind in "biu" and p.itemsize > 2
        if pos_label is None and is_plain:  # one pass, which says whether all is 0, 1 and probabilities
            sums, status = sums_of_two_classes(y_true, p, weights, self._kind())
            if status == kernels.OK:
                return factor * sums[0], sums[1], (0,) * (sums[2] < len(p)) + (1,) * (sums[2] > 0)
        codes = inputs.zeros_and_ones(y_true) if pos_label is None else None
        if codes is not None:
            ones = int(np.count_nonzero(codes))
            classes: tuple[Any, ...] = (0,) * (ones < len(codes)) + (1,) * (ones > 0)
        else:
            labels = inputs.read_labels(vector(y_true, "y_true", numeric=False))
            validate.binary_target(labels.type)
            classes = tuple(labels.classes.tolist())
            if pos_label is None:
                known = (labels.classes.dtype.kind not in "OUS" and set(classes) <= {0, 1}) or set(classes) <= {-1, 1}
                option = "labels" if self._name == "log_loss" else "pos_label"
                check.known_without_labels(known, self._name, option)
                pos_label = 1
            codes = inputs.codes_of(labels, positive_label(pos_label, labels.classes))
        same_lengths(codes, p)
        sums, status = sums_of_two_classes(codes, p, weights, self._kind())
        if status != kernels.OK:
            validate.probabilities(p, "less" if self._name == "brier_score_loss" else "lower")
        return factor * sums[0], sums[1], classes

    def _agree(self, pieces: Sequence[Losses]) -> None:
        for piece in pieces[1:]:
            check.same_number_of_outputs(pieces[0].columns, piece.columns, "columns of y_proba")
        check.kinds_agree(*(np.asarray(piece.classes[:1]) for piece in pieces))
        classes = _union(pieces)
        check.two_classes(classes, self._name)
        if self._all_options.get("pos_label") is None and set(classes) == {-1, 0}:
            check.known_without_labels(False, self._name, "labels" if self._name == "log_loss" else "pos_label")

    def _join(self, pieces: Sequence[Losses]) -> Losses:
        total = pieces[0]
        for piece in pieces[1:]:
            loss, weight = added(total.loss, piece.loss), added(total.weight, piece.weight)
            total = Losses(loss, weight, total.columns, _union([total, piece]))
        return total

    def _evaluate(self, piece: Losses, rows: int) -> float:
        loss, weight = sum(piece.loss), sum(piece.weight)
        options = self._all_options
        if self._name == "brier_score_loss":
            half = options["scale_by_half"]
            halve = half is True or (isinstance(half, str) and piece.columns < 3)
            return loss / validate.weights_divide(weight) * (0.5 if halve else 1.0)
        if piece.columns == 1 and options["labels"] is None:
            validate.two_labels(np.asarray(piece.classes), None)
        return loss / validate.weights_divide(weight) if options["normalize"] else loss


def _union(pieces: Sequence[Losses]) -> tuple[Any, ...]:
    return tuple(sorted(set().union(*(piece.classes for piece in pieces))))
