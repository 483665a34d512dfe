"""The rows of docs/metrics.md whose last column begins with "the same": calls that end as scikit-learn's do."""

import numpy as np
from scipy import sparse

NAN, INF = np.nan, np.inf
LABELS = [0, 1, 1, 0, 1]
SCORES = [0.1, 0.2, 0.3, 0.4]
POINTS = np.array([[0.0, 0.0], [0.5, 0.25], [1.0, 0.5], [2.0, 2.5], [2.5, 2.0], [3.0, 4.0]])
CLUSTERS = [0, 0, 0, 1, 1, 1]
DISTANCES = np.array([[0, 1, 2, 3], [9, 0, 2, 3], [2, 2, 0, 1], [3, 3, 1, 0.0]])
INDICATORS = np.array([[1, 1], [0, 0], [0, 1]]), np.array([[1, 0], [0, 1], [0, 1]])


def call(name, *arguments, **options):
    return name, arguments, options


SAME = {
    # labels
    "NaN or infinity among labels": [
        call("f1_score", np.array([0.0, NAN]), np.array([0.0, 1.0])),
        call("accuracy_score", np.array([0.0, INF]), np.array([0.0, 1.0])),
    ],
    "labels that are no integers, such as 0.5": [
        call("f1_score", np.array([0.0, 0.5]), np.array([0.0, 1.0])),
        call("f1_score", np.array([0.0, 0.5]), np.array([0.0, 0.5])),
    ],
    "no samples": [call(name, [], []) for name in ("f1_score", "accuracy_score", "confusion_matrix", "roc_auc_score")],
    "one class only, and it is pos_label": [call("f1_score", [1, 1], [1, 1])],
    "one class only, and it is not pos_label": [call("f1_score", [0, 0], [0, 0]), call("recall_score", [0, 0], [0, 0])],
    "pos_label is neither of the two labels": [call("f1_score", [0, 2], [0, 2])],
    "labels {0, 2}, {-1, 1}, strings, bools, integers beyond 2**63": [
        call("f1_score", [0, 2, 2], [0, 2, 0], pos_label=2),
        call("f1_score", [-1, 1, 1], [-1, 1, -1]),
        call("f1_score", ["a", "b", "b"], ["a", "b", "a"], pos_label="b"),
        call("f1_score", np.array([False, True]), np.array([True, True])),
        call("f1_score", np.array([2**64 - 1, 2**64 - 2], "u8"), np.full(2, 2**64 - 1, "u8"), pos_label=2**64 - 1),
    ],
    "labels -0.0 and 0.0": [call("confusion_matrix", np.array([-0.0, 1.0]), np.array([0.0, 1.0]))],
    "integers beyond 2**53": [call("confusion_matrix", [2**53, 2**53 + 1], [2**53, 2**53])],
    "0 / 0": [
        call(name, [0, 1, 0], [0, 0, 0], zero_division=choice)
        for name in ("precision_score", "f1_score")
        for choice in ("warn", 0, 1, NAN)
    ],
    "weights of zero": [
        call("f1_score", [0, 1, 1], [0, 1, 0], sample_weight=[1, 0, 0]),
        call("accuracy_score", [0, 1, 1], [0, 1, 0], sample_weight=[1, 0, 1]),
    ],
    "all weights zero": [
        call("f1_score", [0, 1], [0, 1], sample_weight=[0, 0]),
        call("roc_auc_score", [0, 1], [0.1, 0.2], sample_weight=[0, 0]),
        call("log_loss", [0, 1], [0.1, 0.2], sample_weight=[0, 0]),
        call("r2_score", [1.0, 2.0], [1.0, 3.0], sample_weight=[0, 0]),
    ],
    "negative weights": [
        call("f1_score", [0, 1, 1], [1, 1, 0], sample_weight=[-1, 2.0, 1]),
        call("accuracy_score", [0, 1, 1], [1, 1, 0], sample_weight=[-1, 2.0, 1]),
        call("r2_score", [1.0, 2, 4], [1.0, 3, 3], sample_weight=[2, -1, 1]),
    ],
    "integer weights of a confusion matrix": [call("confusion_matrix", [0, 0], [0, 0], sample_weight=[2**53, 1])],
    "strings beside numbers in classification": [call("f1_score", np.array(["a", "b"]), np.array([0, 1]))],
    "label indicators, dense and sparse": [
        call("f1_score", *(kind(x) for x in INDICATORS), average=average)
        for kind in (np.array, sparse.csr_matrix)
        for average in ("micro", "macro", "weighted", "samples", None)
    ],
    # scores
    "one class in y_true: area and curve": [
        call("roc_auc_score", [1, 1], [0.1, 0.2]),
        call("roc_curve", [1, 1], [0.1, 0.2]),
    ],
    "no positives: average precision": [
        call("average_precision_score", [0, 0], [0.1, 0.2]),
        call("precision_recall_curve", [0, 0], [0.1, 0.2]),
    ],
    "all scores equal": [call("roc_auc_score", LABELS, [0.5] * 5), call("roc_curve", LABELS, [0.5] * 5)],
    "scores -0.0 and 0.0": [call("roc_auc_score", [0, 1], [-0.0, 0.0])],
    "integer scores beyond 2**53 and 2**63": [
        call("roc_auc_score", [0, 1], [2**53, 2**53 + 1]),
        call("roc_auc_score", [0, 1], np.array([2**63, 2**63 + 1], "u8")),
    ],
    "y_true {0, 2} without pos_label": [
        call("roc_curve", [0, 2], [0.1, 0.2]),
        call("roc_auc_score", [0, 2], [0.1, 0.2]),
    ],
    "samples of weight zero in a curve": [call("roc_curve", [0, 1, 1], [0.1, 0.2, 0.3], sample_weight=[1, 1, 0])],
    "negative weights of an area": [
        call("roc_auc_score", [0, 1, 1, 0], SCORES, sample_weight=[1, 1, -0.5, 2]),
        call("roc_auc_score", [0, 1, 1, 0], SCORES, sample_weight=[2, 1, 1, -0.5]),
    ],
    "probabilities outside [0, 1]": [call(name, [0, 1], [0.1, 1.2]) for name in ("log_loss", "brier_score_loss")],
    "probabilities of exactly 0 and 1": [call("log_loss", [0, 1], [0.0, 1.0]), call("log_loss", [0, 1], [1.0, 0.0])],
    # regression
    "no rows": [call(name, [], []) for name in ("mean_squared_error", "r2_score")],
    "constant targets, force_finite=False": [
        call("r2_score", [2.0, 2.0], [1.0, 2.0], force_finite=False),
        call("r2_score", [2.0, 2.0], [2.0, 2.0], force_finite=False),
    ],
    "one row, R²": [call("r2_score", [1.0], [2.0])],
    "target of 0, mean absolute percentage error": [call("mean_absolute_percentage_error", [0.0, 1], [1.0, 1])],
    "int64 beyond 2**53, means": [call("mean_absolute_error", [2**53], [2**53 + 1])],
    "integers beside float32": [call("mean_squared_error", np.array([2**24 + 1]), np.array([2**24], "f4"))],
    "several outputs, max_error": [call("max_error", [[1.0, 2]], [[1.0, 3]])],
    # clusterings
    "no labels": [
        call(name, [], []) for name in ("adjusted_mutual_info_score", "adjusted_rand_score", "v_measure_score")
    ],
    "NaN among labels of a clustering": [
        call(name, [0.0, NAN], [0.0, 1.0]) for name in ("adjusted_rand_score", "mutual_info_score")
    ],
    "strings on one side, numbers on the other": [call("adjusted_rand_score", ["a", "b"], [0, 1])],
    "labels that are fractions, in a clustering": [call("adjusted_rand_score", [0.5, 0.2], [0, 1])],
    "one cluster on both sides": [
        call(name, [0, 0], [0, 0]) for name in ("adjusted_mutual_info_score", "adjusted_rand_score")
    ],
    "negative cell in contingency": [
        call("mutual_info_score", None, None, contingency=np.array([[3, -2], [1, 4]])),
    ],
    # silhouettes
    "a cluster of one point": [call("silhouette_samples", POINTS, [0, 1, 1, 2, 2, 2])],
    "points that are all equal": [call("silhouette_samples", np.zeros((4, 2)), [0, 0, 1, 1])],
    "a zero row, cosine": [call("silhouette_samples", POINTS, CLUSTERS, metric="cosine")],
    "one label, or as many as points": [
        call("silhouette_score", POINTS, [0] * 6),
        call("silhouette_score", POINTS, range(6)),
    ],
    "distances that are not symmetric": [call("silhouette_samples", DISTANCES, [0, 0, 1, 1], metric="precomputed")],
    "distances with a diagonal that is not 0, or negative": [
        call("silhouette_score", DISTANCES + 1, [0, 0, 1, 1], metric="precomputed"),
        call("silhouette_score", -DISTANCES, [0, 0, 1, 1], metric="precomputed"),
    ],
    "sample_size with a random_state": [call("silhouette_score", POINTS, CLUSTERS, sample_size=5, random_state=0)],
}
