"""A small network for images of digits, forward and backward by the kernels of fastcore.nn: products alone are NumPy's.

x (N, 64) -> [linear -> batch norm? -> gelu -> dropout?] x 2 -> linear -> log softmax (N, 10)
"""

from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from fastcore import nn

FEATURES, CLASSES = 64, 10
BATCH = 32


class Plan(NamedTuple):
    """What holds a network back, if anything.

    dropout : share of hidden values that a step sets to zero; batch_norm : whether hidden layers have it
    decay : weight decay of AdamW; l1 : strength of the L1 penalty on the first layer's weights
    """

    name: str
    dropout: float = 0.0
    batch_norm: bool = False
    decay: float = 0.0
    l1: float = 0.0


class Network:
    """Weights, and what training them needs.

    Parameters
    ----------
    plan : Plan
    hidden : values of a hidden layer
    seed : of the weights at first, the order of rows and the masks of dropout

    Attributes
    ----------
    params : dict of float32 arrays, name -> weights (out, in) as torch.nn.Linear has them, biases, batch norm's
    running : dict, name -> running statistics of batch norm
    """

    def __init__(self, plan: Plan, hidden: int, seed: int) -> None:
        self.plan = plan
        self._random = np.random.default_rng(seed)
        self._seed, self._drawn = seed, 0
        self._steps = 0
        sizes = (FEATURES, hidden, hidden, CLASSES)
        self.params: dict[str, np.ndarray] = {}
        self.running: dict[str, np.ndarray] = {}
        for layer, (size, count) in enumerate(pairwise(sizes)):
            # He et al. 2015, "Delving deep into rectifiers", eq. 10.
            weight = self._random.normal(0.0, np.sqrt(2.0 / size), (count, size)).astype(np.float32)
            self.params |= {f"weight{layer}": weight, f"bias{layer}": np.zeros(count, np.float32)}
            if plan.batch_norm and count == hidden:
                self.params |= {
                    f"scale{layer}": np.ones(count, np.float32),
                    f"shift{layer}": np.zeros(count, np.float32),
                }
                self.running |= {f"mean{layer}": np.zeros(count, np.float32), f"var{layer}": np.ones(count, np.float32)}
        self._states = {name: (np.zeros_like(x), np.zeros_like(x)) for name, x in self.params.items()}

    def _normalization(self, layer: int) -> tuple[np.ndarray, ...]:
        """Running statistics, weight and bias, as `batch_norm` takes them."""
        running, params = self.running, self.params
        return running[f"mean{layer}"], running[f"var{layer}"], params[f"scale{layer}"], params[f"shift{layer}"]

    def forward(self, x: np.ndarray, training: bool = False) -> tuple[np.ndarray, list[dict[str, Any]]]:
        """Log probabilities (N, 10) of rows (N, 64), and what `backward` needs of each hidden layer."""
        saved = []
        for layer in (0, 1):
            kept = {"input": x}
            x = x @ self.params[f"weight{layer}"].T + self.params[f"bias{layer}"]
            if self.plan.batch_norm:
                kept["linear"] = x
                x = nn.batch_norm(x, *self._normalization(layer), training=training)
            kept["normal"], kept["offset"] = x, self._drawn
            x = nn.gelu(x)
            if training and self.plan.dropout:
                x = nn.dropout(x, self.plan.dropout, seed=self._seed, offset=self._drawn, out=x)
                self._drawn += x.size  # so no two steps or layers share their random numbers
            saved.append(kept)
        saved.append({"input": x})
        return nn.log_softmax(x @ self.params["weight2"].T + self.params["bias2"]), saved

    def backward(self, output: np.ndarray, saved: list[dict[str, Any]], labels: np.ndarray) -> dict[str, np.ndarray]:
        """Gradients of the mean negative log-likelihood, by name of the parameter; of `forward` in training."""
        grad = np.zeros_like(output)
        grad[np.arange(len(labels)), labels] = -1.0 / len(labels)
        grad = nn.log_softmax_backward(grad, output)
        grads: dict[str, np.ndarray] = {}
        for layer in (2, 1, 0):
            kept = saved[layer]
            if layer < 2:
                if self.plan.dropout:
                    grad = nn.dropout_backward(grad, self.plan.dropout, seed=self._seed, offset=kept["offset"])
                grad = nn.gelu_backward(grad, kept["normal"])
                if self.plan.batch_norm:
                    grad, grads[f"scale{layer}"], grads[f"shift{layer}"] = nn.batch_norm_backward(
                        grad, kept["linear"], *self._normalization(layer), training=True
                    )
            grads[f"weight{layer}"], grads[f"bias{layer}"] = grad.T @ kept["input"], grad.sum(axis=0)
            grad = grad @ self.params[f"weight{layer}"]
        return grads

    def step(self, x: np.ndarray, labels: np.ndarray, lr: float) -> None:
        """One step of AdamW on a batch; then the proximal operator of the L1 penalty, which makes exact zeros."""
        self._steps += 1
        grads = self.backward(*self.forward(x, training=True), labels)
        for name, param in self.params.items():
            decay = self.plan.decay if name.startswith("weight") else 0.0
            nn.adamw_step(param, grads[name], *self._states[name], self._steps, lr=lr, weight_decay=decay)
        if self.plan.l1:
            self.params["weight0"][...] = nn.soft_threshold(self.params["weight0"], lr * self.plan.l1)

    def train(self, x: np.ndarray, labels: np.ndarray, lr: float) -> None:
        """One epoch, in random order; the last rows that fill no batch wait for the next one."""
        order = self._random.permutation(len(x))
        for rows in order[: len(x) // BATCH * BATCH].reshape(-1, BATCH):
            self.step(x[rows], labels[rows], lr)

    def without_batch_norm(self) -> "Network":
        """The same function at inference, batch norm merged into the linear layers before it."""
        merged = Network(self.plan._replace(batch_norm=False), len(self.params["bias0"]), self._seed)
        for layer in (0, 1):
            linear = f"weight{layer}", f"bias{layer}"
            folded = nn.fold_batch_norm(*(self.params[name] for name in linear), *self._normalization(layer))
            merged.params |= dict(zip(linear, folded))
        merged.params |= {name: self.params[name] for name in ("weight2", "bias2")}
        return merged


def mean_loss(output: np.ndarray, labels: np.ndarray) -> float:
    """Mean negative log-likelihood of log probabilities (N, 10)."""
    return -float(np.mean(output[np.arange(len(labels)), labels], dtype=np.float64))
