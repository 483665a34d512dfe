"""What dropout, batch norm, L1 and L2 change for a network that sees few digits: over several seeds, with spreads."""

from typing import NamedTuple

import numpy as np
from scipy.stats import t as student_t
from sklearn.datasets import load_digits

from examples.regularized.network import Network, Plan, mean_loss

PLANS = (
    Plan("none"),
    Plan("L2, decay 1", decay=1.0),
    Plan("L1 on layer 1, 0.3", l1=0.3),
    Plan("dropout 0.3", dropout=0.3),
    Plan("batch norm", batch_norm=True),
    Plan("both of these", dropout=0.3, batch_norm=True),
)
TRAIN = 200
HIDDEN = 128
LEARNING_RATE = 2e-3


class Course(NamedTuple):
    """A network's training: test loss and accuracy after each epoch, and what it is at the end.

    loss_train, accuracy_train : on the rows it has seen, as at inference
    zeros : share of the first layer's weights that are exactly 0; length : of these weights
    folded : largest difference of log probabilities once batch norm is merged into the linear layers; NaN without
    """

    losses: np.ndarray
    accuracies: np.ndarray
    loss_train: float
    accuracy_train: float
    zeros: float
    length: float
    folded: float


def load() -> tuple[np.ndarray, np.ndarray]:
    """Images (N, 64) float32 of mean 0 and deviation 1 or so, and digits (N,)."""
    set_ = load_digits()
    return ((set_.data - 8.0) / 6.0).astype(np.float32), set_.target


def train(data: tuple[np.ndarray, np.ndarray], plan: Plan, epochs: int, seed: int, hidden: int = HIDDEN) -> Course:
    """One network: `TRAIN` rows drawn by the seed to train, all others to test."""
    x, labels = data
    rows = np.random.default_rng([seed, 7]).permutation(len(x))
    seen, unseen = rows[:TRAIN], rows[TRAIN:]
    network = Network(plan, hidden, seed)
    losses, accuracies = [], []
    for _ in range(epochs):
        network.train(x[seen], labels[seen], LEARNING_RATE)
        output, _ = network.forward(x[unseen])
        losses.append(mean_loss(output, labels[unseen]))
        accuracies.append(np.mean(output.argmax(axis=1) == labels[unseen]))
    at_end, _ = network.forward(x[seen])
    folded = float("nan")
    if plan.batch_norm:
        folded = float(np.abs(network.without_batch_norm().forward(x[unseen])[0] - output).max())
    first = network.params["weight0"]
    return Course(
        np.array(losses),
        np.array(accuracies),
        mean_loss(at_end, labels[seen]),
        float(np.mean(at_end.argmax(axis=1) == labels[seen])),
        float(np.mean(first == 0.0)),
        float(np.linalg.norm(first)),
        folded,
    )


def train_all(epochs: int, seeds: int, hidden: int = HIDDEN) -> dict[str, list[Course]]:
    """Plan -> a course for each seed; all plans have the same rows and first weights at the same seed."""
    data = load()
    return {plan.name: [train(data, plan, epochs, seed, hidden) for seed in range(seeds)] for plan in PLANS}


class Effect(NamedTuple):
    """What a plan changes against none: mean of the differences seed by seed, and half of its 95 % interval."""

    mean: float
    half: float

    @property
    def is_seen(self) -> bool:
        return abs(self.mean) > self.half


def effect(values: list[float], of_none: list[float]) -> Effect:
    """By Student's t: seeds are independent draws of rows and first weights, the same for both."""
    differences = np.subtract(values, of_none)
    error = differences.std(ddof=1) / np.sqrt(len(differences))
    return Effect(float(differences.mean()), float(error * student_t.ppf(0.975, len(differences) - 1)))
