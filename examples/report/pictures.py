"""What curves and silhouettes look like, as PNG files."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from examples.report.classification import Predictions
from examples.report.clustering import CLUSTERS, Clustering
from examples.report.measures import Settings
from examples.report.uplift import BINS, Campaign
from fastcore import metrics
from fastcore.metrics import bootstrap

BLUE, RED, GREY = "#0072B2", "#D55E00", "#999999"
# Bands are wide against what more resamples would change.
BAND_RESAMPLES = 200
GRID = np.linspace(0, 1, 201)


def _figure(columns: int) -> tuple[Figure, list[Axes]]:
    figure = Figure(figsize=(5 * columns, 4), layout="constrained")
    return figure, list(np.ravel(figure.subplots(1, columns)))


def _band(axes: Axes, values: Callable[..., np.ndarray], *data: np.ndarray, settings: Settings, **options: Any) -> None:
    """A curve on GRID with its interval at each point."""
    resamples = min(settings.resamples, BAND_RESAMPLES)
    found = bootstrap(values, *data, n_resamples=resamples, seed=settings.seed, **options)
    axes.fill_between(GRID, found.low, found.high, color=BLUE, alpha=0.2, linewidth=0, label="95 % at each point")


def _label(axes: Axes, x: str, y: str) -> None:
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)


def draw_roc(predictions: Predictions, settings: Settings, path: Path) -> None:
    """ROC and precision-recall curves."""
    y, score = predictions

    def true_rate(y: np.ndarray, score: np.ndarray) -> np.ndarray:
        false_rate, rate, _ = metrics.roc_curve(y, score)
        return np.interp(GRID, false_rate, rate)

    def best_precision(y: np.ndarray, score: np.ndarray) -> np.ndarray:
        precision, recall, _ = metrics.precision_recall_curve(y, score)
        # Recall falls: the best precision with at least that recall.
        return np.maximum.accumulate(precision)[len(recall) - np.searchsorted(recall[::-1], GRID, side="left") - 1]

    figure, (roc, pr) = _figure(2)
    _band(roc, true_rate, y, score, settings=settings, strata=y)
    false_rate, rate, _ = metrics.roc_curve(y, score)
    roc.plot(false_rate, rate, color=BLUE, label=f"ROC, area {metrics.roc_auc_score(y, score):.3f}")
    roc.plot([0, 1], [0, 1], color=GREY, linestyle="--", label="by chance")
    _label(roc, "false positive rate", "true positive rate")
    _band(pr, best_precision, y, score, settings=settings)
    precision, recall, _ = metrics.precision_recall_curve(y, score)
    average = metrics.average_precision_score(y, score)
    pr.step(recall, precision, where="post", color=BLUE, label=f"average precision {average:.3f}")
    pr.axhline(y.mean(), color=GREY, linestyle="--", label="by chance")
    pr.set_ylim(0, 1.03)
    _label(pr, "recall", "precision")
    figure.savefig(path)


def draw_lift(predictions: Predictions, settings: Settings, path: Path) -> None:
    """Lift, and the gains it adds up to."""
    y, score = predictions

    taken = np.maximum(GRID, GRID[1])  # of none there is no lift

    def share_found(y: np.ndarray, score: np.ndarray) -> np.ndarray:
        fraction, lift, _ = metrics.lift_curve(y, score)
        return np.interp(taken, np.r_[0, fraction], np.r_[0, fraction * lift])

    def lift_of(y: np.ndarray, score: np.ndarray) -> np.ndarray:
        return share_found(y, score) / taken

    figure, (lifts, gains) = _figure(2)
    fraction, lift, _ = metrics.lift_curve(y, score)
    for axes, values, curve in ((lifts, lift_of, lift), (gains, share_found, fraction * lift)):
        _band(axes, values, y, score, settings=settings)
        axes.plot(fraction, curve, color=BLUE, label="model")
    lifts.axhline(1, color=GREY, linestyle="--", label="by chance")
    lifts.set_ylim(bottom=0)
    gains.plot([0, 1], [0, 1], color=GREY, linestyle="--", label="by chance")
    _label(lifts, "share taken, highest scores first", "lift")
    _label(gains, "share taken, highest scores first", "share of malignant tumours found")
    figure.savefig(path)


def draw_uplift(campaign: Campaign, settings: Settings, path: Path) -> None:
    """Qini and uplift curves, and the effect by percentile, with what is known of it."""
    y, score, treatment, effect = campaign
    data = y, score, treatment
    flat = [x.ravel() for x in data]
    known = np.r_[0, effect.ravel()[np.argsort(-flat[1])].cumsum()]
    figure, (qini, uplift, percentiles) = _figure(3)
    # Half of the rows are treated, and the Qini curve counts their responses.
    for axes, curve, area, scale in (
        (qini, metrics.qini_curve, metrics.qini_auc_score, 0.5),
        (uplift, metrics.uplift_curve, metrics.uplift_auc_score, 1.0),
    ):

        def gained(*columns: np.ndarray, curve: Any = curve) -> np.ndarray:
            rows, values = curve(*(x.ravel() for x in columns))
            return np.interp(GRID, rows / rows[-1], values)

        _band(axes, gained, *data, settings=settings)
        rows, values = curve(*flat)
        axes.plot(rows / rows[-1], values, color=BLUE, label=f"models, score {area(*flat):.3f}")
        axes.plot(np.linspace(0, 1, len(known)), scale * known, color=RED, label="known, same order")
        axes.plot([0, 1], [0, values[-1]], color=GREY, linestyle="--", label="by chance")
    _label(qini, "share treated, highest scores first", "responses gained, Qini")
    _label(uplift, "share treated, highest scores first", "responses gained, uplift")
    found = metrics.uplift_by_percentile(*flat, bins=BINS, std=True)
    places = np.arange(BINS)
    percentiles.bar(places, found.uplift, color=BLUE, alpha=0.5, label="uplift")
    percentiles.errorbar(places, found.uplift, 1.96 * found.std_uplift, fmt="none", ecolor=BLUE, label="± 1.96 std")
    means = [part.mean() for part in np.array_split(np.diff(known), BINS)]
    percentiles.plot(places, means, "o", color=RED, label="known")
    percentiles.set_xticks(places, found.percentile, rotation=45)
    _label(percentiles, "percentile of the score", "effect on the response rate")
    figure.savefig(path)


def draw_silhouettes(clustering: Clustering, path: Path) -> None:
    """The silhouettes of each cluster, sorted, one above the other."""
    _, digits, clusters, silhouettes = clustering
    figure, (axes,) = _figure(1)
    bottom, left = 0, silhouettes.min() - 0.02
    for number in range(CLUSTERS):
        members = clusters == number
        values = np.sort(silhouettes[members])
        axes.fill_betweenx(np.arange(bottom, bottom + len(values)), 0, values, color=(BLUE, RED)[number % 2], alpha=0.6)
        axes.text(left, bottom + len(values) / 2, str(np.bincount(digits[members]).argmax()), ha="right", va="center")
        bottom += len(values) + 20
    axes.axvline(silhouettes.mean(), color="black", linestyle="--", label=f"mean {silhouettes.mean():.3f}")
    axes.set_yticks([])
    _label(axes, "silhouette", "clusters, by their most frequent digit")
    figure.savefig(path)
