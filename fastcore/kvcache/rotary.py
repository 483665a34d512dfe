"""Rotary position embedding, as a function and as the object that caches keep."""

import functools
import math
import threading
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from fastcore._core import validate, validate_rotary
from fastcore.kvcache.kernels.rotary import rotate, rotate_if_small
from fastcore.nn.rows import is_same_memory, put_rows

# Positions from 0 to here come from a table, which then takes 32 MB for float32 heads of 64, 64 MB interleaved; all
# others are computed each time.
LARGEST_TABLE = 1 << 17
# Tables grow, and angles in float64 are made, in blocks of so many positions: 64 KB for heads of 64.
BLOCK = 256

_FLOAT32, _INT64 = np.dtype(np.float32), np.dtype(np.int64)
_ndarray = np.ndarray
_empty = np.empty


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
    The shape and dtype of x; float16 and bfloat16 are computed in float32. NaN or inf in x stays in its pair; an angle
    beyond the range of float64 gives NaN.

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
    # The short way for what models without scaling pass; others are checked first, a few us. A `Rotary` need not.
    if not (
        type(base) is float
        and scaling is None
        and (interleaved is False or interleaved is True)
        and (rotary_dim is None or type(rotary_dim) is int)
    ):
        base, interleaved, scaling, rotary_dim = _checked(base, interleaved, scaling, rotary_dim)
    return _shared(base, interleaved, scaling, rotary_dim).rotate(x, positions, out=out)


class Tables:
    """cos and sin of positions in the rows that the kernel takes, kept for the positions 0, 1, ... up to the last used.

    Any number of threads may ask.
    """

    def __init__(self, base: float, interleaved: bool, scaling: validate_rotary.Scaling | None) -> None:
        self._base, self._interleaved, self._scaling = base, interleaved, scaling
        # By the number of rotated elements.
        self.float32: dict[int, np.ndarray] = {}
        self._float64: dict[int, np.ndarray] = {}
        self._growing = threading.Lock()

    def rows_of(self, positions: np.ndarray, size: int, dtype: np.dtype) -> tuple[np.ndarray, np.ndarray]:
        """A table for heads of which `size` elements are rotated, and the row in it of each position."""
        with np.errstate(over="ignore", invalid="ignore"):  # angles beyond float64, from scalings of 1e-300: NaN
            if positions.dtype == np.int64 and positions.min() >= 0 and (last := int(positions.max())) < LARGEST_TABLE:
                return self._up_to(last + 1, size, dtype), positions
            rows = self._computed(positions.reshape(-1), size, dtype)
        return rows, np.arange(positions.size).reshape(positions.shape)

    def _up_to(self, rows: int, size: int, dtype: np.dtype) -> np.ndarray:
        """The table of the positions 0, 1, ...: `rows` of them at least, a power of two."""
        tables = self.float32 if dtype == np.float32 else self._float64
        table = tables.get(size)
        if table is None or len(table) < rows:
            # Readers need no lock: they see the old table or the new one, and rows never change.
            with self._growing:
                table = tables.get(size, np.empty((0, size * (1 + self._interleaved)), dtype))
                if len(table) < rows:
                    grown = np.empty((max(BLOCK, 1 << (rows - 1).bit_length()), table.shape[1]), dtype)
                    grown[: len(table)] = table
                    self._fill(grown, len(table), size)
                    table = tables[size] = grown
        return table

    def _fill(self, table: np.ndarray, first: int, size: int) -> None:
        """Rows from `first`, a multiple of `BLOCK`, by e^(i(a + b)) = e^ia e^ib: a tenth of the time of every cos.

        A row depends on its position alone, not on how the table grew. The product is off by 3e-16 at most.
        """
        frequencies, factor = frequencies_of(size, self._base, self._scaling)
        near = _turns(np.arange(BLOCK), frequencies)
        for start in range(first, len(table), BLOCK):
            turns = near * _turns(np.array([start]), frequencies)
            self._put(turns, factor, table[start : start + BLOCK])

    def _computed(self, positions: np.ndarray, size: int, dtype: np.dtype) -> np.ndarray:
        """Rows of any positions."""
        rows = np.empty((len(positions), size * (1 + self._interleaved)), dtype)
        frequencies, factor = frequencies_of(size, self._base, self._scaling)
        for first in range(0, len(positions), BLOCK):
            block = slice(first, first + BLOCK)
            self._put(_turns(positions[block], frequencies), factor, rows[block])
        return rows

    def _put(self, turns: np.ndarray, factor: float, rows: np.ndarray) -> None:
        """Write cos and sin times the factor as the kernel takes them."""
        parts = rows.reshape(len(rows), 2, -1, 1 + self._interleaved)
        parts[:, 0], parts[:, 1] = factor * turns.real[..., None], factor * turns.imag[..., None]
        if self._interleaved:
            parts[:, 1, :, 0] *= -1


def _turns(positions: np.ndarray, frequencies: np.ndarray) -> np.ndarray:
    """(N, size / 2) complex: cos + i sin of the angles of each position."""
    angles = positions[:, None].astype(np.float64) * frequencies
    turns = np.empty(angles.shape, np.complex128)
    turns.real, turns.imag = np.cos(angles), np.sin(angles)
    return turns


class _WithTables:
    """Declares what a `Rotary` has besides its fields; `_tables` is no field, so not compared, printed or pickled."""

    _tables: Tables


@dataclass(frozen=True)
class Rotary(_WithTables):
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
        checked = _checked(self.base, self.interleaved, self.scaling, self.rotary_dim)
        for name, value in zip((each.name for each in fields(self)), checked):
            object.__setattr__(self, name, value)
        object.__setattr__(self, "_tables", Tables(*checked[:3]))

    def __reduce__(self) -> Any:
        return Rotary, (self.base, self.interleaved, self.scaling, self.rotary_dim)

    def rotate(self, x: Any, positions: Any, *, out: np.ndarray | None = None) -> np.ndarray:
        """`rotary_embedding` with these options."""
        # The short way for tokens of a decoding step: 1.3 us against 17 us. What compiled code does not find in order
        # goes on to _rotate, which checks everything and has the messages.
        if (
            type(x) is type(positions) is _ndarray
            and x.dtype is _FLOAT32
            and positions.dtype is _INT64
            and (out is None or (out is x and x.flags.writeable))
        ):
            size = self.rotary_dim or x.shape[-1] if x.ndim else 0
            table = self._tables.float32.get(size)
            axes, index_axes = x.ndim, positions.ndim
            if table is not None and (axes == 4 or axes == 3) and (index_axes == 1 or index_axes == axes - 2):
                result = _empty(x.shape, _FLOAT32) if out is None else x
                index = positions if index_axes == 2 else positions[None]
                four, target = (x, result) if axes == 4 else (x[None], result[None])
                if rotate_if_small(four, table, index, size, self.interleaved, target):
                    return result
        return self._rotate(x, positions, out)

    def _rotate(self, x: Any, positions: Any, out: np.ndarray | None) -> np.ndarray:
        """`rotate` for any arguments."""
        x = validate.float_array(x, "x")
        size = validate_rotary.rotated_size(x, self.rotary_dim)
        shape = (*x.shape[:-3], x.shape[-2])
        positions = validate_rotary.rotary_positions(positions, shape)
        computing = validate.computing_dtype(x.dtype)
        result = np.empty(x.shape, x.dtype) if out is None else validate.output_array(out, x.shape, x.dtype)
        if x.size:
            # One row of positions for all sequences where they share them, else one for each.
            shared = positions.ndim < 2
            index = np.broadcast_to(positions, shape[-1:] if shared else shape).reshape(-1, shape[-1])
            table, index = self._tables.rows_of(index, size, computing)
            source = _four_axes(validate.readable_in_place(x.astype(computing, copy=False)))
            target = _target(result, source, index)
            rotate(source, table, index, size, self.interleaved, target)
            put_rows(target, result)
        return result


def _checked(base: Any, interleaved: Any, scaling: Any, rotary_dim: Any) -> tuple[float, bool, Any, int | None]:
    """The options in their one form, in which equal ones are equal."""
    base = validate_rotary.rotary_base(base)
    return (
        base,
        validate.flag(interleaved, "interleaved"),
        validate_rotary.rotary_scaling(scaling, base),
        validate_rotary.rotary_dim(rotary_dim),
    )


@functools.lru_cache(maxsize=8)
def _shared(base: float, interleaved: bool, scaling: Any, rotary_dim: int | None) -> Rotary:
    """The `Rotary` of these options, kept with its tables."""
    return Rotary(base, interleaved, scaling, rotary_dim)


def _four_axes(x: np.ndarray) -> np.ndarray:
    """`x` as (B, H, T, D): axes of 1 in front, or the first ones joined."""
    return x.reshape((*(1,) * (4 - x.ndim), *x.shape) if x.ndim <= 4 else (-1, *x.shape[-3:]))


def _target(out: np.ndarray, source: np.ndarray, index: np.ndarray) -> np.ndarray:
    """`out` itself as the kernel writes it, or new memory where its kind, its strides or an overlap ask for that."""
    four = _four_axes(out)
    usable = out.dtype == source.dtype and np.may_share_memory(four, out) and validate.is_readable_in_place(four)
    if usable:
        others = [index] if is_same_memory(four, source) else [index, source]
        usable = not validate.shares_memory(four, others)
    return four if usable else np.empty(source.shape, source.dtype)


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
