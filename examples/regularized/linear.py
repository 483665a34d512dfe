"""Progression of diabetes by linear models: what L1 sets to zero, what L2 shrinks, against scikit-learn's.

64 columns, as in Efron et al. 2004, "Least angle regression", section 3: ten measurements of 442 patients, their
products, and their squares but that of sex, which has two values.
"""

from collections.abc import Callable
from itertools import combinations_with_replacement
from typing import NamedTuple

import numpy as np
from sklearn.datasets import load_diabetes
from sklearn.linear_model import ElasticNet, Lasso, Ridge

from fastcore import metrics, nn

L1_RATIO = 0.5
# Strengths from where the lasso has nothing left, 45 on these data, down to where it has hardly an effect.
STRENGTHS = np.geomspace(50.0, 0.05, 16)
MOST_STEPS = 20_000


class Data(NamedTuple):
    """Rows of patients: columns (N, 64) of mean 0 and deviation 1, progression (N,) of mean 0, and columns' names."""

    x: np.ndarray
    y: np.ndarray
    names: list[str]


class Penalty(NamedTuple):
    """A penalty as fastcore.nn has it.

    value : (weights, alpha) -> float; proximal : (weights, strength) -> argmin of penalty + |w - weights|²/2
    theirs : alpha, number of rows -> scikit-learn's model of the same problem
    """

    name: str
    value: Callable[[np.ndarray, float], float]
    proximal: Callable[[np.ndarray, float], np.ndarray]
    theirs: Callable[[float, int], object]


# scikit-learn's Ridge adds up the squares of the errors where the other two take half of their mean.
PENALTIES = (
    Penalty(
        "L2 (ridge)",
        lambda w, alpha: nn.l2_penalty(w, alpha).value,
        nn.prox_l2,
        lambda alpha, rows: Ridge(alpha=alpha * rows, fit_intercept=False, solver="svd"),
    ),
    Penalty(
        "L1 (lasso)",
        lambda w, alpha: nn.l1_penalty(w, alpha).value,
        nn.soft_threshold,
        lambda alpha, rows: Lasso(alpha=alpha, fit_intercept=False, tol=1e-13, max_iter=1_000_000),
    ),
    Penalty(
        "elastic net",
        lambda w, alpha: nn.elastic_net_penalty(w, alpha, L1_RATIO).value,
        lambda w, strength: nn.prox_elastic_net(w, strength, L1_RATIO),
        lambda alpha, rows: ElasticNet(
            alpha=alpha, l1_ratio=L1_RATIO, fit_intercept=False, tol=1e-13, max_iter=1_000_000
        ),
    ),
)


def load() -> Data:
    """All patients."""
    set_ = load_diabetes(scaled=False)
    x, names = _scaled(set_.data, set_.data), list(set_.feature_names)
    pairs = [pair for pair in combinations_with_replacement(range(len(names)), 2) if pair != (1, 1)]
    products = [x[:, i] * x[:, j] for i, j in pairs]
    names += [f"{names[i]} {names[j]}" if i != j else f"{names[i]}²" for i, j in pairs]
    x = np.column_stack([x, *products])
    return Data(_scaled(x, x), set_.target - set_.target.mean(), names)


def _scaled(x: np.ndarray, by: np.ndarray) -> np.ndarray:
    return (x - by.mean(axis=0)) / by.std(axis=0)


def fit(
    x: np.ndarray,
    y: np.ndarray,
    penalty: Penalty,
    alpha: float,
    start: np.ndarray | None = None,
    tolerance: float = 1e-12,
) -> np.ndarray:
    """Weights (D,) that minimise |y - x w|² / (2 N) + penalty(w, alpha).

    Proximal gradient with momentum (Beck and Teboulle 2009, "A fast iterative shrinkage-thresholding algorithm",
    section 4), which begins anew where it overshoots (O'Donoghue and Candès 2015, section 3.2).
    """
    gram, target = x.T @ x / len(x), x.T @ y / len(x)
    rate = 1.0 / np.linalg.eigvalsh(gram)[-1]
    weights = np.zeros(x.shape[1]) if start is None else start
    ahead, inertia = weights, 1.0
    for _ in range(MOST_STEPS):
        following = penalty.proximal(nn.sgd_step(ahead.copy(), gram @ ahead - target, lr=rate), rate * alpha)
        change = following - weights
        if (ahead - following) @ change > 0.0:
            inertia = 1.0
        next_inertia = (1.0 + np.sqrt(1.0 + 4.0 * inertia * inertia)) / 2.0
        ahead = following + (inertia - 1.0) / next_inertia * change
        weights, inertia = following, next_inertia
        if np.abs(change).max() <= tolerance * (1.0 + np.abs(weights).max()):
            break
    return weights


def loss(x: np.ndarray, y: np.ndarray, penalty: Penalty, alpha: float, weights: np.ndarray) -> float:
    """What `fit` minimises."""
    return float(np.mean((y - x @ weights) ** 2)) / 2.0 + penalty.value(weights, alpha)


def path(x: np.ndarray, y: np.ndarray, penalty: Penalty, strengths: np.ndarray) -> np.ndarray:
    """Weights (strengths, D) to six digits, each from those of the strength before."""
    found: list[np.ndarray] = []
    for alpha in strengths:
        found.append(fit(x, y, penalty, float(alpha), found[-1] if found else None, 1e-7))
    return np.array(found)


class Agreement(NamedTuple):
    """Weights beside scikit-learn's on the same problem.

    difference : largest, of weights, relative to the largest weight
    excess : of our loss over theirs, relative: negative where ours is lower
    zeros : how many weights are exactly 0, here and there
    """

    name: str
    alpha: float
    difference: float
    excess: float
    zeros: tuple[int, int]


def agreement(data: Data, penalty: Penalty, alpha: float) -> Agreement:
    ours = fit(data.x, data.y, penalty, alpha)
    theirs = np.ravel(penalty.theirs(alpha, len(data.y)).fit(data.x, data.y).coef_)  # type: ignore[attr-defined]
    losses = [loss(data.x, data.y, penalty, alpha, w) for w in (ours, theirs)]
    return Agreement(
        penalty.name,
        alpha,
        float(np.abs(ours - theirs).max() / np.abs(theirs).max()),
        float(losses[0] / losses[1] - 1.0),
        (int(np.sum(ours == 0.0)), int(np.sum(theirs == 0.0))),
    )


class Score(NamedTuple):
    """A model of one split: its strength, how many weights are not 0, their length, and R² on both parts."""

    alpha: float
    used: int
    length: float
    r2_train: float
    r2_test: float


def compare(data: Data, seeds: int, strengths: np.ndarray = STRENGTHS) -> dict[str, list[Score]]:
    """Model -> a score for each random split: half to train, a quarter to choose the strength by, a quarter to test."""
    scores: dict[str, list[Score]] = {"no penalty": [], **{penalty.name: [] for penalty in PENALTIES}}
    for seed in range(seeds):
        rows = np.random.default_rng(seed).permutation(len(data.y))
        train, choose, test = np.split(rows, [len(rows) // 2, len(rows) * 3 // 4])
        x, y = _scaled(data.x, data.x[train]), data.y - data.y[train].mean()

        def score(weights: np.ndarray, alpha: float, parts: tuple = (x, y, train, test)) -> Score:
            x, y, train, test = parts
            r2 = [float(metrics.r2_score(y[part], x[part] @ weights)) for part in (train, test)]
            return Score(alpha, int(np.count_nonzero(weights)), float(np.linalg.norm(weights)), *r2)

        plain = np.linalg.lstsq(x[train], y[train])[0]
        scores["no penalty"].append(score(plain, 0.0))
        for penalty in PENALTIES:
            found = path(x[train], y[train], penalty, strengths)
            errors = [metrics.mean_squared_error(y[choose], x[choose] @ weights) for weights in found]
            best = int(np.argmin(errors))
            scores[penalty.name].append(score(found[best], float(strengths[best])))
    return scores
