"""Streams of uplift: counts of rows by treatment and outcome, in all, or at each distinct score."""

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import numpy as np

from fastcore._core.validate_targets import same_lengths
from fastcore._core.validate_uplift import both_values, scores_of, zeros_and_ones
from fastcore.metrics.kernels.binary_counts import BINARY, count
from fastcore.metrics.stream_runs import Run, grouped, joined
from fastcore.metrics.stream_state import Stream
from fastcore.metrics.uplift_curves import METRICS_OF_COUNTS


def _code(y: np.ndarray, flags: np.ndarray) -> np.ndarray:
    return 2 * flags + y


class UpliftStream(Stream):
    """`uplift`, from four counts."""

    def _read(self, arrays: Sequence[Any], sample_weight: Any) -> np.ndarray:
        y, treatment = arrays
        if not (type(y) is type(treatment) is np.ndarray and y.ndim == treatment.ndim == 1):
            y, treatment = zeros_and_ones(y, "y"), zeros_and_ones(treatment, "treatment")
            same_lengths(y, treatment)
        code, ones, treated, joint, rows = count(y, treatment)
        if code != BINARY:
            y, treatment = zeros_and_ones(y, "y"), zeros_and_ones(treatment, "treatment")
            _, ones, treated, joint, rows = count(y, treatment)
        return np.array([rows - ones - treated + joint, ones - joint, treated - joint, joint], np.int64)

    def _join(self, pieces: Sequence[np.ndarray]) -> np.ndarray:
        return np.sum(pieces, axis=0)

    def _evaluate(self, piece: np.ndarray, rows: int) -> float:
        control, control_with, treated, treated_with = piece.tolist()
        both_values(treated + treated_with, rows, "treatment")
        rate: float = treated_with / (treated + treated_with)
        return rate - control_with / (control + control_with)


class UpliftRankStream(Stream):
    """Uplift and Qini curves and their areas: distinct scores are kept."""

    fan: ClassVar[int] = 8

    def _read(self, arrays: Sequence[Any], sample_weight: Any) -> Run:
        y_true, uplift, treatment = arrays
        flags, y = zeros_and_ones(treatment, "treatment"), zeros_and_ones(y_true, "y_true")
        return grouped(scores_of(uplift, y, flags), _code(y, flags), None, 4)

    def _join(self, pieces: Sequence[Run]) -> Run:
        return joined(pieces)

    def _size(self, piece: Run) -> int:
        return len(piece.scores)

    def _evaluate(self, piece: Run, rows: int) -> Any:
        counts = np.cumsum(piece.counts[::-1], axis=0)
        _, c1, nt, t1 = counts[-1].tolist()
        both_values(nt + t1, rows, "treatment")
        both_values(c1 + t1, rows, "y_true")
        of_counts: Callable[..., Any] = METRICS_OF_COUNTS[self._name]
        return of_counts(counts, **self._all_options)
