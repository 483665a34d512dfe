"""Argument checks of the public functions and every message they raise.

Each check takes what the caller passed and its name, and returns the canonical form the kernels rely on or raises
TypeError (wrong kind) or ValueError (wrong shape or value) with name, rule, what came and, where there is one, the fix.
Nothing here copies an array that can be read in place.
"""

import math
import operator
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

# How far a window may look and, halved, where a query may stand: position + bound stays far from int64's ends and
# beyond any key index, so the kernels add without checks. At or above it a bound is open.
NO_BOUND = 1 << 40

# Of a scale, a softcap and its inverse: float32 ends at 3.4e38, and their products with the scores must stay below.
LARGEST_SCALE = 1e30

_BOOLS = (bool, np.bool_)

# Steps of np.may_share_memory's exact search; beyond it, it answers "may", which costs a temporary and no more.
OVERLAP_WORK = 10_000


# --- arrays ---------------------------------------------------------------------------------------------------------


def as_native_array(x: Any, name: str) -> np.ndarray:
    """`x` as a plain ndarray in native byte order; memory is shared unless the bytes had to be swapped.

    Takes anything with `__array__` or `__dlpack__` (torch CPU tensors, JAX, pandas, polars) and nested sequences.
    """
    if type(x) is not np.ndarray:
        x = _plain_array(x, name)
    if x.dtype.hasobject:
        raise TypeError(f"{name} must hold numbers. Got dtype object. Convert it first, e.g. {name}.astype(float).")
    return x if x.dtype.isnative else x.astype(x.dtype.newbyteorder("="))


def _plain_array(x: Any, name: str) -> np.ndarray:
    if isinstance(x, np.ma.MaskedArray):
        raise TypeError(
            f"{name} must be a plain array: a masked array's mask would be ignored. Got {kind_of(x)}."
            f" Pass {name}.filled(...), and where a function takes a mask, the mask."
        )
    if x is None:
        raise TypeError(f"{name} must be an array. Got None.")
    try:
        if hasattr(x, "__array__") or not hasattr(x, "__dlpack__"):
            return np.asarray(x)
        return np.from_dlpack(x)
    except Exception as error:  # whatever a foreign array type raises: torch alone has three kinds
        raise TypeError(f"{name} cannot be read as a NumPy array. Got {kind_of(x)}: {error}.{_fix(x)}") from error


def _fix(x: Any) -> str:
    """What to do about a foreign array that NumPy could not read."""
    if getattr(x, "requires_grad", False):
        return " Pass it with .detach(): results carry no gradient."
    if "bfloat16" in str(getattr(x, "dtype", "")):
        return " Pass it with .float(), or as an array of ml_dtypes.bfloat16."
    if str(getattr(x, "device", "cpu")).split(":")[0] not in ("cpu", "CPU"):
        return " Pass it with .cpu()."
    return ""


def kind_of(x: Any) -> str:
    kind = type(x)
    return kind.__name__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def shown(x: Any) -> str:
    """A scalar or a short string in a message as it is; of anything else, which may be of any length, its kind."""
    if isinstance(x, int):
        return integer(x) if type(x) is int else repr(x)
    text = repr(x) if x is None or isinstance(x, float | complex | str | np.generic) else ""
    return text if 0 < len(text) <= 60 else kind_of(x)


def integer(x: int) -> str:
    """An integer in a message: Python refuses to print more than 4300 digits."""
    return str(x) if x.bit_length() <= 64 else f"an integer of {x.bit_length()} bits"


def counted(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def is_float_type(dtype: np.dtype) -> bool:
    """float16, float32, float64 (by their characters: `name` takes 2 us) or ml_dtypes' bfloat16, known by its name."""
    return dtype.char in "efd" or dtype.name == "bfloat16"


def float_array(x: Any, name: str) -> np.ndarray:
    """`x` as a native ndarray of float32, float64, float16 or ml_dtypes' bfloat16."""
    array = as_native_array(x, name)
    if not is_float_type(array.dtype):
        fix = f" Pass {name}.astype(np.float32)." if casts_to_float(array.dtype) else ""
        raise TypeError(f"{name} must be float32, float64, float16 or bfloat16. Got {array.dtype}.{fix}")
    return array


def casts_to_float(dtype: np.dtype) -> bool:
    """Whether a cast to float is sound advice: it is for real numbers, not for strings, dates or complex ones."""
    return np.can_cast(dtype, np.float64, "same_kind")


def computing_dtype(dtype: np.dtype) -> np.dtype:
    """The dtype a result of `dtype` is computed in: float64 in its own precision, all others in float32."""
    return np.dtype(np.float64 if dtype == np.float64 else np.float32)


def same_dtype(arrays: Mapping[str, np.ndarray]) -> np.dtype:
    """The one dtype of all arrays."""
    names = list(arrays)
    dtype = arrays[names[0]].dtype
    for name in names[1:]:
        if arrays[name].dtype != dtype:
            got = ", ".join(f"{n} {a.dtype}" for n, a in arrays.items())
            raise TypeError(f"{', '.join(names)} must have one dtype. Got {got}. Convert one with .astype.")
    return dtype


def is_readable_in_place(x: np.ndarray) -> bool:
    """Whether a kernel can read (or write) it where it lies: aligned, last axis contiguous, other strides any."""
    return x.flags.aligned and (x.shape[-1] <= 1 or x.strides[-1] == x.itemsize)


def readable_in_place(x: np.ndarray) -> np.ndarray:
    """`x` itself where a kernel can read it, else a contiguous copy."""
    return x if is_readable_in_place(x) else x.copy(order="C")


def output_array(out: Any, shape: tuple[int, ...], dtype: np.dtype, name: str = "out") -> np.ndarray:
    """`out` checked: a writable ndarray of this shape and dtype, any strides."""
    if not isinstance(out, np.ndarray) or isinstance(out, np.ma.MaskedArray):
        raise TypeError(f"{name} must be a numpy.ndarray. Got {kind_of(out)}. Pass np.empty({shape}, {dtype.name!r}).")
    if out.dtype != dtype:
        raise TypeError(f"{name} must have the dtype of the result, {dtype}. Got {out.dtype}.")
    if out.shape != shape:
        raise ValueError(f"{name} must have the shape of the result, {shape}. Got {out.shape}.")
    if not out.flags.writeable:
        raise ValueError(f"{name} must be writable. Got a read-only array. Pass a copy.")
    no_place_twice(out, name)
    return out


def no_place_twice(x: np.ndarray, name: str) -> None:
    """Each axis steps over all that the axes of shorter steps reach: two elements of `x` are two places."""
    if x.size == 0 or x.flags.c_contiguous:
        return
    reach = x.itemsize
    for stride, size in sorted((abs(stride), size) for stride, size in zip(x.strides, x.shape) if size > 1):
        if stride < reach:
            raise ValueError(
                f"{name} must not be a view that holds a place twice, such as a broadcast one: it is written in place."
                f" Got shape {x.shape}, strides {x.strides}. Pass a copy."
            )
        reach += stride * (size - 1)


def shares_memory(out: np.ndarray, inputs: Sequence[np.ndarray | None]) -> bool:
    """Whether writing `out` may change an input: exact where that is cheap, else a cautious yes."""
    return any(
        x is not None and np.may_share_memory(out, x, max_work=OVERLAP_WORK)  # type: ignore[arg-type]
        for x in inputs
    )


# --- scalars --------------------------------------------------------------------------------------------------------


def flag(x: Any, name: str) -> bool:
    if not isinstance(x, _BOOLS):
        raise TypeError(f"{name} must be True or False. Got {shown(x)}.")
    return bool(x)


def index(x: Any, name: str) -> int:
    """A Python int from any integer but a bool."""
    if not isinstance(x, _BOOLS):
        try:
            return operator.index(x)
        except TypeError:
            pass
    raise TypeError(f"{name} must be an integer. Got {shown(x)}.")


def positive_index(x: Any, name: str) -> int:
    value = index(x, name)
    if value < 1:
        raise ValueError(f"{name} must be positive. Got {integer(value)}.")
    return value


def finite_float(x: Any, name: str) -> float:
    if isinstance(x, (*_BOOLS, str, bytes)):
        raise TypeError(f"{name} must be a real number. Got {shown(x)}.")
    try:
        value = float(x)
    except (TypeError, ValueError):
        raise TypeError(f"{name} must be a real number. Got {kind_of(x)}.") from None
    except OverflowError:  # 10**400; its digits are left out, since Python refuses to print more than 4300
        raise ValueError(f"{name} must be finite. Got {kind_of(x)} beyond the range of float64.") from None
    if not math.isfinite(value):
        raise ValueError(f"{name} must be finite. Got {value}.")
    return value


def positive_float(x: Any, name: str) -> float:
    value = finite_float(x, name)
    if value <= 0.0:
        raise ValueError(f"{name} must be positive, or None for none. Got {value}.")
    return value


def score_scale(x: Any) -> float:
    """The factor of query @ key. In float64 too: kernels take one range."""
    value = finite_float(x, "scale")
    if abs(value) > LARGEST_SCALE:
        raise ValueError(f"scale must lie within ±{LARGEST_SCALE:g}: scores have float32's range. Got {value}.")
    return value


def score_cap(x: Any) -> float:
    value = positive_float(x, "softcap")
    if not 1.0 / LARGEST_SCALE <= value <= LARGEST_SCALE:
        raise ValueError(
            f"softcap must lie in {1.0 / LARGEST_SCALE:g} .. {LARGEST_SCALE:g}: scores have float32's range. Got"
            f" {value}. Pass None for none."
        )
    return value


def not_negative_float(x: Any, name: str) -> float:
    value = finite_float(x, name)
    if value < 0.0:
        raise ValueError(f"{name} must not be negative. Got {value}.")
    return value


def probability(x: Any, name: str) -> float:
    value = finite_float(x, name)
    if not 0.0 <= value <= 1.0:
        raise ValueError(f"{name} must lie in [0, 1]. Got {value}.")
    return value


def random_seed(x: Any, name: str = "seed") -> int:
    value = index(x, name)
    if not 0 <= value < 1 << 64:
        raise ValueError(f"{name} must lie in [0, 2**64). Got {value}.")
    return value


def choice(x: Any, name: str, choices: Sequence[str]) -> str:
    """`x`, one of the strings `choices`."""
    rule = f"{name} must be {' or '.join(map(repr, choices))}."
    if not isinstance(x, str):  # an array would answer == with another one
        raise TypeError(f"{rule} Got {kind_of(x)}.")
    if x not in choices:
        raise ValueError(f"{rule} Got {x!r}.")
    return x


def window_bounds(window: Any, is_causal: bool) -> tuple[int, int]:
    """(left, right) as the kernels take them: NO_BOUND where open, right at most 0 when causal."""
    left, right = NO_BOUND, NO_BOUND
    if window is not None:
        if not isinstance(window, tuple | list) or len(window) != 2:
            raise TypeError(f"window must be a pair (left, right), each an int or None. Got {shown(window)}.")
        left, right = (_window_side(x, f"window[{side}]") for side, x in enumerate(window))
    return left, min(right, 0) if is_causal else right


def _window_side(x: Any, name: str) -> int:
    if x is None:
        return NO_BOUND
    bound = index(x, name)
    if bound < 0:
        raise ValueError(f"{name} must not be negative; None leaves that side open. Got {bound}.")
    return min(bound, NO_BOUND)


# --- one integer a sequence ------------------------------------------------------------------------------------------


def integers_per_sequence(x: Any, name: str, batch: int, *, one_for_all: bool = True) -> np.ndarray:
    """(B,) contiguous, aligned int64 from an integer for all sequences, if that is allowed, or one for each.

    With two batch axes or more, B counts the sequences of the flattened batch, in C order.
    """
    array = x if type(x) is np.ndarray else _plain_array(x, name)
    if array.dtype.kind == "O":
        _refuse_objects(array, name)
    if array.dtype.kind not in "iu":
        raise TypeError(f"{name} must hold integers. Got {array.dtype}. Pass it with .astype(np.int64).")
    if array.shape != (batch,) and not (one_for_all and array.shape in ((), (1,))):
        rule = "one integer or one" if one_for_all else "one integer"
        raise ValueError(f"{name} must be {rule} for each of {batch} sequences. Got shape {array.shape}.")
    if array.dtype == np.uint64 and array.size and array.max() > np.iinfo(np.int64).max:
        raise ValueError(f"{name} must fit into int64. Got {array.max()}.")
    # Aligned too: kernels load by address, and ascontiguousarray leaves an unaligned array where it is.
    return np.require(np.broadcast_to(array, (batch,)), np.int64, ["C", "A"])


def _refuse_objects(array: np.ndarray, name: str) -> None:
    """Say what NumPy had to keep as objects: integers beyond 64 bits, or no integers at all."""
    for x in array.flat:
        if isinstance(x, _BOOLS) or not isinstance(x, int | np.integer):
            raise TypeError(f"{name} must hold integers. Got {kind_of(x)}. Pass an int or an array of int64.")
    for x in array.flat:
        if not -(1 << 63) <= x < 1 << 63:
            raise ValueError(f"{name} must fit into int64. Got an integer of {int(x).bit_length()} bits.")
    raise TypeError(f"{name} must hold integers. Got dtype object. Pass it with .astype(np.int64).")


def query_offsets(x: Any, batch: int) -> np.ndarray | None:
    """Position of each sequence's first query, or None where all are 0; sequences as in `integers_per_sequence`."""
    if type(x) is int and x == 0:
        return None
    offsets = integers_per_sequence(x, "query_offset", batch)
    limit = NO_BOUND // 2
    for b in np.flatnonzero((offsets <= -limit) | (offsets >= limit))[:1]:
        raise ValueError(f"query_offset must lie within ±2**39. Got {offsets[b]} for sequence {b}.")
    return offsets


def lengths_of_keys(x: Any, batch: int, keys: int) -> np.ndarray | None:
    """Number of keys that exist in each sequence; beyond S all of the S do. Sequences as in `integers_per_sequence`."""
    if x is None:
        return None
    lengths = integers_per_sequence(x, "key_lengths", batch)
    for b in np.flatnonzero(lengths < 0)[:1]:
        raise ValueError(f"key_lengths must not be negative. Got {lengths[b]} for sequence {b}.")
    return np.minimum(lengths, keys)
