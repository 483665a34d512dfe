"""A pipeline without devices: one micro-batch after another through all stages."""

from collections.abc import Callable, Sequence
from typing import Any


def pipeline(
    stages: Sequence[Any], microbatches: Sequence[Any], loss: Callable[..., Any] | None = None, targets: Any = None
) -> tuple[Any, list[dict[str, Any]], list[Any]]:
    """(loss, gradients of each stage, outputs): sums over the micro-batches, in order."""
    total: Any = None
    grads: list[dict[str, Any]] = [{} for _ in stages]
    outputs = []
    for i, x in enumerate(microbatches):
        saved = []
        for stage in stages:
            x, kept = stage.forward(x)
            saved.append(kept)
        outputs.append(x)
        if loss is None:
            continue
        value, grad = loss(x) if targets is None else loss(x, targets[i])
        total = value if total is None else total + value
        for stage, kept, sums in reversed(list(zip(stages, saved, grads))):
            grad, of_params = stage.backward(kept, grad)
            for name, each in of_params.items():
                sums[name] = sums[name] + each if name in sums else each
    return total, grads, outputs
