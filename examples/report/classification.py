"""Malignant tumours: gradient boosting on scikit-learn's breast-cancer set."""

from typing import Any, NamedTuple

import numpy as np
from sklearn.datasets import load_breast_cancer
from sklearn.ensemble import GradientBoostingClassifier
from sklearn.model_selection import train_test_split

from examples.report.measures import Settings, Table

CLASSES = ("benign", "malignant")
FALSE_POSITIVES, RECALL, TAKEN = 0.05, 0.95, 0.2


class Predictions(NamedTuple):
    """Of the rows held out: y (N,) 1 for malignant, score (N,) its probability by the model."""

    y: np.ndarray
    score: np.ndarray


def predict(settings: Settings) -> Predictions:
    """Train on 60 % of the rows, predict the others."""
    x, target = load_breast_cancer(return_X_y=True)
    malignant = (target == 0).astype(np.int64)
    x_train, x_test, y_train, y_test = train_test_split(
        x, malignant, test_size=0.4, stratify=malignant, random_state=settings.seed
    )
    model = GradientBoostingClassifier(random_state=settings.seed).fit(x_train, y_train)
    return Predictions(y_test, model.predict_proba(x_test)[:, 1])


def recall_at(library: Any, y: np.ndarray, score: np.ndarray) -> float:
    """Recall where so many of the negatives are taken for positives."""
    false_rate, true_rate, _ = library.roc_curve(y, score)
    return float(np.interp(FALSE_POSITIVES, false_rate, true_rate))


def precision_at(library: Any, y: np.ndarray, score: np.ndarray) -> float:
    """Best precision with at least that recall."""
    precision, recall, _ = library.precision_recall_curve(y, score)
    return float(precision[recall >= RECALL].max())


def lift_at(library: Any, y: np.ndarray, score: np.ndarray) -> float:
    """Lift of the rows that score highest."""
    fraction, lift, _ = library.lift_curve(y, score)
    # Not the lift itself is straight between two points, but the positives among those taken.
    return float(np.interp(TAKEN, np.r_[0, fraction], np.r_[0, lift * fraction]) / TAKEN)


def area_of_precision_recall(library: Any, y: np.ndarray, score: np.ndarray) -> float:
    precision, recall, _ = library.precision_recall_curve(y, score)
    return float(library.auc(recall, precision))


def each_class(library: Any, y: np.ndarray, picked: np.ndarray) -> np.ndarray:
    """(4, 2): precision, recall, F1 and support of both classes."""
    return np.stack(library.precision_recall_fscore_support(y, picked))


def specificity(library: Any, y: np.ndarray, picked: np.ndarray) -> np.ndarray:
    """(2,): of each class, the share of the other rows that are not taken for it."""
    matrices = library.multilabel_confusion_matrix(y, picked)
    return matrices[:, 0, 0] / matrices[:, 0].sum(1)


def class_metrics(predictions: Predictions, settings: Settings) -> Table:
    """Metrics of the labels predicted."""
    y, score = predictions
    picked = (score >= 0.5).astype(np.int64)
    table = Table(f"Breast cancer, classes: {len(y)} tumours held out, {y.sum()} malignant", settings)
    for name in ("accuracy_score", "precision_score", "recall_score", "f1_score"):
        table.add(name, y, picked)
    table.add("fbeta_score", y, picked, what="recall counts twice", beta=2.0)
    table.add("lift_score", y, picked)
    names = [f"{what}, {kind}" for what in ("precision", "recall", "F1", "support") for kind in CLASSES]
    table.add("precision_recall_fscore_support", y, picked, what=names, how=each_class)
    names = [f"{true}, predicted {pred}" for true in CLASSES for pred in CLASSES]
    table.add("confusion_matrix", y, picked, what=names)
    names = [f"specificity, {kind}" for kind in CLASSES]
    table.add("multilabel_confusion_matrix", y, picked, what=names, how=specificity)
    return table


def ranking_metrics(predictions: Predictions, settings: Settings) -> Table:
    """Metrics of the probabilities predicted."""
    y, score = predictions
    table = Table("Breast cancer, ranking and probabilities", settings)
    # Rates within a class: drawn within each class, as they are defined.
    table.add("roc_auc_score", y, score, strata=y)
    table.add("roc_auc_score", y, score, what="false positives up to 10 %", strata=y, max_fpr=0.1)
    table.add("roc_curve", y, score, what=f"recall at {FALSE_POSITIVES:.0%} false positives", strata=y, how=recall_at)
    table.add("average_precision_score", y, score)
    table.add("auc", y, score, what="of precision over recall", how=area_of_precision_recall)
    table.add("precision_recall_curve", y, score, what=f"precision at {RECALL:.0%} recall", how=precision_at)
    table.add("lift_curve", y, score, what=f"lift of the first {TAKEN:.0%}", how=lift_at)
    table.add("log_loss", y, score)
    table.add("brier_score_loss", y, score)
    table.notes.append("roc_auc_score and roc_curve: rows are drawn within each class (strata=y); else from all rows.")
    return table
