"""Checks of the cost model of sharding: links, collectives, what is drawn and where it is written."""

import math
import operator
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

from fastcore._core.validate import kind_of, shown

PICTURES = (".png", ".svg", ".pdf")


def link(value: Any, kind: type) -> Any:
    """A link whose numbers make sense; an infinite speed makes its part of the cost nothing."""
    if not isinstance(value, kind):
        raise TypeError(f"link must be a Link(latency_s, bytes_per_s, flops_per_s). Got {kind_of(value)}.")
    for name, number in value._asdict().items():  # type: ignore[attr-defined]
        if isinstance(number, bool) or not hasattr(number, "__float__"):
            raise TypeError(f"{name} of the link must be a number. Got {kind_of(number)}.")
        if name == "latency_s":
            if not 0 <= number < math.inf:
                raise ValueError(f"latency_s of the link must be seconds, finite and not negative. Got {number}.")
        elif not number > 0:
            raise ValueError(f"{name} of the link must be above 0. Got {number}.")
    return value


def collective(kind: Any, known: Mapping[str, Any]) -> Any:
    """What is known of a collective."""
    if not isinstance(kind, str):
        raise TypeError(f"kind must be the name of a collective. Got {kind_of(kind)}.")
    if kind not in known:
        raise ValueError(f"kind must be one of {', '.join(known)}. Got {kind!r}.")
    return known[kind]


def count(value: Any, name: str, at_least: int = 1) -> int:
    try:
        number = operator.index(value)
    except TypeError:
        raise TypeError(f"{name} must be an integer. Got {shown(value)}.") from None
    if isinstance(value, bool) or number < at_least:
        raise ValueError(f"{name} must be at least {at_least}. Got {shown(value)}.")
    return number


def written_file(path: Any, suffixes: tuple[str, ...]) -> Path:
    """A file that can be written: a folder that exists, a suffix that says a format we know."""
    try:
        file = Path(path)
    except TypeError:
        raise TypeError(f"path must be a string or a path. Got {kind_of(path)}.") from None
    if file.suffix.lower() not in suffixes:
        raise ValueError(f"path must end in {' or '.join(suffixes)}. Got {str(path)!r}.")
    if file.is_dir():
        raise ValueError(f"path must be a file. Got the folder {str(path)!r}.")
    if not file.parent.is_dir():
        raise ValueError(f"path must be in a folder that exists; make {str(file.parent)!r} first. Got {str(path)!r}.")
    return file


def shown_devices(devices: Any, size: int) -> list[int]:
    """Numbers of devices of the mesh, each once."""
    try:
        numbers = [operator.index(device) for device in devices]
    except TypeError:
        raise TypeError(f"devices must be numbers of devices, or None. Got {kind_of(devices)}.") from None
    if any(not 0 <= number < size for number in numbers) or len(set(numbers)) < len(numbers) or not numbers:
        raise ValueError(f"devices must be distinct numbers between 0 and {size - 1}, at least one. Got {numbers}.")
    return numbers


def plot_is_missing() -> NoReturn:
    raise ImportError("Mesh.plot needs Matplotlib. Install it: pip install 'fastcore-kernels[plot]'.") from None
