"""Rotary position embedding, as a function and as the object that caches keep."""

import functools
import math
import threading
from dataclasses import dataclass
from typing import Any

import numpy as np

from fastcore._core import validate, validate_rotary
from fastcore.kvcache.kernels.rotary import rotate

# Positions from 0 to here come from a table, 32 MB at most for float32 heads of 64; all others are computed each time.
LARGEST_TABLE = 1 << 17
SMALLEST_TABLE = 256


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
    """Rotate pairs of elements by angles that grow with the position of the token (RoPE).

    Axes: B batch, H heads, T tokens, D head size.

    Parameters
    ----------
    x : (T, D), (H, T, D), (B, H, T, D) or with more batch axes in front, float32, float64, float16 or bfloat16
        Queries or keys. Read in place where the last axis is contiguous, else copied.
    positions : integers or real numbers, finite
        Broadcast to the axes of x without heads and D: (T,) for all sequences, (B, T) or (B, 1) for each its own, ()
        for one position everywhere. Heads share positions. Negative ones turn back; real ones need not be whole.
    base : float above 1
        Pair i of `rotary_dim` / 2 turns by base ** (-2 i / rotary_dim) a position.
    interleaved : bool
        Pairs are elements (i, i + rotary_dim / 2), as in transformers' Llama and GPT-NeoX; True: (2 i, 2 i + 1), as in
        RoFormer, GPT-J and Llama's GGUF files.
    scaling : None, float or dict, optional
        A float divides positions by it. A dict has the form of Hugging Face's `rope_parameters`, "rope_type" being
        "default", "linear", "llama3" or "yarn"; "rope_theta", if there, must equal base. `attention_factor` of yarn,
        given or derived, multiplies cos and sin.
    rotary_dim : int, even, default D
        Only the first `rotary_dim` elements of a head are rotated; the others stay as they are.
    out : shape and dtype of x, optional; written in place and returned. May be `x`.

    Returns
    -------
    The shape and dtype of x; float16 and bfloat16 are computed in float32

    Raises
    ------
    ValueError : shapes disagree, a position is NaN or infinite, or an option is out of range
    TypeError : unsupported dtypes, or an argument of the wrong kind

    Notes
    -----
    Angles, cos and sin are computed in float64 and then rounded: in float32 the angle at position 100000 is off by up
    to 4e-3. Integers beyond 2**53 are rounded to float64. Sources: Su et al. 2021, RoFormer, eq. 34; Chen et al. 2023,
    "Extending Context Window of Large Language Models via Positional Interpolation", eq. 4 (linear); Peng et al. 2023,
    YaRN, eq. 23-25; Llama 3.1's `apply_scaling` (llama3).
    """
    base, scaling = _checked(base, interleaved, scaling, rotary_dim)
    return _shared(base, interleaved, scaling, rotary_dim).rotate(x, positions, out=out)


@dataclass(frozen=True)
class Rotary:
    """Options of `rotary_embedding` with the tables of cos and sin they lead to, for caches and repeated calls.

    Two of the same options are equal. `scaling` is kept as sorted pairs, which `Rotary` also accepts; pickles, copies
    and `dataclasses.asdict` hold the options only. Threads may share one.

    Parameters
    ----------
    base, interleaved, scaling, rotary_dim : as in `rotary_embedding`
    """

    base: float = 10000.0
    interleaved: bool = False
    scaling: Any = None
    rotary_dim: int | None = None

    def __post_init__(self) -> None:
        base, scaling = _checked(self.base, self.interleaved, self.scaling, self.rotary_dim)
        for name, value in (
            ("base", base),
            ("interleaved", bool(self.interleaved)),
            ("scaling", scaling),
            ("rotary_dim", validate_rotary.rotary_dim(self.rotary_dim)),
            ("_tables", {}),
            ("_lock", threading.Lock()),
        ):
            object.__setattr__(self, name, value)

    def __reduce__(self) -> Any:
        return Rotary, (self.base, self.interleaved, self.scaling, self.rotary_dim)

    def rotate(self, x: Any, positions: Any, *, out: np.ndarray | None = None) -> np.ndarray:
        """`rotary_embedding` with these options."""
        x = validate.float_array(x, "x")
        size = validate_rotary.rotated_size(x, self.rotary_dim)
        shape = (*x.shape[:-3], x.shape[-2])
        positions = validate_rotary.rotary_positions(positions, shape)
        computing = validate.computing_dtype(x.dtype)
        result = np.empty(x.shape, x.dtype) if out is None else validate.output_array(out, x.shape, x.dtype)
        if x.size:
            index = np.broadcast_to(positions, shape).reshape(-1, shape[-1])
            table, index = self._rows(index, size, computing)
            heads = x.shape[-3] if x.ndim > 2 else 1
            axes = (len(index), heads, *x.shape[-2:])
            target = np.empty(axes, computing)
            rotate(x.astype(computing).reshape(axes), table, index, size, self.interleaved, target)
            with np.errstate(over="ignore"):
                result[...] = target.reshape(x.shape)
        return result

    def _rows(self, positions: np.ndarray, size: int, dtype: np.dtype) -> tuple[np.ndarray, np.ndarray]:
        """A table of cos and sin, and which of its rows each position has."""
        return self._computed(positions.reshape(-1), size, dtype), np.arange(positions.size).reshape(positions.shape)

    def _computed(self, positions: np.ndarray, size: int, dtype: np.dtype) -> np.ndarray:
        """(N, size) for pairs of halves, cos first; interleaved (N, 2 * size), each number twice, -sin before sin."""
        frequencies, factor = frequencies_of(size, self.base, self.scaling)
        angles = positions.astype(np.float64)[:, None] * frequencies
        cos, sin = factor * np.cos(angles), factor * np.sin(angles)
        if self.interleaved:
            cos, sin = np.stack([cos, cos], -1), np.stack([-sin, sin], -1)
        parts = [part.reshape(len(positions), -1) for part in (cos, sin)]
        return np.concatenate(parts, axis=1).astype(dtype)


def _checked(base: Any, interleaved: Any, scaling: Any, rotary_dim: Any) -> Any:
    base = validate_rotary.rotary_base(base)
    validate.flag(interleaved, "interleaved")
    validate_rotary.rotary_dim(rotary_dim)
    return base, validate_rotary.rotary_scaling(scaling, base)


@functools.lru_cache(maxsize=8)
def _shared(base: float, interleaved: bool, scaling: Any, rotary_dim: int | None) -> Rotary:
    """The `Rotary` of these options, kept with its tables."""
    return Rotary(base, interleaved, scaling, rotary_dim)


def frequencies_of(size: int, base: float, scaling: validate_rotary.Scaling | None) -> tuple[np.ndarray, float]:
    """(size / 2,) float64 angles a position, and the factor of cos and sin."""
    pairs = np.arange(size // 2)
    plain = base ** (-2.0 * pairs / size)
    if scaling is None:
        return plain, 1.0
    options = dict(scaling)
    stretched = plain / options["factor"]
    if options["rope_type"] == "linear":
        return stretched, 1.0
    context = options["original_max_position_embeddings"]
    if options["rope_type"] == "llama3":
        low, high = options["low_freq_factor"], options["high_freq_factor"]
        kept = np.clip((context / (2 * math.pi) * plain - low) / (high - low), 0.0, 1.0)
        return kept * plain + (1.0 - kept) * stretched, 1.0
    first, last = _yarn_ramp(size, base, context, options)
    kept = 1.0 - np.clip((pairs - first) / (last - first), 0.0, 1.0)
    return kept * plain + (1.0 - kept) * stretched, _yarn_attention_factor(options)


def _yarn_ramp(size: int, base: float, context: float, options: dict[str, Any]) -> tuple[float, float]:
    """Pairs up to the first keep their frequency, from the last on they are stretched (YaRN, eq. 23)."""
    first, last = (
        size * math.log(context / (turns * 2 * math.pi)) / (2 * math.log(base))
        for turns in (options.get("beta_fast", 32.0), options.get("beta_slow", 1.0))
    )
    if options.get("truncate", True):
        first, last = math.floor(first), math.ceil(last)
    first, last = max(first, 0), min(last, size - 1)
    return first, last if last != first else last + 0.001


def _yarn_attention_factor(options: dict[str, Any]) -> float:
    """The given one, or 0.1 ln(factor) + 1 (YaRN, eq. 25), with DeepSeek's pair of `mscale` as transformers has it."""
    if "attention_factor" in options:
        return options["attention_factor"]
    growth = 0.1 * max(math.log(options["factor"]), 0.0)
    if "mscale" in options and "mscale_all_dim" in options:
        return (options["mscale"] * growth + 1.0) / (options["mscale_all_dim"] * growth + 1.0)
    return growth + 1.0
