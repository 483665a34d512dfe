"""How each other library is asked for the same result.

The rule is that a peer runs as its own documentation would have it run fast: inputs in the layout it prefers, in its
own memory, sessions and compiled functions made beforehand, as many threads as we use, its default spinning, and
float32 where we compute float32. Where a library offers several ways and the best one is not obvious, `fastest` tries
them all.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from importlib import import_module
from types import ModuleType

from benchmarks.environment import thread_count
from benchmarks.registry import Side, Unavailable

LONG_TRIAL_S = 0.1


def require(module: str) -> ModuleType:
    """Import an optional package."""
    try:
        return import_module(module)
    except ImportError as error:
        raise Unavailable(f"{module} is not installed ({error})") from None


def require_torch() -> ModuleType:
    """PyTorch without gradients, set once: to enter `inference_mode` in each call costs tiny calls a microsecond."""
    torch = require("torch")
    torch.set_num_threads(thread_count())
    torch.set_grad_enabled(False)
    return torch


def fastest(variants: Mapping[str, Callable[[], Side]]) -> Side:
    """The variant with the fastest of three calls, the others behind it; without those the library refuses."""
    found: list[tuple[float, Side]] = []
    refused = []
    for setup, prepare in variants.items():
        try:
            side = prepare()
            side.call()
        except Exception as error:  # each library has exceptions of its own; all of them mean "not this way"
            refused.append(f"{setup}: {str(error).strip().splitlines()[0] if str(error).strip() else error!r}"[:300])
            continue
        found.append((trial(side) if len(variants) > 1 else 0.0, replace(side, setup=setup)))
    if not found:
        raise Unavailable("; ".join(refused))
    first, *slower = (side for _, side in sorted(found, key=lambda timed: timed[0]))
    return replace(first, slower=tuple(slower))


def trial(side: Side) -> float:
    """Fastest of three calls; of one if calls are long."""
    seconds = float("inf")
    for _ in range(3):
        start = time.perf_counter()
        side.call()
        seconds = min(seconds, time.perf_counter() - start)
        if seconds > LONG_TRIAL_S:
            break
    return seconds
