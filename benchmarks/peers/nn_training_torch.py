"""PyTorch: torch.nn.functional.dropout, and torch.optim.AdamW with its fused kernel."""

from functools import partial
from typing import Any

import numpy as np

from benchmarks.cases.nn_task import BETAS, DECAY, RATE, STEP, P, adamw_judged, dropout_judged
from benchmarks.peers import fastest, require_torch
from benchmarks.registry import Side


def dropout(x: np.ndarray) -> Side:
    torch = require_torch()
    tensor = torch.from_numpy(x)
    functional = torch.nn.functional
    return Side(lambda: functional.dropout(tensor, P, training=True), lambda result: dropout_judged(x, result.numpy()))


def adamw_step(states: dict[str, np.ndarray]) -> Side:
    torch = require_torch()

    def by_optimizer(arrays: dict[str, np.ndarray]) -> Any:
        param = torch.nn.Parameter(torch.from_numpy(arrays["param"]), requires_grad=True)
        param.grad = torch.from_numpy(arrays["grad"])
        optimizer = torch.optim.AdamW([param], lr=RATE, betas=BETAS, weight_decay=DECAY, fused=True)
        optimizer.state[param] = {
            "step": torch.tensor(float(STEP - 1)),
            "exp_avg": torch.from_numpy(arrays["exp_avg"]),
            "exp_avg_sq": torch.from_numpy(arrays["exp_avg_sq"]),
        }
        return optimizer.step

    def by_operator(arrays: dict[str, np.ndarray]) -> Any:
        param, grad, mean, square = ([torch.from_numpy(arrays[name])] for name in arrays)
        options = {"lr": RATE, "beta1": BETAS[0], "beta2": BETAS[1], "weight_decay": DECAY, "eps": 1e-8}
        step = [torch.tensor(float(STEP))]
        return lambda: torch._fused_adamw_(
            param, grad, mean, square, [], step, amsgrad=False, maximize=False, **options
        )

    def side(prepare: Any) -> Side:
        own = {name: array.copy() for name, array in states.items()}
        return Side(prepare(own), lambda _: adamw_judged(states, lambda ends: prepare(ends)()))

    return fastest(
        {
            "torch.optim.AdamW(fused=True)": partial(side, by_optimizer),
            "torch._fused_adamw_": partial(side, by_operator),
        }
    )
