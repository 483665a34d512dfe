"""dropout and a step of AdamW."""

from collections.abc import Callable
from functools import partial
from typing import Any
from zlib import crc32

import numpy as np

from benchmarks.cases.nn_task import (
    BETAS,
    CHECKED_ELEMENTS,
    DECAY,
    RATE,
    STEP,
    P,
    adamw_judged,
    dropout_judged,
)
from benchmarks.peers import nn_training_torch
from benchmarks.registry import Case, Check, Side
from fastcore import nn, reference

SEED = 7


# --- dropout --------------------------------------------------------------------------------------------------------


def _dropout_input(size: int) -> np.ndarray:
    return 0.5 + np.random.default_rng(crc32(b"dropout")).random(size, dtype=np.float32)


def _dropout_ours(x: np.ndarray) -> Side:
    def collect(result: np.ndarray) -> np.ndarray:
        """Besides what all sides are judged by: parts of it are the twin's, bit for bit."""
        for first in (0, x.size // 2 + 1, x.size - CHECKED_ELEMENTS):
            part = slice(first, first + CHECKED_ELEMENTS)
            if not np.array_equal(result[part], reference.dropout(x[part], P, seed=SEED, offset=first)):
                raise ValueError(f"dropout differs from its twin in elements {part.start} to {part.stop}.")
        return dropout_judged(x, result)

    return Side(lambda: nn.dropout(x, P, seed=SEED), collect)


def _dropout_naive(x: np.ndarray) -> Side:
    random = np.random.default_rng(SEED)
    scale = np.float32(1 / (1 - P))
    return Side(lambda: x * (random.random(x.shape, dtype=np.float32) >= P) * scale, partial(dropout_judged, x))


def dropout_case(size: int) -> Case:
    expected = np.array([1 - P, (1 - P) ** 2, 1 / (1 - P), 1 / (1 - P)])
    return Case(
        name=f"nn/dropout/f32/N{size}/p{P}",
        group="nn dropout float32",
        sizes={"N": size},
        dtype="float32",
        make=partial(_dropout_input, size),
        ours=_dropout_ours,
        naive=_dropout_naive,
        check=lambda x: Check(lambda result: result, expected),
        flops=20.0 * size,
        bytes_moved=8.0 * size,
        tolerance=5 / size**0.5,  # ten deviations of the share kept
        ceiling="bytes",
        peers={"torch": nn_training_torch.dropout},
    )


# --- AdamW ----------------------------------------------------------------------------------------------------------


def _states(size: int) -> dict[str, np.ndarray]:
    random = np.random.default_rng(crc32(b"adamw"))
    arrays = {name: random.standard_normal(size, dtype=np.float32) for name in ("param", "grad", "exp_avg")}
    return arrays | {"exp_avg_sq": random.random(size, dtype=np.float32)}


def _step_of(library: Any) -> Callable[[dict[str, np.ndarray]], Any]:
    return lambda states: library.adamw_step(*states.values(), STEP, lr=RATE, betas=BETAS, weight_decay=DECAY)


def _naive_step(states: dict[str, np.ndarray]) -> None:
    param, grad, mean, square = states.values()
    param *= 1 - RATE * DECAY
    mean += (1 - BETAS[0]) * (grad - mean)
    square *= BETAS[1]
    square += (1 - BETAS[1]) * grad * grad
    root = np.sqrt(square) / (1 - BETAS[1] ** STEP) ** 0.5 + 1e-8
    param -= RATE / (1 - BETAS[0] ** STEP) * mean / root


def _side(step: Callable[[dict[str, np.ndarray]], Any], states: dict[str, np.ndarray]) -> Side:
    own = {name: array.copy() for name, array in states.items()}
    return Side(lambda: step(own), lambda _: adamw_judged(states, step))


def _adamw_check(states: dict[str, np.ndarray]) -> Check:
    in_double = {name: array.astype(np.float64) for name, array in states.items()}
    return Check(lambda result: result, adamw_judged(in_double, _step_of(reference)))


def adamw_case(size: int) -> Case:
    return Case(
        name=f"nn/adamw_step/f32/N{size}",
        group="nn adamw_step float32",
        sizes={"N": size},
        dtype="float32",
        make=partial(_states, size),
        ours=partial(_side, _step_of(nn)),
        naive=partial(_side, _naive_step),
        check=_adamw_check,
        flops=17.0 * size,
        bytes_moved=28.0 * size,
        tolerance=5e-4,  # of the change, which is a thousandth of a parameter
        ceiling="bytes",
        peers={"torch": nn_training_torch.adamw_step},
    )


def cases() -> list[Case]:
    return [dropout_case(100_000_000), adamw_case(10_000_000)]
