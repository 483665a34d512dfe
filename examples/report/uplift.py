"""A simulated campaign whose effect is known: two models find whom it moves.

Pairs of like people, of whom chance treats one. The response rate without treatment is between 0.15 and 0.65, treatment
adds from -0.05 to 0.25, 0.10 on average over the population: people differ in how they respond for other reasons than
the treatment moves them.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from scipy.special import ndtr
from sklearn.ensemble import GradientBoostingClassifier

from examples.report.measures import PEERS, Settings, Table
from fastcore.metrics import average_treatment_effect, uplift_by_percentile

PAIRS, FEATURES = 8000, 6
TRUE_EFFECT = 0.10
# Of the two in a pair; the spread among people is 1.
UNLIKENESS = 0.1
SHARE, BINS = 0.3, 10


class Campaign(NamedTuple):
    """Each (P, 2), a pair a row.

    y, treatment : 0 or 1; score : predicted effect; effect : the true one, of each person
    """

    y: np.ndarray
    score: np.ndarray
    treatment: np.ndarray
    effect: np.ndarray


def simulate(pairs: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """(x (P, 2, FEATURES), treatment, y, true effects, each (P, 2))."""
    x = rng.standard_normal((pairs, 1, FEATURES)) + UNLIKENESS * rng.standard_normal((pairs, 2, FEATURES))
    treatment = (rng.random((pairs, 1)) < 0.5) ^ np.array([False, True])
    # Symmetric around 0, so that the mean over the population is TRUE_EFFECT exactly.
    effect = TRUE_EFFECT + 0.3 * (ndtr(x[..., 0] + x[..., 1]) - 0.5)
    rate = 0.15 + 0.5 * ndtr(x[..., 1] + 2 * x[..., 2])
    y = rng.random((pairs, 2)) < rate + effect * treatment
    return x, treatment.astype(np.int64), y.astype(np.int64), effect


def run(settings: Settings) -> Campaign:
    """Train on half of the pairs, score the others."""
    x, treatment, y, effect = simulate(PAIRS, np.random.default_rng(settings.seed))
    train, test = slice(PAIRS // 2), slice(PAIRS // 2, None)
    chances = []
    for group in (1, 0):
        rows = treatment[train] == group
        model = GradientBoostingClassifier(n_estimators=60, max_depth=2, subsample=0.7, random_state=settings.seed)
        model.fit(x[train][rows], y[train][rows])
        chances.append(model.predict_proba(x[test].reshape(-1, FEATURES))[:, 1].reshape(-1, 2))
    return Campaign(y[test], chances[0] - chances[1], treatment[test], effect[test])


def by_rows(name: str, **options: Any) -> Callable[..., Any]:
    """A metric of rows as one of pairs, so that resamples draw pairs: the two of a pair are not independent."""
    return lambda library, *columns: getattr(library, name)(*map(np.ravel, columns), **options)


def curve_at(name: str) -> Callable[..., float]:
    """Value of a curve where the first SHARE of the rows is treated."""

    def value(library: Any, *columns: np.ndarray) -> float:
        rows, gained = getattr(library, name)(*map(np.ravel, columns))
        return float(np.interp(SHARE * rows[-1], rows, gained))

    return value


def effect_of_percentile(library: Any, *columns: np.ndarray) -> np.ndarray:
    found = library.uplift_by_percentile(*map(np.ravel, columns), bins=BINS)
    return found["uplift"] if isinstance(found, dict) else found.uplift


def treatment_effects(campaign: Campaign, settings: Settings) -> Table:
    """The effect of the campaign on all."""
    y, treatment = campaign.y, campaign.treatment
    table = Table(f"Campaign, effect: {y.size} people in {len(y)} pairs, {y.mean():.0%} respond", settings)
    pairs = np.repeat(np.arange(len(y)), 2)
    for what, matches in (("difference in means, Welch", None), ("matched pairs, Student", pairs)):
        found = average_treatment_effect(y.ravel(), treatment.ravel(), pairs=matches)
        theirs = PEERS.average_treatment_effect(y.ravel(), treatment.ravel(), pairs=matches)
        table.put("average_treatment_effect", what, found.effect, found[2:4], theirs[0], TRUE_EFFECT)
        nan = (np.nan, np.nan)
        table.put("average_treatment_effect", "its standard error", found.standard_error, nan, theirs[1])
    table.add("uplift", y, treatment, what="pairs resampled", how=by_rows("uplift"), truth=TRUE_EFFECT)
    table.notes.append(
        "Intervals of average_treatment_effect are its own, the other by bootstrap. Known is the population's mean."
    )
    return table


def uplift_metrics(campaign: Campaign, settings: Settings) -> Table:
    """How well the models find whom to treat."""
    y, score, treatment, effect = campaign
    table = Table("Campaign, uplift by two models", settings)
    data = y, score, treatment
    falling = np.argsort(-score.ravel())
    known = effect.ravel()[falling]
    first = known[: int(SHARE * known.size)]
    # Groups are half of all rows each, and no score prefers one.
    for strategy in ("overall", "by_group"):
        how = by_rows("uplift_at_k", strategy=strategy, k=SHARE)
        table.add("uplift_at_k", *data, what=f"first {SHARE:.0%}, {strategy}", how=how, truth=first.mean())
    what = f"gained by the first {SHARE:.0%}"
    table.add("uplift_curve", *data, what=what, how=curve_at("uplift_curve"), truth=first.sum())
    table.add("qini_curve", *data, what=what, how=curve_at("qini_curve"), truth=first.sum() / 2)
    for name in ("uplift_auc_score", "qini_auc_score"):
        table.add(name, *data, how=by_rows(name))
        table.add(name, y, effect, treatment, what="ranked by the true effect", how=by_rows(name))
    names = uplift_by_percentile(*map(np.ravel, data), bins=BINS).percentile
    means = [part.mean() for part in np.array_split(known, BINS)]
    labels = [f"{name} %" for name in names]
    table.add("uplift_by_percentile", *data, what=labels, how=effect_of_percentile, truth=means)
    table.notes += [
        "Resamples draw pairs. Known is what the true effects of these people add up to in the same order, for"
        " qini_curve with half of them treated.",
        "The models do not train again: intervals are of these scores on other people.",
    ]
    return table
