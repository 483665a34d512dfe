"""Streams of metrics that follow from counts of pairs of labels: classification and clusterings."""

import functools
from collections.abc import Sequence
from typing import Any, ClassVar, NamedTuple

import numpy as np

from fastcore._core import validate_classification, validate_clustering
from fastcore._core import validate_streams as check
from fastcore.metrics.clusterings import CountedClusterings
from fastcore.metrics.kernels import binary_counts
from fastcore.metrics.kernels.label_pairs import Pairs
from fastcore.metrics.kernels.pair_histogram import pair_histogram
from fastcore.metrics.label_counts import join
from fastcore.metrics.labels import encode
from fastcore.metrics.stream_state import Stream

# Cells up to which pairs are added in a matrix of all, which is emptier the larger it is; others are sorted.
MOST_CELLS = 1 << 18


class LabelPairs(NamedTuple):
    """Pairs of labels that occur: classes[row] with clusters[col] count times, by row, then column."""

    classes: np.ndarray
    clusters: np.ndarray
    rows: np.ndarray
    cols: np.ndarray
    counts: np.ndarray  # int64, or float64 sums of weights


def added_up(rows: np.ndarray, cols: np.ndarray, counts: np.ndarray | None, shape: tuple[int, int]) -> Any:
    """(rows, cols, counts) of the distinct pairs; counts of None are ones."""
    keys = rows.astype(np.int64) * shape[1] + cols
    dtype = np.int64 if counts is None else counts.dtype
    if shape[0] * shape[1] <= max(MOST_CELLS, 2 * len(keys)):
        there = np.bincount(keys, minlength=shape[0] * shape[1])
        (keys_there,) = np.nonzero(there)
        # Counts below 2**53 are float64 numbers, and so are all sums of them.
        sums = there if counts is None else np.bincount(keys, counts, shape[0] * shape[1]).astype(dtype, copy=False)
        sums = sums[keys_there]
    else:
        keys_there, places = np.unique(keys, return_inverse=True)
        sums = np.bincount(places, counts, len(keys_there)).astype(dtype, copy=False)
    return *np.divmod(keys_there, shape[1]), sums


def pairs_of_binary(true: np.ndarray, pred: np.ndarray) -> LabelPairs | None:
    """`LabelPairs` of labels 0 and 1 in integers of one dtype, a third of the time; None of others."""
    code, ones, ones_pred, both, number = binary_counts.count(true, pred)
    if code != binary_counts.BINARY:
        return None
    counts = np.array([[number - ones - ones_pred + both, ones_pred - both], [ones - both, both]], np.int64)
    classes, clusters = (np.flatnonzero(counts.sum(axis)) for axis in (1, 0))
    counts = counts[classes][:, clusters]
    rows, cols = counts.nonzero()
    return LabelPairs(classes.astype(true.dtype), clusters.astype(pred.dtype), rows, cols, counts[rows, cols])


def pairs_of_batch(true: np.ndarray, pred: np.ndarray, weights: np.ndarray | None) -> LabelPairs:
    """`LabelPairs` of (N,) labels of any kind."""
    if weights is None and true.dtype is pred.dtype and true.dtype.kind in "biu":
        binary = pairs_of_binary(true, pred)
        if binary is not None:
            return binary
    found = pair_histogram(true, pred, weights)
    if found is not None and weights is None:
        classes, clusters, matrix = found
        rows, cols = np.nonzero(matrix)
        return LabelPairs(classes, clusters, rows, cols, matrix[rows, cols])
    (classes, codes_true), (clusters, codes_pred) = encode(true), encode(pred)
    # With weights also pairs of weight 0 are kept: their labels occur.
    parts = added_up(codes_true, codes_pred, weights, (len(classes), len(clusters)))
    return LabelPairs(classes, clusters, *parts)


def joined_pairs(pieces: Sequence[LabelPairs]) -> LabelPairs:
    """`LabelPairs` of all pieces."""
    classes, clusters = (
        functools.reduce(lambda a, b: join(a, b)[0], [piece[side] for piece in pieces]) for side in (0, 1)
    )
    rows = np.concatenate([join(classes, piece.classes)[2][piece.rows] for piece in pieces])
    cols = np.concatenate([join(clusters, piece.clusters)[2][piece.cols] for piece in pieces])
    counts = np.concatenate([piece.counts for piece in pieces])
    return LabelPairs(classes, clusters, *added_up(rows, cols, counts, (len(classes), len(clusters))))


class PairStream(Stream):
    """Counts of pairs of labels."""

    fan: ClassVar[int] = 8

    def _agree(self, pieces: Sequence[LabelPairs]) -> None:
        for side in (0, 1):
            check.kinds_agree(*(piece[side][:1] for piece in pieces))

    def _join(self, pieces: Sequence[LabelPairs]) -> LabelPairs:
        return joined_pairs(pieces)

    def _size(self, piece: LabelPairs) -> int:
        return len(piece.counts)


class LabelStream(PairStream):
    """Metrics of classification."""

    def _read(self, arrays: Sequence[Any], sample_weight: Any) -> LabelPairs:
        targets = validate_classification.targets(arrays[0], arrays[1], None, self._name)
        check.single_labels(validate_classification.are_single(targets), self._name)
        weights = check.weights(sample_weight, len(targets.true))
        pairs = pairs_of_batch(targets.true, targets.pred, weights)
        validate_classification.kind_of_labels(targets, pairs.classes, pairs.clusters)
        return pairs

    def _agree(self, pieces: Sequence[LabelPairs]) -> None:
        check.kinds_agree(*(piece[side][:1] for piece in pieces for side in (0, 1)))

    def _evaluate(self, piece: LabelPairs, rows: int) -> Any:
        true, pred = piece.classes[piece.rows], piece.clusters[piece.cols]
        found = self._metric(true, pred, sample_weight=piece.counts, **self._options)
        if piece.counts.dtype == np.int64:  # weights that are counts
            if self._name == "multilabel_confusion_matrix":
                return found.astype(np.int64)
            if self._name == "precision_recall_fscore_support" and found[3] is not None:
                return *found[:3], found[3].astype(np.int64)
        return found


class ClusteringStream(PairStream):
    """Metrics that compare two clusterings, and their contingency matrix."""

    def _read(self, arrays: Sequence[Any], sample_weight: Any) -> LabelPairs:
        first, second = arrays[0], arrays[-1]  # one array is its own partner
        if self._name == "contingency_matrix":
            true, pred = validate_clustering.label_columns(first, second, self._name)
        else:
            true, pred = validate_clustering.clusterings(first, second, self._name)
        return pairs_of_batch(true, pred, None)

    def _evaluate(self, piece: LabelPairs, rows: int) -> Any:
        if self._name == "contingency_matrix":
            return self._contingency(piece)
        sizes_true = np.bincount(piece.rows, piece.counts, len(piece.classes))
        sizes_pred = np.bincount(piece.cols, piece.counts, len(piece.clusters))
        at_row, at_col = piece.rows.astype(np.int32), piece.cols.astype(np.int32)
        pairs = Pairs(at_row, at_col, piece.counts, len(piece.counts), sizes_true, sizes_pred)
        counted = CountedClusterings(pairs, rows)
        return self._metric(*(counted for _ in self._arguments), **self._options)

    def _contingency(self, piece: LabelPairs) -> Any:
        options = self._all_options
        shape = len(piece.classes), len(piece.clusters)
        counts = piece.counts.astype(options["dtype"])
        if options["sparse"]:
            from scipy.sparse import csr_matrix  # 0.1 s

            return csr_matrix((counts, (piece.rows, piece.cols)), shape=shape)
        cells = np.zeros(shape, counts.dtype)
        cells[piece.rows, piece.cols] = counts
        return cells if options["eps"] is None else cells + options["eps"]
