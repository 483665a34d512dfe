"""Streams of metrics of labels and scores: exact from distinct scores, or bounded from a histogram of them."""

from collections.abc import Callable, Sequence
from typing import Any, ClassVar, NamedTuple

import numpy as np

from fastcore._core import validate_ranking as validate
from fastcore._core import validate_streams as check
from fastcore.metrics import ranking_inputs as inputs
from fastcore.metrics.stream_runs import Run, area_of, grouped, joined, rows_of
from fastcore.metrics.stream_state import Stream
from fastcore.metrics.warning import warn_undefined


class Scored(NamedTuple):
    """Labels that occur, one or two, sorted; and the run of scores with the counts of either, (G, 2).

    Of a histogram the counts are those of all bins, and its scores their numbers.
    """

    classes: tuple[Any, ...]
    run: Run


def union_of(pieces: Sequence[Scored]) -> tuple[Any, ...]:
    return tuple(sorted(set().union(*(piece.classes for piece in pieces))))


def by_classes(piece: Scored, classes: tuple[Any, ...]) -> Run:
    """The run with one column for each of two classes, where the piece may know the greater one only."""
    if len(classes) == 2 and len(piece.classes) == 1 and piece.classes[0] == classes[1]:
        return piece.run._replace(counts=np.ascontiguousarray(piece.run.counts[:, ::-1]))
    return piece.run


class ScoreStream(Stream):
    """Metrics of two classes and of scores, exact: distinct scores are kept."""

    fan: ClassVar[int] = 8

    def _read_samples(
        self, arrays: Sequence[Any], sample_weight: Any
    ) -> tuple[tuple[Any, ...], np.ndarray, np.ndarray, np.ndarray | None]:
        """Classes, codes, scores and weights of a batch."""
        y_true, y_score = arrays
        validate.array_like(y_true, "y_true", self._name)
        validate.array_like(y_score, "y_score", self._name)
        scores = check.vector_of_scores(y_score)
        weights = check.weights(sample_weight, len(scores), may_be_negative=self._may_be_negative())
        if self._by_pos_label():
            codes = inputs.codes_of_positives(y_true, self._options["pos_label"], ("binary", "multiclass"))
            return (0, 1), codes, scores, weights
        plain = inputs.zeros_and_ones(y_true)
        if plain is not None:
            codes = plain
            number = np.count_nonzero(codes)
            if 0 < number < len(codes):
                return (0, 1), codes, scores, weights
            return (1,) if number else (0,), np.zeros(len(codes), np.uint8), scores, weights
        labels = inputs.read_labels(y_true)
        validate.format_is(labels.type, ("binary",))
        return tuple(labels.classes.tolist()), labels.codes.astype(np.uint8), scores, weights

    def _may_be_negative(self) -> bool:
        """Whether weights may be, as far as the metric takes them."""
        return self._name != "lift_curve"

    def _by_pos_label(self) -> bool:
        """Whether samples of one label are set against all others, of which there may be several."""
        return self._name != "average_precision_score" and self._options.get("pos_label") is not None

    def _read(self, arrays: Sequence[Any], sample_weight: Any) -> Scored:
        classes, codes, scores, weights = self._read_samples(arrays, sample_weight)
        piece = Scored(classes, self._run(scores, codes, weights))
        self._agree([piece])
        return piece

    def _run(self, scores: np.ndarray, codes: np.ndarray, weights: np.ndarray | None) -> Run:
        return grouped(scores, codes, weights, 2)

    def _agree(self, pieces: Sequence[Scored]) -> None:
        check.kinds_agree(*(np.asarray(piece.classes[:1]) for piece in pieces))
        classes = union_of(pieces)
        check.two_classes(classes, self._name)
        if "pos_label" in self._all_options and self._all_options["pos_label"] is None:
            validate.positive_label(None, np.asarray(classes))

    def _join(self, pieces: Sequence[Scored]) -> Scored:
        classes = union_of(pieces)
        return Scored(classes, joined([by_classes(piece, classes) for piece in pieces]))

    def _size(self, piece: Scored) -> int:
        return len(piece.run.scores)

    def _evaluate(self, piece: Scored, rows: int) -> Any:
        classes, run = piece
        if self._name == "roc_auc_score" and self._all_options["max_fpr"] in (None, 1.0) and len(classes) == 2:
            area, negatives, positives = area_of(run.counts)
            if negatives > 0 and positives > 0 and run.counts.min() >= 0:
                return area / (negatives * positives)
        scores, codes, weights = rows_of(run)
        # A class that weighs nothing is there all the same.
        absent = [code for code in range(len(classes)) if code not in codes]
        if absent:
            scores = np.append(scores, np.full(len(absent), run.scores[0] if len(run.scores) else 0, run.dtype))
            codes, weights = np.append(codes, absent), np.append(weights, np.zeros(len(absent), weights.dtype))
        options = {**self._options, "pos_label": 1} if self._by_pos_label() else self._options
        return self._metric(np.asarray(classes)[codes], scores, sample_weight=weights, **options)


class HistogramStream(ScoreStream):
    """The area under the ROC curve from a histogram of scores: memory is fixed, and the error has a bound."""

    fan: ClassVar[int] = 1

    def __init__(
        self,
        metric: Callable[..., Any],
        arguments: Sequence[str],
        options: dict[str, Any],
        sample: Sequence[Any],
        bins: tuple[int, float, float],
    ) -> None:
        super().__init__(metric, arguments, options, sample)
        check.plain_area(self._all_options["max_fpr"])
        self._bins = bins

    def _may_be_negative(self) -> bool:
        return False

    def _run(self, scores: np.ndarray, codes: np.ndarray, weights: np.ndarray | None) -> Run:
        bins, low, high = self._bins
        with np.errstate(over="ignore"):
            places = (scores.astype(np.float64) - low) * (bins / (high - low))
        places = np.clip(places, 0, bins - 1, out=places).astype(np.int64)
        counts = np.bincount(places * 2 + codes, weights, 2 * bins).reshape(-1, 2)
        return Run(np.empty(0), counts, np.dtype(np.float64))

    def _join(self, pieces: Sequence[Scored]) -> Scored:
        classes = union_of(pieces)
        runs = [by_classes(piece, classes) for piece in pieces]
        counts = runs[0].counts
        for run in runs[1:]:
            counts = counts + run.counts
        return Scored(classes, runs[0]._replace(counts=counts))

    def _evaluate(self, piece: Scored, rows: int) -> float:
        if len(piece.classes) == 2:
            area, negatives, positives = area_of(piece.run.counts)
            if negatives > 0 and positives > 0:
                return area / (negatives * positives)
        warn_undefined("Only one class is present in y_true. ROC AUC score is not defined in that case.", stacklevel=4)
        return float("nan")

    def error_bound(self) -> float:
        """How far `result` may be from the area of the scores themselves.

        Returns
        -------
        float : half of the sum over bins of positives * negatives in the bin, over all positives * negatives, since a
        pair within a bin counts a half instead of 0, a half or 1. NaN where one class only was seen. Holds for weights
        that are not negative; rounding, below 1e-15, is not in it.
        """
        for piece in self._seen.pieces:
            negatives, positives = (piece.run.counts[:, code].astype(np.float64) for code in (0, 1))
            pairs = float(negatives.sum()) * float(positives.sum())
            if pairs > 0:
                return 0.5 * float(np.dot(negatives, positives)) / pairs
        return float("nan")

    def _shown_options(self) -> dict[str, Any]:
        return {**self._options, **dict(zip(("bins", "low", "high"), self._bins))}

    def _same_question(self, other: Any) -> tuple[bool, str]:
        good, what = super()._same_question(other)
        return (good, what) if not good else (other._bins == self._bins, "bins, low and high")
