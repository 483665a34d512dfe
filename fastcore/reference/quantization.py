"""How a cache stores rows of keys and values: five formats, written from their definitions."""

import numpy as np

VECTOR = 16
GROUP = 32
HALF_NAN = np.uint16(0x7E00)


def quantize(x: np.ndarray, dtype: str) -> dict[str, np.ndarray]:
    """Rows of float32 as a cache stores them.

    Parameters
    ----------
    x : (..., D) float32; each row is stored by itself
    dtype : "float32", "float16", "bfloat16", "int8" or "int4"

    Returns
    -------
    "rows": (..., row) stored elements, padded with zeros to a multiple of 16 (int4: 32) numbers; and for int8 "scales"
    (...) float32, for int4 "scales" (..., groups, 2) the float16 bits of scale and minimum

    Notes
    -----
    int8: x ~ q * scale with scale = largest abs(x) / 127. int4: x ~ q * scale + minimum in groups of 32 along D; byte i
    of a group has element i in its low four bits and element 16 + i in its high ones, as GGML's Q4_1.
    """
    x = np.asarray(x, np.float32)
    with np.errstate(all="ignore"):
        if dtype == "int8":
            return _quantize_int8(x)
        if dtype == "int4":
            return _quantize_int4(x)
        rows = _padded(x, VECTOR)
        if dtype == "float16":
            return {"rows": rows.astype(np.float16).view(np.uint16)}
        return {"rows": _bfloat_bits(rows) if dtype == "bfloat16" else rows}


def dequantize(stored: dict[str, np.ndarray], dtype: str, size: int) -> np.ndarray:
    """Inverse of `quantize` up to rounding: (..., size) float32."""
    rows = stored["rows"]
    if dtype == "float16":
        numbers = rows.view(np.float16).astype(np.float32)
    elif dtype == "bfloat16":
        numbers = (rows.astype(np.uint32) << 16).view(np.float32)
    elif dtype == "int8":
        with np.errstate(over="ignore", invalid="ignore"):  # 127 steps of float32's largest numbers may be inf
            numbers = rows.astype(np.float32) * stored["scales"][..., None]
    elif dtype == "int4":
        halves = stored["scales"].view(np.float16).astype(np.float32)
        groups = rows.reshape(*halves.shape[:-1], GROUP // 2)
        codes = np.concatenate([groups & 15, groups >> 4], axis=-1).astype(np.float32)
        numbers = (codes * halves[..., :1] + halves[..., 1:]).reshape(*rows.shape[:-1], 2 * rows.shape[-1])
    else:
        numbers = rows
    return numbers[..., :size].copy()


def _quantize_int8(x: np.ndarray) -> dict[str, np.ndarray]:
    largest = np.abs(x).max(axis=-1)  # NaN where the row has one
    scales = np.where(np.isfinite(largest), largest / np.float32(127), np.float32(np.nan))
    steps = np.where(scales > 0, scales, np.float32(np.inf))[..., None]  # q 0 for scale 0 and NaN
    # Only a scale below 2^-126 is so coarse itself that a quotient goes beyond 127.
    codes = np.clip(np.rint(np.where(np.isfinite(x), x, 0) / steps), -127, 127)
    return {"rows": _padded(codes.astype(np.int8), VECTOR), "scales": scales}


def _quantize_int4(x: np.ndarray) -> dict[str, np.ndarray]:
    # Repeats of the last number fill up the last group, so that they change neither minimum nor maximum.
    size = x.shape[-1]
    filled = np.concatenate([x, np.repeat(x[..., -1:], -size % GROUP, axis=-1)], axis=-1)
    groups = filled.reshape(*x.shape[:-1], -(-size // GROUP), GROUP)
    lowest, highest = groups.min(axis=-1) + np.float32(0), groups.max(axis=-1) + np.float32(0)  # no -0.0
    scales = ((highest - lowest) / np.float32(15)).astype(np.float16)
    minima = lowest.astype(np.float16)
    broken = ~(np.isfinite(scales) & np.isfinite(minima) & np.isfinite(highest))
    steps = np.where((scales > 0) & ~broken, scales.astype(np.float32), np.float32(np.inf))[..., None]
    offsets = np.where(broken, 0, minima.astype(np.float32))[..., None]
    codes = np.clip(np.rint((np.where(broken[..., None], 0, groups) - offsets) / steps), 0, 15).astype(np.uint8)
    codes = _padded(codes.reshape(filled.shape)[..., :size], GROUP).reshape(groups.shape)
    packed = codes[..., : GROUP // 2] | codes[..., GROUP // 2 :] << 4
    bits = np.stack([scales.view(np.uint16), minima.view(np.uint16)], axis=-1)
    bits[broken] = (HALF_NAN, 0)
    return {"rows": packed.reshape(*x.shape[:-1], filled.shape[-1] // 2), "scales": bits}


def _bfloat_bits(x: np.ndarray) -> np.ndarray:
    """The upper halves of float32, rounded to nearest even; NaN stays NaN."""
    bits = x.view(np.uint32)
    rounded = (bits + np.uint32(0x7FFF) + ((bits >> 16) & 1)) >> 16
    return np.where(np.isnan(x), (bits >> 16) | 0x40, rounded).astype(np.uint16)


def _padded(rows: np.ndarray, multiple: int) -> np.ndarray:
    """Rows with zeros behind them, up to a multiple of numbers."""
    widths = [(0, 0)] * (rows.ndim - 1) + [(0, -rows.shape[-1] % multiple)]
    return np.pad(rows, widths)
