"""Rotary position embedding, written from its definition."""

import math
from typing import Any

import numpy as np


def rotary_frequencies(size: int, base: float = 10000.0, scaling: Any = None) -> tuple[np.ndarray, float]:
    """Angle a position of each of the `size` / 2 pairs, and the factor of cos and sin.

    Parameters
    ----------
    size : int, even; rotated elements of a head
    base, scaling : as in `fastcore.kvcache.rotary_embedding`

    Returns
    -------
    (size / 2,) float64, float
    """
    frequencies = base ** -(np.arange(0, size, 2) / size)
    if scaling is None:
        return frequencies, 1.0
    options = dict(scaling) if isinstance(scaling, dict | tuple) else {"rope_type": "linear", "factor": scaling}
    kind = options.get("rope_type", options.get("type", "default"))
    if kind == "linear":
        return frequencies / options["factor"], 1.0
    if kind == "llama3":
        return _llama3(frequencies, options), 1.0
    if kind == "yarn":
        return _yarn(frequencies, size, base, options)
    return frequencies, 1.0


def _llama3(frequencies: np.ndarray, options: dict[str, Any]) -> np.ndarray:
    """Short waves as they are, long ones stretched by the factor, in between a blend of both."""
    low, high = options["low_freq_factor"], options["high_freq_factor"]
    waves = options["original_max_position_embeddings"] * frequencies / (2 * math.pi)  # in the trained context
    share = np.clip((waves - low) / (high - low), 0, 1)
    return (1 - share) * frequencies / options["factor"] + share * frequencies


def _yarn(frequencies: np.ndarray, size: int, base: float, options: dict[str, Any]) -> tuple[np.ndarray, float]:
    """As `_llama3`, the blend linear in the index of the pair; cos and sin grow with the factor."""
    factor, context = options["factor"], options["original_max_position_embeddings"]

    def pair_that_turns(times: float) -> float:
        return size * math.log(context / (times * 2 * math.pi)) / (2 * math.log(base))

    first = pair_that_turns(options.get("beta_fast") or 32)
    last = pair_that_turns(options.get("beta_slow") or 1)
    if options.get("truncate", True):
        first, last = math.floor(first), math.ceil(last)
    first, last = max(first, 0), min(last, size - 1)
    stretched = np.clip((np.arange(size // 2) - first) / (last - first if last != first else 0.001), 0, 1)
    blend = stretched * frequencies / factor + (1 - stretched) * frequencies

    def growth(mscale: float) -> float:
        return 0.1 * mscale * math.log(factor) + 1 if factor > 1 else 1.0

    attention_factor = options.get("attention_factor")
    if attention_factor is None:
        mscale, all_dim = options.get("mscale"), options.get("mscale_all_dim")
        attention_factor = growth(mscale) / growth(all_dim) if mscale and all_dim else growth(1)
    return blend, attention_factor


def rotary_embedding(
    x: Any,
    positions: Any,
    *,
    base: float = 10000.0,
    interleaved: bool = False,
    scaling: Any = None,
    rotary_dim: int | None = None,
    out: np.ndarray | None = None,
) -> np.ndarray:
    """Twin of `fastcore.kvcache.rotary_embedding`: angles in float64; then float64 for float64, else float32.

    Parameters
    ----------
    x : (..., H, T, D) or (T, D)
    positions : (T,) or what broadcasts to the axes of x without heads and D
    base, ... : as in the public function

    Returns
    -------
    The shape and dtype of x
    """
    given = np.asarray(x)
    y = given.astype(np.float64 if given.dtype == np.float64 else np.float32)
    size = y.shape[-1] if rotary_dim is None else rotary_dim
    frequencies, factor = rotary_frequencies(size, base, scaling)
    angles = np.asarray(positions).astype(np.float64)[..., None] * frequencies
    if angles.ndim > 2:
        angles = angles[..., None, :, :]  # one for all heads
    cos, sin = (factor * np.cos(angles)).astype(y.dtype), (factor * np.sin(angles)).astype(y.dtype)
    first = slice(0, size, 2) if interleaved else slice(0, size // 2)
    second = slice(1, size, 2) if interleaved else slice(size // 2, size)
    a, b = y[..., first].copy(), y[..., second].copy()
    y[..., first], y[..., second] = a * cos - b * sin, b * cos + a * sin
    y = y.astype(given.dtype)
    if out is None:
        return y
    out[...] = y
    return out
